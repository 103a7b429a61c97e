"""What a run did, as one document: the answer to the caller and the record in the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from target_sync.core.convergence import Convergence, Status
from target_sync.core.model import FailedObservation, TargetHealth
from target_sync.core.planning import Action, Plan, Verdict

Document: TypeAlias = Mapping[str, object]

_ENDINGS: Mapping[Status, str] = {
    Status.IN_SYNC: "The target group is right; nothing was changed.",
    Status.SYNCED: "The target group is right.",
    Status.UNHEALTHY: "The target group is right, but its targets are not healthy yet.",
    Status.UNFINISHED: "Not everything is confirmed yet; the next run goes on.",
    Status.VETOED: "A guard refused a part of the plan; see vetoes.",
    Status.DRY_RUN: "Dry run: nothing was changed.",
    Status.FAILED: "The last look or change failed; see last_failure.",
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

    status: Status
    convergence: Convergence
    trigger: Document
    began_at: float
    untold: tuple[str, ...] = ()

    @property
    def is_news(self) -> bool:
        """Whether people and programs are told.

        Of every change, by the run that made it. Of a veto only by the run of an event that says
        a failover is complete: a scheduled run would tell it again every minute (docs/adr/0017).
        """
        run = self.convergence
        return run.changed or (self.status is Status.VETOED and run.assignment.settles)

    @property
    def seconds(self) -> Mapping[str, float | None]:
        """Seconds from the trigger until the change was seen, registered, and healthy."""
        run = self.convergence
        return {
            "to_detect": self._since_trigger(run.detected_at),
            "to_register": self._since_trigger(run.registered_at),
            "to_healthy": self._since_trigger(run.healthy_at),
        }

    def _since_trigger(self, at: float | None) -> float | None:
        return None if at is None else round(max(0.0, at - self.began_at), 3)

    def to_document(self) -> Document:
        """The result as JSON-ready values, in a stable order."""
        run = self.convergence
        health = {t.target: t for t in run.look.group.targets} if run.look else {}
        plan = run.plan or Plan(())

        def targets(verdicts: Iterable[Verdict]) -> list[Document]:
            return [_target(v, health.get(v.target)) for v in verdicts]

        return {
            "status": self.status.value,
            "summary": summarize(self),
            "healthy": run.healthy,
            "trigger": self.trigger,
            "age_seconds": round(run.assignment.started_at - self.began_at, 3),
            "observation": _observation(run),
            "registered": targets(run.registered),
            "deregistered": targets(run.deregistered),
            "planned": targets((*plan.to_register, *plan.to_deregister)),
            "kept": targets(plan.of(Action.KEEP)),
            "on_hold": targets(plan.of(Action.HOLD)),
            "draining": targets(plan.of(Action.LEAVE)),
            "refused": targets(plan.of(Action.REFUSE)),
            "vetoes": [
                {"code": v.code.value, "phases": sorted(v.phases), "detail": v.detail}
                for v in plan.vetoes
            ],
            "seconds": self.seconds,
            "looks": run.looks,
            "polls": run.polls,
            "failures": run.failures,
            "last_failure": _last_failure(run),
            "untold": list(self.untold),
        }


def _last_failure(run: Convergence) -> str | None:
    """Of a call that failed, also of one that the run can do without."""
    if run.failure:
        return run.failure.detail
    standby = run.look.standby if run.look else None
    return (standby and standby.failure) or None


def summarize(result: SyncResult) -> str:
    """A few short sentences for a person."""
    run = result.convergence
    plan = run.plan or Plan(())
    deeds = (
        ("Registered", run.registered),
        ("Deregistered", run.deregistered),
        ("To register:", plan.to_register),
        ("To deregister:", plan.to_deregister),
        ("On hold:", plan.of(Action.HOLD)),
        ("Refused:", plan.of(Action.REFUSE)),
    )
    told = [f"{verb} {_listed(verdicts)}." for verb, verdicts in deeds if verdicts]
    return " ".join([*told, _ENDINGS[result.status]])


def _listed(verdicts: Iterable[Verdict]) -> str:
    return ", ".join(str(v.target) for v in verdicts)


def _target(verdict: Verdict, health: TargetHealth | None) -> Document:
    return {
        "target": str(verdict.target),
        "action": verdict.action.value,
        "why": verdict.reason.value,
        "state": health.state.value if health else None,
        "state_reason": (health.reason or None) if health else None,
    }


def _observation(run: Convergence) -> Document | None:
    if run.look is None:
        return None
    seen = run.look.observation
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
