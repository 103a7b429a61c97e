"""When to observe which endpoint: each at its interval, all within a rate, slow ones rarely."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from target_sync.fleet.model import EndpointKey

#: The longest pause before an endpoint is observed again whose observations fail.
LONGEST_PAUSE_SECONDS = 30.0
#: A burst after a wait makes good at most this time.
_BURST_SECONDS = 0.1


@dataclass(slots=True, eq=False, kw_only=True)
class PollSchedule:
    """The polls of some endpoints.

    A poll that does not end delays no other endpoint, until ``most_at_once`` polls do not end. Each
    failure in a row doubles the pause, so names without a response leave room for the others.

    Attributes:
        interval: The seconds from the end of a poll until the next one of the same endpoint.
        per_second: The most polls in a second.
        most_at_once: The most polls at the same time.
    """

    interval: float
    per_second: float
    most_at_once: int
    _due: list[tuple[float, EndpointKey]] = field(default_factory=list, init=False)
    #: When each endpoint is due; None during its poll. Other entries of `_due` are obsolete.
    _due_at: dict[EndpointKey, float | None] = field(default_factory=dict, init=False)
    _running: set[EndpointKey] = field(default_factory=set, init=False)
    _failures: dict[EndpointKey, int] = field(default_factory=dict, init=False)
    _next_at: float = field(default=-inf, init=False)

    def update(self, keys: Iterable[EndpointKey], now: float) -> None:
        """Observe exactly these endpoints from now on, new ones at once."""
        before = self._due_at
        self._due_at = {key: before.get(key) for key in keys}
        self._failures = {key: n for key, n in self._failures.items() if key in self._due_at}
        for key in sorted(self._due_at.keys() - before.keys() - self._running):
            self._push(key, now)

    def take(self, now: float) -> Iterator[EndpointKey]:
        """Return the endpoints whose poll begins now. The caller reports the end of each."""
        while self.next_at() <= now:
            at, key = heapq.heappop(self._due)
            if self._due_at.get(key) != at:
                continue
            self._due_at[key] = None
            self._running.add(key)
            self._next_at = max(self._next_at, now - _BURST_SECONDS) + 1 / self.per_second
            yield key

    def end(self, key: EndpointKey, now: float, *, failed: bool) -> None:
        """Note the end of a poll."""
        self._running.discard(key)
        if key not in self._due_at:
            return
        self._failures[key] = self._failures.get(key, 0) + 1 if failed else 0
        # The pause stays within the range of a float after many failures.
        pause = self.interval * 2.0 ** min(self._failures[key], 10)
        self._push(key, now + min(pause, max(self.interval, LONGEST_PAUSE_SECONDS)))

    def next_at(self) -> float:
        """Return when the next poll begins, at the earliest; infinity while none may."""
        if not self._due or len(self._running) >= self.most_at_once:
            return inf
        return max(self._due[0][0], self._next_at)

    def _push(self, key: EndpointKey, at: float) -> None:
        self._due_at[key] = at
        heapq.heappush(self._due, (at, key))
