"""Refreshes the warm pool: registered targets that the load balancer must not reach yet."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

from target_sync.errors import AwsCallError
from target_sync.model import CandidateList, SwitchState, SyncPolicy, Target
from target_sync.ports import Candidates
from target_sync.targets.pool_planner import PoolChange, PoolPlan, plan_pool, room_for, state_of
from target_sync.targets.switched_group import SwitchedTargetGroup

#: The age at which a description is too old for a refresh. A run that waits describes the group
#: more often.
STALE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """What the refreshes of one run did.

    Attributes:
        state: The state of the switch.
        is_vetoed: Whether no target may be warm, because the switch is ineffective.
        kept: The warm targets that stayed.
        closed: The open targets that no run needed.
        failures: What failed, a sentence each. The next refresh tries again.
        due_at: When the pool needs a check before the next run; None if it does not.
    """

    state: SwitchState
    is_vetoed: bool = False
    registered: tuple[PoolChange, ...] = ()
    deregistered: tuple[PoolChange, ...] = ()
    kept: tuple[PoolChange, ...] = ()
    closed: tuple[Target, ...] = ()
    failures: tuple[str, ...] = ()
    due_at: float | None = None

    def after(self, before: "PoolReport | None") -> "PoolReport":
        """Return the report of this refresh and of those before it in the run."""
        if before is None:
            return self
        return replace(
            self,
            registered=before.registered + self.registered,
            deregistered=before.deregistered + self.deregistered,
            closed=before.closed + self.closed,
            failures=before.failures + self.failures,
        )


@dataclass(slots=True, kw_only=True)
class WarmPool:
    """The warm targets of one group.

    Attributes:
        candidates: Lists the addresses that the database may move to; None if no API does.
    """

    switched: SwitchedTargetGroup
    candidates: Candidates | None
    policy: SyncPolicy
    now: Callable[[], float]
    #: Whether this container found the switch ineffective and could not mark it.
    _is_unmarked: bool = field(default=False, init=False)

    @property
    def state(self) -> SwitchState | None:
        """The state of the switch when it was described or marked; None before that."""
        view = self.switched.view
        return None if view.at == -inf else view.rules.state

    def refresh(self, desired: frozenset[Target]) -> PoolReport | None:
        """Change the pool after the newest description, and return what was done.

        No call fails the run: the pool only prepares the next failover.

        Returns:
            None if the description is too old.
        """
        view = self.switched.view
        if self.now() - view.at > STALE_SECONDS:
            return None
        if self._is_unmarked:
            view = view.with_state(SwitchState.INEFFECTIVE)
        candidates = None
        if self.candidates and room_for(state_of(view), self.policy, view.serving):
            candidates = self.candidates.addresses(
                frozenset(t.address for t in view.serving | desired)
            )
        return self._execute(plan_pool(view, desired, candidates, self.policy), candidates)

    def _execute(self, plan: PoolPlan, candidates: CandidateList | None) -> PoolReport:
        failures = [candidates.failure] if candidates and candidates.failure else []

        def succeeds(call: Callable[[], object]) -> bool:
            try:
                call()
            except AwsCallError as error:
                failures.append(str(error))
                return False
            return True

        def change(
            changes: tuple[PoolChange, ...], call: Callable[[list[Target]], object]
        ) -> tuple[PoolChange, ...]:
            targets = [c.target for c in changes]
            return changes if changes and succeeds(lambda: call(targets)) else ()

        deregistered = change(plan.to_deregister, self.switched.let_go)
        is_ineffective = plan.state is SwitchState.INEFFECTIVE
        if plan.is_new_state or self._is_unmarked:
            is_marked = succeeds(lambda: self.switched.mark(plan.state))
            self._is_unmarked = is_ineffective and not is_marked
        registered = change(plan.to_register, self.switched.group.register)
        closes = plan.to_close and succeeds(lambda: self.switched.rules.close(plan.to_close))
        return PoolReport(
            state=plan.state,
            is_vetoed=is_ineffective and self.policy.warm_targets > 0,
            registered=registered,
            deregistered=deregistered,
            kept=plan.kept,
            closed=plan.to_close if closes else (),
            failures=tuple(failures),
            due_at=plan.due_at,
        )
