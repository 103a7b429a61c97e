"""Walks the road step by step, and says where it is broken, why, and what to do.

A broken step explains what only follows from it. Such a step is a warning that names its cause, so
that one cause is one broken step:

- a step says which others would explain what it found (`CheckResult.possible_causes`);
- the first of them that is broken is the cause, or else the cause of that one;
- a step with a cause is a `warning`, and `caused_by` names the cause, which is to be remedied.

Healthy is a road without a broken step, of which every step that carries traffic could be seen.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from target_sync.status.checks import consumers, network, operation, targets
from target_sync.status.checks.result import CheckId, CheckResult, CheckState, FactMissingError
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Facts,
    FollowedChange,
    FollowedChanges,
)

Document: TypeAlias = Mapping[str, object]

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class _Definition:
    """How a step is looked at.

    Attributes:
        title: What holds if it is ok.
        look: Judges it.
        carries: Whether the road cannot be said to work as long as this is unknown. The others
            tell of the past, or of what follows the next change.
    """

    title: str
    look: Callable[[Facts, Deployment], CheckResult]
    carries: bool = True


_STEPS: Mapping[CheckId, _Definition] = {
    CheckId.ENDPOINT_NAME: _Definition(
        "The database's name says where it is", targets.endpoint_name
    ),
    CheckId.ALLOWED_ADDRESSES: _Definition(
        "Its addresses may be targets", targets.allowed_addresses
    ),
    CheckId.TARGET_HEALTH: _Definition("They are registered and healthy", targets.target_health),
    CheckId.POSTGRESQL: _Definition("PostgreSQL answers there", targets.postgresql, carries=False),
    CheckId.DRIFT: _Definition("Nothing else is registered", targets.drift),
    CheckId.TARGET_GROUP: _Definition(
        "The target group is as it was deployed", network.target_group
    ),
    CheckId.LISTENER: _Definition("A listener forwards to the target group", network.listener),
    CheckId.LOAD_BALANCER: _Definition(
        "The load balancer works across its zones", network.load_balancer
    ),
    CheckId.AVAILABILITY_ZONES: _Definition(
        "The load balancer is in the targets' zones", network.availability_zones
    ),
    CheckId.LOAD_BALANCER_SECURITY_GROUP: _Definition(
        "The load balancer's security group lets traffic through",
        network.load_balancer_security_group,
    ),
    CheckId.DATABASE_SECURITY_GROUP: _Definition(
        "The database's security group lets the load balancer in",
        network.database_security_group,
    ),
    CheckId.ENDPOINT_SERVICE: _Definition(
        "The endpoint service is available", consumers.endpoint_service
    ),
    CheckId.ALLOWED_PRINCIPALS: _Definition(
        "The consumers may connect", consumers.allowed_principals
    ),
    CheckId.ENDPOINT_CONNECTIONS: _Definition(
        "A consumer is connected, and none waits", consumers.endpoint_connections
    ),
    CheckId.FUNCTION_NETWORK: _Definition(
        "The function reaches AWS", operation.function_network, carries=False
    ),
    CheckId.LAST_SYNC: _Definition(
        "The function's runs succeed", operation.last_sync, carries=False
    ),
    CheckId.LAST_FAILOVER: _Definition(
        "The last change was followed", operation.last_failover, carries=False
    ),
    CheckId.SCHEDULE: _Definition("The schedule is on", operation.schedule, carries=False),
    CheckId.DEAD_LETTER_QUEUES: _Definition(
        "No run and no event was lost", operation.dead_letter_queues, carries=False
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCheck:
    """One step as a person reads it.

    Attributes:
        step: Which one.
        title: What holds if it is ok.
        state: The verdict, with the other steps in view.
        seen: What was seen, a sentence each.
        remedy: What to do about it, in one sentence; empty if there is nothing to do.
        follows_from: The broken step that explains this one.
    """

    step: CheckId
    title: str
    state: CheckState
    seen: tuple[str, ...]
    remedy: str
    caused_by: CheckId | None = None

    def to_document(self) -> Document:
        """The check as it stands in the answer."""
        return {
            "id": self.step.value,
            "title": self.title,
            "state": self.state.value,
            "details": list(self.seen),
            "remedy": self.remedy,
            "caused_by": self.caused_by and self.caused_by.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Every step of one stack's road at one moment.

    Attributes:
        stack: The stack's name.
        at: The moment, in seconds since the epoch.
        checks: The steps in order.
        targets: The targets of now; None if they could not be seen.
        last_change: The newest change that the function followed; None if none is known.
    """

    stack: str
    at: float
    checks: tuple[StatusCheck, ...]
    targets: tuple[DescribedTarget, ...] | None
    last_change: FollowedChange | None

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken, and everything that carries traffic could be seen."""
        return not self._of(CheckState.BROKEN) and not self._unseen()

    def _of(self, state: CheckState) -> tuple[StatusCheck, ...]:
        return tuple(check for check in self.checks if check.state is state)

    def _unseen(self) -> tuple[StatusCheck, ...]:
        """What could not be seen and has to be."""
        return tuple(c for c in self._of(CheckState.UNKNOWN) if _STEPS[c.step].carries)

    @property
    def summary(self) -> str:
        """A few short sentences for a person."""
        wrong = self._of(CheckState.BROKEN)
        unseen = () if wrong else self._unseen()
        if wrong:
            told = f"The road is broken at {_listed(wrong)}."
        elif unseen:
            told = f"Whether the road works is not known: {_listed(unseen)}."
        else:
            told = "The road works."
        warnings, unknown = (
            len(self._of(CheckState.WARNING)),
            len(self._of(CheckState.UNKNOWN)) - len(unseen),
        )
        others = [
            *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []),
            *([f"{unknown} unknown"] if unknown else []),
        ]
        return f"{told} Besides: {', '.join(others)}." if others else told

    def to_document(self) -> Document:
        """The diagnosis as JSON-ready values, in a stable order."""
        return {
            "healthy": self.healthy,
            "summary": self.summary,
            "checks": [check.to_document() for check in self.checks],
            "targets": None
            if self.targets is None
            else [_target_document(target) for target in self.targets],
            "last_change": self.last_change and _change_document(self.last_change),
            "at": moment(self.at),
            "stack": self.stack,
        }


def _listed(checks: Iterable[StatusCheck]) -> str:
    return ", ".join(check.step.value for check in checks)


def _target_document(target: DescribedTarget) -> Document:
    return {"target": str(target), "state": target.state.value, "reason": target.reason}


def _change_document(change: FollowedChange) -> Document:
    return {
        "at": moment(change.at),
        "to_detect": change.to_detect,
        "to_register": change.to_register,
        "to_healthy": change.to_healthy,
    }


def moment(at: float) -> str:
    """A moment for people and programs, for example 2026-11-22T10:00:00Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def make_report(facts: Facts, deployment: Deployment) -> StatusReport:
    """Judge every step, and let a broken one explain what follows from it."""
    findings = {step: _look(plan, facts, deployment) for step, plan in _STEPS.items()}
    return StatusReport(
        stack=deployment.stack,
        at=facts.now,
        checks=tuple(_check(step, findings) for step in _STEPS),
        targets=facts.targets if isinstance(facts.targets, tuple) else None,
        last_change=facts.changes.last if isinstance(facts.changes, FollowedChanges) else None,
    )


def _look(plan: _Definition, facts: Facts, deployment: Deployment) -> CheckResult:
    try:
        return plan.look(facts, deployment)
    except FactMissingError as error:
        return error.finding


def _check(step: CheckId, findings: Mapping[CheckId, CheckResult]) -> StatusCheck:
    finding, title = findings[step], _STEPS[step].title
    cause = _cause(step, findings)
    if cause is None:
        return StatusCheck(
            step=step,
            title=title,
            state=finding.state,
            seen=finding.seen,
            remedy=finding.remedy,
        )
    return StatusCheck(
        step=step,
        title=title,
        state=CheckState.WARNING,
        seen=finding.seen,
        remedy=f"This follows from {cause.value}: remedy that first.",
        caused_by=cause,
    )


def _cause(step: CheckId, findings: Mapping[CheckId, CheckResult]) -> CheckId | None:
    """The broken step that this one follows from, and that follows from none itself."""
    for cause in findings[step].possible_causes:
        if findings[cause].state is CheckState.BROKEN:
            return _cause(cause, findings) or cause
    return None


#: So that a state can be told without a colour.
SYMBOLS: Mapping[CheckState, str] = {
    CheckState.OK: "✓",
    CheckState.WARNING: "!",
    CheckState.BROKEN: "✗",
    CheckState.UNKNOWN: "?",
    CheckState.SKIPPED: "-",
}
_INDENT = " " * 12


def to_text(status_report: StatusReport) -> str:
    """The diagnosis for a terminal: at most 100 columns, no colour, a symbol and a word a step."""
    verdict = "healthy" if status_report.healthy else "not healthy"
    lines = [
        *_wrapped(f"{status_report.stack}, {moment(status_report.at)}: {verdict}"),
        *_wrapped(status_report.summary),
        "",
    ]
    for check in status_report.checks:
        lines += _paragraph(check)
    return "\n".join(lines)


def _paragraph(check: StatusCheck) -> Sequence[str]:
    head = f"{SYMBOLS[check.state]} {check.state.value:<9} {check.title} [{check.step.value}]"
    lines = [head, *(line for text in check.seen for line in _wrapped(text, _INDENT))]
    if check.remedy:
        lines += _wrapped(f"-> {check.remedy}", _INDENT)
    return lines


def _wrapped(text: str, indent: str = "") -> list[str]:
    # A long ARN or command is not cut, so that it can be copied: only there a line gets longer.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
