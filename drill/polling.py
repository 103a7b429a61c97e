"""A base class for polling in a thread. The drill and the lab share it."""

import threading
from abc import ABC, abstractmethod
from typing import Self

_INTERVAL = 0.05


class PollingThread(ABC):
    """Calls `_poll` at intervals, from the start to the end of a `with` block.

    Args:
        name: The thread's name.
        interval: Seconds between the end of one call and the start of the next.
    """

    def __init__(self, name: str, interval: float = _INTERVAL) -> None:
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._poll()

    @abstractmethod
    def _poll(self) -> None:
        """Poll once."""
