"""Addresses that a person gave. They change with the next deployment of the stack."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from target_sync.model import Observation


@dataclass(frozen=True, slots=True)
class StaticEndpoint:
    """Always the same answer. Implements ``target_sync.ports.Endpoint``."""

    addresses: frozenset[IPv4Address]
    now: Callable[[], float]

    def observe(self) -> Observation:
        """Give the addresses; nothing is asked and nothing can fail."""
        return Observation(
            name=", ".join(sorted(map(str, self.addresses))),
            addresses=frozenset(self.addresses),
            source="static",
            ttl=None,
            at=self.now(),
        )
