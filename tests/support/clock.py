"""A virtual clock."""

from collections.abc import Callable


class FakeClock:
    """Implements ``target_sync.ports.Clock``: sleeping advances the time.

    ``at`` schedules an action. ``every_tick`` repeats one every ``TICK_SECONDS``.
    """

    TICK_SECONDS = 0.5

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._scheduled: list[tuple[float, Callable[[], None]]] = []
        self._tickers: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._scheduled.append((time, action))
        self._scheduled.sort(key=lambda scheduled: scheduled[0])

    def every_tick(self, action: Callable[[], None]) -> None:
        self._tickers.append(action)

    def sleep_until(self, at: float) -> None:
        while self._now < at:
            self._now = min(at, self._now + self.TICK_SECONDS)
            while self._scheduled and self._scheduled[0][0] <= self._now:
                self._scheduled.pop(0)[1]()
            for action in self._tickers:
                action()

    def advance(self, seconds: float) -> None:
        self.sleep_until(self._now + seconds)
