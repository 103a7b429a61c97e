"""Which groups are bound to which database, as the listing and ELB tell it now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from target_sync.fleet.bindings import read_listing
from target_sync.fleet.model import Finding, GroupFacts, Limits, ListedGroup
from target_sync.fleet.ports import GroupFactsPort, TaggedGroupsPort
from target_sync.model import AwsScope
from target_sync.ports import Clock

#: For so long the facts of a container's groups count. They never change, but a VPC's networks may.
FACTS_SECONDS = 900.0
#: For so long a group that ELB did not know counts as gone, unless a new group makes us ask again.
GONE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What ELB said at a moment, of the groups that it was asked for."""

    asked: frozenset[str]
    facts: Mapping[str, GroupFacts]
    at: float

    def covers(self, arns: frozenset[str], now: float) -> bool:
        """Whether nobody has to be asked for these groups."""
        complete = arns <= self.facts.keys()
        return arns <= self.asked and now - self.at < (FACTS_SECONDS if complete else GONE_SECONDS)


@dataclass(slots=True, kw_only=True)
class BoundGroups:
    """The groups of this account and Region that are bound to a name.

    What ELB knows of them is remembered for as long as the container lives, because asking costs
    calls of the account's bucket: as many for one group as for all.
    """

    groups: TaggedGroupsPort
    facts: GroupFactsPort
    limits: Limits
    place: AwsScope
    clock: Clock
    _known: _Known = field(default=_Known(frozenset(), {}, float("-inf")), init=False)

    def read(self) -> tuple[tuple[ListedGroup, ...], tuple[Finding, ...]]:
        """The bindings, and what is wrong with groups that have a tag and no binding.

        Raises:
            AwsCallError: The groups could not be listed, or ELB could not be asked.
        """
        groups = self.groups.listing()
        arns = frozenset(group.arn for group in groups)
        now = self.clock.now()
        if not self._known.covers(arns, now):
            self._known = _Known(arns, self.facts.facts(arns), now)
        return read_listing(groups, self.place, self.limits, self._known.facts)
