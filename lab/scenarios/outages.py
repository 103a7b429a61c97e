"""What a failover cost the client, and what of that the database and the set delays need."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from lab.addresses import Endpoint
from lab.records import SyncRecord, sync_records
from lab.scenarios.base import Stage, Writing
from lab.timeline import Outage, format_seconds

#: What the road itself may add to what the database and the set delays need, in seconds.
ALLOWED = 2.0
#: Health checks in a row that make a target healthy (template.yaml).
_HEALTHY_AFTER = 2


class Moments(Protocol):
    """What the failovers of an instance and of a cluster have in common; in epoch seconds."""

    @property
    def new(self) -> Endpoint:
        """The new primary's address and port in the VPC."""
        ...

    @property
    def began_at(self) -> float:
        """When it began."""
        ...

    @property
    def promoted_at(self) -> float:
        """From when on the new primary accepts writes."""
        ...

    @property
    def flipped_at(self) -> float:
        """When the name moved."""
        ...


def registering_needs(stage: Stage, failover: Moments, *, told_at: float) -> Mapping[str, float]:
    """What a failover needs whose new address has to be registered.

    A new target is checked as soon as its registration is over, so a healthy one needs one
    interval less than checks.

    Args:
        stage: Has the lab's times.
        failover: What happened.
        told_at: When the first source named the new address.
    """
    options = stage.ground.options
    return {
        "promotion": failover.promoted_at - failover.began_at,
        "until the address was told": told_at - failover.promoted_at,
        "registration": options.registration_delay,
        "health checks": (_HEALTHY_AFTER - 1) * options.health_check_interval,
    }


def standby_needs(stage: Stage, failover: Moments) -> Mapping[str, float]:
    """What a failover needs onto an address that is registered already.

    The checks go on all the time, so the first one comes up to an interval after the promotion.
    """
    return {
        "promotion": failover.promoted_at - failover.began_at,
        "health checks": _HEALTHY_AFTER * stage.ground.options.health_check_interval,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A failover that the road has followed, and the run that first saw it."""

    outage: Outage
    record: SyncRecord | None


def follow(
    writing: Writing,
    strategy: str,
    failover: Moments,
    needs: Mapping[str, float],
    *,
    records: bool = True,
) -> Followed:
    """Wait until the client writes to the new primary again, and tell what that took.

    Args:
        writing: The client.
        strategy: How the failover is followed.
        failover: What happened.
        needs: What the database and the set delays need.
        records: Whether to wait for the record of the run that followed it.

    Raises:
        WaitTimeoutError: It did not come to that.
    """
    path, stage = writing.path, writing.path.stage
    server = stage.server_at(failover.new)
    row = stage.ground.wait_for(
        lambda: writing.writer.first_after(failover.promoted_at, IPv4Address(server.host)),
        f"the client to write to {failover.new}",
    )
    healthy_at = stage.ground.wait_for(
        lambda: path.observer.first(failover.new, "healthy", since=failover.began_at),
        f"{failover.new} to be healthy",
    )
    registered_at = path.observer.first(failover.new, "initial", since=failover.began_at)
    record = None
    if records:
        record = stage.ground.wait_for(
            lambda: _record(stage, failover, registers=registered_at is not None),
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
    stage.findings.outages.append(outage)
    return Followed(outage=outage, record=record)


def _record(stage: Stage, failover: Moments, *, registers: bool) -> SyncRecord | None:
    """The record of the run that registered the new address; if none had to, that saw it."""
    return next(
        (
            record
            for record in sync_records(stage.provider, since=failover.began_at)
            if (
                str(failover.new) in record.registered
                if registers
                else (record.detected_at or 0.0) > failover.began_at
            )
        ),
        None,
    )


def expect_no_longer_than_needed(stage: Stage, outage: Outage) -> None:
    """Note whether writes were interrupted for no longer than what could not be avoided."""
    parts = ", ".join(f"{format_seconds(s)} {name}" for name, s in outage.needs.items())
    stage.expect(
        f"{outage.strategy}: writes are interrupted at most {ALLOWED:g} s longer than the database"
        " and the set delays need",
        outage.gap.seconds <= outage.needed + ALLOWED,
        f"{format_seconds(outage.gap.seconds)}; needed {format_seconds(outage.needed)}: {parts}",
    )


def _after(moment: float, record: SyncRecord | None) -> float | None:
    """When a run saw a change; None if it had seen one before this failover, and was still busy."""
    seen = record.detected_at if record else None
    return seen if seen is not None and seen > moment else None
