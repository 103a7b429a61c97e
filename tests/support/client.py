"""What a client of the load balancer sees: the only outage that counts."""

from collections.abc import Callable
from ipaddress import IPv4Address

from target_sync.model import IPAddress, TargetGroup, TargetState
from tests.support.clock import FakeClock

ATTEMPT_SECONDS = 0.5


class FakeClient:
    """Opens a connection every half second, through a load balancer in memory.

    New flows go as in the lab's data plane: to the healthy targets in turn, or to all unhealthy
    ones when none is healthy (fail-open). A target that is still registering or is draining gets
    none. Each attempt stands for the half second until the next.

    Attributes:
        refused: Seconds in which a connection was refused: no target, or one that does not listen.
        wrong: Seconds in which it led to a server that listens and is not a right one.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        group: Callable[[], TargetGroup],
        listening: Callable[[], set[tuple[IPv4Address, int]]],
        right: Callable[[], frozenset[IPAddress]],
    ) -> None:
        self.refused = 0.0
        self.wrong = 0.0
        self._clock, self._group = clock, group
        self._listening, self._right = listening, right
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
        elif server[0] not in self._right():
            self.wrong += ATTEMPT_SECONDS

    def _choose(self) -> tuple[IPAddress, int] | None:
        group = self._group()
        failing = {t.target for t in group.targets if t.state is TargetState.UNHEALTHY}
        open_to_flows = sorted((t.address, t.port) for t in group.healthy or failing)
        self._turn += 1
        return open_to_flows[self._turn % len(open_to_flows)] if open_to_flows else None
