"""The lab's child processes: started, watched all the time, and always cleaned up.

Every server is a process of its own, so that the death of any one of them is seen. Each child
leads its own session, so Ctrl-C in the terminal reaches the orchestrator alone, which then ends
the children in order. A small guard process does the same when the orchestrator itself is
killed with SIGKILL; it works on every POSIX system and needs no kernel feature.
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
# From SIGTERM to SIGKILL. Every server of the lab ends within a fraction of this.
_STOP_GRACE = 5.0
# A client may see its connection break a moment before the kernel reports the server's death.
_DEATH_GRACE = 0.25
_LAST_LINES = 5
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServerDiedError(Exception):
    """A server of the lab ended although nobody stopped it; the message has its last lines."""


class CommandFailedError(Exception):
    """A command ended with another status than 0; the message has its last lines."""


class WaitTimeoutError(Exception):
    """A condition did not become true in time; the message names it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The uid and gid that a child runs as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return who runs what refuses to run as root: `nobody` when we are root, else None (us).

    No system user is ever created.
    """
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def create_work_dir() -> Path:
    """Create a private temporary folder that an unprivileged account can pass through.

    `TMPDIR` may lie in a folder that only its owner may enter; then the system's own temporary
    folder is used. The caller removes the folder with `remove_tree`.

    Raises:
        OSError: No temporary folder is usable.
    """
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - mkdtemp is private
    parent = next((folder for folder in candidates if _passable(Path(folder))), None)
    if parent is None:
        raise OSError(f"no temporary folder can be entered by everyone: {', '.join(candidates)}")
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
    """Remove a folder, also when an ending process still writes into it.

    Raises:
        OSError: The folder is still there after five seconds.
    """
    deadline = time.monotonic() + _STOP_GRACE
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
    """Tell whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


@dataclass(slots=True, eq=False)
class Server:
    """One child process. Made by `Supervisor.start`."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    log_offset: int
    stop_signal: signal.Signals
    end_expected: bool
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the child's process group."""
        return self.process.pid

    def output(self) -> str:
        """Return what the process wrote since it started."""
        with self.log.open("rb") as file:
            file.seek(self.log_offset)
            return file.read().decode(errors="replace")

    def describe_end(self) -> str:
        """Return how the process ended and its last lines, for an error message."""
        code = self.process.returncode
        how = f"exit status {code}" if code >= 0 else f"signal {-code}"
        lines = [line for line in self.output().splitlines() if line.strip()][-_LAST_LINES:]
        said = "\n  ".join(["its last lines:", *lines]) if lines else "it wrote nothing"
        return f"({how}); {said}"


class _Interrupts:
    """Turns SIGINT, SIGTERM and SIGHUP into exceptions, but never inside a held section.

    Without this a signal could strike between the start of a child and its being noted down.
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
            # nohup asks us to outlive the terminal. SIGINT is different: every shell ignores
            # it for background jobs, and who sends it by hand still means it.
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
    """Starts, watches and ends the lab's processes, and owns the folder they work in.

    A context manager. On leaving it, for whatever reason (an error, SIGINT, SIGTERM, SIGHUP),
    every child and everything below `work_dir` is gone. When a server died by itself, leaving
    raises `ServerDiedError`, whatever other error its death caused.

    Attributes:
        work_dir: A private temporary folder, which an unprivileged account can pass through.
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
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Server:
        """Start a server and wait until it is ready.

        Args:
            name: What messages call it ("DNS server"). Its log is `logs/dns-server.log`.
            command: Program and arguments.
            ready: Asked again and again; true ends the waiting.
            timeout: Seconds to wait for `ready`.
            env: The whole environment of the child; None passes ours on.
            cwd: Working folder; `work_dir` when None.
            account: Who the child runs as; None means as we do.
            stop_signal: What asks this server to end by itself.

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
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> str:
        """Run a command to its end and return what it wrote (stdout and stderr).

        The arguments are those of `start`. The command is killed when it outlives `timeout`
        or when the run is interrupted.

        Raises:
            CommandFailedError: Its exit status is not 0.
            ServerDiedError: A server died meanwhile.
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
        """Raise the first unexpected death, if there was one.

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
            ServerDiedError: A server died while we waited.
            WaitTimeoutError: The condition stayed false for `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            value = condition()
            if value:
                return value
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(f"waited {timeout:g} s in vain for {what}")
            self._died.wait(interval)

    def stop(self, server: Server) -> None:
        """Ask a server to end, and kill it when it does not end within five seconds."""
        with self._interrupts.held():
            self._end([server])

    def kill(self, server: Server) -> None:
        """Kill a server and all its children at once, as a crash does. Not seen as a death."""
        with self._interrupts.held():
            with self._lock:
                server.end_expected = True
            kill_tree(server.pid)
            server.ended.wait(_STOP_GRACE)
            self._forget(server)

    def stop_all(self) -> None:
        """End every server. Done on leaving; harmless to repeat."""
        with self._interrupts.held():
            self._end(list(self._servers))

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
        self._guard.ended.wait(_STOP_GRACE)
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
            self._tell_guard("started", server)
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
            offset = output.tell()  # the child moves it as soon as it writes
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
            server.ended.wait(_STOP_GRACE)
            self._forget(server)
        _kill_processes(children)

    def _forget(self, server: Server) -> None:
        with self._lock:
            if server not in self._servers:
                return
            self._servers.remove(server)
        self._tell_guard("ended", server)

    def _tell_guard(self, word: str, server: Server) -> None:
        # A guard that is gone is reported by its watcher, as every other child.
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
    # macOS answers EPERM for a group of which only the unreaped leader is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_processes(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Return the children of a process and theirs, also those in sessions of their own.

    Read from /proc. Where that is absent the list is empty, and such children must notice the
    end of their parent themselves, as PostgreSQL's do.
    """
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _guard(work_dir: Path) -> None:
    """Wait for the orchestrator to end, then end what it left behind.

    Standard input is a pipe whose other end only the orchestrator holds: the end of the file
    is the orchestrator's own end. After an orderly end nothing is left to do.
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
