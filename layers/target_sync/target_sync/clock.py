"""The system's clock. A module of its own, because pure modules may not import `time`."""

import time


class SystemClock:
    """Implements ``target_sync.ports.Clock`` with the system's monotonic clock."""

    def now(self) -> float:
        """Return seconds since an arbitrary time."""
        return time.monotonic()

    def sleep_until(self, at: float) -> None:
        """Wait until this time. Return at once if it is in the past."""
        while (left := at - self.now()) > 0:
            time.sleep(left)
