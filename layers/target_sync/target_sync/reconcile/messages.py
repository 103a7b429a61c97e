"""What a run of the sync tells: that it changed the target group, or that a guard refused to."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import cast

from target_sync.model import RunStatus, Target, in_order
from target_sync.notifications.messages import (
    RUNBOOK,
    VERSION,
    BusEvent,
    Document,
    Email,
    Notification,
    Origin,
    mail,
    plain,
)
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.planner import Action, Plan, Veto
from target_sync.reconcile.result import SyncResult


def notification_of(result: SyncResult, sender: Origin, *, at: float) -> Notification:
    """The news of a run.

    Args:
        result: A run that has news (``SyncResult.is_notable``).
        sender: Who tells.
        at: When the group was changed, or else when the run ended, in seconds since the epoch.
    """
    detail = _detail(result, sender, at)
    if result.run.changed:
        kind, message = "Target Group Synced", _of_a_change(result, sender, str(detail["id"]))
    else:
        kind, message = "Sync Vetoed", _of_a_veto(result, sender)
    return Notification(message, BusEvent(kind, detail, sender.resource))


def _detail(result: SyncResult, sender: Origin, at: float) -> Document:
    run, document = result.run, result.to_document()
    plan = run.plan or Plan(())
    before, after = _texts(run.initially_registered), _texts(run.registered_now)
    return {
        "version": VERSION,
        "id": _id(result, sender, before, after),
        "stack": sender.stack,
        "target_group": sender.resource,
        "at": round(at, 3),
        "status": result.status.value,
        "summary": plain(document["summary"]),
        "healthy": run.healthy,
        "trigger": _plainly(result.trigger),
        "endpoint": _plainly(cast("Document", document["observation"])),
        "old_targets": before,
        "new_targets": after,
        "registered": document["registered"],
        "deregistered": document["deregistered"],
        "vetoes": [
            {"code": v.code.value, "phases": sorted(v.phases), "detail": plain(v.detail)}
            for v in plan.vetoes
        ],
        "seconds": result.seconds,
    }


def _plainly(document: Document) -> Document:
    """A document whose texts are such as may stand in an event."""
    return {key: plain(v) if isinstance(v, str) else v for key, v in document.items()}


def _id(result: SyncResult, sender: Origin, before: list[str], after: list[str]) -> str:
    """The same for every run that makes the same change of the same group, or has the same veto."""
    plan = result.run.plan or Plan(())
    vetoes = [] if result.run.changed else [veto.code.value for veto in plan.vetoes]
    told = " ".join((sender.resource, *before, "to", *after, *vetoes))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _texts(targets: Iterable[Target] | None) -> list[str]:
    return [str(target) for target in in_order(targets or ())]


# ----------------------------------------------------------------------------------------- mails


def _of_a_change(result: SyncResult, sender: Origin, change: str) -> Email:
    run = result.run
    before, after = _listed(run.initially_registered), _listed(run.registered_now)
    meaning, remedy = _meaning(result)
    return mail(
        f"{sender.stack}: {_headline(result)} {after}",
        [
            _notified(
                f"The target group of stack {plain(sender.stack)} now leads to {after}.",
                f"Before this run it led to {before}.",
            ),
            _notified("What happened:", _answer(run), _deeds(run), _reason(result), _times(result)),
            f"What it means: {meaning}",
            f"What to do: {remedy}",
            _notified(
                f"Target group: {sender.resource}\nChange: {change}",
                "(another message with this ID within a minute is about the same change)",
            ),
        ],
    )


def _headline(result: SyncResult) -> str:
    if result.run.healthy:
        return "target group synced to"
    if result.status is RunStatus.UNHEALTHY:
        return "not healthy after the sync to"
    return "target group changed to"


def _meaning(result: SyncResult) -> tuple[str, str]:
    """What it means for the clients, and what a person has to do."""
    run = result.run
    if result.status is RunStatus.FAILED:
        why = plain(run.failure.detail) if run.failure else "see the log"
        return (
            f"the change was made, and then the run failed: {why}",
            "nothing yet. The next run, a minute later, goes on; an alarm rings if it cannot.",
        )
    if result.status is RunStatus.VETOED:
        return (
            f"a guard refused a part of the plan. {_refusals(run)}",
            f"see {RUNBOOK}#sync-vetoed.",
        )
    if result.status is RunStatus.UNHEALTHY:
        return (
            "the load balancer does not reach a new target, so clients may not be able to connect.",
            f"see {RUNBOOK}#failover-not-healthy.",
        )
    if result.status is RunStatus.UNFINISHED:
        return (
            "a part of the change waits to be confirmed; the next run, a minute later, goes on.",
            "nothing. An alarm rings if it stays so.",
        )
    if not run.healthy:
        return (
            "the new targets are being checked by the load balancer, which takes some minutes.",
            "nothing. An alarm rings if no target becomes healthy.",
        )
    return (
        "clients reach the database again. Connections to a target that left have ended.",
        "nothing.",
    )


def _of_a_veto(result: SyncResult, sender: Origin) -> Email:
    run = result.run
    targets = _listed(run.registered_now)
    return mail(
        f"{sender.stack}: sync vetoed, the target group still leads to {targets}",
        [
            _notified(
                f"A guard of stack {plain(sender.stack)} refused to follow a failover.",
                f"The target group still leads to {targets}.",
            ),
            _notified("What happened:", _answer(run), _refusals(run), _reason(result)),
            "What it means: if the database has moved, clients do not reach it.",
            f"What to do: see {RUNBOOK}#sync-vetoed.",
            f"Target group: {sender.resource}",
        ],
    )


def _notified(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _listed(targets: Iterable[Target] | None) -> str:
    return ", ".join(_texts(targets)) or "no target"


def _answer(run: RunState) -> str:
    newest = run.observations[-1]
    addresses = ", ".join(sorted(map(str, newest.addresses))) or "no address"
    told = f"{plain(newest.name)} has {plain(addresses)}."
    return f"{told} {plain(newest.disagreement)}".strip()


def _deeds(run: RunState) -> str:
    told = [
        f"{verb} {v.target}: {v.reason.value}."
        for verb, changes in (("Registered", run.registered), ("Deregistered", run.deregistered))
        for v in changes
    ]
    return " ".join(told)


def _refusals(run: RunState) -> str:
    plan = run.plan or Plan(())
    refused = ", ".join(str(v.target) for v in plan.of(Action.REJECT))
    told = " ".join(_sentence(veto) for veto in plan.vetoes)
    return f"{told} Refused: {plain(refused)}." if refused else told


def _sentence(veto: Veto) -> str:
    return f"{veto.code.value}: {plain(veto.detail)}"


_STARTED_BY: Mapping[object, str] = {
    "rds_event": "An event of RDS started the run",
    "ec2_event": "An event of EC2 started the run",
    "schedule": "The schedule started the run",
    "manual": "The run was started by hand",
}


def _reason(result: SyncResult) -> str:
    event = result.trigger["event_id"]
    told = _STARTED_BY[result.trigger["kind"]]
    return f"{told} ({plain(event)})." if event else f"{told}."


def _times(result: SyncResult) -> str:
    told = [
        f"{word} after {seconds:.1f} s"
        for word, seconds in (
            ("seen", result.seconds["to_detect"]),
            ("registered", result.seconds["to_register"]),
            ("healthy", result.seconds["to_healthy"]),
        )
        if seconds is not None
    ]
    return f"It was {', '.join(told)}." if told else ""
