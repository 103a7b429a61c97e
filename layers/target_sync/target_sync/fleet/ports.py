"""The Protocols through which the fleet reaches AWS and DNS."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from target_sync.fleet.model import EndpointKey, GroupFacts, TaggedGroup
from target_sync.fleet.work_items import WorkItem
from target_sync.model import FailedObservation, Observation


@dataclass(frozen=True, slots=True)
class DatabaseEvent:
    """A message of the queue of RDS events.

    Attributes:
        identifier: The instance or cluster of the event; empty if the event has none.
        handle: The receipt handle to delete the message with; empty if Lambda deletes it.
    """

    identifier: str
    handle: str = ""


class TaggedGroupsPort(Protocol):
    """The target groups of this account and Region that have an endpoint tag.

    Every method raises ``AwsUnavailableError`` for a failure that may pass, and another
    ``AwsCallError`` for a permanent one.
    """

    def list_groups(self) -> Sequence[TaggedGroup]:
        """Return every such group with its tags, which may be some seconds old."""


class GroupFactsPort(Protocol):
    """The facts of target groups. Raises like ``TaggedGroupsPort``."""

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """Return the facts of these groups, without the groups that do not exist."""


class NameLookupsPort(Protocol):
    """Observes many endpoints at once."""

    def look_up(
        self, keys: Sequence[EndpointKey]
    ) -> Mapping[EndpointKey, Observation | FailedObservation]:
        """Return one observation for each key. A failure is a value, not an exception."""


class WorkQueuePort(Protocol):
    """The queue of the workers. Raises like ``TaggedGroupsPort``."""

    def send(self, work_items: Sequence[WorkItem], at: float) -> None:
        """Send work items. The queue drops equal ones of a minute, and keeps a group's sequence.

        Args:
            work_items: The work.
            at: Now, in seconds since the epoch.
        """

    def count(self) -> int:
        """Return the approximate number of work items, including those in progress."""


class DatabaseEventsPort(Protocol):
    """The queue of RDS events. Raises like ``TaggedGroupsPort``."""

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """Return the next events; wait at most this long for the first one."""

    def delete(self, events: Sequence[DatabaseEvent]) -> None:
        """Delete processed events."""


class GroupTagsPort(Protocol):
    """Writes the fleet's own tags. Raises like ``TargetGroupPort``."""

    def write(self, arn: str, key: str, value: str) -> None:
        """Set one tag of a target group."""
