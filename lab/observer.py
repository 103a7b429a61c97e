"""Watches a target group from outside: when each target appeared, became healthy, and left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lab.addresses import Endpoint
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.emulator.messages import DataPlane
from lab.lookout import Lookout

_NOT_REGISTERED = "draining"


def registered(plane: DataPlane) -> Mapping[str, set[Endpoint]]:
    """The registered targets of each group behind a load balancer, whatever their health."""
    return {
        listener.target_group_arn: {
            Endpoint(target.address, target.port)
            for target in listener.targets
            if target.state != _NOT_REGISTERED
        }
        for listener in plane.listeners
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A change of the group as it was seen: a target's new state, or None when it is gone.

    Attributes:
        at: Epoch seconds, within a twentieth of a second.
        target: The target.
        state: Its state from then on.
        registered: How many targets were registered at that moment.
    """

    at: float
    target: Endpoint
    state: str | None
    registered: int


class TargetObserver(Lookout):
    """Keeps looking at one target group while its block lasts."""

    def __init__(self, admin: EmulatorAdmin, target_group_arn: str) -> None:
        super().__init__("target observer")
        self._admin = admin
        self._target_group_arn = target_group_arn
        self._states: dict[Endpoint, str] = {}
        self._sightings: list[Sighting] = []

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Every change so far, in order."""
        return tuple(self._sightings)

    @property
    def states(self) -> dict[Endpoint, str]:
        """The targets and their states as last seen."""
        return dict(self._states)

    @property
    def registered(self) -> set[Endpoint]:
        """The targets that were registered when last seen."""
        return {t for t, state in self.states.items() if state != _NOT_REGISTERED}

    def first(self, target: Endpoint, *states: str | None, since: float) -> float | None:
        """When the target was first seen in one of these states after a moment."""
        return next(
            (
                s.at
                for s in self.sightings
                if s.at >= since and s.target == target and s.state in states
            ),
            None,
        )

    def fewest_registered(self, since: float, until: float) -> int | None:
        """The fewest registered targets at any change in a period; None without a change."""
        return min((s.registered for s in self.sightings if since <= s.at <= until), default=None)

    def _look(self) -> None:
        try:
            listeners = self._admin.data_plane().listeners
        except EmulatorAdminError:
            return  # the supervisor says why
        seen = {
            Endpoint(target.address, target.port): target.state
            for listener in listeners
            if listener.target_group_arn == self._target_group_arn
            for target in listener.targets
        }
        self._take(seen)

    def _take(self, seen: dict[Endpoint, str]) -> None:
        before, self._states = self._states, seen
        now, registered = time.time(), len(self.registered)
        for target in sorted(before.keys() | seen.keys()):
            state = seen.get(target)
            if before.get(target) != state:
                self._sightings.append(
                    Sighting(at=now, target=target, state=state, registered=registered)
                )
