import ctypes
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from lab.postgres import HOSTS, PostgresServer, PostgresSet, connect
from lab.processes import ServerDiedError, Supervisor, WaitTimeoutError

pytestmark = pytest.mark.lab

DEADLINE = 200.0


@pytest.fixture
def pair(supervisor: Supervisor) -> PostgresSet:
    created = PostgresSet.create(supervisor, HOSTS[:2])
    created.primary.query("CREATE TABLE rows (n int PRIMARY KEY)")
    return created


@pytest.fixture(scope="module")
def steady_pair() -> Iterator[PostgresSet]:
    """A pair for tests that change nothing."""
    with Supervisor() as supervisor:
        pair = PostgresSet.create(supervisor, HOSTS[:2])
        pair.primary.query("CREATE TABLE rows (n int PRIMARY KEY)")
        yield pair


def insert(server: PostgresServer, number: int) -> None:
    server.query("INSERT INTO rows VALUES (%s)", (number,))


def numbers(server: PostgresServer) -> list[int]:
    return [n for (n,) in server.query("SELECT n FROM rows ORDER BY n")]


def hung_commits(server: PostgresServer) -> int:
    ((count,),) = server.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return int(count)


def wait_for_a_hung_commit(demoted: PostgresServer) -> None:
    for _ in range(20_000):
        if hung_commits(demoted) == 1:
            return
        threading.Event().wait(0.01)
    raise AssertionError("no commit waits for the lost standby")


def test_a_pair_has_a_primary_and_a_synchronous_standby(steady_pair: PostgresSet) -> None:
    assert (steady_pair.primary.host, steady_pair.standbys[0].host) == ("127.0.0.2", "127.0.0.3")
    assert not steady_pair.primary.is_in_recovery()
    assert steady_pair.standbys[0].is_in_recovery()
    assert steady_pair.primary.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)]


def test_the_standby_refuses_writes(steady_pair: PostgresSet) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        insert(steady_pair.standbys[0], 1)


def test_the_server_rejects_a_wrong_password(steady_pair: PostgresSet) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(steady_pair.primary.host, steady_pair.port, "guess")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_root_runs_the_servers_as_another_user(steady_pair: PostgresSet) -> None:
    assert Path(f"/proc/{steady_pair.primary.pid}").stat().st_uid not in {0}


def test_a_demoted_primary_that_still_runs_acknowledges_nothing(pair: PostgresSet) -> None:
    """The load balancer cuts a client whose commit hangs; the client must not get a success."""
    demoted = pair.primary
    client = demoted.connect()
    pair.promote(pair.standbys[0])

    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(client.execute, "INSERT INTO rows VALUES (7)")
        wait_for_a_hung_commit(demoted)
        assert not commit.done()
        # The data plane closes the client's connection.
        with socket.socket(fileno=os.dup(client.fileno())) as stream:
            stream.shutdown(socket.SHUT_RDWR)
        with pytest.raises(psycopg.OperationalError):
            commit.result(DEADLINE)
    client.close()

    assert hung_commits(demoted) == 1
    assert numbers(pair.primary) == []


@pytest.mark.parametrize("end", ["stop", "kill", "terminate"])
def test_the_end_of_a_demoted_primary_acknowledges_nothing(pair: PostgresSet, end: str) -> None:
    demoted = pair.primary
    client = demoted.connect()
    pair.promote(pair.standbys[0])

    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(client.execute, "INSERT INTO rows VALUES (7)")
        wait_for_a_hung_commit(demoted)
        if end == "terminate":
            demoted.query("SELECT pg_terminate_backend(%s)", (client.info.backend_pid,))
        else:
            getattr(demoted, end)()
        with pytest.raises(psycopg.OperationalError):
            commit.result(DEADLINE)
    client.close()


def test_a_cancelled_commit_is_reported_as_success_with_a_warning(pair: PostgresSet) -> None:
    """For this reason the writer never cancels a statement and rejects a warning."""
    demoted = pair.primary
    client = demoted.connect()
    warnings: list[str | None] = []
    client.add_notice_handler(lambda notice: warnings.append(notice.severity_nonlocalized))
    pair.promote(pair.standbys[0])

    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(client.execute, "INSERT INTO rows VALUES (7)")
        wait_for_a_hung_commit(demoted)
        client.cancel_safe()
        commit.result(DEADLINE)
    client.close()

    assert warnings == ["WARNING"]
    assert numbers(demoted) == [7]
    assert numbers(pair.primary) == []


def test_a_demoted_primary_that_still_runs_is_rebuilt_as_a_standby(pair: PostgresSet) -> None:
    pair.promote(pair.standbys[0])
    insert(pair.primary, 1)

    pair.rebuild_standbys()

    assert pair.standbys[0].is_in_recovery()
    assert numbers(pair.standbys[0]) == [1]


def test_rows_written_without_a_standby_survive_a_failover_after_its_rebuild(
    pair: PostgresSet,
) -> None:
    pair.primary.kill()
    pair.promote(pair.standbys[0])
    acknowledged: list[int] = []
    ended = threading.Event()

    def write() -> None:
        with pair.primary.connect() as client:
            for number in range(100_000):
                if ended.is_set():
                    return
                try:
                    client.execute("INSERT INTO rows VALUES (%s)", (number,))
                except psycopg.OperationalError:
                    return
                acknowledged.append(number)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            pair.rebuild_standbys()
            pair.primary.kill()
        finally:
            ended.set()
            writing.result(DEADLINE)

    assert acknowledged
    assert set(acknowledged) <= set(numbers(pair.promote(pair.standbys[0])))


def test_a_standby_that_does_not_catch_up_is_reported_with_what_it_and_the_primary_know(
    pair: PostgresSet,
) -> None:
    ((receiver,),) = pair.standbys[0].query("SELECT pid FROM pg_stat_wal_receiver")
    os.kill(receiver, signal.SIGSTOP)

    with pytest.raises(WaitTimeoutError) as raised:
        pair.primary.wait_synchronous(pair.standbys, timeout=1.0)

    message = str(raised.value)
    assert "waited 1 s for PostgreSQL b to be synchronous standbys of a" in message
    assert re.search(r"pg_stat_replication: \[\('b', 'streaming', 'sync', '\d", message)
    assert "ready to accept read-only connections" in message


def test_reports_the_death_of_a_server() -> None:
    def kill_and_wait() -> None:
        with Supervisor() as supervisor:
            pair = PostgresSet.create(supervisor, HOSTS[:2])
            os.kill(pair.standbys[0].pid, 9)
            supervisor.wait_until(lambda: False, what="the end", timeout=DEADLINE)

    with pytest.raises(ServerDiedError, match=r"PostgreSQL b ended unexpectedly \(signal 9\)"):
        kill_and_wait()


def test_a_killed_server_leaves_no_shared_memory(pair: PostgresSet) -> None:
    lines = (
        pair.primary._data.joinpath("postmaster.pid").read_text().splitlines()  # noqa: SLF001
    )
    identifier = int(lines[6].split()[1])

    pair.primary.kill()

    get_status, status = 2, ctypes.create_string_buffer(1024)
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(20_000):
        if libc.shmctl(identifier, get_status, status) == -1:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"shared memory {identifier} is still there")


def test_a_stopped_server_does_not_wait_for_its_clients(
    supervisor: Supervisor, pair: PostgresSet
) -> None:
    with pair.primary.connect():
        pair.primary.stop()

    log = (supervisor.work_dir / "logs" / "postgresql-a.log").read_text()
    assert "received immediate shutdown request" in log


def test_a_stopped_server_has_no_process_id(pair: PostgresSet) -> None:
    pair.standbys[0].stop()

    assert not pair.standbys[0].is_running
    with pytest.raises(ValueError, match="PostgreSQL b is not running"):
        _ = pair.standbys[0].pid
