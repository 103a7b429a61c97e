"""A client that only reads: which server answered, and whether it is a reader.

Every read is a connection of its own, so that all targets behind the road are met in turn.
"""

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
    """Reads in a thread of its own, from `with` to the end of the block."""

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
