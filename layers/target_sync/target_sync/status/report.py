"""Makes the status report from the facts: runs every check, and finds the cause of each result.

One cause shows as one broken check. A result may name checks that explain it
(`CheckResult.possible_causes`). The first of these that is broken, or the cause of that check, is
the cause. A check with a cause becomes a `warning`, and `caused_by` names the cause.

The connection path is healthy if no check is broken and every check of traffic has its facts.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from target_sync.ports import LogRecord
from target_sync.status.checks import (
    consumers,
    database,
    load_balancer,
    operation,
    security_groups,
    switch,
    targets,
)
from target_sync.status.checks.result import CheckId, CheckResult, CheckState, unavailable
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Facts,
    FactUnavailableError,
    FollowedChange,
    FollowedChanges,
)

Document: TypeAlias = Mapping[str, object]


#: The title of each check, and the function that makes its result.
_CHECKS: Mapping[CheckId, tuple[str, Callable[[Facts, Deployment], CheckResult]]] = {
    CheckId.ENDPOINT_NAME: ("Endpoint name", targets.endpoint_name),
    CheckId.DATABASE: ("Database", database.database),
    CheckId.ALLOWED_ADDRESSES: ("Allowed addresses", targets.allowed_addresses),
    CheckId.TARGET_HEALTH: ("Targets", targets.target_health),
    CheckId.POSTGRESQL: ("PostgreSQL", targets.postgresql),
    CheckId.DRIFT: ("Drift", targets.drift),
    CheckId.TARGET_GROUP: ("Target group", load_balancer.target_group),
    CheckId.LISTENER: ("Listener", load_balancer.listener),
    CheckId.LOAD_BALANCER: ("Load balancer", load_balancer.load_balancer),
    CheckId.AVAILABILITY_ZONES: ("Availability Zones", load_balancer.availability_zones),
    CheckId.LOAD_BALANCER_SECURITY_GROUP: (
        "Load balancer security group",
        security_groups.load_balancer_security_group,
    ),
    CheckId.SWITCH: ("Switch", switch.switch),
    CheckId.DATABASE_SECURITY_GROUP: (
        "Database security group",
        security_groups.database_security_group,
    ),
    CheckId.ENDPOINT_SERVICE: ("Endpoint service", consumers.endpoint_service),
    CheckId.ALLOWED_PRINCIPALS: ("Allowed principals", consumers.allowed_principals),
    CheckId.ENDPOINT_CONNECTIONS: ("Endpoint connections", consumers.endpoint_connections),
    CheckId.FUNCTION_NETWORK: ("Function network", operation.function_network),
    CheckId.LAST_SYNC: ("Last sync", operation.last_sync),
    CheckId.LAST_FAILOVER: ("Last failover", operation.last_failover),
    CheckId.SCHEDULE: ("Schedule", operation.schedule),
    CheckId.DEAD_LETTER_QUEUES: ("Dead-letter queues", operation.dead_letter_queues),
}
#: The path can be healthy while these are unknown: they show past runs, what the next change needs,
#: or more than the health checks do.
_NO_TRAFFIC = frozenset(
    {
        CheckId.DATABASE,
        CheckId.POSTGRESQL,
        CheckId.FUNCTION_NETWORK,
        CheckId.LAST_SYNC,
        CheckId.LAST_FAILOVER,
        CheckId.SCHEDULE,
        CheckId.DEAD_LETTER_QUEUES,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCheck:
    """One check of the report.

    Attributes:
        state: The state after the search for a cause.
        details: What the check found, a sentence each.
        remedy: What to do about it; empty if there is nothing to do.
        command: The command of the remedy for a shell; empty if the remedy has none.
        caused_by: The broken check that explains this one.
    """

    id: CheckId
    title: str
    state: CheckState
    details: tuple[str, ...]
    remedy: str
    command: str = ""
    caused_by: CheckId | None = None

    def to_document(self) -> Document:
        """Return the check as JSON-ready values."""
        return {
            "id": self.id.value,
            "title": self.title,
            "state": self.state.value,
            "details": list(self.details),
            "remedy": self.remedy,
            "command": self.command,
            "caused_by": self.caused_by and self.caused_by.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The state of one stack's connection path.

    Attributes:
        at: When the facts were read, in seconds since the epoch.
        checks: In the order of `CheckId`.
        targets: The current targets; None if unknown.
        last_change: The newest change that the function followed; None if none is known.
    """

    stack: str
    at: float
    checks: tuple[StatusCheck, ...]
    targets: tuple[DescribedTarget, ...] | None
    last_change: FollowedChange | None

    @property
    def healthy(self) -> bool:
        """Whether no check is broken, and no check of traffic is unknown."""
        return self.state is CheckState.OK

    @property
    def state(self) -> CheckState:
        """The state of the whole path: `OK`, `BROKEN` or `UNKNOWN`."""
        if self._in_state(CheckState.BROKEN):
            return CheckState.BROKEN
        return CheckState.UNKNOWN if self._unknown_traffic() else CheckState.OK

    @property
    def heading(self) -> str:
        """The state of the whole path in one or two words."""
        words = {CheckState.OK: "healthy", CheckState.BROKEN: "not healthy"}
        return words.get(self.state, "unknown")

    def _in_state(self, state: CheckState) -> list[StatusCheck]:
        return [check for check in self.checks if check.state is state]

    def _unknown_traffic(self) -> list[StatusCheck]:
        return [c for c in self._in_state(CheckState.UNKNOWN) if c.id not in _NO_TRAFFIC]

    @property
    def summary(self) -> str:
        """One or two sentences for a person."""
        broken = self._in_state(CheckState.BROKEN)
        unknown = [] if broken else self._unknown_traffic()
        if broken:
            summary = f"The connection path is broken at {_ids(broken)}."
        elif unknown:
            summary = f"The state of the connection path is unknown. Not checked: {_ids(unknown)}."
        else:
            summary = "The connection path works."
        warnings = len(self._in_state(CheckState.WARNING))
        other_unknown = len(self._in_state(CheckState.UNKNOWN)) - len(unknown)
        others = [
            *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []),
            *([f"{other_unknown} unknown"] if other_unknown else []),
        ]
        return f"{summary} Also: {', '.join(others)}." if others else summary

    def to_document(self) -> Document:
        """Return the report as JSON-ready values, in a stable order."""
        change = self.last_change
        return {
            "healthy": self.healthy,
            "summary": self.summary,
            "checks": [check.to_document() for check in self.checks],
            "targets": None if self.targets is None else [_document(t) for t in self.targets],
            "last_change": change and {**asdict(change), "at": moment(change.at)},
            "at": moment(self.at),
            "stack": self.stack,
        }

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the report."""
        yield LogRecord(message="status reported", fields={"result": self.to_document()})


def _ids(checks: Iterable[StatusCheck]) -> str:
    return ", ".join(check.id.value for check in checks)


def _document(target: DescribedTarget) -> Document:
    return {"target": str(target), "state": target.state.value, "reason": target.reason}


def moment(at: float) -> str:
    """Return a moment in ISO 8601, for example 2026-11-22T10:00:00Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def make_report(facts: Facts, deployment: Deployment) -> StatusReport:
    """Return the report on these facts."""
    results = {id_: _run(check, facts, deployment) for id_, (_, check) in _CHECKS.items()}
    return StatusReport(
        stack=deployment.stack,
        at=facts.now,
        checks=tuple(_status_check(id_, results) for id_ in results),
        targets=facts.targets if isinstance(facts.targets, tuple) else None,
        last_change=facts.changes.last if isinstance(facts.changes, FollowedChanges) else None,
    )


def _run(
    check: Callable[[Facts, Deployment], CheckResult], facts: Facts, deployment: Deployment
) -> CheckResult:
    try:
        return check(facts, deployment)
    except FactUnavailableError as error:
        return unavailable(error.fact)


def _status_check(id_: CheckId, results: Mapping[CheckId, CheckResult]) -> StatusCheck:
    result = results[id_]
    state, remedy, command = result.state, result.remedy, result.command
    if cause := _cause(id_, results):
        state, command = CheckState.WARNING, ""
        remedy = f"The cause is {cause.value}: fix that first."
    return StatusCheck(
        id=id_,
        title=_CHECKS[id_][0],
        state=state,
        details=result.details,
        remedy=remedy,
        command=command,
        caused_by=cause,
    )


def _cause(id_: CheckId, results: Mapping[CheckId, CheckResult]) -> CheckId | None:
    """Return the broken check that explains this one and has no cause itself."""
    for cause in results[id_].possible_causes:
        if results[cause].state is CheckState.BROKEN:
            return _cause(cause, results) or cause
    return None


#: A symbol for each state, so that a reader needs no colours. The most urgent state comes first.
SYMBOLS: Mapping[CheckState, str] = {
    CheckState.BROKEN: "✗",
    CheckState.UNKNOWN: "?",
    CheckState.WARNING: "!",
    CheckState.OK: "✓",
    CheckState.SKIPPED: "-",
}
_WIDTH = 100
_INDENT = " " * 12


def by_urgency(checks: Sequence[StatusCheck]) -> list[StatusCheck]:
    """Return the checks with the most urgent state first."""
    states = list(SYMBOLS)
    return sorted(checks, key=lambda check: states.index(check.state))


def to_text(report: StatusReport) -> str:
    """Return the report for a terminal: no colour, the most urgent first.

    Only a command, or one long word, is longer than 100 columns.
    """
    lines = [
        *_wrapped(f"{report.stack}, {moment(report.at)}: {report.heading}"),
        *_wrapped(report.summary),
        "",
    ]
    for check in by_urgency(report.checks):
        lines.append(f"{SYMBOLS[check.state]} {check.state.value:<9} {check.title} [{check.id}]")
        for detail in check.details:
            lines += _wrapped(detail, _INDENT)
        if check.remedy:
            lines += _wrapped(f"-> {check.remedy}", _INDENT)
        if check.command:
            # In one line, so that a reader can paste it.
            lines.append(f"{_INDENT}{check.command}")
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    # A long ARN stays whole, so that a reader can copy it.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
