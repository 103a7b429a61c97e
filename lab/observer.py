"""Observes the states of a target group's targets over time.

A target that outbound rules of the load balancer close is not counted as registered: the stack
keeps it warm.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from drill.polling import PollingThread
from lab.addresses import Endpoint
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.emulator.messages import DataPlane

_NOT_REGISTERED = "draining"


def registered(plane: DataPlane) -> Mapping[str, set[Endpoint]]:
    """Return the serving targets of each group behind a load balancer, healthy or not."""
    return {
        listener.target_group_arn: {
            Endpoint(target.address, target.port)
            for target in listener.targets
            if target.state != _NOT_REGISTERED and target.allowed
        }
        for listener in plane.listeners
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChange:
    """An observed change of the group: a target's new state.

    Attributes:
        at: Epoch seconds, exact to a twentieth of a second.
        target: The target.
        state: Its new state; None if the group no longer lists it, or it is closed.
        registered: The number of serving targets at that time.
    """

    at: float
    target: Endpoint
    state: str | None
    registered: int


class TargetObserver(PollingThread):
    """Observes one target group during a `with` block."""

    def __init__(self, admin: EmulatorAdmin, target_group_arn: str) -> None:
        super().__init__("target observer")
        self._admin = admin
        self._target_group_arn = target_group_arn
        self._states: dict[Endpoint, str] = {}
        self._warm: dict[Endpoint, str] = {}
        self._sightings: list[TargetChange] = []

    @property
    def changes(self) -> tuple[TargetChange, ...]:
        """Every change so far, in order."""
        return tuple(self._sightings)

    @property
    def states(self) -> dict[Endpoint, str]:
        """The open targets and their last observed states."""
        return dict(self._states)

    @property
    def warm(self) -> dict[Endpoint, str]:
        """The warm targets and their last observed states."""
        return dict(self._warm)

    @property
    def registered(self) -> set[Endpoint]:
        """The serving targets at the last poll."""
        return {t for t, state in self.states.items() if state != _NOT_REGISTERED}

    def first(self, target: Endpoint, *states: str | None, since: float) -> float | None:
        """Return when the open target was first in one of these states after a time, or None."""
        return next(
            (
                s.at
                for s in self.changes
                if s.at >= since and s.target == target and s.state in states
            ),
            None,
        )

    def joined(self, target: Endpoint, *, since: float) -> float | None:
        """Return when the target became a serving one after a time, or None."""
        is_serving = False
        for change in self.changes:
            if change.target != target:
                continue
            was_serving, is_serving = is_serving, change.state not in {None, _NOT_REGISTERED}
            if change.at >= since and is_serving and not was_serving:
                return change.at
        return None

    def fewest_registered(self, since: float, until: float) -> int | None:
        """Return the fewest serving targets at any change in a period; None without a change."""
        return min((s.registered for s in self.changes if since <= s.at <= until), default=None)

    def _poll(self) -> None:
        try:
            listeners = self._admin.data_plane().listeners
        except EmulatorAdminError:
            return  # the supervisor reports the reason
        listed = [
            (Endpoint(target.address, target.port), target)
            for listener in listeners
            if listener.target_group_arn == self._target_group_arn
            for target in listener.targets
        ]
        self._warm = {
            endpoint: target.state
            for endpoint, target in listed
            if not target.allowed and target.state != _NOT_REGISTERED
        }
        self._compare({endpoint: target.state for endpoint, target in listed if target.allowed})

    def _compare(self, current: dict[Endpoint, str]) -> None:
        before, self._states = self._states, current
        now, registered = time.time(), len(self.registered)
        for target in sorted(before.keys() | current.keys()):
            state = current.get(target)
            if before.get(target) != state:
                self._sightings.append(
                    TargetChange(at=now, target=target, state=state, registered=registered)
                )
