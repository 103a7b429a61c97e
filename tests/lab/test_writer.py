import threading
from collections.abc import Callable
from ipaddress import IPv4Address

import psycopg
import pytest

from drill.results import Gap
from lab.postgres import HOSTS, PostgresSet
from lab.processes import Supervisor
from lab.writer import Connection, Writer, create_table, longest_gap, written_rows

DEADLINE = 200.0
A, B = IPv4Address("127.0.0.2"), IPv4Address("127.0.0.3")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([8, 9, 10, 17, 18], (10, 17)),
        ([9, 10.5, 11, 11.5], (11.5, 20)),
        ([1, 2, 30], (2, 20)),
        ([1, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19], (7, 11)),
        ([12, 30], (12, 20)),
        ([18], (10, 18)),
        ([], (10, 20)),
    ],
)
def test_the_longest_gap_of_a_period(times: list[float], expected: tuple[float, float]) -> None:
    start, end = expected

    gap = longest_gap(times, 10, 20)

    assert gap == Gap(start=start, end=end)
    assert gap.seconds == end - start


@pytest.fixture
def pair(supervisor: Supervisor) -> PostgresSet:
    created = PostgresSet.create(supervisor, HOSTS[:2])
    with created.primary.connect() as connection:
        create_table(connection)
    return created


def wait_for(supervisor: Supervisor, what: str, condition: Callable[[], object]) -> None:
    supervisor.wait_until(condition, what=what, timeout=DEADLINE)


@pytest.mark.lab
def test_a_reconnecting_writer_opens_a_connection_for_each_row(
    supervisor: Supervisor, pair: PostgresSet
) -> None:
    connections = 0

    def connect() -> Connection:
        nonlocal connections
        connections += 1
        return pair.primary.connect()

    with Writer(connect, interval=0.001, reconnects=True) as writer:
        wait_for(supervisor, "5 rows", lambda: len(writer.acknowledgements) >= 5)

    # The writer may stop before it has used its last connection.
    assert connections - len(writer.acknowledgements) in {0, 1}
    assert writer.failures == ()


@pytest.mark.lab
def test_a_hanging_commit_times_out_and_is_repeated_on_the_new_primary(
    supervisor: Supervisor, pair: PostgresSet
) -> None:
    """The writer's own deadline ends the flow if the load balancer does not."""
    server = pair.primary

    def connect() -> Connection:
        return server.connect()

    with Writer(connect, interval=0.001, statement_deadline=0.5) as writer:
        wait_for(supervisor, "rows", lambda: len(writer.acknowledgements) >= 5)
        demoted = pair.primary
        pair.promote(pair.standbys[0])
        wait_for(supervisor, "a statement that timed out", lambda: writer.failures)
        last = writer.acknowledgements[-1]
        server = pair.primary
        wait_for(supervisor, "a row on b", lambda: writer.first_after(last.at, B))

    assert last.server == A
    with pair.primary.connect() as connection:
        assert writer.acknowledged <= written_rows(connection)
    with demoted.connect() as connection:
        assert max(written_rows(connection)) == last.number


@pytest.mark.lab
def test_a_writer_with_a_hanging_commit_can_be_stopped(
    supervisor: Supervisor, pair: PostgresSet
) -> None:
    demoted = pair.primary
    with Writer(demoted.connect, interval=0.001, statement_deadline=600) as writer:
        wait_for(supervisor, "rows", lambda: len(writer.acknowledgements) >= 5)
        pair.promote(pair.standbys[0])
        wait_for(
            supervisor,
            "a hanging commit",
            lambda: demoted.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
        )
        count = len(writer.acknowledgements)

    assert len(writer.acknowledgements) == count


@pytest.mark.lab
def test_a_success_with_a_warning_is_no_acknowledgement(
    supervisor: Supervisor, pair: PostgresSet
) -> None:
    demoted = pair.primary
    with Writer(demoted.connect, interval=0.001) as writer:
        wait_for(supervisor, "rows", lambda: len(writer.acknowledgements) >= 5)
        pair.promote(pair.standbys[0])
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_for(supervisor, "a cancelled commit", lambda: demoted.query(cancel))
        wait_for(supervisor, "a failure", lambda: writer.failures)

    assert "canceling wait for synchronous replication" in writer.failures[0].reason
    assert writer.failures[0].number not in writer.acknowledged


@pytest.mark.lab
def test_acknowledges_an_existing_row(supervisor: Supervisor, pair: PostgresSet) -> None:
    with pair.primary.connect() as connection:
        connection.execute("INSERT INTO written_rows VALUES (1)")

    with Writer(pair.primary.connect, interval=0.001) as writer:
        wait_for(supervisor, "2 rows", lambda: {1, 2} <= writer.acknowledged)

    assert writer.failures == ()


def test_retries_after_a_refused_connection() -> None:
    attempts = 0
    tried = threading.Event()

    def refuse() -> Connection:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            tried.set()
        raise psycopg.OperationalError("connection refused")

    with Writer(refuse, interval=0.001) as writer:
        assert tried.wait(DEADLINE)

    assert {failure.number for failure in writer.failures} == {1}
    assert writer.failures[0].reason == "connection refused"
    assert writer.acknowledged == frozenset()
    assert writer.first_after(0.0) is None


def test_raises_an_error_of_the_writer_itself() -> None:
    def broken() -> Connection:
        raise ZeroDivisionError

    writer = Writer(broken)
    with pytest.raises(ZeroDivisionError), writer:
        pass
