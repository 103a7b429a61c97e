"""Each status check: its state, its details, its remedy and its cause."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from target_sync.model import (
    ConnectionState,
    DatabaseKind,
    FailedObservation,
    LookupFailure,
    OutboundRules,
    StandbyCheck,
    SwitchState,
    Target,
    TargetState,
)
from target_sync.status.checks.consumers import ago
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    FollowedChange,
    FollowedChanges,
    FunctionNetwork,
    Rule,
    SecurityGroup,
    Skipped,
    SslReply,
    SubnetNetwork,
    SubnetRoute,
    Unknown,
)
from target_sync.status.report import StatusCheck, StatusReport, make_report, to_text
from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK
from tests.support.status import (
    BALANCER,
    BALANCER_ARN,
    BALANCER_GROUP,
    CONSUMERS,
    DATABASE,
    DATABASE_GROUP,
    DEPLOYMENT,
    EVERYWHERE,
    EXISTING_GROUP,
    FACTS,
    GROUP,
    GROUP_ARN,
    GROUPS,
    LISTENER,
    NAME,
    NOW,
    NOWHERE,
    OUT_OF_SYNC,
    OUTBOUND_RULES,
    OUTBOUND_RULES_GROUP,
    OUTSIDE,
    PORT,
    PRINCIPAL,
    RUNS,
    SCALING,
    STACK,
    STRANGER,
    SUBNETS,
    TRUSTED,
    A,
    B,
    connection,
    observation,
    rule,
    target,
)

DENIED = Unknown("The function may not call x:Y.", "Give it the permission.")
BOTH_OPEN = OutboundRules(frozenset({Target(A, PORT), Target(B, PORT)}), SwitchState.PROVEN)
PUBLIC, ELSEWHERE = IPv4Address("8.8.8.8"), IPv4Address("192.168.7.1")
BROKEN, WARNING, OK = CheckState.BROKEN, CheckState.WARNING, CheckState.OK


def status_report(deployment: Deployment = DEPLOYMENT, **changes: Any) -> StatusReport:
    """The report on a working connection path with these facts changed."""
    return make_report(replace(FACTS, **changes), deployment)


def check(id_: CheckId, deployment: Deployment = DEPLOYMENT, **changes: Any) -> StatusCheck:
    return of(status_report(deployment, **changes), id_)


def of(report: StatusReport, id_: CheckId) -> StatusCheck:
    (check,) = [check for check in report.checks if check.id is id_]
    return check


def broken(report: StatusReport) -> list[CheckId]:
    return [check.id for check in report.checks if check.state is BROKEN]


def failed(failure: LookupFailure) -> FailedObservation:
    return FailedObservation(name=NAME, failure=failure, detail=f"{NAME}: {failure}.", at=0.0)


def group_of(inbound: tuple[Rule, ...] = (), outbound: tuple[Rule, ...] = ()) -> SecurityGroup:
    return SecurityGroup(inbound=inbound, outbound=outbound)


def unhealthy(reason: str, state: TargetState = TargetState.UNHEALTHY) -> Any:
    return (target(state=state, reason=reason),)


# ------------------------------------------------------------------------------- the whole path


def test_every_check_of_a_working_path_is_ok_or_skipped() -> None:
    report = status_report()

    assert report.healthy
    assert report.summary == "The connection path works."
    assert {check.state for check in report.checks} == {OK, CheckState.SKIPPED}
    assert [check.id for check in report.checks] == list(CheckId)
    assert not [check for check in report.checks if check.remedy]


def test_the_document_has_every_field_in_a_stable_order() -> None:
    document: Any = status_report(schedule_enabled=False).to_document()

    assert list(document) == [
        "healthy",
        "summary",
        "checks",
        "targets",
        "last_change",
        "at",
        "stack",
    ]
    assert document["healthy"] is False
    assert document["summary"] == "The connection path is broken at schedule."
    assert document["at"] == "2026-11-22T10:00:00Z"
    assert document["stack"] == STACK
    (schedule,) = [entry for entry in document["checks"] if entry["id"] == "schedule"]
    assert schedule == {
        "id": "schedule",
        "title": "Schedule",
        "state": "broken",
        "details": ["The schedule is switched off."],
        "remedy": "Switch it on.",
        "command": of(status_report(schedule_enabled=False), CheckId.SCHEDULE).command,
        "caused_by": None,
    }


def test_the_document_has_the_targets_and_the_last_change() -> None:
    change = FollowedChange(at=NOW - 600, to_detect=4.2, to_register=4.9)
    document = status_report(
        targets=unhealthy("Target.FailedHealthChecks"), changes=FollowedChanges(change, 14)
    ).to_document()

    assert document["targets"] == [
        {"target": "10.0.1.11:5432", "state": "unhealthy", "reason": "Target.FailedHealthChecks"}
    ]
    assert document["last_change"] == {
        "at": "2026-11-22T09:50:00Z",
        "to_detect": 4.2,
        "to_register": 4.9,
        "to_healthy": None,
    }


@pytest.mark.parametrize("unavailable", [Unknown("reason", "do"), Skipped("reason"), None])
def test_the_document_has_null_for_unknown_targets_and_changes(unavailable: Any) -> None:
    changes = FollowedChanges(None, 14) if unavailable is None else unavailable
    document = status_report(targets=unavailable, changes=changes).to_document()
    assert document["targets"] is None
    assert document["last_change"] is None


@pytest.mark.parametrize(
    ("changes", "id_"),
    [
        ({"observation": failed(LookupFailure.NAME_DOES_NOT_EXIST)}, CheckId.ENDPOINT_NAME),
        ({"database": None}, CheckId.DATABASE),
        ({"observation": observation(PUBLIC)}, CheckId.ALLOWED_ADDRESSES),
        ({"targets": unhealthy("Target.InvalidState")}, CheckId.TARGET_HEALTH),
        ({"probes": {f"{A}:5432": SslReply.OTHER}}, CheckId.POSTGRESQL),
        ({"targets": (target(), target(B)), "outbound_rules": BOTH_OPEN,
          "recent_runs": OUT_OF_SYNC}, CheckId.DRIFT),
        ({"group": None}, CheckId.TARGET_GROUP),
        ({"listeners": ()}, CheckId.LISTENER),
        ({"load_balancer": None, "listeners": None}, CheckId.LOAD_BALANCER),
        ({"load_balancer": replace(BALANCER, zones={"eu-west-1b": "b", "eu-west-1c": "c"})},
         CheckId.AVAILABILITY_ZONES),
        ({"load_balancer": replace(BALANCER, enforces_inbound_rules=True)},
         CheckId.LOAD_BALANCER_SECURITY_GROUP),
        ({"outbound_rules": OutboundRules(frozenset())}, CheckId.SWITCH),
        ({"security_groups": {**GROUPS, DATABASE_GROUP: group_of()}},
         CheckId.DATABASE_SECURITY_GROUP),
        ({"service": None}, CheckId.ENDPOINT_SERVICE),
        ({"principals": frozenset()}, CheckId.ALLOWED_PRINCIPALS),
        ({"connections": (connection(ConnectionState.PENDING_ACCEPTANCE, STRANGER),)},
         CheckId.ENDPOINT_CONNECTIONS),
        ({"function_network": FunctionNetwork((SubnetRoute("subnet-f", ""),), frozenset())},
         CheckId.FUNCTION_NETWORK),
        ({"recent_runs": replace(RUNS, succeeded_at=None)}, CheckId.LAST_SYNC),
        ({"schedule_enabled": None}, CheckId.SCHEDULE),
        ({"failed_runs": 3}, CheckId.DEAD_LETTER_QUEUES),
    ],
)  # fmt: skip
def test_one_fault_is_one_broken_check(changes: dict[str, Any], id_: CheckId) -> None:
    report = status_report(**changes)

    assert broken(report) == [id_]
    assert not report.healthy
    assert report.summary.startswith(f"The connection path is broken at {id_}.")
    assert of(report, id_).remedy


# ---------------------------------------------------------------------------- causes and effects


def test_a_closed_security_group_causes_the_unhealthy_target() -> None:
    report = status_report(
        targets=unhealthy("Target.FailedHealthChecks"),
        security_groups={**GROUPS, DATABASE_GROUP: group_of()},
    )

    effect = of(report, CheckId.TARGET_HEALTH)
    assert broken(report) == [CheckId.DATABASE_SECURITY_GROUP]
    assert effect.state is WARNING
    assert effect.caused_by is CheckId.DATABASE_SECURITY_GROUP
    assert effect.remedy == "The cause is database-security-group: fix that first."
    assert effect.command == ""
    assert "unhealthy" in effect.details[0]
    assert effect.to_document()["caused_by"] == "database-security-group"


def test_a_chain_of_causes_ends_at_its_root() -> None:
    """No schedule, therefore no run: the targets stay at the old address, and runs fail."""
    report = status_report(
        schedule_enabled=False,
        recent_runs=replace(RUNS, succeeded_at=NOW - 3600, in_sync_at=NOW - 3600),
        observation=observation(B),
        failed_runs=1,
    )

    effects = {check.id: check.caused_by for check in report.checks if check.caused_by}
    assert broken(report) == [CheckId.SCHEDULE]
    assert effects == dict.fromkeys(
        (CheckId.TARGET_HEALTH, CheckId.DRIFT, CheckId.LAST_SYNC, CheckId.DEAD_LETTER_QUEUES),
        CheckId.SCHEDULE,
    )


def test_a_missing_name_causes_failed_runs() -> None:
    report = status_report(
        observation=failed(LookupFailure.NAME_DOES_NOT_EXIST),
        recent_runs=replace(RUNS, succeeded_at=None, failures=9),
        failed_runs=4,
    )

    assert broken(report) == [CheckId.ENDPOINT_NAME]
    assert of(report, CheckId.ALLOWED_ADDRESSES).state is CheckState.SKIPPED
    assert of(report, CheckId.DRIFT).state is CheckState.SKIPPED
    assert of(report, CheckId.TARGET_HEALTH).state is OK


def test_a_missing_listener_causes_an_unused_target() -> None:
    report = status_report(listeners=(), targets=unhealthy("Target.NotInUse", TargetState.UNUSED))

    assert broken(report) == [CheckId.LISTENER]
    assert of(report, CheckId.TARGET_HEALTH).caused_by is CheckId.LISTENER


def test_checks_that_need_the_load_balancer_are_skipped_without_it() -> None:
    report = status_report(load_balancer=None, load_balancer_attributes=None, listeners=None)

    states = {check.id: check.state for check in report.checks}
    assert broken(report) == [CheckId.LOAD_BALANCER]
    assert states[CheckId.AVAILABILITY_ZONES] is CheckState.SKIPPED
    assert states[CheckId.LOAD_BALANCER_SECURITY_GROUP] is CheckState.SKIPPED
    assert states[CheckId.DATABASE_SECURITY_GROUP] is CheckState.SKIPPED
    assert of(report, CheckId.LISTENER).caused_by is CheckId.LOAD_BALANCER


def test_two_causes_are_two_broken_checks() -> None:
    report = status_report(schedule_enabled=False, principals=frozenset())

    assert broken(report) == [CheckId.ALLOWED_PRINCIPALS, CheckId.SCHEDULE]
    assert report.summary == (
        "The connection path is broken at allowed-principals, schedule. Also: 1 warning."
    )


# -------------------------------------------------------------------------------- unknown facts


@pytest.mark.parametrize(
    "fact",
    ["observation", "targets", "group", "listeners", "load_balancer", "subnets",
     "security_groups", "service", "principals", "connections", "load_balancer_attributes",
     "group_attributes"],
)  # fmt: skip
def test_a_path_with_an_unknown_check_of_traffic_is_unknown(fact: str) -> None:
    changes: dict[str, Any] = {fact: DENIED}
    report = status_report(**changes)

    unknown = [check for check in report.checks if check.state is CheckState.UNKNOWN]
    assert not report.healthy
    assert not broken(report)
    assert unknown
    assert {(check.details, check.remedy) for check in unknown} == {
        ((DENIED.reason,), DENIED.remedy)
    }
    assert report.summary.startswith("The state of the connection path is unknown. Not checked: ")


@pytest.mark.parametrize(
    ("fact", "id_"),
    [
        ("database", CheckId.DATABASE),
        ("function_network", CheckId.FUNCTION_NETWORK),
        ("recent_runs", CheckId.LAST_SYNC),
        ("changes", CheckId.LAST_FAILOVER),
        ("schedule_enabled", CheckId.SCHEDULE),
        ("failed_runs", CheckId.DEAD_LETTER_QUEUES),
        ("undelivered_events", CheckId.DEAD_LETTER_QUEUES),
        ("probes", CheckId.POSTGRESQL),
    ],
)
def test_a_path_works_if_only_checks_of_the_past_are_unknown(fact: str, id_: CheckId) -> None:
    changes: dict[str, Any] = {fact: DENIED}
    report = status_report(**changes)

    assert report.healthy
    assert of(report, id_).state is CheckState.UNKNOWN
    assert report.summary == "The connection path works. Also: 1 unknown."


def test_the_summary_does_not_count_the_unknown_checks_that_it_names() -> None:
    report = status_report(listeners=DENIED, changes=DENIED)

    assert report.summary == (
        "The state of the connection path is unknown. Not checked: listener. Also: 1 unknown."
    )


def test_an_unknown_idle_timeout_leaves_the_listener_ok() -> None:
    result = check(CheckId.LISTENER, listener_attributes=DENIED)

    assert result.state is OK
    assert DENIED.reason in result.details[1]


# ---------------------------------------------------------------------------------- the endpoint


def test_the_endpoint_name_has_its_addresses_ttl_and_source() -> None:
    result = check(CheckId.ENDPOINT_NAME, observation=observation(B, A))
    assert result.details == (f"{NAME}: 10.0.1.11, 10.0.2.12 (source dns, TTL 5 s).",)


def test_static_addresses_have_no_ttl() -> None:
    static = observation(name="10.0.1.11", source="static", ttl=None)
    assert check(CheckId.ENDPOINT_NAME, observation=static).details == (
        "10.0.1.11: 10.0.1.11 (source static).",
    )


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (LookupFailure.NAME_DOES_NOT_EXIST, "DatabaseEndpoint"),
        (LookupFailure.NO_ADDRESS, "Start the database"),
        (LookupFailure.TIMED_OUT, "Resolvers"),
        (LookupFailure.SERVERS_FAILED, "DNS servers"),
        (LookupFailure.BAD_ANSWER, "DatabaseEndpoint"),
    ],
)
def test_a_name_without_an_address_is_broken(failure: LookupFailure, words: str) -> None:
    result = check(CheckId.ENDPOINT_NAME, observation=failed(failure))

    assert result.state is BROKEN
    assert result.details == (f"{NAME}: {failure}.",)
    assert words in result.remedy


@pytest.mark.parametrize("failure", [LookupFailure.API_UNAVAILABLE, LookupFailure.ACCESS_DENIED])
def test_a_failed_api_call_leaves_the_name_unknown(failure: LookupFailure) -> None:
    report = status_report(observation=failed(failure))

    assert of(report, CheckId.ENDPOINT_NAME).state is CheckState.UNKNOWN
    assert not broken(report)
    assert not report.healthy


def test_two_sources_that_disagree_are_a_warning() -> None:
    result = check(CheckId.ENDPOINT_NAME, observation=observation(disagreement="RDS says B."))
    assert (result.state, result.details[1]) == (WARNING, "RDS says B.")


@pytest.mark.parametrize(("ttl", "state"), [(300, OK), (301, WARNING)])
def test_a_ttl_longer_than_a_run_is_a_warning(ttl: int, state: CheckState) -> None:
    assert check(CheckId.ENDPOINT_NAME, observation=observation(ttl=ttl)).state is state


# ---------------------------------------------------------------------------------- the database


def test_a_stopped_database_explains_its_unhealthy_target() -> None:
    report = status_report(
        database=replace(DATABASE, state="stopped"), targets=unhealthy("Target.FailedHealthChecks")
    )

    result = of(report, CheckId.DATABASE)
    assert broken(report) == [CheckId.DATABASE]
    assert of(report, CheckId.TARGET_HEALTH).caused_by is CheckId.DATABASE
    assert result.details == ("orders is stopped.",)
    assert result.command == (
        "aws rds start-db-instance --db-instance-identifier orders --region eu-west-1"
    )


@pytest.mark.parametrize(
    ("kind", "state"),
    [(DatabaseKind.RDS_PROXY, "stopped"), (DatabaseKind.RDS_INSTANCE, "incompatible-network")],
)
def test_a_database_that_no_command_can_start_has_none(kind: DatabaseKind, state: str) -> None:
    result = check(
        CheckId.DATABASE, replace(DEPLOYMENT, kind=kind), database=replace(DATABASE, state=state)
    )
    assert (result.state, result.command) == (BROKEN, "")


@pytest.mark.parametrize(
    "state", ["available", "modifying", "rebooting", "failing-over", "running"]
)
def test_a_database_that_changes_by_itself_is_ok(state: str) -> None:
    assert check(CheckId.DATABASE, database=replace(DATABASE, state=state)).state is OK


def test_a_deleted_database_explains_its_missing_name() -> None:
    report = status_report(
        database=None, observation=failed(LookupFailure.NAME_DOES_NOT_EXIST), targets=()
    )
    assert broken(report) == [CheckId.DATABASE]
    assert of(report, CheckId.ENDPOINT_NAME).caused_by is CheckId.DATABASE


def test_another_port_than_that_of_the_deployment_is_broken() -> None:
    result = check(CheckId.DATABASE, database=replace(DATABASE, port=5433))

    assert result.state is BROKEN
    assert result.details[1] == "It listens on port 5433, but the targets have port 5432."
    assert result.command.endswith("--parameter-overrides DatabasePort=5433")


def test_a_proxy_whose_port_no_api_gives_is_ok() -> None:
    assert check(CheckId.DATABASE, database=replace(DATABASE, port=None)).state is OK


def test_other_security_groups_or_subnets_than_those_of_the_deployment_are_a_warning() -> None:
    deployment = replace(DEPLOYMENT, database_subnets=("subnet-a", "subnet-b"))
    moved = replace(DATABASE, security_groups=("sg-9",), subnets=frozenset({"subnet-c"}))
    result = check(CheckId.DATABASE, deployment, database=moved)

    assert result.state is WARNING
    assert result.details[1:] == (
        f"Its security groups are sg-9. At the deployment they were {DATABASE_GROUP}.",
        "Its subnets are subnet-c. At the deployment they were subnet-a, subnet-b.",
    )
    assert "DatabasePort, which is 5432 or 0" in result.remedy


def test_the_subnets_are_compared_only_where_the_stack_needs_them() -> None:
    moved = replace(DATABASE, subnets=frozenset({"subnet-c"}))
    assert check(CheckId.DATABASE, database=moved).state is OK


def test_the_groups_of_today_must_allow_the_load_balancer() -> None:
    """Not those of the deployment, whose rules stay where they are."""
    closed = {**GROUPS, "sg-9": group_of()}
    report = status_report(
        database=replace(DATABASE, security_groups=("sg-9",)), security_groups=closed
    )

    result = of(report, CheckId.DATABASE_SECURITY_GROUP)
    assert broken(report) == [CheckId.DATABASE_SECURITY_GROUP]
    assert result.details[0].startswith("No rule of sg-9 allows ")
    assert result.remedy == "Allow it."
    assert "--group-id sg-9" in result.command


@pytest.mark.parametrize(("rules", "state"), [((), BROKEN), (None, OK)])
def test_without_the_database_the_groups_of_the_deployment_are_checked(
    rules: Any, state: CheckState
) -> None:
    groups = GROUPS if rules is None else {**GROUPS, DATABASE_GROUP: group_of(rules)}
    result = check(CheckId.DATABASE_SECURITY_GROUP, database=DENIED, security_groups=groups)

    assert result.state is state
    assert result.details[1] == (
        f"These were its groups at the deployment. Those of today are unknown: {DENIED.reason}"
    )


# ----------------------------------------------------------------------------- allowed addresses


def test_an_address_outside_the_allowed_networks_is_broken() -> None:
    result = check(CheckId.ALLOWED_ADDRESSES, observation=observation(A, PUBLIC))

    assert result.state is BROKEN
    assert result.details == (
        "8.8.8.8 may not become a target. The allowed networks are 10.0.0.0/16.",
    )


@pytest.mark.parametrize(("most", "state"), [(2, OK), (1, BROKEN)])
def test_too_many_addresses_are_broken(most: int, state: CheckState) -> None:
    deployment = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, max_targets=most))
    result = check(CheckId.ALLOWED_ADDRESSES, deployment, observation=observation(A, B))
    assert result.state is state


# ----------------------------------------------------------------------------------- the targets


@pytest.mark.parametrize(
    ("reason", "state", "meaning", "remedy"),
    [
        ("Target.FailedHealthChecks", TargetState.UNHEALTHY, "cannot open", "security group"),
        ("Target.Timeout", TargetState.UNHEALTHY, "cannot open", "DatabasePort is wrong"),
        ("Target.InvalidState", TargetState.UNHEALTHY, "stopped or terminated", "Start it"),
        ("Target.IpUnusable", TargetState.UNUSED, "a load balancer", "DatabaseEndpoint"),
        ("Elb.InitialHealthChecking", TargetState.INITIAL, "still registering", "Wait"),
        ("Elb.InternalError", TargetState.UNAVAILABLE, "internal error", "later"),
        ("Some.NewReason", TargetState.UNHEALTHY, "no known reason", "EC2 console"),
    ],
)
def test_the_reason_of_a_target_is_explained(
    reason: str, state: TargetState, meaning: str, remedy: str
) -> None:
    result = check(CheckId.TARGET_HEALTH, targets=unhealthy(reason, state))

    assert result.state is BROKEN
    assert result.details[0].startswith(f"10.0.1.11:5432 is {state} ({reason}): ")
    assert meaning in result.details[0]
    assert remedy in result.remedy


def test_an_unregistered_address_is_broken() -> None:
    result = check(CheckId.TARGET_HEALTH, observation=observation(B), targets=())

    assert result.state is BROKEN
    assert result.details == ("10.0.2.12:5432 is not registered.",)
    assert "ReconcileTargetsFunction" in result.remedy


def test_a_draining_target_is_not_registered() -> None:
    result = check(CheckId.TARGET_HEALTH, targets=unhealthy("", TargetState.DRAINING))
    assert (result.state, result.details) == (BROKEN, ("10.0.1.11:5432 is draining.",))


def test_the_desired_address_on_another_port_is_another_target() -> None:
    result = check(CheckId.TARGET_HEALTH, targets=(target(port=5433),))
    assert result.details == ("10.0.1.11:5432 is not registered.",)


@pytest.mark.parametrize(
    "targets", [(target(), target(B, TargetState.UNHEALTHY, "Target.Timeout")), (target(),)]
)
def test_a_path_with_one_of_two_targets_works(targets: Any) -> None:
    report = status_report(observation=observation(A, B), targets=targets, outbound_rules=BOTH_OPEN)

    assert report.healthy
    assert of(report, CheckId.TARGET_HEALTH).state is WARNING


def test_without_an_observation_the_registered_targets_count() -> None:
    failure = failed(LookupFailure.NAME_DOES_NOT_EXIST)
    healthy = check(CheckId.TARGET_HEALTH, observation=failure)
    empty = check(CheckId.TARGET_HEALTH, observation=failure, targets=())

    assert healthy.state is OK
    assert empty.details == ("No target is registered.",)
    assert empty.caused_by is CheckId.ENDPOINT_NAME


def test_addresses_of_another_ip_version_are_not_expected() -> None:
    deployment = replace(
        DEPLOYMENT, policy=replace(DEPLOYMENT.policy, allowed_networks=(IPv6Network("fd00::/8"),))
    )
    result = check(CheckId.TARGET_HEALTH, deployment, targets=())
    assert result.details == ("No target is registered.",)


def test_targets_of_ipv6_are_recognized() -> None:
    """AWS may write an address in another form than Python."""
    address, standby = IPv6Address("fd00::1"), IPv6Address("fd00::2")
    policy = replace(DEPLOYMENT.policy, allowed_networks=(IPv6Network("fd00::/8"),))
    report = status_report(
        replace(SERVING_STANDBY, policy=replace(policy, serving_standby=True)),
        observation=observation(address),
        targets=(target("fd00:0:0::1"), target(standby)),
        standbys=StandbyCheck(confirmed=frozenset({standby})),
        outbound_rules=OutboundRules(frozenset({Target(address, PORT), Target(standby, PORT)})),
    )

    assert of(report, CheckId.TARGET_HEALTH).details == ("[fd00::1]:5432 is healthy.",)
    assert of(report, CheckId.DRIFT).details == (
        "[fd00::2]:5432 belongs to the standby and stays registered.",
    )
    assert of(report, CheckId.SWITCH).state is OK


def test_a_missing_target_group_is_one_fault() -> None:
    report = status_report(targets=None, group=None, group_attributes=None, listeners=())

    assert broken(report) == [CheckId.TARGET_GROUP]
    assert of(report, CheckId.DRIFT).state is CheckState.SKIPPED


# ------------------------------------------------------------------------------ PostgreSQL itself


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (SslReply.TLS, OK, "accepts TLS"),
        (SslReply.PLAIN, WARNING, "does not accept TLS"),
        (SslReply.OTHER, BROKEN, "does not reply as PostgreSQL"),
        (SslReply.NO_CONNECTION, CheckState.SKIPPED, "allow FunctionSecurityGroup"),
    ],
)
def test_the_reply_of_a_server_sets_the_state(
    reply: SslReply, state: CheckState, words: str
) -> None:
    result = check(CheckId.POSTGRESQL, probes={f"{A}:5432": reply})

    assert result.state is state
    assert words in result.details[0]


def test_the_worst_of_several_replies_counts() -> None:
    probes = {f"{A}:5432": SslReply.TLS, f"{B}:5432": SslReply.OTHER}
    result = check(CheckId.POSTGRESQL, probes=probes)
    assert (result.state, len(result.details)) == (BROKEN, 2)


# ------------------------------------------------------------------------------------------ drift


DRIFT: dict[str, Any] = {"targets": (target(), target(B)), "outbound_rules": BOTH_OPEN}


def test_a_foreign_target_is_drift() -> None:
    result = check(CheckId.DRIFT, recent_runs=OUT_OF_SYNC, **DRIFT)

    assert result.state is BROKEN
    assert result.details == (
        "10.0.2.12:5432 is registered, but is not an address of the database.",
        "No run ended in sync in the last 5 minutes.",
    )


def test_a_path_works_while_a_run_confirms_that_an_address_is_gone() -> None:
    """The first seconds after each failover."""
    report = status_report(observation=observation(B), **DRIFT)

    assert report.healthy
    assert of(report, CheckId.DRIFT).state is WARNING
    assert of(report, CheckId.DRIFT).details[1] == "A run ended in sync 30 seconds ago."
    assert report.summary == "The connection path works. Also: 1 warning."


@pytest.mark.parametrize(
    ("ttl", "seconds", "state"),
    [
        (5, -5.0, WARNING),
        (5, 306.0, WARNING),
        (5, 307.0, BROKEN),
        (None, 307.0, BROKEN),
        (200, 500.0, WARNING),
        (200, 501.0, BROKEN),
        # No run can wait for the end of such a TTL.
        (86400, 600.0, WARNING),
        (86400, 601.0, BROKEN),
    ],
)
def test_drift_is_broken_once_it_lasts_longer_than_a_run_can(
    ttl: int | None, seconds: float, state: CheckState
) -> None:
    result = check(
        CheckId.DRIFT,
        observation=observation(ttl=ttl),
        recent_runs=replace(RUNS, in_sync_at=NOW - seconds),
        **DRIFT,
    )
    assert result.state is state


def test_drift_that_nothing_repairs_has_its_cause() -> None:
    report = status_report(schedule_enabled=False, **DRIFT)
    assert of(report, CheckId.DRIFT).caused_by is CheckId.SCHEDULE


def test_drift_is_unknown_if_its_age_is_unknown() -> None:
    result = check(CheckId.DRIFT, recent_runs=DENIED, **DRIFT)

    assert result.state is CheckState.UNKNOWN
    assert DENIED.reason in result.details[0]


SERVING_STANDBY = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, serving_standby=True))
UNHEALTHY_STANDBY = target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")


def test_the_standbys_target_is_no_drift_and_need_not_be_healthy() -> None:
    report = status_report(
        SERVING_STANDBY,
        targets=(target(), UNHEALTHY_STANDBY),
        standbys=StandbyCheck(confirmed=frozenset({B})),
        outbound_rules=BOTH_OPEN,
    )

    assert report.healthy
    assert of(report, CheckId.TARGET_HEALTH).state is OK
    assert of(report, CheckId.DRIFT).details == (
        "10.0.2.12:5432 belongs to the standby and stays registered.",
    )


def test_a_target_that_is_not_the_standbys_is_drift() -> None:
    result = check(
        CheckId.DRIFT,
        SERVING_STANDBY,
        targets=(target(), UNHEALTHY_STANDBY),
        standbys=StandbyCheck(),
        outbound_rules=BOTH_OPEN,
        recent_runs=OUT_OF_SYNC,
    )
    assert result.state is BROKEN


def test_a_warm_target_is_no_drift() -> None:
    result = check(CheckId.DRIFT, targets=(target(), UNHEALTHY_STANDBY))

    assert result.state is OK
    assert result.details == ("10.0.2.12:5432 is warm: it is registered and closed.",)


def test_drift_is_unknown_if_a_target_may_be_warm() -> None:
    result = check(CheckId.DRIFT, targets=(target(), UNHEALTHY_STANDBY), outbound_rules=DENIED)

    assert result.state is CheckState.UNKNOWN
    assert DENIED.reason in result.details[0]


@pytest.mark.parametrize("standbys", [DENIED, StandbyCheck(failure="The API is throttled.")])
def test_drift_is_unknown_if_the_owner_of_a_target_is_unknown(standbys: Any) -> None:
    report = status_report(
        SERVING_STANDBY,
        targets=(target(), UNHEALTHY_STANDBY),
        standbys=standbys,
        outbound_rules=BOTH_OPEN,
    )

    assert of(report, CheckId.DRIFT).state is CheckState.UNKNOWN
    assert "10.0.2.12:5432" in of(report, CheckId.DRIFT).details[0]
    assert not report.healthy


@pytest.mark.parametrize(
    ("runs", "state"), [(RUNS, WARNING), (replace(RUNS, deregistrations=1), OK), (DENIED, OK)]
)
def test_a_target_that_drains_without_a_deregistration_is_a_warning(
    runs: Any, state: CheckState
) -> None:
    draining = target(B, TargetState.DRAINING, "Target.DeregistrationInProgress")
    result = check(CheckId.DRIFT, targets=(target(), draining), recent_runs=runs)

    assert result.state is state
    assert result.details == ("10.0.2.12:5432 is draining.",)


# --------------------------------------------------------------------------------- target group


@pytest.mark.parametrize(
    ("attribute", "value", "state"),
    [
        ("proxy_protocol_v2.enabled", "true", BROKEN),
        ("preserve_client_ip.enabled", "true", BROKEN),
        ("deregistration_delay.timeout_seconds", "300", WARNING),
        ("target_health_state.unhealthy.connection_termination.enabled", "false", WARNING),
    ],
)
def test_a_changed_attribute_is_reported(attribute: str, value: str, state: CheckState) -> None:
    attributes = {**dict(FACTS.group_attributes), attribute: value}  # type: ignore[arg-type]
    result = check(CheckId.TARGET_GROUP, group_attributes=attributes)

    assert result.state is state
    assert result.details[0].startswith(f"{attribute} is {value}, but should be ")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"protocol": "TLS"}, BROKEN),
        ({"target_type": "alb"}, BROKEN),
        ({"health_check": {**HEALTH_CHECK, "HealthCheckIntervalSeconds": 30}}, WARNING),
        ({"health_check": {**HEALTH_CHECK, "HealthCheckPort": "8080"}}, WARNING),
    ],
)
def test_a_changed_target_group_is_reported(change: dict[str, Any], state: CheckState) -> None:
    assert check(CheckId.TARGET_GROUP, group=replace(GROUP, **change)).state is state


def test_a_group_of_the_wrong_kind_has_no_command() -> None:
    """AWS cannot change the protocol or the type of a group."""
    result = check(CheckId.TARGET_GROUP, group=replace(GROUP, protocol="TLS"))

    assert "another target group" in result.remedy
    assert result.command == ""


DEFAULT_ATTRIBUTES = {
    "deregistration_delay.timeout_seconds": "300",
    "deregistration_delay.connection_termination.enabled": "false",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "preserve_client_ip.enabled": "false",
    "proxy_protocol_v2.enabled": "false",
}
"""AWS's own, for an IP group with TCP."""
DEFAULT_HEALTH_CHECK = {
    "HealthCheckProtocol": "TCP",
    "HealthCheckPort": "traffic-port",
    "HealthCheckIntervalSeconds": 30,
    "HealthCheckTimeoutSeconds": 10,
    "HealthyThresholdCount": 5,
    "UnhealthyThresholdCount": 2,
}


def test_an_existing_group_with_the_defaults_of_aws_is_a_warning() -> None:
    report = status_report(
        EXISTING_GROUP,
        group_attributes=DEFAULT_ATTRIBUTES,
        group=replace(GROUP, health_check=DEFAULT_HEALTH_CHECK),
    )

    result = of(report, CheckId.TARGET_GROUP)
    assert result.state is WARNING
    assert [detail.partition(" ")[0] for detail in result.details] == [
        "deregistration_delay.timeout_seconds",
        "deregistration_delay.connection_termination.enabled",
        "HealthCheckIntervalSeconds",
        "HealthCheckTimeoutSeconds",
        "HealthyThresholdCount",
    ]
    assert result.command == (
        "aws elbv2 modify-target-group-attributes --region eu-west-1"
        f" --target-group-arn {GROUP_ARN}"
        " --attributes Key=deregistration_delay.timeout_seconds,Value=0"
        " Key=deregistration_delay.connection_termination.enabled,Value=true"
        f" && aws elbv2 modify-target-group --region eu-west-1 --target-group-arn {GROUP_ARN}"
        " --health-check-interval-seconds 5 --health-check-timeout-seconds 4"
        " --healthy-threshold-count 2"
    )


def test_the_owner_of_an_existing_group_may_preserve_addresses() -> None:
    attributes = {**GROUP_ATTRIBUTES, "preserve_client_ip.enabled": "true"}
    fit = check(CheckId.TARGET_GROUP, EXISTING_GROUP, group_attributes=attributes)
    unfit = check(
        CheckId.TARGET_GROUP,
        EXISTING_GROUP,
        group_attributes={**attributes, "proxy_protocol_v2.enabled": "true"},
    )
    missing = check(CheckId.TARGET_GROUP, EXISTING_GROUP, group=None)

    assert (fit.state, unfit.state, missing.state) == (OK, BROKEN, BROKEN)
    assert "ExistingTargetGroupArn" in missing.remedy


# -------------------------------------------------------------------------------------- listener


def test_a_missing_listener_is_broken_and_the_remedy_creates_it() -> None:
    result = check(CheckId.LISTENER, listeners=())

    assert result.state is BROKEN
    assert f"--load-balancer-arn {BALANCER_ARN}" in result.command
    assert f"TargetGroupArn={GROUP_ARN}" in result.command


def test_the_listener_on_the_databases_port_counts() -> None:
    result = check(CheckId.LISTENER, listeners=(replace(LISTENER, port=6432), LISTENER))
    assert result.details[0] == "It forwards TCP port 5432 to the target group."


@pytest.mark.parametrize("change", [{"port": 6432}, {"protocol": "TLS"}])
def test_a_changed_listener_is_broken_unless_the_group_is_an_existing_one(
    change: dict[str, Any],
) -> None:
    listeners = (replace(LISTENER, **change),)
    result = check(CheckId.LISTENER, listeners=listeners)
    assert result.state is BROKEN
    assert f"--listener-arn {LISTENER.arn} --protocol TCP --port 5432" in result.command
    assert check(CheckId.LISTENER, EXISTING_GROUP, listeners=listeners).state is OK


@pytest.mark.parametrize(("deployment", "state"), [(DEPLOYMENT, BROKEN), (EXISTING_GROUP, WARNING)])
def test_a_listener_that_forwards_to_another_group_too_is_reported(
    deployment: Deployment, state: CheckState
) -> None:
    both = replace(LISTENER, target_group_arns=frozenset({GROUP_ARN, "arn:other"}))
    result = check(CheckId.LISTENER, deployment, listeners=(both,))

    assert result.state is state
    assert result.details == ("It forwards a part of the connections to arn:other.",)
    assert f"Type=forward,TargetGroupArn={GROUP_ARN}" in result.command


@pytest.mark.parametrize(
    ("attributes", "state", "words"),
    [
        ({"tcp.idle_timeout.seconds": "60"}, WARNING, "is 60 s, but should be 350 s"),
        (None, WARNING, "is not set, but should be 350 s"),
        ({"tcp.idle_timeout.seconds": "350"}, OK, "is 350 s"),
    ],
)
def test_the_idle_timeout_is_compared(attributes: Any, state: CheckState, words: str) -> None:
    result = check(CheckId.LISTENER, listener_attributes=attributes)
    assert result.state is state
    assert words in result.details[1]


# --------------------------------------------------------------------------------- load balancer


@pytest.mark.parametrize(
    ("state", "expected"),
    [("active", OK), ("active_impaired", WARNING), ("provisioning", BROKEN), ("failed", BROKEN)],
)
def test_the_load_balancers_state_is_reported(state: str, expected: CheckState) -> None:
    result = check(CheckId.LOAD_BALANCER, load_balancer=replace(BALANCER, state=state))
    assert result.state is expected
    assert result.details[0] == f"It is {state} in eu-west-1a, eu-west-1b."


CROSS_ZONE = "load_balancing.cross_zone.enabled"


@pytest.mark.parametrize(
    ("balancer", "group", "state"),
    [
        ("true", "use_load_balancer_configuration", OK),
        ("false", "use_load_balancer_configuration", BROKEN),
        ("false", "true", OK),
        ("true", "false", BROKEN),
    ],
)
def test_the_group_overrides_the_load_balancers_cross_zone_setting(
    balancer: str, group: str, state: CheckState
) -> None:
    result = check(
        CheckId.LOAD_BALANCER,
        load_balancer_attributes={CROSS_ZONE: balancer},
        group_attributes={**dict(FACTS.group_attributes), CROSS_ZONE: group},  # type: ignore[arg-type]
    )
    assert result.state is state


def test_another_load_balancer_may_have_cross_zone_load_balancing_off() -> None:
    result = check(CheckId.LOAD_BALANCER, EXISTING_GROUP, load_balancer_attributes={})
    unknown = check(CheckId.LOAD_BALANCER, group_attributes=DENIED)
    assert (result.state, unknown.state) == (WARNING, OK)


def test_a_group_without_a_load_balancer_is_broken() -> None:
    report = status_report(
        EXISTING_GROUP, load_balancer=None, load_balancer_attributes=None, listeners=None
    )
    assert broken(report) == [CheckId.LOAD_BALANCER]
    assert "Let a listener of" in of(report, CheckId.LOAD_BALANCER).remedy


# ------------------------------------------------------------------------------------------ zones


def test_a_zone_without_the_load_balancer_is_broken() -> None:
    third = IPv4Address("10.0.3.13")
    result = check(
        CheckId.AVAILABILITY_ZONES, observation=observation(third), targets=(target(third),)
    )

    assert result.state is BROKEN
    assert result.details == ("A target is in eu-west-1c, where the load balancer has no subnet.",)
    assert "SubnetIds" in result.remedy


def test_a_warm_target_in_a_zone_without_the_load_balancer_is_a_warning() -> None:
    third = target(IPv4Address("10.0.3.13"), TargetState.UNUSED, "Target.NotInUse")
    result = check(CheckId.AVAILABILITY_ZONES, targets=(target(), third))

    assert result.state is WARNING
    assert result.details == (
        "A warm target is in eu-west-1c, where the load balancer has no subnet.",
    )


@pytest.mark.parametrize(
    "targets",
    [
        (target(IPv4Address("10.0.3.13")),),
        (target(), target(IPv4Address("10.0.3.13"), TargetState.UNUSED, "Target.NotInUse")),
    ],
)
def test_a_zone_that_accepts_no_load_balancer_is_not_broken(
    targets: tuple[DescribedTarget, ...],
) -> None:
    *others, third = SUBNETS
    subnets = (*others, replace(third, accepts_load_balancers=False))
    seen = observation(*(IPv4Address(it.id) for it in targets[:1]))

    result = check(CheckId.AVAILABILITY_ZONES, subnets=subnets, observation=seen, targets=targets)

    assert result.state is OK
    assert result.details[1].startswith("AWS offers no Network Load Balancer in eu-west-1c.")


def test_a_target_outside_the_vpc_is_in_no_zone() -> None:
    result = check(
        CheckId.AVAILABILITY_ZONES, observation=observation(ELSEWHERE), targets=(target(ELSEWHERE),)
    )
    assert result.state is OK
    assert result.details[0].endswith(". No target is in its VPC.")


def test_a_single_zone_is_a_warning() -> None:
    alone = replace(BALANCER, zones={"eu-west-1a": "subnet-a"})
    assert check(CheckId.AVAILABILITY_ZONES, load_balancer=alone).state is WARNING


def test_the_zones_need_either_the_targets_or_the_observation() -> None:
    result = check(CheckId.AVAILABILITY_ZONES, targets=DENIED)
    failed_requests = check(CheckId.AVAILABILITY_ZONES, observation=DENIED)
    assert (result.state, failed_requests.state) == (OK, OK)


# ----------------------------------------------------------------- the load balancer's own groups


def own_rules(inbound: tuple[Rule, ...], outbound: tuple[Rule, ...]) -> dict[str, SecurityGroup]:
    """The groups of a load balancer with one group, which has these rules."""
    groups = {id_: group for id_, group in GROUPS.items() if id_ != OUTBOUND_RULES_GROUP}
    return {**groups, BALANCER_GROUP: group_of(inbound, outbound)}


OPEN_OUT = (rule(EVERYWHERE),)


@pytest.mark.parametrize(
    "outbound",
    [
        (),
        (rule(EVERYWHERE, port=443),),
        (rule(IPv4Network("10.0.2.0/24")),),
        (rule(EVERYWHERE, protocol="udp"),),
    ],
)
def test_a_group_without_an_outbound_rule_to_the_database_is_broken(
    outbound: tuple[Rule, ...],
) -> None:
    result = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        EXISTING_GROUP,
        security_groups=own_rules((rule(CONSUMERS),), outbound),
    )
    assert result.state is BROKEN
    assert f"--group-id {BALANCER_GROUP}" in result.command


@pytest.mark.parametrize(
    "outbound",
    [
        (rule(EVERYWHERE, port=None, protocol="-1"),),
        (rule(EVERYWHERE, port=None),),
        (rule(EVERYWHERE, first_port=5000, last_port=6000),),
        (rule(groups=(DATABASE_GROUP,)),),
        (rule(prefix_lists=("pl-1",)),),
    ],
)
def test_every_kind_of_outbound_rule_to_the_database_is_ok(outbound: tuple[Rule, ...]) -> None:
    result = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        EXISTING_GROUP,
        security_groups=own_rules((rule(CONSUMERS),), outbound),
    )
    assert result.state is OK


@pytest.mark.parametrize(("enforces", "word"), [(True, "off"), (False, "on")])
def test_a_changed_enforcement_is_broken(enforces: bool, word: str) -> None:
    result = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        replace(DEPLOYMENT, enforces_inbound_rules=not enforces),
        load_balancer=replace(BALANCER, enforces_inbound_rules=enforces),
    )
    assert result.state is BROKEN
    assert result.command.endswith(
        f"--enforce-security-group-inbound-rules-on-private-link-traffic {word}"
    )


@pytest.mark.parametrize(
    ("inbound", "open_"),
    [
        ((rule(CONSUMERS),), True),
        ((rule(EVERYWHERE),), True),
        ((rule(IPv4Network("10.0.0.0/16")),), False),
        ((rule(IPv6Network("::/0")),), False),  # type: ignore[arg-type]
        ((rule(prefix_lists=("pl-1",)),), True),
        ((), False),
    ],
)
@pytest.mark.parametrize("enforces", [True, False])
def test_a_missing_inbound_rule_is_broken_only_with_enforcement(
    inbound: tuple[Rule, ...], open_: bool, enforces: bool
) -> None:
    result = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        replace(DEPLOYMENT, enforces_inbound_rules=enforces),
        load_balancer=replace(BALANCER, enforces_inbound_rules=enforces),
        security_groups=own_rules(inbound, OPEN_OUT),
    )
    closed = BROKEN if enforces else WARNING
    assert result.state is (OK if open_ else closed)


@pytest.mark.parametrize(
    ("deployment", "networks"),
    [(DEPLOYMENT, str(CONSUMERS)), (EXISTING_GROUP, "the networks of the consumers")],
)
def test_the_remedy_names_the_first_group_and_the_consumers_network(
    deployment: Deployment, networks: str
) -> None:
    # AWS promises no order.
    balancer = replace(BALANCER, security_groups=(OUTBOUND_RULES_GROUP, BALANCER_GROUP))
    if deployment is EXISTING_GROUP:
        balancer = replace(BALANCER, security_groups=(BALANCER_GROUP, "sg-second"))

    closed = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        deployment,
        load_balancer=balancer,
        security_groups=own_rules((), OPEN_OUT),
    )

    assert closed.state is not OK
    assert closed.remedy == f"Allow {networks} in {BALANCER_GROUP}."


def test_the_group_of_another_load_balancer_may_allow_any_network() -> None:
    groups = own_rules((rule(IPv4Network("10.9.0.0/16")),), OPEN_OUT)
    result = check(CheckId.LOAD_BALANCER_SECURITY_GROUP, EXISTING_GROUP, security_groups=groups)
    assert result.state is OK


def test_a_load_balancer_without_groups_is_ok() -> None:
    bare = replace(BALANCER, security_groups=())
    assert check(CheckId.LOAD_BALANCER_SECURITY_GROUP, load_balancer=bare).state is OK


# ------------------------------------------------------------------------------------ the switch


STATES = {state: OutboundRules(OUTBOUND_RULES.open, state) for state in SwitchState}


@pytest.mark.parametrize("state", [SwitchState.PROVEN, SwitchState.UNPROVEN])
def test_the_switch_has_its_state_and_the_warm_targets(state: SwitchState) -> None:
    warm = target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")
    result = check(CheckId.SWITCH, targets=(target(), warm), outbound_rules=STATES[state])

    assert result.state is OK
    assert result.details[0].startswith(f"The switch is {state}: ")
    assert result.details[1] == "Registered and closed: 10.0.2.12:5432."


def test_an_ineffective_switch_is_a_warning_and_the_remedy_starts_the_proof_again() -> None:
    result = check(CheckId.SWITCH, outbound_rules=STATES[SwitchState.INEFFECTIVE])

    assert result.state is WARNING
    assert "no target is kept warm" in result.details[0]
    assert result.remedy == "Then delete the rule that keeps this state."
    assert result.command == (
        f"aws ec2 revoke-security-group-egress --region eu-west-1 --group-id {OUTBOUND_RULES_GROUP}"
        " --ip-permissions"
        " 'IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=255.255.255.255/32}]'"
    )


def test_a_closed_desired_target_causes_its_failed_health_checks() -> None:
    report = status_report(
        outbound_rules=OutboundRules(frozenset()), targets=unhealthy("Target.FailedHealthChecks")
    )

    assert broken(report) == [CheckId.SWITCH]
    (detail,) = of(report, CheckId.SWITCH).details
    assert detail == (
        f"No outbound rule of {OUTBOUND_RULES_GROUP} opens 10.0.1.11:5432, so the load balancer"
        " cannot reach it."
    )
    assert of(report, CheckId.TARGET_HEALTH).caused_by is CheckId.SWITCH


def test_a_target_that_is_not_registered_needs_no_rule() -> None:
    report = status_report(targets=(), outbound_rules=OutboundRules(frozenset()))
    assert broken(report) == [CheckId.TARGET_HEALTH]


@pytest.mark.parametrize("unavailable", [DENIED, failed(LookupFailure.TIMED_OUT)])
def test_the_switch_needs_no_observation(unavailable: Any) -> None:
    assert check(CheckId.SWITCH, observation=unavailable).state is OK


def test_the_switch_needs_no_targets() -> None:
    assert check(CheckId.SWITCH, targets=DENIED).state is OK


@pytest.mark.parametrize(("enforces", "word"), [(False, "off"), (True, "on")])
def test_a_load_balancer_without_the_group_of_outbound_rules_is_broken(
    enforces: bool, word: str
) -> None:
    bare = replace(BALANCER, security_groups=(BALANCER_GROUP,))
    deployment = replace(DEPLOYMENT, enforces_inbound_rules=enforces)
    result = check(CheckId.SWITCH, deployment, load_balancer=bare)

    assert result.state is BROKEN
    assert result.command == (
        f"aws elbv2 set-security-groups --region eu-west-1 --load-balancer-arn {BALANCER_ARN}"
        f" --security-groups {BALANCER_GROUP} {OUTBOUND_RULES_GROUP}"
        f" --enforce-security-group-inbound-rules-on-private-link-traffic {word}"
    )


@pytest.mark.parametrize(
    ("outbound", "peer", "permission"),
    [
        (rule(EVERYWHERE), EVERYWHERE,
         "IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=0.0.0.0/0}]"),
        (rule(EVERYWHERE, port=None, protocol="-1"), EVERYWHERE,
         "IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]"),
        (rule(IPv4Network(A)), "10.0.1.11/32",
         "IpProtocol=tcp,FromPort=5432,ToPort=5432,IpRanges=[{CidrIp=10.0.1.11/32}]"),
        (rule(groups=(DATABASE_GROUP,)), DATABASE_GROUP,
         f"IpProtocol=tcp,FromPort=5432,ToPort=5432,UserIdGroupPairs=[{{GroupId={DATABASE_GROUP}}}]"),
        (rule(prefix_lists=("pl-1",)), "pl-1",
         "IpProtocol=tcp,FromPort=5432,ToPort=5432,PrefixListIds=[{PrefixListId=pl-1}]"),
    ],
)  # fmt: skip
def test_another_rule_that_opens_targets_is_a_warning(
    outbound: Rule, peer: object, permission: str
) -> None:
    groups = {**GROUPS, BALANCER_GROUP: group_of((rule(CONSUMERS),), (outbound,))}
    result = check(CheckId.SWITCH, security_groups=groups)

    assert result.state is WARNING
    assert result.details[1] == (
        f"{BALANCER_GROUP} allows outbound traffic to {peer}, also to closed targets."
    )
    assert result.command == (
        f"aws ec2 revoke-security-group-egress --region eu-west-1 --group-id {BALANCER_GROUP}"
        f" --ip-permissions '{permission}'"
    )


@pytest.mark.parametrize(
    "outbound",
    [
        rule(EVERYWHERE, port=443),
        rule(EVERYWHERE, protocol="udp"),
        rule(IPv4Network("192.168.0.0/16")),
        rule(IPv6Network("::/0")),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_opens_no_target_is_ok(outbound: Rule) -> None:
    groups = {**GROUPS, BALANCER_GROUP: group_of((rule(CONSUMERS),), (outbound,))}
    assert check(CheckId.SWITCH, security_groups=groups).state is OK


def test_a_foreign_rule_in_the_group_of_outbound_rules_is_a_warning() -> None:
    foreign = rule(IPv4Network(A), NOWHERE, IPv4Network("10.0.0.0/16"), IPv4Network(B))
    groups = {**GROUPS, OUTBOUND_RULES_GROUP: group_of((), (foreign,))}
    result = check(CheckId.SWITCH, security_groups=groups)

    assert result.state is WARNING
    assert result.details[1:] == (
        f"{OUTBOUND_RULES_GROUP} allows outbound traffic to 10.0.0.0/16, also to closed targets.",
        f"{OUTBOUND_RULES_GROUP} allows outbound traffic to 10.0.2.12/32, also to closed targets.",
    )


def test_a_group_that_was_just_deleted_has_no_rules() -> None:
    groups = {id_: group for id_, group in GROUPS.items() if id_ != BALANCER_GROUP}
    assert check(CheckId.SWITCH, security_groups=groups).state is OK


# ------------------------------------------------------------------------- the database's groups


def database_rules(*rules: Rule) -> dict[str, SecurityGroup]:
    return {**GROUPS, DATABASE_GROUP: group_of(rules)}


@pytest.mark.parametrize(
    ("rules", "state"),
    [
        ((rule(groups=(BALANCER_GROUP,)),), OK),
        ((rule(IPv4Network("10.0.1.0/24")), rule(IPv4Network("10.0.2.0/24"))), OK),
        ((rule(IPv4Network("10.0.1.0/24")),), BROKEN),
        ((rule(groups=("sg-9",)),), BROKEN),
        ((rule(groups=(BALANCER_GROUP,), port=6432),), BROKEN),
        ((rule(prefix_lists=("pl-1",)),), WARNING),
    ],
)
def test_a_rule_of_the_database_must_allow_the_load_balancer(
    rules: tuple[Rule, ...], state: CheckState
) -> None:
    result = check(CheckId.DATABASE_SECURITY_GROUP, security_groups=database_rules(*rules))
    assert result.state is state


def test_the_database_needs_rules_for_the_load_balancers_own_subnets_only() -> None:
    # Another subnet of the same zone.
    beside = SubnetNetwork(IPv4Network("10.0.7.0/24"), "eu-west-1a", id="subnet-z")
    rules = database_rules(rule(IPv4Network("10.0.1.0/24"), IPv4Network("10.0.2.0/24")))

    result = check(
        CheckId.DATABASE_SECURITY_GROUP, subnets=(beside, *SUBNETS), security_groups=rules
    )

    assert result.state is OK


def test_the_remedy_for_a_database_in_another_vpc_names_no_security_group() -> None:
    groups = {**GROUPS, DATABASE_GROUP: replace(group_of(()), vpc_id="vpc-1a2b3c4d")}

    result = check(
        CheckId.DATABASE_SECURITY_GROUP,
        replace(DEPLOYMENT, manages_ingress=True),
        security_groups=groups,
    )

    assert result.remedy == "Allow it."
    assert "IpRanges=[{CidrIp=10.0.1.0/24},{CidrIp=10.0.2.0/24}]" in result.command


def test_the_remedy_for_a_closed_database_adds_the_rule() -> None:
    result = check(CheckId.DATABASE_SECURITY_GROUP, security_groups=database_rules())

    (detail,) = result.details
    assert detail == (
        f"No rule of {DATABASE_GROUP} allows {BALANCER_GROUP} or {OUTBOUND_RULES_GROUP} on port"
        f" {PORT}."
    )
    assert result.remedy == "Allow it (the stack's own rule, DatabaseIngress, is missing)."
    assert result.command == (
        f"aws ec2 authorize-security-group-ingress --region eu-west-1 --group-id {DATABASE_GROUP}"
        f" --ip-permissions 'IpProtocol=tcp,FromPort={PORT},ToPort={PORT},"
        f"UserIdGroupPairs=[{{GroupId={BALANCER_GROUP}}}]'"
    )


def test_a_load_balancer_without_groups_needs_a_rule_for_its_subnets() -> None:
    result = check(
        CheckId.DATABASE_SECURITY_GROUP,
        EXISTING_GROUP,
        load_balancer=replace(BALANCER, security_groups=()),
        security_groups={},
        subnets=SUBNETS,
    )
    assert result.details[0].endswith("allows the load balancer's subnets on port 5432.")
    assert result.remedy == "Allow it."
    assert result.command.endswith("IpRanges=[{CidrIp=10.0.1.0/24},{CidrIp=10.0.2.0/24}]'")


def test_a_database_without_known_groups_is_skipped() -> None:
    deployment = replace(DEPLOYMENT, database_security_groups=())
    result = check(CheckId.DATABASE_SECURITY_GROUP, deployment, database=Skipped("No API."))
    assert result.state is CheckState.SKIPPED


# -------------------------------------------------------------------------------------- consumers


@pytest.mark.parametrize("state", ["Pending", "Deleting", "Failed"])
def test_an_unavailable_endpoint_service_is_broken(state: str) -> None:
    service: Any = replace(FACTS.service, state=state)  # type: ignore[type-var]
    assert check(CheckId.ENDPOINT_SERVICE, service=service).state is BROKEN


def test_an_endpoint_service_on_another_load_balancer_is_broken() -> None:
    service: Any = replace(FACTS.service, load_balancer_arns=("arn:other",))  # type: ignore[type-var]
    result = check(CheckId.ENDPOINT_SERVICE, service=service)
    assert (result.state, BALANCER_ARN in result.command) == (BROKEN, True)


def test_a_second_load_balancer_of_the_endpoint_service_is_a_warning() -> None:
    service: Any = replace(FACTS.service, load_balancer_arns=(BALANCER_ARN, "arn:other"))  # type: ignore[type-var]
    result = check(CheckId.ENDPOINT_SERVICE, service=service)

    assert result.state is WARNING
    assert result.details == (
        "The endpoint service also uses arn:other, which gets connections too.",
    )
    assert result.command.endswith("--remove-network-load-balancer-arns arn:other")
    assert check(CheckId.ENDPOINT_SERVICE, service=service, load_balancer=DENIED).state is OK


@pytest.mark.parametrize(("now", "option"), [(True, "--no-accept"), (False, "--accept")])
def test_a_changed_acceptance_is_a_warning(now: bool, option: str) -> None:
    service: Any = replace(FACTS.service, acceptance_required=now)  # type: ignore[type-var]
    deployment = replace(DEPLOYMENT, acceptance_required=not now)
    result = check(CheckId.ENDPOINT_SERVICE, deployment, service=service)
    assert result.state is WARNING
    assert option in result.command


def test_the_endpoint_service_is_ok_while_the_load_balancer_is_unknown() -> None:
    assert check(CheckId.ENDPOINT_SERVICE, load_balancer=DENIED).state is OK


def test_a_missing_principal_is_broken() -> None:
    result = check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset({"arn:aws:iam::9:root"}))
    assert result.state is BROKEN
    assert result.command.endswith(f"--add-allowed-principals {PRINCIPAL}")
    assert (
        check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset()).details[0]
        == "No principal is allowed."
    )


def test_a_missing_endpoint_service_causes_missing_principals() -> None:
    report = status_report(service=None, principals=None)
    assert broken(report) == [CheckId.ENDPOINT_SERVICE]


def test_an_unexpected_principal_is_a_warning() -> None:
    result = check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset({PRINCIPAL, "*"}))
    assert result.state is WARNING
    assert result.command.endswith("--remove-allowed-principals '*'")


ACCEPTING = replace(DEPLOYMENT, acceptance_required=True)
WAITING = ConnectionState.PENDING_ACCEPTANCE


@pytest.mark.parametrize(
    ("deployment", "owner", "age", "state", "words"),
    [
        (ACCEPTING, TRUSTED, 10.0, WARNING, "ReviewConnectionsFunction accepts"),
        (ACCEPTING, TRUSTED, None, WARNING, "ReviewConnectionsFunction accepts"),
        (ACCEPTING, TRUSTED, 400.0, BROKEN, "log of ReviewConnectionsFunction"),
        (ACCEPTING, STRANGER, 10.0, BROKEN, "TrustedAccounts"),
        (DEPLOYMENT, TRUSTED, 10.0, BROKEN, "reject-vpc-endpoint-connections"),
    ],
)
def test_a_waiting_request_names_who_accepts_it(
    deployment: Deployment, owner: str, age: float | None, state: CheckState, words: str
) -> None:
    result = check(
        CheckId.ENDPOINT_CONNECTIONS, deployment, connections=(connection(WAITING, owner, age),)
    )
    assert result.state is state
    assert words in result.remedy
    assert result.details[0].startswith(
        f"vpce-0a1b2c3d4e5f60718 of account {owner} waits for acceptance"
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((ConnectionState.AVAILABLE,), OK),
        ((ConnectionState.PARTIAL,), OK),
        ((ConnectionState.AVAILABLE, ConnectionState.DELETED), OK),
        ((ConnectionState.AVAILABLE, ConnectionState.REJECTED), WARNING),
        ((ConnectionState.FAILED,), WARNING),
        ((ConnectionState.PENDING,), WARNING),
        ((ConnectionState.UNKNOWN,), WARNING),
        ((), WARNING),
    ],
)
def test_the_state_of_the_connections_is_reported(
    states: tuple[ConnectionState, ...], expected: CheckState
) -> None:
    report = status_report(connections=tuple(map(connection, states)))
    assert of(report, CheckId.ENDPOINT_CONNECTIONS).state is expected
    assert report.healthy


def test_a_connection_has_its_account_and_age() -> None:
    assert check(CheckId.ENDPOINT_CONNECTIONS).details == (
        f"vpce-0a1b2c3d4e5f60718 of account {TRUSTED} is available, created 60 minutes ago.",
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds ago"),
        (119, "119 seconds ago"),
        (120, "2 minutes ago"),
        (7200, "2 hours ago"),
        (259200, "3 days ago"),
    ],
)
def test_a_duration_has_one_unit(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_a_connected_account_that_is_no_longer_allowed_is_a_warning() -> None:
    report = status_report(connections=(connection(), connection(owner=STRANGER)))

    result = of(report, CheckId.ENDPOINT_CONNECTIONS)
    assert report.healthy
    assert result.state is WARNING
    assert result.details[-1] == (
        "vpce-0a1b2c3d4e5f60718 is connected, but is not of an allowed principal."
    )
    assert "reject-vpc-endpoint-connections" in result.command


def test_a_removed_principal_explains_its_connected_account() -> None:
    report = status_report(principals=frozenset())

    assert broken(report) == [CheckId.ALLOWED_PRINCIPALS]
    assert of(report, CheckId.ENDPOINT_CONNECTIONS).caused_by is CheckId.ALLOWED_PRINCIPALS


@pytest.mark.parametrize(
    "principals",
    [
        frozenset({f"arn:aws:iam::{STRANGER}:role/consumer", PRINCIPAL}),
        frozenset({f"arn:aws-cn:iam::{STRANGER}:user/consumer"}),
        frozenset({"*"}),
        frozenset({"firehose.amazonaws.com"}),
        DENIED,
    ],
)
def test_the_account_of_an_allowed_or_unknown_principal_may_be_connected(principals: Any) -> None:
    result = check(
        CheckId.ENDPOINT_CONNECTIONS,
        principals=principals,
        connections=(connection(owner=STRANGER),),
    )
    assert result.state is OK


def test_an_account_that_is_not_connected_need_not_be_allowed() -> None:
    gone = connection(ConnectionState.DELETED, STRANGER)
    assert check(CheckId.ENDPOINT_CONNECTIONS, connections=(connection(), gone)).state is OK


def test_a_trusted_account_that_may_not_connect_is_a_warning() -> None:
    trusting = replace(ACCEPTING, trusted_accounts=frozenset({TRUSTED, STRANGER}))
    result = check(CheckId.ALLOWED_PRINCIPALS, trusting)

    assert result.state is WARNING
    assert result.details[-1] == f"{STRANGER} is trusted, but may request no connection."
    # Without a review of requests the list has no effect.
    unused = replace(trusting, acceptance_required=False)
    assert check(CheckId.ALLOWED_PRINCIPALS, unused).state is OK


# -------------------------------------------------------------------------------------- operation


def network(gateway: str = "", *services: str) -> FunctionNetwork:
    return FunctionNetwork((SubnetRoute("subnet-f", gateway),), frozenset(services))


CLUSTER = replace(DEPLOYMENT, apis=("elasticloadbalancing", "rds"))


@pytest.mark.parametrize(
    ("function_network", "state", "words"),
    [
        (network("nat-1"), OK, "subnet-f reaches AWS through nat-1."),
        (network("", "elasticloadbalancing", "rds"), OK, "through interface endpoints"),
        (network("", "elasticloadbalancing"), BROKEN, "to reach rds."),
        (network(), BROKEN, "to reach elasticloadbalancing, rds."),
    ],
)
def test_a_function_in_a_vpc_must_reach_the_apis_that_it_calls(
    function_network: FunctionNetwork, state: CheckState, words: str
) -> None:
    result = check(CheckId.FUNCTION_NETWORK, CLUSTER, function_network=function_network)
    assert result.state is state
    assert words in result.details[0]


@pytest.mark.parametrize(
    ("seconds", "state"), [(-5.0, OK), (30.0, OK), (300.0, OK), (301.0, BROKEN)]
)
def test_the_last_successful_run_must_be_fresh(seconds: float, state: CheckState) -> None:
    runs = replace(RUNS, succeeded_at=NOW - seconds)
    assert check(CheckId.LAST_SYNC, recent_runs=runs).state is state


def test_failed_runs_are_reported() -> None:
    failing = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, succeeded_at=None, failures=3))
    mixed = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, failures=3))

    assert failing.details == (
        "No run succeeded in the last 15 minutes.",
        "3 runs failed in the last 15 minutes.",
    )
    assert f"--stack-name {STACK}" in failing.command
    assert (mixed.state, mixed.details[1]) == (OK, failing.details[1])


def test_missing_runs_have_another_remedy_than_failed_runs() -> None:
    result = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, succeeded_at=None))

    assert result.details == ("No run succeeded in the last 15 minutes.",)
    assert "schedule's rate and target" in result.remedy
    assert "newest errors" not in result.remedy


def test_a_veto_is_a_warning() -> None:
    result = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, vetoes=2))
    assert (result.state, "vetoes" in result.remedy) == (WARNING, True)


FOLLOWED = FollowedChange(at=NOW - 7200, to_detect=1.0, to_register=1.5, to_healthy=95.25)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (FOLLOWED, OK),
        (replace(FOLLOWED, to_healthy=301.0), WARNING),
        (replace(FOLLOWED, to_healthy=None), OK),
        (FollowedChange(at=NOW, to_detect=1.0), OK),
    ],
)
def test_a_slow_change_is_a_warning(change: FollowedChange, state: CheckState) -> None:
    assert check(CheckId.LAST_FAILOVER, changes=FollowedChanges(change, 14)).state is state


def test_the_seconds_of_a_change_are_reported() -> None:
    (detail,) = check(CheckId.LAST_FAILOVER, changes=FollowedChanges(FOLLOWED, 14)).details
    assert detail.startswith("The last change was 2 hours ago: ")
    assert detail.endswith(": detected after 1.0 s, registered after 1.5 s, healthy after 95.2 s.")


@pytest.mark.parametrize(
    ("counts", "state", "words"),
    [
        ((0, 0), OK, "Both queues are empty."),
        ((1, 0), BROKEN, "FailedRunsQueue has 1 message."),
        ((0, 2), BROKEN, "UndeliveredEventsQueue has 2 messages."),
        ((None, 0), BROKEN, "FailedRunsQueue does not exist."),
    ],
)
def test_messages_in_a_dead_letter_queue_are_broken(
    counts: Any, state: CheckState, words: str
) -> None:
    failed_runs, undelivered = counts
    result = check(
        CheckId.DEAD_LETTER_QUEUES, failed_runs=failed_runs, undelivered_events=undelivered
    )
    assert (result.state, result.details) == (state, (words,))


@pytest.mark.parametrize(
    ("deployment", "connections", "expected"),
    [
        (ACCEPTING, (connection(WAITING, TRUSTED, 400.0),), [CheckId.ENDPOINT_CONNECTIONS]),
        (
            ACCEPTING,
            (connection(WAITING, STRANGER, 400.0),),
            [CheckId.ENDPOINT_CONNECTIONS, CheckId.DEAD_LETTER_QUEUES],
        ),
        (
            DEPLOYMENT,
            (connection(WAITING, TRUSTED, 400.0),),
            [CheckId.ENDPOINT_CONNECTIONS, CheckId.DEAD_LETTER_QUEUES],
        ),
        (ACCEPTING, (connection(WAITING, TRUSTED, 10.0),), [CheckId.DEAD_LETTER_QUEUES]),
        (ACCEPTING, DENIED, [CheckId.DEAD_LETTER_QUEUES]),
    ],
)
def test_an_overdue_request_causes_failed_runs(
    deployment: Deployment, connections: Any, expected: list[CheckId]
) -> None:
    report = status_report(deployment, connections=connections, failed_runs=1)
    assert broken(report) == expected


# --------------------------------------------------------------------------- an Auto Scaling group

NO_SYNC = Skipped("An Auto Scaling group registers its instances itself.")
INSTANCE = "i-0a1b2c3d4e5f60718"


def scaling(**changes: Any) -> StatusReport:
    given = {
        "observation": NO_SYNC,
        "attached": True,
        "targets": (target(INSTANCE),),
        "group": replace(GROUP, target_type="instance"),
        "recent_runs": NO_SYNC,
        "changes": NO_SYNC,
        "schedule_enabled": NO_SYNC,
        **changes,
    }
    return status_report(SCALING, outbound_rules=Skipped("There is no switch."), **given)


def test_a_scaling_group_with_healthy_instances_is_healthy() -> None:
    report = scaling()

    assert report.healthy
    assert of(report, CheckId.ENDPOINT_NAME).details == (
        "The Auto Scaling group is attached to the target group.",
    )
    assert of(report, CheckId.TARGET_HEALTH).details == (f"{INSTANCE}:5432 is healthy.",)
    assert of(report, CheckId.DRIFT).state is CheckState.SKIPPED
    assert of(report, CheckId.LAST_SYNC).state is CheckState.SKIPPED


@pytest.mark.parametrize("attached", [False, None])
def test_a_detached_scaling_group_is_broken(attached: bool | None) -> None:
    report = scaling(attached=attached, targets=())

    assert broken(report) == [CheckId.ENDPOINT_NAME]


def test_a_scaling_group_without_instances_is_broken() -> None:
    result = of(scaling(targets=()), CheckId.TARGET_HEALTH)
    assert (result.state, "Auto Scaling group" in result.remedy) == (BROKEN, True)


# --------------------------------------------------------------------------------- for a terminal


def test_the_text_fits_a_terminal_and_needs_no_colour() -> None:
    report = status_report(
        schedule_enabled=False, recent_runs=replace(RUNS, succeeded_at=None), changes=DENIED
    )

    text = to_text(report)

    lines = text.splitlines()
    assert lines[:4] == [
        f"{STACK}, 2026-11-22T10:00:00Z: not healthy",
        "The connection path is broken at schedule. Also: 1 warning, 1 unknown.",
        "",
        "✗ broken    Schedule [schedule]",
    ]
    assert "            -> Switch it on." in lines
    assert "! warning   Last sync [last-sync]" in lines
    assert "? unknown   Last failover [last-failover]" in lines
    assert "✓ ok        Endpoint name [endpoint-name]" in lines
    assert "- skipped   PostgreSQL [postgresql]" in lines
    assert [line.split()[:2] for line in lines if len(line) > 100] == [["aws", "scheduler"]]


def test_the_text_lists_the_most_urgent_state_first() -> None:
    report = status_report(
        schedule_enabled=False, recent_runs=replace(RUNS, succeeded_at=None), changes=DENIED
    )

    lines = [line for line in to_text(report).splitlines()[3:] if not line.startswith(" ")]

    states = [line.split()[1] for line in lines]
    assert list(dict.fromkeys(states)) == ["broken", "unknown", "warning", "ok", "skipped"]
    assert states == sorted(states, key=list(dict.fromkeys(states)).index)
    ok = [line.partition("[")[2].rstrip("]") for line in lines if line.split()[1] == "ok"]
    assert ok == [check.id for check in report.checks if check.state is OK]
    assert len(lines) == len(CheckId)


def test_the_text_of_an_unknown_path_is_headed_unknown() -> None:
    assert to_text(status_report(listeners=DENIED)).splitlines()[0].endswith("Z: unknown")


def test_a_long_command_is_not_cut() -> None:
    lines = to_text(status_report(listeners=())).splitlines()
    assert f"            {check(CheckId.LISTENER, listeners=()).command}" in lines


def test_the_text_begins_with_the_state_of_the_path() -> None:
    assert to_text(status_report()).splitlines()[0].endswith(": healthy")
    assert OUTSIDE.reason in to_text(status_report())
