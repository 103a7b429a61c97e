"""A target group, and its environment."""

from collections.abc import Callable
from dataclasses import dataclass

from target_sync.model import IPAddress
from target_sync.ports import TargetGroupPort


@dataclass(frozen=True)
class Situation:
    """A group as AWS documents it.

    Attributes:
        group: The implementation under test.
        listens: Lets the database's port accept connections at an address.
        until: Waits until a condition holds, by the clock of this situation.
    """

    group: TargetGroupPort
    listens: Callable[[IPAddress], None]
    until: Callable[[Callable[[], object]], object]
