"""Clients that only read: which server answered, and whether it is a reader."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

import psycopg

from lab.lookout import Lookout
from lab.writer import Connection

_QUESTION = "SELECT host(inet_server_addr()), pg_is_in_recovery()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One answered read, in epoch seconds: by whom, and whether that server is a standby."""

    at: float
    server: IPv4Address
    by_standby: bool


class Reader(Lookout):
    """Reads in a thread of its own, from `with` to the end of the block.

    Every read is a connection of its own, so that all targets behind the road are met in turn.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__("reader")
        self._connect = connect
        self._reads: list[Read] = []

    def since(self, moment: float) -> tuple[Read, ...]:
        """Return the answered reads after a moment, in order."""
        return tuple(read for read in self._reads if read.at > moment)

    def _look(self) -> None:
        try:
            with self._connect() as connection:
                row = connection.execute(_QUESTION).fetchone()
        except psycopg.Error:
            return  # a server that goes; the next attempt meets another one
        if row is not None:
            self._reads.append(Read(at=time.time(), server=IPv4Address(row[0]), by_standby=row[1]))


class StayingClient(Lookout):
    """Connects until one server answers as a standby, and stays connected to it."""

    def __init__(self, connect: Callable[[], Connection], server: IPv4Address) -> None:
        super().__init__("staying client")
        self._connect = connect
        self._server = str(server)
        self._connection: Connection | None = None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._connection is not None:
            self._connection.close()

    @property
    def is_connected(self) -> bool:
        """Whether it has met the server."""
        return self._connection is not None

    def is_cut(self) -> bool:
        """Whether its connection was ended."""
        if self._connection is None:
            return False
        try:
            self._connection.execute(_QUESTION)
        except psycopg.Error:
            return True
        return False

    def _look(self) -> None:
        if self._connection is not None:
            return
        try:
            connection = self._connect()
            if connection.execute(_QUESTION).fetchone() == (self._server, True):
                self._connection = connection
            else:
                connection.close()
        except psycopg.Error:
            return  # a server that goes; the next attempt meets another one
