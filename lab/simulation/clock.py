"""A virtual clock for threads that wait. One thread runs at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from threading import Lock, Thread


@dataclass(slots=True)
class ActorClock:
    """Implements ``target_sync.ports.Clock`` for several actors.

    The actor with the next moment runs until it waits again, so the result depends only on the
    moments. Time passes only while all actors wait.
    """

    moment: float = 0.0
    _waiting: list[tuple[float, int, Lock]] = field(default_factory=list)
    _parked: list[Lock] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _error: BaseException | None = None
    _all_over: Lock = field(default_factory=Lock)

    def now(self) -> float:
        """Return the moment in seconds."""
        return self.moment

    def sleep_until(self, at: float) -> None:
        """Let the other actors run until this moment."""
        at = max(at, self.moment)
        if not self._waiting or at < self._waiting[0][0]:
            self.moment = at
            return
        self._switch(self._queued(at))

    def park(self) -> None:
        """Wait until another actor calls ``wake``."""
        turn = _locked()
        self._parked.append(turn)
        self._switch(turn)

    def wake(self) -> None:
        """Continue every parked actor."""
        for turn in self._parked:
            heappush(self._waiting, (self.moment, next(self._numbers), turn))
        self._parked.clear()

    def play(self, actors: Sequence[Callable[[], None]]) -> None:
        """Start all actors, and wait until each has ended or all are parked.

        Raises:
            Exception: The first exception of an actor.
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
