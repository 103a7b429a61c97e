"""A clock that moves only when it is told to."""

from collections.abc import Callable


class FakeClock:
    """Implements ``target_sync.ports.Clock``: sleeping is what moves it.

    ``at`` plans something for a moment; it happens when time passes that moment.
    ``every_tick`` runs in small steps of time, for what goes on by itself (health checks).
    """

    TICK_SECONDS = 0.5

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._planned: list[tuple[float, Callable[[], None]]] = []
        self._tickers: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now

    def at(self, moment: float, happens: Callable[[], None]) -> None:
        self._planned.append((moment, happens))
        self._planned.sort(key=lambda planned: planned[0])

    def every_tick(self, happens: Callable[[], None]) -> None:
        self._tickers.append(happens)

    def sleep_until(self, at: float) -> None:
        while self._now < at:
            self._now = min(at, self._now + self.TICK_SECONDS)
            while self._planned and self._planned[0][0] <= self._now:
                self._planned.pop(0)[1]()
            for happens in self._tickers:
                happens()

    def advance(self, seconds: float) -> None:
        self.sleep_until(self._now + seconds)
