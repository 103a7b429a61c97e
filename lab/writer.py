"""A client that writes numbered rows through the connection path and records acknowledgements.

* A reply without a warning acknowledges a row. If the wait for the standby was cancelled,
  PostgreSQL reports success with a WARNING, so a warning is no acknowledgement.
* After any other result the row may or may not exist. The writer tries the same number again and
  overwrites an existing row, so that the standby has confirmed every acknowledged row.

A commit can hang for ever on a demoted server that lost its standby. The writer never cancels a
statement, because the server would then report success. It waits until the load balancer cuts the
connection, and closes the connection when a statement exceeds its deadline.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise
from typing import Any, Self

import psycopg

from drill.results import Gap

Connection = psycopg.Connection[tuple[Any, ...]]

_CREATE = "CREATE TABLE written_rows (n bigint PRIMARY KEY)"
_INSERT = """
INSERT INTO written_rows (n) VALUES (%s) ON CONFLICT (n) DO UPDATE SET n = excluded.n
RETURNING n, host(inet_server_addr())
"""
# Seconds that a statement may take after `stop`.
_STOP_GRACE = 1.0
_WATCH_INTERVAL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """An acknowledged row: its number, the time in epoch seconds, and the server."""

    number: int
    at: float
    server: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt: the row, the time in epoch seconds, and the reason."""

    number: int
    at: float
    reason: str


def create_table(connection: Connection) -> None:
    """Create the table that the writer fills."""
    connection.execute(_CREATE)


def written_rows(connection: Connection) -> set[int]:
    """Return the numbers of the rows that a server has."""
    return {number for (number,) in connection.execute("SELECT n FROM written_rows")}


def longest_gap(times: Iterable[float], since: float, until: float) -> Gap:
    """Return the longest interval without an acknowledgement that touches a period.

    The interval may begin before the period. It ends at the latest with the period. Without an
    acknowledgement before the period it begins with the period.
    """
    inside = sorted(time for time in times if time < until)
    before = [time for time in inside if time <= since][-1:] or [since]
    after = [time for time in inside if time > since]
    gaps = [Gap(start=start, end=end) for start, end in pairwise([*before, *after, until])]
    return max(gaps, key=lambda gap: gap.seconds)


class Writer:
    """Writes rows 1, 2, 3 … in a thread, during a `with` block.

    Times are epoch seconds, as in the logs of the DNS server and the data plane.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        interval: float = 0.01,
        statement_deadline: float = 15.0,
        reconnects: bool = False,
    ) -> None:
        """Prepare a writer.

        Args:
            connect: Opens a new autocommit connection through the connection path, or raises
                psycopg.Error within a short time.
            interval: Seconds between two attempts.
            statement_deadline: Seconds after which the writer closes the connection of a statement.
            reconnects: Whether the writer opens a connection for each row.
        """
        self._connect = connect
        self._interval = interval
        self._statement_deadline = statement_deadline
        self._reconnects = reconnects
        self._acknowledgements: list[Acknowledgement] = []
        self._failures: list[Failure] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._running: tuple[Connection, float] | None = None
        self._warnings: list[str] = []
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="writer")
        self._writing: Future[None] = Future()

    def __enter__(self) -> Self:
        self._writing = self._pool.submit(self._write)
        self._pool.submit(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop writing; may be repeated. Raises the errors of the thread."""
        self._stopping.set()
        self._pool.shutdown()
        self._writing.result()

    @property
    def acknowledgements(self) -> tuple[Acknowledgement, ...]:
        """The acknowledged rows until now, in order."""
        return tuple(self._acknowledgements)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failed attempts until now, in order."""
        return tuple(self._failures)

    @property
    def acknowledged(self) -> frozenset[int]:
        """The numbers of all acknowledged rows, which must all exist at the end."""
        return frozenset(entry.number for entry in self.acknowledgements)

    def first_after(
        self, moment: float, server: IPv4Address | None = None
    ) -> Acknowledgement | None:
        """Return the first acknowledgement after a time, by one server or by any server."""
        return next(
            (
                entry
                for entry in self.acknowledgements
                if entry.at > moment and server in {None, entry.server}
            ),
            None,
        )

    def gap(self, since: float, until: float | None = None) -> Gap:
        """Return the longest gap that touches a period; see `longest_gap`. None means now."""
        times = [entry.at for entry in self.acknowledgements]
        return longest_gap(times, since, time.time() if until is None else until)

    def _write(self) -> None:
        number = 1
        while not self._stopping.is_set():
            try:
                with closing(self._connect()) as connection:
                    connection.add_notice_handler(self._note_warning)
                    while not self._stopping.is_set():
                        self._insert(connection, number)
                        number += 1
                        self._stopping.wait(self._interval)
                        if self._reconnects:
                            break
            except psycopg.Error as error:
                reason = str(error).strip() or type(error).__name__
                self._failures.append(Failure(number=number, at=time.time(), reason=reason))
                self._stopping.wait(self._interval)

    def _insert(self, connection: Connection, number: int) -> None:
        self._warnings.clear()
        with self._watched(connection):
            row = connection.execute(_INSERT, (number,)).fetchone()
        at = time.time()
        if self._warnings or row is None or row[0] != number:
            raise psycopg.OperationalError(f"not acknowledged: {self._warnings or row}")
        self._acknowledgements.append(
            Acknowledgement(number=number, at=at, server=IPv4Address(row[1]))
        )

    def _note_warning(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(str(notice.message_primary))

    @contextmanager
    def _watched(self, connection: Connection) -> Iterator[None]:
        with self._lock:
            self._running = (connection, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._running = None

    def _watch(self) -> None:
        while not self._writing.done():
            limit = _STOP_GRACE if self._stopping.is_set() else self._statement_deadline
            with self._lock:
                if self._running is not None and time.monotonic() - self._running[1] > limit:
                    _hang_up(self._running[0])
            # `_stopping` may be set while the last statement still hangs, so sleep instead.
            time.sleep(_WATCH_INTERVAL)


def _hang_up(connection: Connection) -> None:
    """Close the socket of a connection in another thread, without cancelling its statement."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as stream:
        stream.shutdown(socket.SHUT_RDWR)
