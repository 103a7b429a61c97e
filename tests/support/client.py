"""A client that connects through the load balancer and measures the outage."""

from collections.abc import Callable
from ipaddress import IPv4Address

from target_sync.model import IPAddress, TargetGroup, TargetState
from tests.support.clock import FakeClock

ATTEMPT_SECONDS = 0.5


class FakeClient:
    """Opens a connection every half second through a load balancer in memory.

    The load balancer routes as the lab's data plane does: to the healthy targets in turn, or to
    the unhealthy ones if none is healthy (fail-open). Targets in another state get no connection.
    Each attempt counts for half a second.

    Attributes:
        refused: Seconds without a connection.
        misrouted: Seconds with a connection to a server that the client should not reach.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        group: Callable[[], TargetGroup],
        listening: Callable[[], set[tuple[IPv4Address, int]]],
        expected_servers: Callable[[], frozenset[IPAddress]],
    ) -> None:
        self.refused = 0.0
        self.misrouted = 0.0
        self._clock, self._group = clock, group
        self._listening, self._expected_servers = listening, expected_servers
        self._next_at = clock.now()
        self._turn = 0
        clock.every_tick(self._tick)

    def _tick(self) -> None:
        if self._clock.now() < self._next_at:
            return
        self._next_at += ATTEMPT_SECONDS
        server = self._choose()
        if server not in self._listening():
            self.refused += ATTEMPT_SECONDS
        elif server[0] not in self._expected_servers():
            self.misrouted += ATTEMPT_SECONDS

    def _choose(self) -> tuple[IPAddress, int] | None:
        group = self._group()
        failing = {t.target for t in group.targets if t.state is TargetState.UNHEALTHY}
        routable = sorted((t.address, t.port) for t in group.healthy or failing)
        self._turn += 1
        return routable[self._turn % len(routable)] if routable else None
