"""What a run did, as one document: the answer to the caller and the record in the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from target_sync.model import FailedObservation, RunStatus, TargetHealth
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.planner import Action, Change, Plan

Document: TypeAlias = Mapping[str, object]

_ENDINGS: Mapping[RunStatus, str] = {
    RunStatus.IN_SYNC: "The target group is right; nothing was changed.",
    RunStatus.SYNCED: "The target group is right.",
    RunStatus.UNHEALTHY: "The target group is right, but its targets are not healthy yet.",
    RunStatus.UNFINISHED: "Not everything is confirmed yet; the next run goes on.",
    RunStatus.VETOED: "A guard refused a part of the plan; see vetoes.",
    RunStatus.DRY_RUN: "Dry run: nothing was changed.",
    RunStatus.FAILED: "The last look or change failed; see last_failure.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """The end of a run.

    Attributes:
        status: How it ended.
        convergence: Everything that the run saw and did.
        trigger: What set it off, as it is to stand in the document.
        began_at: The moment from which the seconds are counted: when the trigger occurred.
        untold: Messages that may have reached nobody, a sentence each.
    """

    status: RunStatus
    run: RunState
    trigger: Document
    began_at: float
    undelivered_notifications: tuple[str, ...] = ()

    @property
    def is_notable(self) -> bool:
        """Whether people and programs are told.

        Of every change, by the run that made it. Of a veto only by the run of an event that says
        a failover is complete: a scheduled run would tell it again every minute (docs/adr/0017).
        """
        run = self.run
        return run.changed or (self.status is RunStatus.VETOED and run.run_config.change_completed)

    @property
    def seconds(self) -> Mapping[str, float | None]:
        """Seconds from the trigger until the change was seen, registered, and healthy."""
        run = self.run
        return {
            "to_detect": self._since_trigger(run.detected_at),
            "to_register": self._since_trigger(run.registered_at),
            "to_healthy": self._since_trigger(run.healthy_at),
        }

    def _since_trigger(self, at: float | None) -> float | None:
        return None if at is None else round(max(0.0, at - self.began_at), 3)

    def to_document(self) -> Document:
        """The result as JSON-ready values, in a stable order."""
        run = self.run
        health = {t.target: t for t in run.snapshot.group.targets} if run.snapshot else {}
        plan = run.plan or Plan(())

        def targets(changes: Iterable[Change]) -> list[Document]:
            return [_target(v, health.get(v.target)) for v in changes]

        return {
            "status": self.status.value,
            "summary": summarize(self),
            "healthy": run.healthy,
            "trigger": self.trigger,
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
                for v in plan.vetoes
            ],
            "seconds": self.seconds,
            "iterations": run.iterations,
            "dns_polls": run.dns_polls,
            "failures": run.failures,
            "last_failure": _last_failure(run),
            "undelivered_notifications": list(self.undelivered_notifications),
        }


def _last_failure(run: RunState) -> str | None:
    """Of a call that failed, also of one that the run can do without."""
    if run.failure:
        return run.failure.detail
    standby = run.snapshot.standby if run.snapshot else None
    return (standby and standby.failure) or None


def summarize(result: SyncResult) -> str:
    """A few short sentences for a person."""
    run = result.run
    plan = run.plan or Plan(())
    deeds = (
        ("Registered", run.registered),
        ("Deregistered", run.deregistered),
        ("To register:", plan.to_register),
        ("To deregister:", plan.to_deregister),
        ("On hold:", plan.of(Action.HOLD)),
        ("Refused:", plan.of(Action.REJECT)),
    )
    told = [f"{verb} {_listed(changes)}." for verb, changes in deeds if changes]
    return " ".join([*told, _ENDINGS[result.status]])


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(str(v.target) for v in changes)


def _target(verdict: Change, health: TargetHealth | None) -> Document:
    return {
        "target": str(verdict.target),
        "action": verdict.action.value,
        "reason": verdict.reason.value,
        "state": health.state.value if health else None,
        "state_reason": (health.reason or None) if health else None,
    }


def _observation(run: RunState) -> Document | None:
    if run.snapshot is None:
        return None
    seen = run.snapshot.observation
    if isinstance(seen, FailedObservation):
        return {"name": seen.name, "failure": seen.failure.value, "detail": seen.detail}
    return {
        "name": seen.name,
        "addresses": sorted(map(str, seen.addresses)),
        "source": seen.source,
        "ttl": seen.ttl,
        "corroborated": seen.corroborated,
        "disagreement": seen.disagreement or None,
    }
