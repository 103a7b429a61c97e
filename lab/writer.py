"""The client: writes numbered rows through the road and remembers what was acknowledged.

What counts as an acknowledgement decides whether the lab's main claim means anything:

* An answer without a warning acknowledges a row. PostgreSQL reports a commit whose wait for
  the standby was cancelled as a success with a WARNING, so a warning is no acknowledgement.
* After anything else nobody knows. The same number is tried again, and the row may be there
  already, from an attempt whose answer was lost; then it is written over, so that this
  acknowledgement too means a commit that the standby has confirmed.

A commit may hang for ever, on a demoted server that lost its standby. The writer never cancels
a statement, which would make the server report that success. It waits to be cut by the load
balancer, and gives up the connection itself when a statement outlives its deadline.
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

from lab.timeline import Gap

Connection = psycopg.Connection[tuple[Any, ...]]

_CREATE = "CREATE TABLE written_rows (n bigint PRIMARY KEY)"
_INSERT = """
INSERT INTO written_rows (n) VALUES (%s) ON CONFLICT (n) DO UPDATE SET n = excluded.n
RETURNING n, host(inet_server_addr())
"""
# How long a statement may go on once the writer is asked to stop.
_STOP_GRACE = 1.0
_WATCH_INTERVAL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """A row whose commit was acknowledged: its number, the epoch seconds, and by whom."""

    number: int
    at: float
    server: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt without acknowledgement: which row, the epoch seconds, and the reason."""

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

    The interval may begin before the period, but it ends at its end: what follows belongs to
    somebody else. Without an acknowledgement before the period it begins with the period.
    """
    inside = sorted(time for time in times if time < until)
    before = [time for time in inside if time <= since][-1:] or [since]
    after = [time for time in inside if time > since]
    gaps = [Gap(start=start, end=end) for start, end in pairwise([*before, *after, until])]
    return max(gaps, key=lambda gap: gap.seconds)


class Writer:
    """Writes rows 1, 2, 3 … in a thread of its own, from `with` to the end of the block.

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
            connect: Opens a new autocommit connection through the road, or raises
                psycopg.Error within a short time.
            interval: Seconds between two attempts.
            statement_deadline: Seconds after which a statement that hangs loses its connection.
            reconnects: Whether each row is written on a connection of its own.
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
        """Stop writing; harmless to repeat. Errors of the thread itself are raised here."""
        self._stopping.set()
        self._pool.shutdown()
        self._writing.result()

    @property
    def acknowledgements(self) -> tuple[Acknowledgement, ...]:
        """What was acknowledged until now, in order."""
        return tuple(self._acknowledgements)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The attempts without acknowledgement until now, in order."""
        return tuple(self._failures)

    @property
    def acknowledged(self) -> frozenset[int]:
        """The numbers of all acknowledged rows: every one of them must exist at the end."""
        return frozenset(entry.number for entry in self.acknowledgements)

    def first_after(
        self, moment: float, server: IPv4Address | None = None
    ) -> Acknowledgement | None:
        """Return the first acknowledgement after a moment, by one server or by any."""
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
            # Not on `_stopping`: that is set while the last statement may still hang.
            time.sleep(_WATCH_INTERVAL)


def _hang_up(connection: Connection) -> None:
    """End the stream under a connection whose own thread waits in it, without cancelling."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as stream:
        stream.shutdown(socket.SHUT_RDWR)
