"""Starts, watches and ends the lab's child processes.

Every server is a process, so that the lab detects its death. Each child leads its own session, so
Ctrl-C reaches only the orchestrator, which then ends the children. A small guard process does so if
SIGKILL ends the orchestrator; it works on every POSIX system.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self, TypeVar

T = TypeVar("T")

_POLL = 0.02
# Seconds from SIGTERM to SIGKILL. The servers need a fraction of this.
_STOP_GRACE = 5.0
# Seconds for the end of a killed process and for the removal of a folder, on a busy machine.
_END_TIMEOUT = 60.0
# A client may lose its connection before the kernel reports the death of the server.
_DEATH_GRACE = 2.0
_LAST_LINES = 5
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServerDiedError(Exception):
    """A server of the lab ended unexpectedly; the message has its last lines."""


class CommandFailedError(Exception):
    """A command ended with another exit status than 0; the message has its last lines."""


class WaitTimeoutError(Exception):
    """A condition did not become true in time; the message names it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user ID and group ID of a child process."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account for programs that refuse to run as root: `nobody`; None if not root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    return Account(user.pw_uid, user.pw_gid)


def create_work_dir() -> Path:
    """Create a private temporary folder that an unprivileged account can traverse.

    If only the owner can enter `TMPDIR`, the folder is in the system's temporary folder. The caller
    removes it with `remove_tree`.

    Raises:
        OSError: No temporary folder is usable.
    """
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - mkdtemp is private
    parent = next((folder for folder in candidates if _passable(Path(folder))), None)
    if parent is None:
        names = ", ".join(candidates)
        raise OSError(f"no temporary folder of {names} is open to all users: set TMPDIR to one")
    path = Path(tempfile.mkdtemp(prefix="privatelink-lab-", dir=parent))
    if os.geteuid() == 0:
        path.chmod(0o711)
    return path


def _passable(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    path = folder.resolve()
    return os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in (path, *path.parents))


def remove_tree(path: Path) -> None:
    """Remove a folder, also while an ending process still writes into it.

    Raises:
        OSError: The folder still exists after a minute.
    """
    deadline = time.monotonic() + _END_TIMEOUT
    while path.exists():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL)


def accepts_connections(host: str, port: int) -> bool:
    """Return whether a server accepts TCP connections at an address."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


@dataclass(slots=True, eq=False)
class Server:
    """One child process, from `Supervisor.start`."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    log_offset: int
    stop_signal: signal.Signals
    end_expected: bool
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        """The process ID, which is also the ID of the child's process group."""
        return self.process.pid

    def output(self) -> str:
        """Return the output of the process since its start."""
        with self.log.open("rb") as file:
            file.seek(self.log_offset)
            return file.read().decode(errors="replace")

    def last_lines(self) -> str:
        """Return the last lines of the process, for an error message."""
        lines = [line for line in self.output().splitlines() if line.strip()][-_LAST_LINES:]
        return "\n  ".join(["its last lines:", *lines]) if lines else "it wrote nothing"

    def describe_end(self) -> str:
        """Return the exit status and the last lines of the process, for an error message."""
        code = self.process.returncode
        how = f"exit status {code}" if code >= 0 else f"signal {-code}"
        return f"({how}); {self.last_lines()}"


class _Interrupts:
    """Turns SIGINT, SIGTERM and SIGHUP into exceptions, but not inside a held section.

    A signal between the start of a child and its registration would lose the child.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._pending: int | None = None
        self._previous: dict[signal.Signals, signal.Handlers | Callable[..., object] | int] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _INTERRUPTS:
            current = signal.getsignal(number)
            # With nohup the lab must survive SIGHUP. Shells ignore SIGINT for background jobs, but
            # a SIGINT must still end the lab.
            if current is None or (number is signal.SIGHUP and current is signal.SIG_IGN):
                continue
            self._previous[number] = current
            signal.signal(number, self._handle)

    def restore(self) -> None:
        self._pending = None
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._depth:
            self._pending = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                pending = self._pending if self._depth == 0 else None
                if pending is not None:
                    self._pending = None
            if pending is not None:
                signal.raise_signal(pending)


class Supervisor:
    """A context manager that starts, watches and ends the lab's processes, and owns their folder.

    Its end, also after an error or a signal, removes all children and `work_dir`. If a server died,
    it raises `ServerDiedError` instead of the error that the death caused.

    Attributes:
        work_dir: A private temporary folder that an unprivileged account can traverse.
    """

    def __init__(self) -> None:
        self.work_dir = Path()
        self._servers: list[Server] = []
        self._lock = threading.Lock()
        self._interrupts = _Interrupts()
        self._guard: Server | None = None
        self._death: ServerDiedError | None = None
        self._died = threading.Event()

    def __enter__(self) -> Self:
        try:
            with self._interrupts.held():
                self._interrupts.install()
                self.work_dir = create_work_dir()
                (self.work_dir / "logs").mkdir()
                self._start_guard()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._interrupts.held():
            if isinstance(error, Exception):
                self._died.wait(_DEATH_GRACE)
            self._clean_up()
        interrupted = error is not None and not isinstance(error, Exception)
        if self._death is not None and error is not self._death and not interrupted:
            raise self._death from error

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        timeout: float = 300.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Server:
        """Start a server and wait until it is ready.

        Args:
            name: Its name in messages ("DNS server"). Its log is `logs/dns-server.log`.
            command: Program and arguments.
            ready: Polled until it returns true.
            timeout: Seconds to wait for `ready`.
            env: All environment variables of the child; None: those of this process.
            cwd: The working folder; None: `work_dir`.
            account: The account of the child; None: that of this process.
            stop_signal: The signal that ends the server.

        Raises:
            ServerDiedError: It, or another server, ended before it was ready.
            WaitTimeoutError: It was not ready in time.
            OSError: The program cannot be started.
        """
        server = self._spawn(
            name, command, env=env, cwd=cwd, account=account, stop_signal=stop_signal
        )
        self.wait_until(ready, what=f"the {name} to be ready", timeout=timeout)
        return server

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        timeout: float = 1200.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> str:
        """Run a command and return its output (stdout and stderr).

        The arguments are as in `start`. The supervisor kills the command after `timeout` or an
        interruption.

        Raises:
            CommandFailedError: Its exit status is not 0.
            ServerDiedError: A server died.
            WaitTimeoutError: It did not end in time.
            OSError: The program cannot be started.
        """
        server = self._spawn(name, command, env=env, cwd=cwd, account=account, end_expected=True)
        try:
            self.wait_until(server.ended.is_set, what=f"{name} to end", timeout=timeout)
        finally:
            self.kill(server)
        if server.process.returncode != 0:
            raise CommandFailedError(f"{name} failed {server.describe_end()}")
        return server.output()

    def check(self) -> None:
        """Raise the first unexpected death, if any.

        Raises:
            ServerDiedError: A server died.
        """
        if self._death is not None:
            raise self._death

    def wait_until(
        self,
        condition: Callable[[], T | None],
        *,
        what: str,
        timeout: float,
        interval: float = _POLL,
    ) -> T:
        """Wait for a condition and return its first true value.

        Raises:
            ServerDiedError: A server died.
            WaitTimeoutError: The condition stayed false for `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            value = condition()
            if value:
                return value
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(f"waited {timeout:g} s for {what}")
            self._died.wait(interval)

    def stop(self, server: Server) -> None:
        """End a server; kill it if it does not end within five seconds."""
        with self._interrupts.held():
            self._end([server])

    def kill(self, server: Server) -> None:
        """Kill a server and all its children at once, like a crash. It is no unexpected death."""
        with self._interrupts.held():
            with self._lock:
                server.end_expected = True
            kill_tree(server.pid)
            server.ended.wait(_END_TIMEOUT)
            self._forget(server)

    def _clean_up(self) -> None:
        with self._interrupts.held():
            self._end(list(self._servers))
            self._end_guard()
            if self.work_dir != Path():
                remove_tree(self.work_dir)
            self._interrupts.restore()

    def _start_guard(self) -> None:
        command = [sys.executable, "-I", "-S", __file__, str(self.work_dir)]
        log = self.work_dir / "logs" / "guard.log"
        self._guard = self._watched("guard", command, log=log, stdin=subprocess.PIPE)

    def _end_guard(self) -> None:
        if self._guard is None:
            return
        self._guard.end_expected = True
        with contextlib.suppress(BrokenPipeError):
            _stdin(self._guard).close()
        self._guard.ended.wait(_END_TIMEOUT)
        self._guard = None

    def _spawn(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None,
        cwd: Path | None,
        account: Account | None,
        stop_signal: signal.Signals = signal.SIGTERM,
        end_expected: bool = False,
    ) -> Server:
        self.check()
        log = self.work_dir / "logs" / f"{name.lower().replace(' ', '-')}.log"
        with self._interrupts.held():
            server = self._watched(
                name,
                command,
                log=log,
                env=env,
                cwd=cwd or self.work_dir,
                account=account,
                stop_signal=stop_signal,
                end_expected=end_expected,
            )
            with self._lock:
                self._servers.append(server)
            self._notify_guard("started", server)
        return server

    def _watched(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        stdin: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        end_expected: bool = False,
    ) -> Server:
        with log.open("ab") as output:
            offset = output.tell()  # the output of the child moves it
            process = subprocess.Popen(
                command,
                stdin=stdin,
                bufsize=0,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
            server = Server(name, process, log, offset, stop_signal, end_expected)
        watcher = threading.Thread(target=self._watch, args=(server,), name=name, daemon=True)
        watcher.start()
        return server

    def _watch(self, server: Server) -> None:
        server.process.wait()
        with self._lock:
            if not server.end_expected and self._death is None:
                self._death = ServerDiedError(
                    f"the {server.name} ended unexpectedly {server.describe_end()}"
                )
                self._died.set()
        server.ended.set()

    def _end(self, servers: Sequence[Server]) -> None:
        children = [pid for server in servers for pid in _descendants(server.pid)]
        for server in servers:
            with self._lock:
                server.end_expected = True
            if not server.ended.is_set():
                _signal_group(server.pid, server.stop_signal)
        deadline = time.monotonic() + _STOP_GRACE
        for server in servers:
            server.ended.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(server.pid, signal.SIGKILL)
            server.ended.wait(_END_TIMEOUT)
            self._forget(server)
        _kill_processes(children)

    def _forget(self, server: Server) -> None:
        with self._lock:
            if server not in self._servers:
                return
            self._servers.remove(server)
        self._notify_guard("ended", server)

    def _notify_guard(self, word: str, server: Server) -> None:
        # The guard's watcher reports its death, like that of every child.
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):
                _stdin(self._guard).write(f"{word} {server.pid}\n".encode())


def _stdin(server: Server) -> IO[bytes]:
    if server.process.stdin is None:
        raise ValueError(f"the {server.name} was started without a pipe")
    return server.process.stdin


def kill_tree(pid: int) -> None:
    """Kill a session leader, its process group and all its descendants with SIGKILL."""
    children = _descendants(pid)
    _signal_group(pid, signal.SIGKILL)
    _kill_processes(children)


def _signal_group(pid: int, number: signal.Signals) -> None:
    # macOS returns EPERM for a group whose only process is a zombie.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_processes(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Return all descendants of a process from /proc, also in other sessions.

    Without /proc the list is empty, and the descendants must detect the end of their parent, like
    those of PostgreSQL.
    """
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            # The command's name, in parentheses, may contain spaces and parentheses.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    pending = [pid]
    while pending:
        children = parents.get(pending.pop(), [])
        found += children
        pending += children
    return found


def _guard(work_dir: Path) -> None:
    """Wait for the end of the orchestrator, then end its remaining processes.

    Only the orchestrator holds the other end of the pipe at standard input, so the end of the file
    is the end of the orchestrator.
    """
    pids: set[int] = set()
    for line in sys.stdin:
        word, pid = line.split()
        (pids.add if word == "started" else pids.discard)(int(pid))
    for pid in pids:
        kill_tree(pid)
    remove_tree(work_dir)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
