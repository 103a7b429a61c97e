# ruff: noqa: PT012 - the tests are about the end of a `with` block, so it has several lines
import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import processes
from lab.processes import (
    CommandFailedError,
    Server,
    ServerDiedError,
    Supervisor,
    WaitTimeoutError,
    create_work_dir,
    remove_tree,
    unprivileged_account,
)

pytestmark = pytest.mark.lab

REPO = Path(__file__).parents[2]
DEADLINE = 200.0

# Prints that it runs, then waits for a signal.
SLEEPER = "import time; print('listening', flush=True); time.sleep(600)"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


def start(supervisor: Supervisor, code: str = SLEEPER, name: str = "test server") -> Server:
    log = supervisor.work_dir / "logs" / f"{name.replace(' ', '-')}.log"
    return supervisor.start(
        name, python(code), ready=lambda: "listening" in log.read_text(), timeout=DEADLINE
    )


def is_alive(pid: int) -> bool:
    """Return whether a process is alive. A zombie, as in a container without init, is not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


def guard_of(supervisor: Supervisor) -> int:
    """Return the guard: the process with this supervisor's folder on its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.read_text().rstrip("\0").endswith(f"\0{supervisor.work_dir}"):
            return int(path.parent.name)
    raise AssertionError("no guard runs")


def test_a_death_is_reported_with_the_signal_and_the_last_lines() -> None:
    with pytest.raises(ServerDiedError) as caught, Supervisor() as supervisor:
        server = start(supervisor, name="dns server")
        os.kill(server.pid, signal.SIGKILL)
        supervisor.wait_until(lambda: False, what="nothing", timeout=DEADLINE)

    assert str(caught.value) == (
        "the dns server ended unexpectedly (signal 9); its last lines:\n  listening"
    )


def test_a_server_that_ends_before_it_is_ready_is_reported_with_its_error() -> None:
    with (
        pytest.raises(ServerDiedError, match=r"exit status 3\).*\n  port is taken"),
        Supervisor() as supervisor,
    ):
        start(supervisor, "import sys; print('port is taken'); sys.exit(3)")


def test_only_the_last_lines_are_quoted() -> None:
    with pytest.raises(ServerDiedError) as caught, Supervisor() as supervisor:
        start(supervisor, "for n in range(100): print('line', n)")

    assert "line 94" not in str(caught.value)
    assert str(caught.value).endswith("line 95\n  line 96\n  line 97\n  line 98\n  line 99")


def test_reports_a_server_that_is_never_ready() -> None:
    with (
        pytest.raises(WaitTimeoutError, match=r"0.05 s for the silent to be ready"),
        Supervisor() as supervisor,
    ):
        supervisor.start("silent", python(SLEEPER), ready=lambda: False, timeout=0.05)


def test_a_stopped_or_killed_server_is_no_death(supervisor: Supervisor) -> None:
    stopped, killed = start(supervisor), start(supervisor, name="other")

    supervisor.stop(stopped)
    supervisor.kill(killed)

    supervisor.check()
    assert stopped.process.returncode == -signal.SIGTERM
    assert killed.process.returncode == -signal.SIGKILL


def test_a_restarted_server_reports_only_its_own_output(supervisor: Supervisor) -> None:
    supervisor.stop(start(supervisor))
    second = start(supervisor)

    assert eventually(lambda: second.output() == "listening\n")


def test_a_server_that_ignores_sigterm_is_killed(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_GRACE", 0.2)
    server = start(supervisor, "import signal; signal.signal(15, signal.SIG_IGN)\n" + SLEEPER)

    supervisor.stop(server)

    assert eventually(lambda: server.process.returncode == -signal.SIGKILL)


@pytest.mark.parametrize("own_session", [False, True])
def test_the_children_of_a_server_end_with_it(supervisor: Supervisor, own_session: bool) -> None:
    server = start(
        supervisor,
        f"""
        import subprocess, sys, time
        child = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
        process = subprocess.Popen(child, start_new_session={own_session})
        print("listening", process.pid, flush=True)
        time.sleep(600)
        """,
    )
    child = int(server.output().split()[1])
    assert is_alive(child)

    supervisor.stop(server)

    assert eventually(lambda: not is_alive(child))


def test_a_death_replaces_the_error_that_it_caused() -> None:
    with pytest.raises(ServerDiedError) as caught, Supervisor() as supervisor:
        os.kill(start(supervisor).pid, signal.SIGKILL)
        raise ConnectionResetError("by peer")

    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_raises_an_unchecked_death_at_the_end() -> None:
    with pytest.raises(ServerDiedError), Supervisor() as supervisor:
        server = start(supervisor)
        os.kill(server.pid, signal.SIGKILL)
        server.ended.wait(DEADLINE)


def test_an_error_in_the_block_ends_the_servers_and_removes_the_folder() -> None:
    with pytest.raises(ZeroDivisionError), Supervisor() as supervisor:
        server = start(supervisor)
        raise ZeroDivisionError

    assert not is_alive(server.pid)
    assert not supervisor.work_dir.exists()


def test_leaving_restores_the_signal_handlers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    with Supervisor():
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert during != before


ORCHESTRATOR = f"""
import signal, sys, time
# Under nohup the tests ignore the signal; a terminal does not.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, {str(REPO)!r})
from lab.processes import Supervisor
with Supervisor() as supervisor:
    servers = []
    for name in "ab":
        log = supervisor.work_dir / "logs" / (name + ".log")
        servers.append(supervisor.start(
            name, [sys.executable, "-I", "-S", "-c", {SLEEPER!r}],
            ready=lambda: "listening" in log.read_text()))
    print(supervisor.work_dir, *[server.pid for server in servers], flush=True)
    supervisor.wait_until(lambda: False, what="a signal", timeout=6000)
"""


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGINT],
        [signal.SIGTERM],
        [signal.SIGHUP],
        [signal.SIGTERM, signal.SIGINT, signal.SIGTERM],
        [signal.SIGKILL],
    ],
    ids=lambda signals: "+".join(number.name for number in signals),
)
def test_an_interrupted_orchestrator_leaves_no_process_and_no_file(
    signals: list[signal.Signals],
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as orchestrator:
        assert orchestrator.stdout is not None
        work_dir, *pids = orchestrator.stdout.readline().split()

        for number in signals:
            orchestrator.send_signal(number)

        try:
            assert orchestrator.wait(DEADLINE) != 0
        finally:
            orchestrator.kill()
    assert eventually(lambda: not any(is_alive(int(pid)) for pid in pids))
    assert eventually(lambda: not Path(work_dir).exists())


def test_returns_the_output_of_a_command(supervisor: Supervisor) -> None:
    assert supervisor.run("greeting", python("print('hello')")) == "hello\n"


def test_reports_a_failed_command_with_its_last_lines(supervisor: Supervisor) -> None:
    with pytest.raises(CommandFailedError, match=r"deploy failed \(exit status 2\).*\n  no bucket"):
        supervisor.run("deploy", python("import sys; print('no bucket'); sys.exit(2)"))


def test_kills_a_command_after_its_timeout(supervisor: Supervisor) -> None:
    with pytest.raises(WaitTimeoutError, match="forever to end"):
        supervisor.run("forever", python(SLEEPER), timeout=0.2)

    assert eventually(lambda: "forever" not in {thread.name for thread in threading.enumerate()})


def test_stops_a_command_when_a_server_dies() -> None:
    with pytest.raises(ServerDiedError, match="test server"), Supervisor() as supervisor:
        server = start(supervisor)
        os.kill(server.pid, signal.SIGKILL)
        supervisor.run("forever", python(SLEEPER), timeout=DEADLINE)


def test_reports_the_death_of_the_guard() -> None:
    with pytest.raises(ServerDiedError, match="guard"), Supervisor() as supervisor:
        server = start(supervisor)
        os.kill(guard_of(supervisor), signal.SIGKILL)
        supervisor.wait_until(lambda: False, what="the end", timeout=DEADLINE)

    assert not is_alive(server.pid)


def test_the_work_folder_can_be_passed_through_but_not_read_by_others() -> None:
    path = create_work_dir()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    finally:
        remove_tree(path)

    assert mode == (0o711 if os.geteuid() == 0 else 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a part of the lab as another user")
def test_a_private_tmpdir_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = create_work_dir()
    try:
        account = unprivileged_account()
        assert account is not None
        (path / "open").mkdir(mode=0o755)
        subprocess.run(["ls", path / "open"], user=account.uid, cwd="/", check=True)
    finally:
        remove_tree(path)

    assert not path.is_relative_to(tmp_path)


def test_removes_a_folder_during_writes(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    writer = threading.Thread(target=_write_files_into, args=(folder,))
    writer.start()

    remove_tree(folder)
    writer.join()

    assert not folder.exists()


def _write_files_into(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(2000):
            (folder / str(number)).touch()
