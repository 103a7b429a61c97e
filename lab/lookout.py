"""Looking again and again, in a thread of its own."""

import threading
from abc import ABC, abstractmethod
from typing import Self

_INTERVAL = 0.05


class Lookout(ABC):
    """Keeps looking from `with` to the end of the block.

    Args:
        name: What looks.
        interval: Seconds from one look to the next.
    """

    def __init__(self, name: str, interval: float = _INTERVAL) -> None:
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(self._interval):
            self._look()

    @abstractmethod
    def _look(self) -> None:
        """Look once."""
