"""The notifications of a run: the target group changed, or a guard vetoed a change."""

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
from target_sync.reconcile.planner import Action, Plan
from target_sync.reconcile.result import SyncResult


def notification_of(result: SyncResult, origin: Origin, *, at: float) -> Notification:
    """Return the mail and the event about a run.

    ``at`` is when the run changed the group, or else ended, in seconds since the epoch.
    """
    detail = _detail(result, origin, at)
    if result.run.changed:
        kind, message = "Target Group Synced", _change_mail(result, origin, str(detail["id"]))
    else:
        kind, message = "Sync Vetoed", _veto_mail(result, origin)
    return Notification(message, BusEvent(kind, detail, origin.resource))


def _detail(result: SyncResult, origin: Origin, at: float) -> Document:
    run, document = result.run, result.to_document()
    plan = run.plan or Plan(())
    before, after = _texts(run.initially_registered), _texts(run.tracks.registered)
    return {
        "version": VERSION,
        "id": _id(result, origin, before, after),
        "stack": origin.stack,
        "target_group": origin.resource,
        "at": round(at, 3),
        "status": result.status.value,
        "summary": plain(document["summary"]),
        "healthy": run.healthy,
        "trigger": _plain_texts(result.trigger.to_document()),
        "endpoint": _plain_texts(cast("Document", document["observation"])),
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


def _plain_texts(document: Document) -> Document:
    return {key: plain(v) if isinstance(v, str) else v for key, v in document.items()}


def _id(result: SyncResult, origin: Origin, before: list[str], after: list[str]) -> str:
    """Return an ID that all runs with the same change, or the same veto, of a group share."""
    plan = result.run.plan or Plan(())
    vetoes = [] if result.run.changed else [veto.code.value for veto in plan.vetoes]
    content = " ".join((origin.resource, *before, "to", *after, *vetoes))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _texts(targets: Iterable[Target] | None) -> list[str]:
    return [str(target) for target in in_order(targets or ())]


# ----------------------------------------------------------------------------------------- mails


def _change_mail(result: SyncResult, origin: Origin, change_id: str) -> Email:
    run = result.run
    before, after = _listed(run.initially_registered), _listed(run.tracks.registered)
    meaning, remedy = _meaning_and_remedy(result)
    return mail(
        f"{origin.stack}: {_headline(result)} {after}",
        [
            _joined(
                f"Registered targets of stack {plain(origin.stack)}: {after}.",
                f"Before this run: {before}.",
            ),
            _joined(
                "What happened:", _addresses(run), _changes(run), _trigger(result), _times(result)
            ),
            f"What it means: {meaning}",
            f"What to do: {remedy}",
            _joined(
                f"Target group: {origin.resource}\nChange: {change_id}",
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


def _meaning_and_remedy(result: SyncResult) -> tuple[str, str]:
    run = result.run
    if result.status is RunStatus.FAILED:
        failure = plain(str(run.error)) if run.error else "see the log"
        return (
            f"the change was made, and then the run failed: {failure}",
            "nothing yet. The next run starts within a minute. An alarm reports it if it fails.",
        )
    if result.status is RunStatus.VETOED:
        return (f"a guard vetoed a part of the plan. {_vetoes(run)}", f"see {RUNBOOK}#sync-vetoed.")
    if result.status is RunStatus.UNHEALTHY:
        return (
            "the load balancer cannot reach a new target, so clients may be unable to connect.",
            f"see {RUNBOOK}#failover-not-healthy.",
        )
    if result.status is RunStatus.UNFINISHED:
        return (
            "a part of the change waits for confirmation. The next run continues in a minute.",
            "nothing. An alarm reports it if this does not end.",
        )
    if not run.healthy:
        return (
            "the load balancer still checks the new targets, which takes some minutes.",
            "nothing. An alarm reports it if no target becomes healthy.",
        )
    return (
        "clients reach the database again. Connections to other servers end within seconds.",
        "nothing.",
    )


def _veto_mail(result: SyncResult, origin: Origin) -> Email:
    run = result.run
    targets = _listed(run.tracks.registered)
    return mail(
        f"{origin.stack}: sync vetoed, the targets are still {targets}",
        [
            _joined(
                f"A guard of stack {plain(origin.stack)} vetoed the change after a failover.",
                f"The registered targets are still {targets}.",
            ),
            _joined("What happened:", _addresses(run), _vetoes(run), _trigger(result)),
            "What it means: if the database has moved, clients cannot reach it.",
            f"What to do: see {RUNBOOK}#sync-vetoed.",
            f"Target group: {origin.resource}",
        ],
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _listed(targets: Iterable[Target] | None) -> str:
    return ", ".join(_texts(targets)) or "none"


def _addresses(run: RunState) -> str:
    newest = run.newest
    addresses = ", ".join(sorted(map(str, newest.addresses))) or "no address"
    return _joined(f"{plain(newest.name)} has {plain(addresses)}.", plain(newest.disagreement))


def _changes(run: RunState) -> str:
    return " ".join(
        f"{verb} {change.target}: {change.reason.value}."
        for verb, changes in (("Registered", run.registered), ("Deregistered", run.deregistered))
        for change in changes
    )


def _vetoes(run: RunState) -> str:
    plan = run.plan or Plan(())
    rejected = ", ".join(str(change.target) for change in plan.of(Action.REJECT))
    return _joined(
        *(f"{veto.code.value}: {plain(veto.detail)}" for veto in plan.vetoes),
        f"Rejected: {plain(rejected)}." if rejected else "",
    )


_STARTED_BY: Mapping[str, str] = {
    "rds_event": "An RDS event started the run",
    "ec2_event": "An EC2 event started the run",
    "schedule": "The schedule started the run",
    "manual": "A manual invocation started the run",
}


def _trigger(result: SyncResult) -> str:
    event, started_by = result.trigger.event_id, _STARTED_BY[result.trigger.kind]
    return f"{started_by} ({plain(event)})." if event else f"{started_by}."


def _times(result: SyncResult) -> str:
    times = [
        f"{word} after {seconds:.1f} s"
        for word, seconds in (
            ("detected", result.seconds["to_detect"]),
            ("registered", result.seconds["to_register"]),
            ("healthy", result.seconds["to_healthy"]),
        )
        if seconds is not None
    ]
    return f"The change was {', '.join(times)}." if times else ""
