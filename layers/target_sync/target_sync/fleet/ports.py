"""What a fleet needs of the outside world, as Protocols. The adapters keep them."""

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
        identifier: The instance or cluster that it names; empty if it names none.
        handle: By which the queue is told that it was dealt with; empty if Lambda tells it.
    """

    identifier: str
    handle: str = ""


class TaggedGroupsPort(Protocol):
    """The target groups of this account and Region that have an endpoint tag.

    Every method raises ``AwsUnavailableError`` for what may pass and another
    ``AwsCallError`` for what will not.
    """

    def listing(self) -> Sequence[TaggedGroup]:
        """Every such group with its tags, which may be some seconds behind."""
        ...


class GroupFactsPort(Protocol):
    """What ELB knows of target groups. Raises like ``TaggedGroupsPort``."""

    def facts(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """The facts of these groups; those that do not exist are missing."""
        ...


class NamesPort(Protocol):
    """Who answers what the endpoints' names say."""

    def ask(
        self, questions: Sequence[EndpointKey]
    ) -> Mapping[EndpointKey, Observation | FailedObservation]:
        """Ask all of them, several at once. A failure is a value, not an exception."""
        ...


class WorkQueuePort(Protocol):
    """The queue of the workers. Raises like ``TaggedGroupsPort``."""

    def send(self, orders: Sequence[WorkItem], at: float) -> None:
        """Send orders. Equal ones of the same minute are one; those of a group keep their order.

        Args:
            orders: What is to be done.
            at: Now, in seconds since the epoch.
        """
        ...

    def waiting(self) -> int:
        """About how many orders nobody has finished."""
        ...


class DatabaseEventsPort(Protocol):
    """The queue of RDS events. Raises like ``TaggedGroupsPort``."""

    def receive(self, wait_seconds: int) -> Sequence[DatabaseEvent]:
        """What is there, or comes within so many seconds."""
        ...

    def forget(self, events: Sequence[DatabaseEvent]) -> None:
        """Take these from the queue: they were dealt with."""
        ...


class GroupTagsPort(Protocol):
    """The tags that the fleet itself leaves on target groups. Raises like ``TargetGroupPort``."""

    def write(self, arn: str, key: str, value: str) -> None:
        """Set one tag."""
        ...
