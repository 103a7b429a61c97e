"""The Protocols through which the fleet reaches AWS."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from target_sync.fleet.model import GroupFacts, TaggedGroup


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
