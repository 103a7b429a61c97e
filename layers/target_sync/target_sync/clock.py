"""The machine's clock."""

import time


class SystemClock:
    """Implements ``target_sync.ports.Clock`` with the system's monotonic clock."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def sleep_until(self, at: float) -> None:
        """Wait until ``now()`` has reached ``at``."""
        while (left := at - self.now()) > 0:
            time.sleep(left)
