"""What a run knows about each target: where it was described, and which source named it.

A run keeps no history. A rule only asks since when something has been so, and the tracks answer it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from math import inf

from target_sync.model import (
    LONGEST_TTL_SECONDS,
    Alias,
    Observation,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetState,
    desired_targets,
    first_time,
    targets_at,
    unbroken_since,
)

#: A cache keeps a record for its TTL, which is rounded to full seconds.
TTL_MARGIN_SECONDS = 1.0

_DEAD = frozenset({TargetState.UNHEALTHY, TargetState.UNHEALTHY_DRAINING})


class Membership(Enum):
    """Whether a target is in the group."""

    #: This run never saw it there.
    OUTSIDE = auto()
    REGISTERED = auto()
    #: It is draining, or this run saw it leave. AWS may not list it any more.
    LEFT = auto()


class Naming(Enum):
    """Which source names a target in the newest observation."""

    #: The first source, which decides what is desired.
    DESIRED = auto()
    #: Only the second source.
    CONTESTED = auto()
    UNNAMED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a run knows about one target.

    Attributes:
        member_since: Since when this run has known the membership; minus infinity if always.
        named_since: Since when each observation has named it the same way.
        was_desired: Whether this run has observed it as desired.
        was_unknown: Whether the second source has replied without it in this run.
        superseded_since: When this run first found a newer target beside it, which was not in the
            group yet; None if never.
        requested: What this run last made of it; None if it never changed it.
        requests: How often in a row this run has requested that.
        requested_at: When it last did.
        healthy_since: Since when it has been healthy although it is not desired, while no desired
            target was dead; None if it is not so. During a failover of an instance the desired
            target is dead before DNS changes. Otherwise two servers accept connections, so one of
            them is not the standby.
    """

    membership: Membership = Membership.OUTSIDE
    member_since: float = -inf
    naming: Naming | None = None
    named_since: float = -inf
    was_desired: bool = False
    was_unknown: bool = False
    superseded_since: float | None = None
    healthy_since: float | None = None
    requested: Membership | None = None
    requests: int = 0
    requested_at: float = -inf

    @property
    def is_registered(self) -> bool:
        """Whether it is in the group."""
        return self.membership is Membership.REGISTERED

    @property
    def is_new(self) -> bool:
        """Whether it is desired, or the second source changed to it, and it was never there."""
        is_announced = self.naming is Naming.CONTESTED and self.was_unknown
        is_named = self.naming is Naming.DESIRED or is_announced
        return is_named and self.membership is Membership.OUTSIDE

    def as_member(self, membership: Membership, since: float) -> "Track":
        """Return the track with this membership."""
        if membership is self.membership:
            return self
        return replace(self, membership=membership, member_since=since)

    def as_requested(self, membership: Membership, at: float) -> "Track":
        """Return the track after a change that this run requested."""
        requests = self.requests + 1 if membership is self.requested else 1
        changed = self.as_member(membership, at)
        return replace(changed, requested=membership, requests=requests, requested_at=at)

    def as_named(self, *, desired: bool, by_second: bool | None, at: float) -> "Track":
        """Return the track after an observation. ``by_second`` is None without a second source."""
        naming = Naming.CONTESTED if by_second else Naming.UNNAMED
        naming = Naming.DESIRED if desired else naming
        was_desired = self.was_desired or desired
        was_unknown = self.was_unknown or by_second is False
        if (naming, was_desired, was_unknown) == (self.naming, self.was_desired, self.was_unknown):
            return self
        since = self.named_since if naming is self.naming else at
        return replace(
            self, naming=naming, named_since=since, was_desired=was_desired, was_unknown=was_unknown
        )

    def as_compared(self, at: float, *, is_superseded: bool, is_beside_alive: bool) -> "Track":
        """Return the track after a snapshot, which compares the target with the others."""
        superseded_since = first_time(self.superseded_since, at, holds=is_superseded)
        healthy_since = unbroken_since(self.healthy_since, at, holds=is_beside_alive)
        if (superseded_since, healthy_since) == (self.superseded_since, self.healthy_since):
            return self
        return replace(self, superseded_since=superseded_since, healthy_since=healthy_since)


@dataclass(frozen=True, slots=True)
class AliasTrack:
    """Where an alias refers to, since when without a break, and its longest TTL since then."""

    target: str
    since: float
    longest_ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """The tracks of all targets that have an IP version of the policy.

    Attributes:
        seen: The track of each target that the group or a source has named.
        unseen: The track of any other target.
        longest_ttl: The longest TTL of address records among the observations, in seconds.
        aliases: The track of each alias in the newest observation, by its name.
    """

    policy: SyncPolicy
    seen: Mapping[Target, Track] = field(default_factory=dict)
    unseen: Track = Track()
    longest_ttl: int = 0
    aliases: Mapping[str, AliasTrack] = field(default_factory=dict)

    def confirm_window(self, track: Track) -> float:
        """Return the seconds for which the naming of a target must last until it is confirmed.

        A cache may hold an old record for its TTL. An alias that already referred there before the
        naming changed is not the record that changed, so its TTL does not count.
        """
        aliases = (a.longest_ttl for a in self.aliases.values() if a.since >= track.named_since)
        ttl = min(max(self.longest_ttl, *aliases, 0), LONGEST_TTL_SECONDS)
        return max(self.policy.confirm_seconds, ttl + TTL_MARGIN_SECONDS)

    @property
    def registered(self) -> frozenset[Target]:
        """The targets that are registered as far as this run knows."""
        return frozenset(target for target, track in self.seen.items() if track.is_registered)

    @property
    def desired(self) -> frozenset[Target]:
        """The targets that the first source named in the newest observation."""
        return frozenset(t for t, track in self.seen.items() if track.naming is Naming.DESIRED)

    def after_observation(self, observation: Observation) -> "Tracks":
        """Return the tracks after an observation."""
        desired, at = desired_targets(observation, self.policy), observation.at
        second = None if observation.second is None else targets_at(observation.second, self.policy)
        seen = {
            target: self._track(target).as_named(
                desired=target in desired,
                by_second=None if second is None else target in second,
                at=at,
            )
            for target in {*self.seen, *desired, *(second or ())}
        }
        by_second = None if second is None else False
        return replace(
            self,
            seen=seen,
            unseen=self.unseen.as_named(desired=False, by_second=by_second, at=at),
            longest_ttl=max(self.longest_ttl, observation.ttl or 0),
            aliases={alias.name: self._alias_track(alias, at) for alias in observation.aliases},
        )

    def _alias_track(self, alias: Alias, at: float) -> AliasTrack:
        before = self.aliases.get(alias.name)
        if before is None or before.target != alias.target:
            return AliasTrack(alias.target, at, alias.ttl)
        return replace(before, longest_ttl=max(before.longest_ttl, alias.ttl))

    def after_description(self, group: TargetGroup, at: float) -> "Tracks":
        """Return the tracks after a description of the group."""
        seen, registered, draining = dict(self.seen), group.registered, group.draining
        for target in self._of_the_policy({*seen, *registered, *draining}):
            track = self._track(target)
            if target in registered:
                track = track.as_member(Membership.REGISTERED, at)
            elif track.is_registered:
                track = track.as_member(Membership.LEFT, at)
            elif target in draining:
                track = track.as_member(Membership.LEFT, -inf)
            seen[target] = track
        return replace(self, seen=seen)

    def _of_the_policy(self, targets: Iterable[Target]) -> list[Target]:
        families = self.policy.families
        return [target for target in targets if target.address.version in families]

    def after_snapshot(self, group: TargetGroup, observation: Observation) -> "Tracks":
        """Return the tracks after a description, and the observation made after it."""
        at = observation.at
        tracks = self.after_description(group, at).after_observation(observation)
        states = {health.target: health.state for health in group.targets}
        all_alive = not any(states.get(target) in _DEAD for target in tracks.desired)
        undesired = tracks.registered - tracks.desired
        beside = undesired & group.healthy if all_alive else frozenset()
        newer = {
            track.naming
            for target, track in tracks.seen.items()
            if track.is_new and self.policy.allows(target.address)
        }
        seen = {
            target: track.as_compared(
                at,
                is_superseded=track.is_registered and bool(newer - {track.naming}),
                is_beside_alive=target in beside,
            )
            for target, track in tracks.seen.items()
        }
        return replace(tracks, seen=seen)

    def after_change(
        self, membership: Membership, targets: Iterable[Target], at: float
    ) -> "Tracks":
        """Return the tracks after a change that this run made."""
        changed = {t: self._track(t).as_requested(membership, at) for t in targets}
        return replace(self, seen={**self.seen, **changed})

    def _track(self, target: Target) -> Track:
        return self.seen.get(target, self.unseen)
