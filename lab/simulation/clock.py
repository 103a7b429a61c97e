"""A virtual clock for code that really waits: threads of which one runs at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from threading import Lock, Thread


@dataclass(slots=True)
class Turns:
    """Implements ``target_sync.ports.Clock`` for several actors.

    The actor whose moment is next runs until it waits again, so that what happens depends on
    nothing but the moments. Time passes only while all of them wait.
    """

    moment: float = 0.0
    _waiting: list[tuple[float, int, Lock]] = field(default_factory=list)
    _parked: list[Lock] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _error: BaseException | None = None
    _all_over: Lock = field(default_factory=Lock)

    def now(self) -> float:
        """The moment."""
        return self.moment

    def sleep_until(self, at: float) -> None:
        """Let the others act until this moment."""
        at = max(at, self.moment)
        if not self._waiting or at < self._waiting[0][0]:
            self.moment = at
            return
        self._switch(self._queued(at))

    def park(self) -> None:
        """Wait until somebody calls ``wake``."""
        turn = _locked()
        self._parked.append(turn)
        self._switch(turn)

    def wake(self) -> None:
        """Have everybody go on who is parked."""
        for turn in self._parked:
            heappush(self._waiting, (self.moment, next(self._numbers), turn))
        self._parked.clear()

    def play(self, actors: Sequence[Callable[[], None]]) -> None:
        """Have all actors begin now, and wait until they are over or all are parked.

        Raises:
            Exception: What the first of them raised.
        """
        for actor in actors:
            Thread(target=self._act, args=(actor, self._queued(self.moment)), daemon=True).start()
        self._all_over = _locked()
        self._hand_over()
        self._all_over.acquire()
        if self._error is not None:
            raise self._error

    def _act(self, actor: Callable[[], None], turn: Lock) -> None:
        turn.acquire()
        try:
            actor()
        except BaseException as error:  # noqa: BLE001 - play raises it, in the caller's thread
            self._error = error
            self._all_over.release()
        else:
            self._hand_over()

    def _queued(self, at: float) -> Lock:
        turn = _locked()
        heappush(self._waiting, (at, next(self._numbers), turn))
        return turn

    def _switch(self, turn: Lock) -> None:
        self._hand_over()
        turn.acquire()

    def _hand_over(self) -> None:
        if not self._waiting:
            self._all_over.release()
            return
        self.moment, _, turn = heappop(self._waiting)
        turn.release()


def _locked() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock
