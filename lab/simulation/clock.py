"""A virtual clock, which a wait moves at once."""

from dataclasses import dataclass


@dataclass(slots=True)
class VirtualClock:
    """Implements ``target_sync.ports.Clock``."""

    moment: float = 0.0

    def now(self) -> float:
        """Return the moment in seconds."""
        return self.moment

    def sleep_until(self, at: float) -> None:
        """Move to this moment, unless it is in the past."""
        self.moment = max(at, self.moment)
