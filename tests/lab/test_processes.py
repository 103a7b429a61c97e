# ruff: noqa: PT012 - the thing under test is how a `with` block ends, so it has several lines
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
DEADLINE = 20.0

# Says that it is there, then waits for the end of its standard input or for a signal.
SLEEPER = "import time; print('listening', flush=True); time.sleep(600)"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


def start(supervisor: Supervisor, code: str = SLEEPER, name: str = "test server") -> Server:
    log = supervisor.work_dir / "logs" / f"{name.replace(' ', '-')}.log"
    return supervisor.start(
        name,
        python(code),
        ready=lambda: "listening" in log.read_text(),
        timeout=DEADLINE,
    )


def is_alive(pid: int) -> bool:
    """A zombie that nobody reaps (a container without an init) is not alive."""
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
    """The guard is the process that was told to remove this supervisor's folder."""
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


def test_a_server_that_is_never_ready_is_given_up_by_name() -> None:
    with (
        pytest.raises(WaitTimeoutError, match=r"0.05 s in vain for the mute to be ready"),
        Supervisor() as supervisor,
    ):
        supervisor.start("mute", python(SLEEPER), ready=lambda: False, timeout=0.05)


def test_a_server_that_was_stopped_or_killed_on_purpose_is_no_death(
    supervisor: Supervisor,
) -> None:
    stopped, killed = start(supervisor), start(supervisor, name="other")

    supervisor.stop(stopped)
    supervisor.kill(killed)

    supervisor.check()
    assert stopped.process.returncode == -signal.SIGTERM
    assert killed.process.returncode == -signal.SIGKILL


def test_a_server_started_again_reports_only_what_it_wrote_itself(supervisor: Supervisor) -> None:
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


def test_an_error_that_a_death_caused_is_replaced_by_the_death() -> None:
    with pytest.raises(ServerDiedError) as caught, Supervisor() as supervisor:
        os.kill(start(supervisor).pid, signal.SIGKILL)
        raise ConnectionResetError("by peer")

    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_a_death_that_nobody_asked_about_is_still_raised_at_the_end() -> None:
    with pytest.raises(ServerDiedError), Supervisor() as supervisor:
        server = start(supervisor)
        os.kill(server.pid, signal.SIGKILL)
        server.ended.wait(DEADLINE)


def test_an_error_of_the_body_ends_the_servers_and_removes_the_folder() -> None:
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
# Whoever runs the tests may ignore it, as under nohup; a terminal does not.
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
    supervisor.wait_until(lambda: False, what="a signal", timeout=600)
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


def test_the_output_of_a_command_is_returned(supervisor: Supervisor) -> None:
    assert supervisor.run("greeting", python("print('hello')")) == "hello\n"


def test_a_failed_command_is_reported_with_its_last_lines(supervisor: Supervisor) -> None:
    with pytest.raises(CommandFailedError, match=r"deploy failed \(exit status 2\).*\n  no bucket"):
        supervisor.run("deploy", python("import sys; print('no bucket'); sys.exit(2)"))


def test_a_command_that_outlives_its_time_is_killed(supervisor: Supervisor) -> None:
    with pytest.raises(WaitTimeoutError, match="forever to end"):
        supervisor.run("forever", python(SLEEPER), timeout=0.2)

    assert eventually(lambda: "forever" not in {thread.name for thread in threading.enumerate()})


def test_a_command_is_given_up_when_a_server_dies() -> None:
    with pytest.raises(ServerDiedError, match="test server"), Supervisor() as supervisor:
        server = start(supervisor)
        os.kill(server.pid, signal.SIGKILL)
        supervisor.run("forever", python(SLEEPER), timeout=DEADLINE)


def test_the_death_of_the_guard_is_seen_too() -> None:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a part of the lab as somebody else")
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


def test_a_folder_that_is_written_to_is_still_removed(tmp_path: Path) -> None:
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
