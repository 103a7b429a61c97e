"""What the sweep and the watch tell the workers, one group in each order."""

from dataclasses import dataclass
from typing import TypeAlias

from target_sync.core.fleet.model import Binding, Cause


@dataclass(frozen=True, slots=True)
class SyncOrder:
    """Keep this group right.

    Attributes:
        binding: The group and its database.
        record: The record that is on the group; empty if there is none.
        cause: Why.
    """

    binding: Binding
    record: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class MarkOrder:
    """Leave on this group how far the audit is.

    Attributes:
        text: The mark, sealed.
    """

    arn: str
    text: str


Order: TypeAlias = SyncOrder | MarkOrder
