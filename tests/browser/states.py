"""The states of the widget for the browser tests and the pictures in docs/widget."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from target_sync.model import ConnectionState, OutboundRules, Target, TargetState
from target_sync.status.facts import (
    FollowedChange,
    FollowedChanges,
    SecurityGroup,
    Unknown,
)
from target_sync.status.report import StatusReport, make_report
from tests.support.status import (
    BALANCER_GROUP,
    DATABASE_GROUP,
    DEPLOYMENT,
    FACTS,
    GROUPS,
    NOW,
    OUT_OF_SYNC,
    PORT,
    RUNS,
    STRANGER,
    A,
    B,
    connection,
    target,
)

_CHANGE = FollowedChange(at=NOW - 7_260, to_detect=4.2, to_register=4.9, to_healthy=21.6)
_FOLLOWED = replace(FACTS, changes=FollowedChanges(_CHANGE, 14))
_DENIED = Unknown(
    "The role may not call elasticloadbalancing:DescribeTargetHealth.",
    "Give the role of ReportStatusFunction this permission again. Its policy was changed, or a"
    " permissions boundary or a policy of the organization denies the call.",
)
_THROTTLED = Unknown(
    "AWS throttled the call: Rate exceeded.", "Ask for the status again in a minute."
)

STATES: Mapping[str, StatusReport] = {
    name: make_report(facts, DEPLOYMENT)
    for name, facts in {
        "works": _FOLLOWED,
        "no-change-yet": FACTS,
        "warning": replace(
            _FOLLOWED,
            targets=(target(), target(IPv4Address("10.0.1.99"), TargetState.DRAINING)),
            principals=frozenset({*DEPLOYMENT.principals, f"arn:aws:iam::{STRANGER}:root"}),
            connections=(),
            recent_runs=replace(RUNS, vetoes=3),
        ),
        "broken": replace(
            _FOLLOWED,
            targets=(target(A, TargetState.UNHEALTHY, "Target.FailedHealthChecks"), target(B)),
            outbound_rules=OutboundRules(frozenset({Target(A, PORT), Target(B, PORT)})),
            recent_runs=OUT_OF_SYNC,
            security_groups={
                BALANCER_GROUP: GROUPS[BALANCER_GROUP],
                DATABASE_GROUP: SecurityGroup(inbound=(), outbound=()),
            },
            connections=(connection(ConnectionState.PENDING_ACCEPTANCE, STRANGER, 5400.0),),
            schedule_enabled=False,
            failed_runs=2,
        ),
        "unknown": replace(
            FACTS, targets=_DENIED, group=_DENIED, listeners=_THROTTLED, changes=_THROTTLED
        ),
    }.items()
}
