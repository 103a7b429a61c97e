"""The result of a run, as one document for the caller and the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from target_sync.model import FailedObservation, RunStatus, SwitchState, TargetHealth
from target_sync.ports import LogRecord
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.planner import Action, Change, Plan, Veto, VetoCode
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.targets.pool_planner import PoolChange
from target_sync.targets.switch_proof import ProofReport

Document: TypeAlias = Mapping[str, object]

_ENDINGS: Mapping[RunStatus, str] = {
    RunStatus.IN_SYNC: "The target group is in sync; nothing was changed.",
    RunStatus.SYNCED: "The target group is in sync.",
    RunStatus.UNHEALTHY: "The target group is in sync, but its targets are not healthy yet.",
    RunStatus.UNFINISHED: "Not everything is confirmed yet; the next run continues.",
    RunStatus.VETOED: "A guard vetoed a part of the plan; see vetoes.",
    RunStatus.DRY_RUN: "Dry run: nothing was changed.",
    RunStatus.FAILED: "The last call failed; see last_failure.",
}
#: The run came to its end. Problems of the group have metrics of their own.
_SUCCEEDED = frozenset(_ENDINGS) - {RunStatus.DRY_RUN, RunStatus.FAILED}
_SECONDS_METRICS = {
    "to_detect": "SecondsToDetect",
    "to_register": "SecondsToRegister",
    "to_healthy": "SecondsToHealthy",
}


_INEFFECTIVE = Veto(
    VetoCode.SWITCH_INEFFECTIVE,
    frozenset(),
    "A target was healthy although its outbound rule was closed, so no target is kept warm. Remove"
    " the security group of the load balancer that allows this traffic, or its outbound rule. Then"
    " delete the outbound rule to 255.255.255.255/32, so that the switch is tried again.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """What is known about the switch at the end of a run.

    Attributes:
        state: Its state; None if it was not described.
        proof: The result of the proof; None if the run tried none.
    """

    state: SwitchState | None
    proof: ProofReport | None = None

    def to_document(self) -> Document:
        """Return the report as the result shows it."""
        proof = self.proof
        return {
            "state": self.state.value if self.state else None,
            "seconds_to_healthy_once_opened": proof and proof.seconds_to_healthy_once_opened,
            "detail": proof and proof.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """The result of a run.

    Attributes:
        status: How the run ended.
        run: The last state of the run.
        began_at: When the trigger occurred. ``seconds`` count from here.
        switch: What is known about the switch; None without one.
        undelivered_notifications: A sentence for each notification that may not have arrived.
    """

    status: RunStatus
    run: RunState
    trigger: SyncTrigger
    began_at: float
    switch: SwitchReport | None = None
    undelivered_notifications: tuple[str, ...] = ()

    @property
    def needs_notification(self) -> bool:
        """Whether the run notifies people and programs.

        It does so of its changes. Of a veto it does so only after an event that reports a complete
        failover; scheduled runs would repeat it every minute (ADR 0017).
        """
        is_vetoed = self.status is RunStatus.VETOED
        return self.run.changed or (is_vetoed and self.trigger.completes_a_change)

    @property
    def vetoes(self) -> tuple[Veto, ...]:
        """The vetoes of the plan and of the warm pool."""
        run = self.run
        of_plan = run.plan.vetoes if run.plan else ()
        return (*of_plan, _INEFFECTIVE) if run.pool and run.pool.is_vetoed else of_plan

    @property
    def seconds(self) -> Mapping[str, float | None]:
        """Seconds from the trigger until a change was detected, registered and healthy."""
        run = self.run
        return {
            "to_detect": self._since_trigger(run.detected_at),
            "to_register": self._since_trigger(run.registered_at),
            "to_healthy": self._since_trigger(run.healthy_at),
        }

    def _since_trigger(self, at: float | None) -> float | None:
        return None if at is None else round(max(0.0, at - self.began_at), 3)

    def to_document(self) -> Document:
        """Return the result as JSON-ready values, in a stable order."""
        run = self.run
        health = {t.target: t for t in run.snapshot.group.targets} if run.snapshot else {}
        plan = run.plan or Plan(())

        def targets(changes: Iterable[Change]) -> list[Document]:
            return [_target(c, health.get(c.target)) for c in changes]

        return {
            "status": self.status.value,
            "summary": summarize(self),
            "healthy": run.healthy,
            "trigger": self.trigger.to_document(),
            "age_seconds": round(run.run_config.started_at - self.began_at, 3),
            "observation": _observation(run),
            "registered": targets(run.registered),
            "deregistered": targets(run.deregistered),
            "planned": targets((*plan.to_register, *plan.to_deregister)),
            "kept": targets(plan.of(Action.KEEP)),
            "on_hold": targets(plan.of(Action.HOLD)),
            "draining": targets(plan.of(Action.IGNORE)),
            "rejected": targets(plan.of(Action.REJECT)),
            "vetoes": [
                {"code": v.code.value, "phases": sorted(v.phases), "detail": v.detail}
                for v in self.vetoes
            ],
            **self._switch_document(),
            "seconds": self.seconds,
            "iterations": run.iterations,
            "dns_polls": run.dns_polls,
            "waited_for": [reason.value for reason in run.waited_for],
            "failures": run.failures,
            "last_failure": _last_failure(run),
            "undelivered_notifications": list(self.undelivered_notifications),
        }

    def _switch_document(self) -> Document:
        """Return what the result shows about the switch and the warm targets, if there is one."""
        if self.switch is None:
            return {}
        pool = self.run.pool
        return {
            "switch": self.switch.to_document(),
            "warm_targets": {
                "registered": _warm_targets(pool.registered if pool else ()),
                "deregistered": _warm_targets(pool.deregistered if pool else ()),
                "kept": _warm_targets(pool.kept if pool else ()),
                "rules_closed": [str(target) for target in pool.closed] if pool else [],
                "failures": list(pool.failures) if pool else [],
            },
        }

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the run. An alarm watches for missing `SyncSucceeded`."""
        run = self.run
        counts = {
            "SyncSucceeded": int(self.status in _SUCCEEDED),
            "SyncFailed": int(self.status is RunStatus.FAILED),
            "SyncUnfinished": int(self.status is RunStatus.UNFINISHED),
            "SyncVetoed": int(self.status is RunStatus.VETOED),
            "SyncUnhealthy": int(self.status is RunStatus.UNHEALTHY),
            # Failures of retried calls count too.
            "CallsFailed": run.failures + (len(run.pool.failures) if run.pool else 0),
            "NotificationsFailed": len(self.undelivered_notifications),
            "TargetsRegistered": len(run.registered),
            "TargetsDeregistered": len(run.deregistered),
        }
        if self.switch is not None:
            counts["SwitchIneffective"] = int(_INEFFECTIVE in self.vetoes)
        yield LogRecord(
            message="sync run ended",
            fields={"result": self.to_document()},
            level="error" if self.status is RunStatus.FAILED else "info",
            counts=counts,
            seconds={
                _SECONDS_METRICS[name]: value
                for name, value in self.seconds.items()
                if value is not None
            },
        )


def _last_failure(run: RunState) -> str | None:
    """Return the failure of the last call, or else of the last standby check."""
    if run.error:
        return str(run.error)
    standby = run.snapshot.standby if run.snapshot else None
    return (standby and standby.failure) or None


def _warm_targets(changes: Iterable[PoolChange]) -> list[Document]:
    return [{"target": str(c.target), "reason": c.reason.value} for c in changes]


def summarize(result: SyncResult) -> str:
    """Return a few short sentences."""
    run = result.run
    plan = run.plan or Plan(())
    parts = (
        ("Registered", run.registered),
        ("Deregistered", run.deregistered),
        ("To register:", plan.to_register),
        ("To deregister:", plan.to_deregister),
        ("On hold:", plan.of(Action.HOLD)),
        ("Rejected:", plan.of(Action.REJECT)),
    )
    sentences = [f"{label} {_listed(changes)}." for label, changes in parts if changes]
    return " ".join([*sentences, _ENDINGS[result.status]])


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(str(c.target) for c in changes)


def _target(change: Change, health: TargetHealth | None) -> Document:
    return {
        "target": str(change.target),
        "action": change.action.value,
        "reason": change.reason.value,
        "state": health.state.value if health else None,
        "state_reason": (health.reason or None) if health else None,
    }


def _observation(run: RunState) -> Document | None:
    if run.snapshot is None:
        return None
    observation = run.snapshot.observation
    if isinstance(observation, FailedObservation):
        return {
            "name": observation.name,
            "failure": observation.failure.value,
            "detail": observation.detail,
        }
    return {
        "name": observation.name,
        "addresses": sorted(map(str, observation.addresses)),
        "source": observation.source,
        "ttl": observation.ttl,
        "corroborated": observation.corroborated,
        "disagreement": observation.disagreement or None,
    }
