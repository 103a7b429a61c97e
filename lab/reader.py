"""Clients that only read, and which server replied to them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

import psycopg

from drill.polling import PollingThread
from lab.writer import Connection

_QUERY = "SELECT host(inet_server_addr()), pg_is_in_recovery()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A successful read, in epoch seconds: which server replied, and whether it is a standby."""

    at: float
    server: IPv4Address
    by_standby: bool


class Reader(PollingThread):
    """Reads during a `with` block, on a new connection each time, so from all targets in turn."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__("reader")
        self._connect = connect
        self._reads: list[Read] = []

    def since(self, moment: float) -> tuple[Read, ...]:
        """Return the successful reads after a time, in order."""
        return tuple(read for read in self._reads if read.at > moment)

    def _poll(self) -> None:
        try:
            with self._connect() as connection:
                row = connection.execute(_QUERY).fetchone()
        except psycopg.Error:
            return  # the server is stopping; the next attempt reaches another one
        if row is not None:
            self._reads.append(Read(at=time.time(), server=IPv4Address(row[0]), by_standby=row[1]))


class PersistentClient(PollingThread):
    """Connects until it reaches one server as a standby, and stays connected to it."""

    def __init__(self, connect: Callable[[], Connection], server: IPv4Address) -> None:
        super().__init__("persistent client")
        self._connect = connect
        self._server = str(server)
        self._connection: Connection | None = None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._connection is not None:
            self._connection.close()

    @property
    def is_connected(self) -> bool:
        """Whether it has reached the server."""
        return self._connection is not None

    def is_cut(self) -> bool:
        """Return whether its connection was ended."""
        if self._connection is None:
            return False
        try:
            self._connection.execute(_QUERY)
        except psycopg.Error:
            return True
        return False

    def _poll(self) -> None:
        if self._connection is not None:
            return
        try:
            connection = self._connect()
            if connection.execute(_QUERY).fetchone() == (self._server, True):
                self._connection = connection
            else:
                connection.close()
        except psycopg.Error:
            return  # the server is stopping; the next attempt reaches another one
