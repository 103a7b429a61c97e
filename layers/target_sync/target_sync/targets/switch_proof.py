"""Proves at the creation of a stack that closed targets get no traffic."""

from collections.abc import Generator
from dataclasses import dataclass

from target_sync.errors import AwsCallError
from target_sync.model import (
    FailedObservation,
    SwitchState,
    SyncPolicy,
    Target,
    TargetState,
    desired_targets,
    in_order,
    unbroken_since,
)
from target_sync.ports import Clock, Endpoint, OutboundRulesPort, TargetGroupPort
from target_sync.targets.pool_planner import HEALTHY_WHILE_CLOSED_SECONDS

#: How long a new target may take to be unhealthy. A registration takes some minutes, and two health
#: checks follow.
UNHEALTHY_WITHIN_SECONDS = 240.0
#: How long an opened target may take to be healthy.
HEALTHY_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofReport:
    """What a proof showed.

    Attributes:
        state: The state of the switch after it.
        detail: A sentence about it.
        seconds_to_healthy_once_opened: From the change of the rule on; None if not measured.
    """

    state: SwitchState
    detail: str
    seconds_to_healthy_once_opened: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchProof:
    """Registers the first target closed, and opens it when the load balancer finds it unhealthy.

    Attributes:
        group: The target group without the rules.
    """

    endpoint: Endpoint
    group: TargetGroupPort
    rules: OutboundRulesPort
    policy: SyncPolicy
    clock: Clock

    def prove_in_steps(self, deadline: float) -> Generator[float, None, ProofReport]:
        """Try the proof, and yield the time of each wait. No failure is raised.

        The run that follows opens the target in any case.
        """
        try:
            return (yield from self._prove(deadline))
        except AwsCallError as error:
            return _unproven(str(error))

    def _prove(self, deadline: float) -> Generator[float, None, ProofReport]:
        rules = self.rules.describe()
        if self.group.describe().registered & rules.open:
            detail = "Nothing was tried, because an open target is registered already."
            return ProofReport(state=rules.state, detail=detail)
        observation = self.endpoint.observe()
        if isinstance(observation, FailedObservation):
            return _unproven(observation.detail)
        desired = desired_targets(observation, self.policy)
        allowed = in_order(t for t in desired if self.policy.allows(t.address))
        if not allowed:
            return _unproven("The database has no address that may be a target.")
        target = allowed[0]
        self.rules.close([target])
        self.group.register([target])
        return (yield from self._try(target, deadline))

    def _try(self, target: Target, deadline: float) -> Generator[float, None, ProofReport]:
        until = min(deadline, self.clock.now() + UNHEALTHY_WITHIN_SECONDS)
        state = yield from self._wait_while_closed(target, until)
        if state is TargetState.HEALTHY:
            self.rules.mark(SwitchState.INEFFECTIVE)
            return ProofReport(
                state=SwitchState.INEFFECTIVE,
                detail=f"{target} was healthy for {HEALTHY_WHILE_CLOSED_SECONDS:.0f} s although its"
                " rule was closed. Another security group of the load balancer allows the traffic.",
            )
        if state is not TargetState.UNHEALTHY:
            return _unproven(f"{target} was not unhealthy in time while its rule was closed.")
        opened_at = self.clock.now()
        self.rules.open([target])
        until = min(deadline, opened_at + HEALTHY_WITHIN_SECONDS)
        if not (yield from self._becomes_healthy(target, until)):
            return _unproven(f"{target} was not healthy in time after its rule was opened.")
        seconds = round(self.clock.now() - opened_at, 1)
        self.rules.mark(SwitchState.PROVEN)
        return ProofReport(
            state=SwitchState.PROVEN,
            detail=f"{target} was unhealthy while its rule was closed, and healthy {seconds} s"
            " after it was opened.",
            seconds_to_healthy_once_opened=seconds,
        )

    def _wait_while_closed(
        self, target: Target, until: float
    ) -> Generator[float, None, TargetState | None]:
        """Return UNHEALTHY, HEALTHY if it stays so, or None if the time is up."""
        healthy_since: float | None = None
        while (now := self.clock.now()) < until:
            state = self._state(target)
            if state is TargetState.UNHEALTHY:
                return state
            is_healthy = state is TargetState.HEALTHY
            healthy_since = unbroken_since(healthy_since, now, holds=is_healthy)
            if healthy_since is not None and now - healthy_since >= HEALTHY_WHILE_CLOSED_SECONDS:
                return state
            yield now + _POLL_SECONDS
        return None

    def _becomes_healthy(self, target: Target, until: float) -> Generator[float, None, bool]:
        while self._state(target) is not TargetState.HEALTHY:
            if self.clock.now() >= until:
                return False
            yield self.clock.now() + _POLL_SECONDS
        return True

    def _state(self, target: Target) -> TargetState | None:
        states = {health.target: health.state for health in self.group.describe().targets}
        return states.get(target)


def _unproven(detail: str) -> ProofReport:
    return ProofReport(state=SwitchState.UNPROVEN, detail=detail)
