"""Measures the outage of a failover, and checks how soon the stack followed it.

Seconds are only reported, because they depend on the machine. The checks count DNS polls and
attempts of a client instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from drill.results import format_seconds
from drill.run_records import RunRecord
from lab.function_logs import run_records
from lab.results import Outage
from lab.scenarios.base import FailoverTimes, ScenarioContext, Writing

#: The most DNS polls from a change to the reaction of the stack. Several runs poll at once, each
#: about once a second.
POLLS_ALLOWED = 12
#: The most attempts of a client that fail, or reach an old target, after a change of the targets:
#: the attempts before the data plane follows.
ATTEMPTS_ALLOWED = 10
#: Health checks in a row that make a target healthy (template.yaml).
_HEALTHY_AFTER = 2


def registering_needs(
    context: ScenarioContext, failover: FailoverTimes, *, announced_at: float
) -> Mapping[str, float]:
    """Return the seconds that a failover to an unregistered address needs, by name.

    The first health check follows the registration at once, so there is one interval less than
    checks. The first source names the new address at ``announced_at``.
    """
    options = context.lab.options
    return {
        **_needs_until_announced(failover, announced_at),
        "registration": options.registration_delay,
        "health checks": (_HEALTHY_AFTER - 1) * options.health_check_interval,
    }


def opening_needs(
    context: ScenarioContext, failover: FailoverTimes, *, announced_at: float
) -> Mapping[str, float]:
    """Return the seconds that a failover to a warm target needs, by name.

    The next health check follows the effect of the rule after an interval at most. The first source
    names the new address at ``announced_at``.
    """
    options = context.lab.options
    return {
        **_needs_until_announced(failover, announced_at),
        "rule": options.rule_delay,
        "health checks": _HEALTHY_AFTER * options.health_check_interval,
    }


def _needs_until_announced(failover: FailoverTimes, announced_at: float) -> Mapping[str, float]:
    return {
        "promotion": failover.promoted_at - failover.began_at,
        "announcement": announced_at - failover.promoted_at,
    }


def standby_needs(context: ScenarioContext, failover: FailoverTimes) -> Mapping[str, float]:
    """Return the seconds that a failover to a registered address needs, by name.

    The next health check follows the promotion after an interval at most.
    """
    return {
        "promotion": failover.promoted_at - failover.began_at,
        "health checks": _HEALTHY_AFTER * context.lab.options.health_check_interval,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedFailover:
    """A failover that the stack followed, and the record of the run that followed it."""

    outage: Outage
    record: RunRecord | None


def follow(
    writing: Writing,
    strategy: str,
    failover: FailoverTimes,
    needs: Mapping[str, float],
    *,
    records: bool = True,
) -> FollowedFailover:
    """Wait until the client writes to the new primary, and return the outage.

    Args:
        writing: The client.
        strategy: How the stack follows the failover.
        failover: The failover.
        needs: The seconds that the database and the configured delays need.
        records: Whether to wait for the record of the run that followed the failover.

    Raises:
        WaitTimeoutError: The stack did not follow the failover.
    """
    path, context = writing.path, writing.path.context
    server = context.server_at(failover.new)
    row = context.lab.wait_for(
        lambda: writing.writer.first_after(failover.promoted_at, IPv4Address(server.host)),
        f"the client to write to {failover.new}",
    )
    healthy_at = context.lab.wait_for(
        lambda: path.observer.first(failover.new, "healthy", since=failover.began_at),
        f"{failover.new} to be healthy",
    )
    registered_at = path.observer.joined(failover.new, since=failover.began_at)
    record = None
    if records:
        record = context.lab.wait_for(
            lambda: _record(context, failover, registers=registered_at is not None),
            "the record of the run that followed it",
        )
    outage = Outage(
        strategy=strategy,
        began_at=failover.began_at,
        promoted_at=failover.promoted_at,
        flipped_at=failover.flipped_at,
        detected_at=_after(failover.began_at, record),
        registered_at=registered_at,
        healthy_at=healthy_at,
        written_at=row.at,
        gap=writing.writer.gap(failover.began_at),
        needs=needs,
    )
    context.results.outages.append(outage)
    _expect_writes(writing, outage)
    return FollowedFailover(outage=outage, record=record)


def _record(
    context: ScenarioContext, failover: FailoverTimes, *, registers: bool
) -> RunRecord | None:
    """Return the record of the run that registered the new address, or else detected it."""
    return next(
        (
            record
            for record in run_records(context.provider, since=failover.began_at)
            if (
                str(failover.new) in record.registered
                if registers
                else (record.detected_at or 0.0) > failover.began_at
            )
        ),
        None,
    )


def _expect_writes(writing: Writing, outage: Outage) -> None:
    """Expect that the client writes soon after the new target is healthy."""
    failed = sum(
        outage.healthy_at < failure.at < outage.written_at for failure in writing.writer.failures
    )
    parts = ", ".join(f"{format_seconds(s)} {name}" for name, s in outage.needs.items())
    writing.path.context.expect(
        f"{outage.strategy}: the client writes within {ATTEMPTS_ALLOWED} attempts after the new"
        " target is healthy",
        failed <= ATTEMPTS_ALLOWED,
        f"{failed} failed; no write for {format_seconds(outage.gap.seconds)}; the database and the"
        f" configured delays need {format_seconds(outage.needed)}: {parts}",
    )


def expect_prompt(
    context: ScenarioContext, text: str, name: str, *, since: float, until: float | None
) -> None:
    """Expect that the stack reacted to a change within the allowed number of DNS polls.

    Args:
        context: The scenario.
        text: The reaction.
        name: The database's name.
        since: When the change was visible, in epoch seconds.
        until: When the stack had reacted; None if it has not.
    """
    polls = 0 if until is None else context.lab.queries(name, since=since, until=until)
    context.expect(
        f"{text} within {POLLS_ALLOWED} DNS polls",
        until is not None and polls <= POLLS_ALLOWED,
        "it did not happen" if until is None else f"{polls}, {format_seconds(until - since)}",
    )


def _after(moment: float, record: RunRecord | None) -> float | None:
    """Return when a run detected a change; None if it detected one before this failover."""
    detected = record.detected_at if record else None
    return detected if detected is not None and detected > moment else None
