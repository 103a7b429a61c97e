"""Each step of the road: what is seen, whether it is broken, what to do, and what explains it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest

from target_sync.model import (
    ConnectionState,
    FailedObservation,
    LookupFailure,
    StandbyCheck,
    TargetState,
)
from target_sync.status.checks.consumers import ago
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import (
    Deployment,
    FollowedChange,
    FollowedChanges,
    FunctionNetwork,
    Rule,
    SecurityGroup,
    Skipped,
    SslReply,
    SubnetRoute,
    Unknown,
)
from target_sync.status.report import StatusCheck, StatusReport, make_report, to_text
from tests.support.status import (
    BALANCER,
    BALANCER_ARN,
    BALANCER_GROUP,
    CONSUMERS,
    DATABASE_GROUP,
    DEPLOYMENT,
    EVERYWHERE,
    FACTS,
    GROUP,
    GROUP_ARN,
    GROUPS,
    LISTENER,
    NAME,
    NOW,
    OUTSIDE,
    OWN_GROUP,
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
PUBLIC, ELSEWHERE = IPv4Address("8.8.8.8"), IPv4Address("192.168.7.1")
BROKEN, WARNING, OK = CheckState.BROKEN, CheckState.WARNING, CheckState.OK


def status_report(deployment: Deployment = DEPLOYMENT, **changes: Any) -> StatusReport:
    """What is said of the right road with these facts changed."""
    return make_report(replace(FACTS, **changes), deployment)


def check(step: CheckId, deployment: Deployment = DEPLOYMENT, **changes: Any) -> StatusCheck:
    return of(status_report(deployment, **changes), step)


def of(found: StatusReport, step: CheckId) -> StatusCheck:
    (check,) = [check for check in found.checks if check.step is step]
    return check


def broken(found: StatusReport) -> list[CheckId]:
    return [check.step for check in found.checks if check.state is BROKEN]


def failed(failure: LookupFailure) -> FailedObservation:
    return FailedObservation(name=NAME, failure=failure, detail=f"{NAME}: {failure}.", at=0.0)


def group_of(inbound: tuple[Rule, ...] = (), outbound: tuple[Rule, ...] = ()) -> SecurityGroup:
    return SecurityGroup(inbound=inbound, outbound=outbound)


def sick(reason: str, state: TargetState = TargetState.UNHEALTHY) -> Any:
    return (target(state=state, reason=reason),)


# ------------------------------------------------------------------------------- the whole road


def test_on_a_right_road_every_step_is_ok_or_has_nothing_to_look_at() -> None:
    found = status_report()

    assert found.healthy
    assert found.summary == "The road works."
    assert {check.state for check in found.checks} == {OK, CheckState.SKIPPED}
    assert [check.step for check in found.checks] == list(CheckId)
    assert not [check for check in found.checks if check.remedy]


def test_the_document_says_everything_in_a_stable_order() -> None:
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
    assert document["summary"] == "The road is broken at schedule."
    assert document["at"] == "2026-11-22T10:00:00Z"
    assert document["stack"] == STACK
    (schedule,) = [entry for entry in document["checks"] if entry["id"] == "schedule"]
    assert schedule == {
        "id": "schedule",
        "title": "The schedule is on",
        "state": "broken",
        "details": ["The schedule is switched off."],
        "remedy": "Switch it on: EventBridge Scheduler, Schedules, Enable.",
        "caused_by": None,
    }


def test_the_document_has_the_targets_and_the_last_change_for_a_program() -> None:
    change = FollowedChange(at=NOW - 600, to_detect=4.2, to_register=4.9)
    document = status_report(
        targets=sick("Target.FailedHealthChecks"), changes=FollowedChanges(change, 14)
    ).to_document()

    assert document["targets"] == [
        {
            "target": "10.0.1.11:5432",
            "state": "unhealthy",
            "reason": "Target.FailedHealthChecks",
        }
    ]
    assert document["last_change"] == {
        "at": "2026-11-22T09:50:00Z",
        "to_detect": 4.2,
        "to_register": 4.9,
        "to_healthy": None,
    }


@pytest.mark.parametrize("unseen", [Unknown("reason", "do"), Skipped("reason"), None])
def test_without_targets_and_changes_there_is_nothing_for_a_program(unseen: Any) -> None:
    changes = FollowedChanges(None, 14) if unseen is None else unseen
    document = status_report(targets=unseen, changes=changes).to_document()
    assert document["targets"] is None
    assert document["last_change"] is None


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"observation": failed(LookupFailure.NAME_DOES_NOT_EXIST)}, CheckId.ENDPOINT_NAME),
        ({"observation": observation(PUBLIC)}, CheckId.ALLOWED_ADDRESSES),
        ({"targets": sick("Target.InvalidState")}, CheckId.TARGET_HEALTH),
        ({"probes": {f"{A}:5432": SslReply.OTHER}}, CheckId.POSTGRESQL),
        ({"targets": (target(), target(B))}, CheckId.DRIFT),
        ({"group": None}, CheckId.TARGET_GROUP),
        ({"listeners": ()}, CheckId.LISTENER),
        ({"load_balancer": None, "listeners": None}, CheckId.LOAD_BALANCER),
        ({"load_balancer": replace(BALANCER, zones={"eu-west-1b": "b", "eu-west-1c": "c"})},
         CheckId.AVAILABILITY_ZONES),
        ({"load_balancer": replace(BALANCER, enforces=True)}, CheckId.LOAD_BALANCER_SECURITY_GROUP),
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
def test_one_fault_is_one_broken_step(changes: dict[str, Any], step: CheckId) -> None:
    found = status_report(**changes)

    assert broken(found) == [step]
    assert not found.healthy
    assert found.summary.startswith(f"The road is broken at {step}.")
    assert of(found, step).remedy


# ------------------------------------------------------------------ causes and what follows them


def test_a_closed_security_group_explains_the_unhealthy_target() -> None:
    found = status_report(
        targets=sick("Target.FailedHealthChecks"),
        security_groups={**GROUPS, DATABASE_GROUP: group_of()},
    )

    follower = of(found, CheckId.TARGET_HEALTH)
    assert broken(found) == [CheckId.DATABASE_SECURITY_GROUP]
    assert follower.state is WARNING
    assert follower.caused_by is CheckId.DATABASE_SECURITY_GROUP
    assert follower.remedy == "This follows from database-security-group: remedy that first."
    assert "unhealthy" in follower.seen[0]
    assert follower.to_document()["caused_by"] == "database-security-group"


def test_a_chain_of_causes_ends_at_its_root() -> None:
    """No schedule, so no run, so the moved database is not followed and runs are lost."""
    found = status_report(
        schedule_enabled=False,
        recent_runs=replace(RUNS, succeeded_at=NOW - 3600),
        observation=observation(B),
        failed_runs=1,
    )

    followers = {check.step: check.caused_by for check in found.checks if check.caused_by}
    assert broken(found) == [CheckId.SCHEDULE]
    assert followers == dict.fromkeys(
        (CheckId.TARGET_HEALTH, CheckId.DRIFT, CheckId.LAST_SYNC, CheckId.DEAD_LETTER_QUEUES),
        CheckId.SCHEDULE,
    )


def test_a_name_that_is_gone_explains_failed_and_lost_runs() -> None:
    found = status_report(
        observation=failed(LookupFailure.NAME_DOES_NOT_EXIST),
        recent_runs=replace(RUNS, succeeded_at=None, failures=9),
        failed_runs=4,
    )

    assert broken(found) == [CheckId.ENDPOINT_NAME]
    assert of(found, CheckId.ALLOWED_ADDRESSES).state is CheckState.SKIPPED
    assert of(found, CheckId.DRIFT).state is CheckState.SKIPPED
    assert of(found, CheckId.TARGET_HEALTH).state is OK


def test_a_gone_listener_explains_an_unused_target() -> None:
    found = status_report(listeners=(), targets=sick("Target.NotInUse", TargetState.UNUSED))

    assert broken(found) == [CheckId.LISTENER]
    assert of(found, CheckId.TARGET_HEALTH).caused_by is CheckId.LISTENER


def test_a_missing_load_balancer_leaves_nothing_to_look_at_behind_it() -> None:
    found = status_report(load_balancer=None, load_balancer_attributes=None, listeners=None)

    states = {check.step: check.state for check in found.checks}
    assert broken(found) == [CheckId.LOAD_BALANCER]
    assert states[CheckId.AVAILABILITY_ZONES] is CheckState.SKIPPED
    assert states[CheckId.LOAD_BALANCER_SECURITY_GROUP] is CheckState.SKIPPED
    assert states[CheckId.DATABASE_SECURITY_GROUP] is CheckState.SKIPPED
    assert of(found, CheckId.LISTENER).caused_by is CheckId.LOAD_BALANCER


def test_two_causes_are_two_broken_steps() -> None:
    found = status_report(schedule_enabled=False, principals=frozenset())

    assert broken(found) == [CheckId.ALLOWED_PRINCIPALS, CheckId.SCHEDULE]
    assert found.summary == "The road is broken at allowed-principals, schedule."


# ----------------------------------------------------------------------------- what is not known


@pytest.mark.parametrize(
    "fact",
    ["observation", "targets", "group", "listeners", "load_balancer", "subnets",
     "security_groups", "service", "principals", "connections", "load_balancer_attributes",
     "group_attributes"],
)  # fmt: skip
def test_a_road_of_which_something_vital_is_unknown_is_not_healthy(fact: str) -> None:
    changes: dict[str, Any] = {fact: DENIED}
    found = status_report(**changes)

    unknown = [check for check in found.checks if check.state is CheckState.UNKNOWN]
    assert not found.healthy
    assert not broken(found)
    assert unknown
    assert {(check.seen, check.remedy) for check in unknown} == {((DENIED.why,), DENIED.remedy)}
    assert found.summary.startswith("Whether the road works is not known: ")


@pytest.mark.parametrize(
    ("fact", "step"),
    [
        ("function_network", CheckId.FUNCTION_NETWORK),
        ("recent_runs", CheckId.LAST_SYNC),
        ("changes", CheckId.LAST_FAILOVER),
        ("schedule_enabled", CheckId.SCHEDULE),
        ("failed_runs", CheckId.DEAD_LETTER_QUEUES),
        ("undelivered_events", CheckId.DEAD_LETTER_QUEUES),
        ("probes", CheckId.POSTGRESQL),
    ],
)
def test_a_road_works_even_if_its_past_is_unknown(fact: str, step: CheckId) -> None:
    changes: dict[str, Any] = {fact: DENIED}
    found = status_report(**changes)

    assert found.healthy
    assert of(found, step).state is CheckState.UNKNOWN
    assert found.summary == "The road works. Besides: 1 unknown."


def test_what_is_named_as_not_known_is_not_counted_again() -> None:
    found = status_report(listeners=DENIED, changes=DENIED)

    assert found.summary == "Whether the road works is not known: listener. Besides: 1 unknown."


def test_an_unknown_idle_timeout_leaves_the_listener_ok() -> None:
    found = check(CheckId.LISTENER, listener_attributes=DENIED)

    assert found.state is OK
    assert DENIED.why in found.seen[1]


# ---------------------------------------------------------------------------------- the endpoint


def test_the_name_is_told_with_its_addresses_ttl_and_source() -> None:
    found = check(CheckId.ENDPOINT_NAME, observation=observation(B, A))
    assert found.seen == (f"{NAME} is 10.0.1.11, 10.0.2.12 (source dns, TTL 5 s).",)


def test_given_addresses_have_no_ttl() -> None:
    static = observation(name="10.0.1.11", source="static", ttl=None)
    assert check(CheckId.ENDPOINT_NAME, observation=static).seen == (
        "10.0.1.11 is 10.0.1.11 (source static).",
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
def test_a_name_that_says_nothing_is_broken(failure: LookupFailure, words: str) -> None:
    found = check(CheckId.ENDPOINT_NAME, observation=failed(failure))

    assert found.state is BROKEN
    assert found.seen == (f"{NAME}: {failure}.",)
    assert words in found.remedy


@pytest.mark.parametrize("failure", [LookupFailure.API_UNAVAILABLE, LookupFailure.ACCESS_DENIED])
def test_an_api_that_does_not_answer_says_nothing_of_the_name(failure: LookupFailure) -> None:
    found = status_report(observation=failed(failure))

    assert of(found, CheckId.ENDPOINT_NAME).state is CheckState.UNKNOWN
    assert not broken(found)
    assert not found.healthy


def test_two_sources_that_disagree_are_told() -> None:
    found = check(CheckId.ENDPOINT_NAME, observation=observation(disagreement="RDS says B."))
    assert (found.state, found.seen[1]) == (WARNING, "RDS says B.")


@pytest.mark.parametrize(("ttl", "state"), [(540, OK), (541, WARNING)])
def test_a_time_to_live_that_outlasts_a_run_is_told(ttl: int, state: CheckState) -> None:
    assert check(CheckId.ENDPOINT_NAME, observation=observation(ttl=ttl)).state is state


def test_an_address_outside_the_allowed_networks_is_broken() -> None:
    found = check(CheckId.ALLOWED_ADDRESSES, observation=observation(A, PUBLIC))

    assert found.state is BROKEN
    assert found.seen == ("8.8.8.8 may not be a target; allowed are 10.0.0.0/16.",)


@pytest.mark.parametrize(("most", "state"), [(2, OK), (1, BROKEN)])
def test_too_many_addresses_are_broken(most: int, state: CheckState) -> None:
    deployment = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, max_targets=most))
    found = check(CheckId.ALLOWED_ADDRESSES, deployment, observation=observation(A, B))
    assert found.state is state


# ----------------------------------------------------------------------------------- the targets


@pytest.mark.parametrize(
    ("reason", "state", "meaning", "remedy"),
    [
        ("Target.FailedHealthChecks", TargetState.UNHEALTHY, "cannot open", "security group"),
        ("Target.Timeout", TargetState.UNHEALTHY, "cannot open", "DatabasePort is wrong"),
        ("Target.InvalidState", TargetState.UNHEALTHY, "stopped or terminated", "Start it"),
        ("Target.IpUnusable", TargetState.UNUSED, "a load balancer", "DatabaseEndpoint"),
        ("Elb.InitialHealthChecking", TargetState.INITIAL, "still registering", "wait"),
        ("Elb.InternalError", TargetState.UNAVAILABLE, "internal error", "later"),
        ("Some.NewReason", TargetState.UNHEALTHY, "no reason that is known", "EC2 console"),
    ],
)
def test_a_targets_state_is_translated(
    reason: str, state: TargetState, meaning: str, remedy: str
) -> None:
    found = check(CheckId.TARGET_HEALTH, targets=sick(reason, state))

    assert found.state is BROKEN
    assert found.seen[0].startswith(f"10.0.1.11:5432 is {state} ({reason}): ")
    assert meaning in found.seen[0]
    assert remedy in found.remedy


def test_an_address_that_is_not_registered_is_broken() -> None:
    found = check(CheckId.TARGET_HEALTH, observation=observation(B), targets=())

    assert found.state is BROKEN
    assert found.seen == ("10.0.2.12:5432 is not registered.",)
    assert "ReconcileTargetsFunction" in found.remedy


def test_a_draining_target_is_not_registered() -> None:
    found = check(CheckId.TARGET_HEALTH, targets=sick("", TargetState.DRAINING))
    assert (found.state, found.seen) == (BROKEN, ("10.0.1.11:5432 is draining.",))


def test_the_right_address_on_another_port_is_another_target() -> None:
    found = check(CheckId.TARGET_HEALTH, targets=(target(port=5433),))
    assert found.seen == ("10.0.1.11:5432 is not registered.",)


@pytest.mark.parametrize(
    "targets",
    [(target(), target(B, TargetState.UNHEALTHY, "Target.Timeout")), (target(),)],
)
def test_a_road_that_lost_one_of_two_targets_still_works(targets: Any) -> None:
    found = status_report(observation=observation(A, B), targets=targets)

    assert found.healthy
    assert of(found, CheckId.TARGET_HEALTH).state is WARNING


def test_without_an_answer_the_registered_targets_are_judged() -> None:
    gone = failed(LookupFailure.NAME_DOES_NOT_EXIST)
    well = check(CheckId.TARGET_HEALTH, observation=gone)
    none = check(CheckId.TARGET_HEALTH, observation=gone, targets=())

    assert well.state is OK
    assert none.seen == ("No target is registered.",)
    assert none.caused_by is CheckId.ENDPOINT_NAME


def test_addresses_of_another_ip_version_are_not_expected() -> None:
    deployment = replace(
        DEPLOYMENT,
        policy=replace(DEPLOYMENT.policy, allowed_networks=(IPv6Network("fd00::/8"),)),
    )
    found = check(CheckId.TARGET_HEALTH, deployment, targets=())
    assert found.seen == ("No target is registered.",)


def test_a_target_group_that_is_gone_is_one_fault() -> None:
    found = status_report(targets=None, group=None, group_attributes=None, listeners=())

    assert broken(found) == [CheckId.TARGET_GROUP]
    assert of(found, CheckId.DRIFT).state is CheckState.SKIPPED


# ------------------------------------------------------------------------------ PostgreSQL itself


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (SslReply.TLS, OK, "takes TLS"),
        (SslReply.PLAIN, WARNING, "no TLS"),
        (SslReply.OTHER, BROKEN, "does not answer as PostgreSQL"),
        (SslReply.NO_CONNECTION, CheckState.SKIPPED, "let FunctionSecurityGroup in"),
    ],
)
def test_what_answers_is_told(reply: SslReply, state: CheckState, words: str) -> None:
    found = check(CheckId.POSTGRESQL, probes={f"{A}:5432": reply})

    assert found.state is state
    assert words in found.seen[0]


def test_the_worst_of_several_answers_counts() -> None:
    probes = {f"{A}:5432": SslReply.TLS, f"{B}:5432": SslReply.OTHER}
    found = check(CheckId.POSTGRESQL, probes=probes)
    assert (found.state, len(found.seen)) == (BROKEN, 2)


# ------------------------------------------------------------------------------------------ drift


def test_a_target_that_is_not_the_database_is_drift() -> None:
    found = check(CheckId.DRIFT, targets=(target(), target(B)))

    assert found.state is BROKEN
    assert found.seen == ("10.0.2.12:5432 is registered and is not where the database is.",)


KEEPING = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, serving_standby=True))
UNHEALTHY_STANDBY = target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")


def test_a_kept_standby_is_no_drift_and_no_sick_target() -> None:
    found = status_report(
        KEEPING,
        targets=(target(), UNHEALTHY_STANDBY),
        standbys=StandbyCheck(confirmed=frozenset({B})),
    )

    assert found.healthy
    assert of(found, CheckId.TARGET_HEALTH).state is OK
    assert of(found, CheckId.DRIFT).seen == ("10.0.2.12:5432 is kept as the standby's.",)


def test_what_is_not_the_standbys_is_drift_even_where_one_is_kept() -> None:
    found = check(
        CheckId.DRIFT, KEEPING, targets=(target(), UNHEALTHY_STANDBY), standbys=StandbyCheck()
    )
    assert found.state is BROKEN


@pytest.mark.parametrize("standbys", [DENIED, StandbyCheck(failure="The API is throttled.")])
def test_whether_it_is_the_standbys_may_be_unknown(standbys: Any) -> None:
    found = status_report(KEEPING, targets=(target(), UNHEALTHY_STANDBY), standbys=standbys)

    assert of(found, CheckId.DRIFT).state is CheckState.UNKNOWN
    assert "10.0.2.12:5432" in of(found, CheckId.DRIFT).seen[0]
    assert not found.healthy


@pytest.mark.parametrize(
    ("runs", "state"),
    [
        (RUNS, WARNING),
        (replace(RUNS, deregistrations=1), OK),
        (DENIED, OK),
    ],
)
def test_what_drains_for_long_is_told(runs: Any, state: CheckState) -> None:
    leaving = target(B, TargetState.DRAINING, "Target.DeregistrationInProgress")
    found = check(CheckId.DRIFT, targets=(target(), leaving), recent_runs=runs)

    assert found.state is state
    assert found.seen == ("10.0.2.12:5432 is draining.",)


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
def test_an_attribute_that_was_changed_is_told(
    attribute: str, value: str, state: CheckState
) -> None:
    attributes = {**dict(FACTS.group_attributes), attribute: value}  # type: ignore[arg-type]
    found = check(CheckId.TARGET_GROUP, group_attributes=attributes)

    assert found.state is state
    assert found.seen[0].startswith(f"{attribute} is {value}, and should be ")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"protocol": "TLS"}, BROKEN),
        ({"target_type": "alb"}, BROKEN),
        ({"health_check_interval": 30}, WARNING),
        ({"health_check_port": "8080"}, WARNING),
    ],
)
def test_a_group_that_was_changed_is_told(change: dict[str, Any], state: CheckState) -> None:
    assert check(CheckId.TARGET_GROUP, group=replace(GROUP, **change)).state is state


def test_somebodys_own_group_may_have_its_own_attributes() -> None:
    theirs = {"preserve_client_ip.enabled": "true", "proxy_protocol_v2.enabled": "false"}
    fit = check(CheckId.TARGET_GROUP, OWN_GROUP, group_attributes=theirs)
    unfit = check(
        CheckId.TARGET_GROUP,
        OWN_GROUP,
        group_attributes={**theirs, "proxy_protocol_v2.enabled": "true"},
    )
    gone = check(CheckId.TARGET_GROUP, OWN_GROUP, group=None)

    assert (fit.state, unfit.state, gone.state) == (OK, BROKEN, BROKEN)
    assert "ExistingTargetGroupArn" in gone.remedy


# -------------------------------------------------------------------------------------- listener


def test_a_gone_listener_is_broken_with_the_command_that_makes_it() -> None:
    found = check(CheckId.LISTENER, listeners=())

    assert found.state is BROKEN
    assert f"--load-balancer-arn {BALANCER_ARN}" in found.remedy
    assert f"TargetGroupArn={GROUP_ARN}" in found.remedy


def test_of_several_listeners_the_one_on_the_databases_port_counts() -> None:
    found = check(CheckId.LISTENER, listeners=(replace(LISTENER, port=6432), LISTENER))
    assert found.seen[0] == "TCP on port 5432 goes to the target group."


@pytest.mark.parametrize("change", [{"port": 6432}, {"protocol": "TLS"}])
def test_a_listener_that_was_changed_is_broken_unless_it_is_somebodys_own(
    change: dict[str, Any],
) -> None:
    listeners = (replace(LISTENER, **change),)
    found = check(CheckId.LISTENER, listeners=listeners)
    assert found.state is BROKEN
    assert f"--listener-arn {LISTENER.arn} --protocol TCP --port 5432" in found.remedy
    assert check(CheckId.LISTENER, OWN_GROUP, listeners=listeners).state is OK


@pytest.mark.parametrize(
    ("attributes", "state", "words"),
    [
        ({"tcp.idle_timeout.seconds": "60"}, WARNING, "after 60 s, and should after 350 s"),
        (None, WARNING, "after not set s"),
        ({"tcp.idle_timeout.seconds": "350"}, OK, "after 350 s"),
    ],
)
def test_the_idle_timeout_is_compared(attributes: Any, state: CheckState, words: str) -> None:
    found = check(CheckId.LISTENER, listener_attributes=attributes)
    assert found.state is state
    assert words in found.seen[1]


# --------------------------------------------------------------------------------- load balancer


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("active", OK), ("active_impaired", WARNING), ("provisioning", BROKEN), ("failed", BROKEN)],
)
def test_the_load_balancers_state_is_told(state: str, verdict: CheckState) -> None:
    found = check(CheckId.LOAD_BALANCER, load_balancer=replace(BALANCER, state=state))
    assert found.state is verdict
    assert found.seen[0] == f"It is {state} in eu-west-1a, eu-west-1b."


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
def test_cross_zone_load_balancing_is_the_groups_word_or_the_load_balancers(
    balancer: str, group: str, state: CheckState
) -> None:
    found = check(
        CheckId.LOAD_BALANCER,
        load_balancer_attributes={CROSS_ZONE: balancer},
        group_attributes={**dict(FACTS.group_attributes), CROSS_ZONE: group},  # type: ignore[arg-type]
    )
    assert found.state is state


def test_somebodys_own_load_balancer_may_stay_within_its_zones() -> None:
    found = check(CheckId.LOAD_BALANCER, OWN_GROUP, load_balancer_attributes={})
    unseen = check(CheckId.LOAD_BALANCER, group_attributes=DENIED)
    assert (found.state, unseen.state) == (WARNING, OK)


def test_a_group_without_a_load_balancer_is_broken() -> None:
    found = status_report(
        OWN_GROUP, load_balancer=None, load_balancer_attributes=None, listeners=None
    )
    assert broken(found) == [CheckId.LOAD_BALANCER]
    assert "Forward a listener" in of(found, CheckId.LOAD_BALANCER).remedy


# ------------------------------------------------------------------------------------------ zones


def test_a_zone_without_the_load_balancer_is_broken() -> None:
    third = IPv4Address("10.0.3.13")
    found = check(
        CheckId.AVAILABILITY_ZONES, observation=observation(third), targets=(target(third),)
    )

    assert found.state is BROKEN
    assert found.seen == ("A target is in eu-west-1c, where the load balancer has no subnet.",)
    assert "SubnetIds" in found.remedy


def test_a_target_outside_the_vpc_is_in_no_zone() -> None:
    found = check(
        CheckId.AVAILABILITY_ZONES, observation=observation(ELSEWHERE), targets=(target(ELSEWHERE),)
    )
    assert found.state is OK
    assert found.seen[0].endswith("; no target in its VPC.")


def test_one_zone_alone_is_told() -> None:
    alone = replace(BALANCER, zones={"eu-west-1a": "subnet-a"})
    assert check(CheckId.AVAILABILITY_ZONES, load_balancer=alone).state is WARNING


def test_zones_are_judged_by_the_answer_alone_while_the_targets_are_unknown() -> None:
    found = check(CheckId.AVAILABILITY_ZONES, targets=DENIED)
    failed_requests = check(CheckId.AVAILABILITY_ZONES, observation=DENIED)
    assert (found.state, failed_requests.state) == (OK, OK)


# ----------------------------------------------------------------- the load balancer's own groups


def own_rules(inbound: tuple[Rule, ...], outbound: tuple[Rule, ...]) -> dict[str, SecurityGroup]:
    return {**GROUPS, BALANCER_GROUP: group_of(inbound, outbound)}


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
def test_a_group_that_lets_nothing_out_to_the_database_is_broken(
    outbound: tuple[Rule, ...],
) -> None:
    found = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        security_groups=own_rules((rule(CONSUMERS),), outbound),
    )
    assert found.state is BROKEN
    assert f"authorize-security-group-egress --group-id {BALANCER_GROUP}" in found.remedy


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
def test_a_group_may_let_traffic_out_in_many_ways(outbound: tuple[Rule, ...]) -> None:
    found = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        security_groups=own_rules((rule(CONSUMERS),), outbound),
    )
    assert found.state is OK


@pytest.mark.parametrize(("enforces", "word"), [(True, "off"), (False, "on")])
def test_an_enforcement_that_was_switched_is_broken(enforces: bool, word: str) -> None:
    found = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        replace(DEPLOYMENT, enforces=not enforces),
        load_balancer=replace(BALANCER, enforces=enforces),
    )
    assert found.state is BROKEN
    assert found.remedy.endswith(
        f"--enforce-security-group-inbound-rules-on-private-link-traffic {word}."
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
def test_who_may_not_come_in_matters_where_rules_hold_for_privatelink(
    inbound: tuple[Rule, ...], open_: bool, enforces: bool
) -> None:
    found = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        replace(DEPLOYMENT, enforces=enforces),
        load_balancer=replace(BALANCER, enforces=enforces),
        security_groups=own_rules(inbound, OPEN_OUT),
    )
    closed = BROKEN if enforces else WARNING
    assert found.state is (OK if open_ else closed)


@pytest.mark.parametrize(
    ("deployment", "network"), [(DEPLOYMENT, str(CONSUMERS)), (OWN_GROUP, "and their network")]
)
def test_the_remedy_names_one_group_of_several_and_the_consumers_network(
    deployment: Deployment, network: str
) -> None:
    balancer = replace(BALANCER, security_groups=(BALANCER_GROUP, "sg-second"))

    shut = check(
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        deployment,
        load_balancer=balancer,
        security_groups=own_rules((), OPEN_OUT),
    )

    assert shut.state is not OK
    assert (
        f"--group-id {BALANCER_GROUP} --protocol tcp --port 5432 --cidr {network}." in shut.remedy
    )


def test_somebodys_own_group_lets_in_whom_it_likes() -> None:
    groups = own_rules((rule(IPv4Network("10.9.0.0/16")),), OPEN_OUT)
    found = check(CheckId.LOAD_BALANCER_SECURITY_GROUP, OWN_GROUP, security_groups=groups)
    assert found.state is OK


def test_a_load_balancer_without_groups_filters_nothing() -> None:
    bare = replace(BALANCER, security_groups=())
    assert check(CheckId.LOAD_BALANCER_SECURITY_GROUP, load_balancer=bare).state is OK


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
def test_the_database_lets_the_load_balancer_in_or_not(
    rules: tuple[Rule, ...], state: CheckState
) -> None:
    found = check(CheckId.DATABASE_SECURITY_GROUP, security_groups=database_rules(*rules))
    assert found.state is state


def test_a_closed_database_is_told_with_the_command_that_opens_it() -> None:
    found = check(CheckId.DATABASE_SECURITY_GROUP, security_groups=database_rules())

    assert found.seen == (f"No rule of {DATABASE_GROUP} lets {BALANCER_GROUP} in on port {PORT}.",)
    assert found.remedy == (
        "Let it in (the stack's own rule, DatabaseIngress, is gone): aws ec2"
        f" authorize-security-group-ingress --group-id {DATABASE_GROUP} --protocol tcp"
        f" --port {PORT} --source-group {BALANCER_GROUP}."
    )


def test_a_load_balancer_without_groups_is_let_in_by_its_subnets() -> None:
    found = check(
        CheckId.DATABASE_SECURITY_GROUP,
        OWN_GROUP,
        load_balancer=replace(BALANCER, security_groups=()),
        security_groups={},
        subnets=SUBNETS,
    )
    assert found.seen[0].endswith("lets the load balancer's subnets in on port 5432.")
    assert "--cidr and its subnets" in found.remedy


def test_a_database_whose_groups_aws_does_not_know_is_not_judged() -> None:
    deployment = replace(DEPLOYMENT, database_security_groups=())
    assert check(CheckId.DATABASE_SECURITY_GROUP, deployment).state is CheckState.SKIPPED


# -------------------------------------------------------------------------------------- consumers


@pytest.mark.parametrize("state", ["Pending", "Deleting", "Failed"])
def test_a_service_that_is_not_available_is_broken(state: str) -> None:
    service: Any = replace(FACTS.service, state=state)  # type: ignore[type-var]
    assert check(CheckId.ENDPOINT_SERVICE, service=service).state is BROKEN


def test_a_service_on_another_load_balancer_is_broken() -> None:
    service: Any = replace(FACTS.service, load_balancer_arns=("arn:other",))  # type: ignore[type-var]
    found = check(CheckId.ENDPOINT_SERVICE, service=service)
    assert (found.state, BALANCER_ARN in found.remedy) == (BROKEN, True)


@pytest.mark.parametrize(("now", "option"), [(True, "--no-accept"), (False, "--accept")])
def test_acceptance_that_was_switched_is_told(now: bool, option: str) -> None:
    service: Any = replace(FACTS.service, acceptance_required=now)  # type: ignore[type-var]
    deployment = replace(DEPLOYMENT, acceptance_required=not now)
    found = check(CheckId.ENDPOINT_SERVICE, deployment, service=service)
    assert found.state is WARNING
    assert option in found.remedy


def test_the_service_is_judged_while_the_load_balancer_is_unknown() -> None:
    assert check(CheckId.ENDPOINT_SERVICE, load_balancer=DENIED).state is OK


def test_a_missing_principal_is_broken() -> None:
    found = check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset({"arn:aws:iam::9:root"}))
    assert found.state is BROKEN
    assert f"--add-allowed-principals {PRINCIPAL}" in found.remedy
    assert (
        check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset()).seen[0] == "Nobody may connect."
    )


def test_principals_of_a_gone_service_follow_from_that() -> None:
    found = status_report(service=None, principals=None)
    assert broken(found) == [CheckId.ENDPOINT_SERVICE]


def test_a_principal_too_many_is_told() -> None:
    found = check(CheckId.ALLOWED_PRINCIPALS, principals=frozenset({PRINCIPAL, "*"}))
    assert found.state is WARNING
    assert "--remove-allowed-principals *" in found.remedy


ACCEPTING = replace(DEPLOYMENT, acceptance_required=True)
WAITING = ConnectionState.PENDING_ACCEPTANCE


@pytest.mark.parametrize(
    ("deployment", "owner", "age", "state", "words"),
    [
        (ACCEPTING, TRUSTED, 10.0, WARNING, "ReviewConnectionsFunction accepts"),
        (ACCEPTING, TRUSTED, None, WARNING, "ReviewConnectionsFunction accepts"),
        (ACCEPTING, TRUSTED, 400.0, BROKEN, "log of ReviewConnectionsFunction"),
        (ACCEPTING, STRANGER, 10.0, BROKEN, "TrustedAccounts"),
        (DEPLOYMENT, TRUSTED, 10.0, BROKEN, "accept-vpc-endpoint-connections"),
    ],
)
def test_a_request_that_waits_is_the_functions_to_answer_or_a_persons(
    deployment: Deployment, owner: str, age: float | None, state: CheckState, words: str
) -> None:
    found = check(
        CheckId.ENDPOINT_CONNECTIONS, deployment, connections=(connection(WAITING, owner, age),)
    )
    assert found.state is state
    assert words in found.remedy
    assert found.seen[0].startswith(
        f"vpce-0a1b2c3d4e5f60718 of account {owner} waits to be accepted"
    )


@pytest.mark.parametrize(
    ("states", "verdict"),
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
def test_connections_in_other_states_are_told(
    states: tuple[ConnectionState, ...], verdict: CheckState
) -> None:
    found = status_report(connections=tuple(map(connection, states)))
    assert of(found, CheckId.ENDPOINT_CONNECTIONS).state is verdict
    assert found.healthy


def test_a_connection_is_told_with_its_account_and_age() -> None:
    assert check(CheckId.ENDPOINT_CONNECTIONS).seen == (
        f"vpce-0a1b2c3d4e5f60718 of account {TRUSTED} is available, made 60 minutes ago.",
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
def test_a_time_is_told_in_one_unit(seconds: float, words: str) -> None:
    assert ago(seconds) == words


# -------------------------------------------------------------------------------------- operation


def way(route: str = "", *services: str) -> FunctionNetwork:
    return FunctionNetwork((SubnetRoute("subnet-f", route),), frozenset(services))


CLUSTER = replace(DEPLOYMENT, apis=("elasticloadbalancing", "rds"))


@pytest.mark.parametrize(
    ("network", "state", "words"),
    [
        (way("nat-1"), OK, "subnet-f leaves by nat-1."),
        (way("", "elasticloadbalancing", "rds"), OK, "leaves by interface endpoints"),
        (way("", "elasticloadbalancing"), BROKEN, "leads to rds."),
        (way(), BROKEN, "leads to elasticloadbalancing, rds."),
    ],
)
def test_a_function_in_a_vpc_needs_a_way_to_what_it_calls(
    network: FunctionNetwork, state: CheckState, words: str
) -> None:
    found = check(CheckId.FUNCTION_NETWORK, CLUSTER, function_network=network)
    assert found.state is state
    assert words in found.seen[0]


@pytest.mark.parametrize(
    ("seconds", "state"), [(-5.0, OK), (30.0, OK), (300.0, OK), (301.0, BROKEN)]
)
def test_the_last_successful_run_has_to_be_fresh(seconds: float, state: CheckState) -> None:
    runs = replace(RUNS, succeeded_at=NOW - seconds)
    assert check(CheckId.LAST_SYNC, recent_runs=runs).state is state


def test_runs_that_fail_are_told() -> None:
    never = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, succeeded_at=None, failures=3))
    now_and_then = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, failures=3))

    assert never.seen == (
        "The last successful run: none within 15 minutes.",
        "3 runs failed within 15 minutes.",
    )
    assert f"--stack-name {STACK}" in never.remedy
    assert (now_and_then.state, now_and_then.seen[1]) == (OK, never.seen[1])


def test_runs_that_stay_away_are_told_from_runs_that_fail() -> None:
    found = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, succeeded_at=None))

    assert found.seen == ("The last successful run: none within 15 minutes.",)
    assert "schedule's rate and target" in found.remedy
    assert "newest errors" not in found.remedy


def test_a_veto_is_told() -> None:
    found = check(CheckId.LAST_SYNC, recent_runs=replace(RUNS, vetoes=2))
    assert (found.state, "vetoes" in found.remedy) == (WARNING, True)


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
def test_the_last_change_is_told_with_its_seconds(
    change: FollowedChange, state: CheckState
) -> None:
    assert check(CheckId.LAST_FAILOVER, changes=FollowedChanges(change, 14)).state is state


def test_the_seconds_of_a_change_are_told() -> None:
    (seen,) = check(CheckId.LAST_FAILOVER, changes=FollowedChanges(FOLLOWED, 14)).seen
    assert seen.startswith("The last change, 2 hours ago: ")
    assert seen.endswith(": seen after 1.0 s, registered after 1.5 s, healthy after 95.2 s.")


@pytest.mark.parametrize(
    ("counts", "state", "words"),
    [
        ((0, 0), OK, "Both are empty."),
        ((1, 0), BROKEN, "FailedRunsQueue has 1 message."),
        ((0, 2), BROKEN, "UndeliveredEventsQueue has 2 messages."),
        ((None, 0), BROKEN, "FailedRunsQueue does not exist."),
    ],
)
def test_messages_that_were_lost_are_told(counts: Any, state: CheckState, words: str) -> None:
    failed_runs, undelivered = counts
    found = check(
        CheckId.DEAD_LETTER_QUEUES, failed_runs=failed_runs, undelivered_events=undelivered
    )
    assert (found.state, found.seen) == (state, (words,))


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
def test_an_answer_that_does_not_come_explains_the_runs_that_failed(
    deployment: Deployment, connections: Any, expected: list[CheckId]
) -> None:
    found = status_report(deployment, connections=connections, failed_runs=1)
    assert broken(found) == expected


# --------------------------------------------------------------------------- an Auto Scaling group

NONE_HERE = Skipped("An Auto Scaling group registers its instances itself.")
INSTANCE = "i-0a1b2c3d4e5f60718"


def scaling(**changes: Any) -> StatusReport:
    given = {
        "observation": NONE_HERE,
        "attached": True,
        "targets": (target(INSTANCE),),
        "group": replace(GROUP, target_type="instance"),
        "recent_runs": NONE_HERE,
        "changes": NONE_HERE,
        "schedule_enabled": NONE_HERE,
        **changes,
    }
    return status_report(SCALING, **given)


def test_a_scaling_group_is_healthy_by_its_instances() -> None:
    found = scaling()

    assert found.healthy
    assert of(found, CheckId.ENDPOINT_NAME).seen == (
        "The Auto Scaling group is attached to the target group.",
    )
    assert of(found, CheckId.TARGET_HEALTH).seen == (f"{INSTANCE}:5432 is healthy.",)
    assert of(found, CheckId.DRIFT).state is CheckState.SKIPPED
    assert of(found, CheckId.LAST_SYNC).state is CheckState.SKIPPED


@pytest.mark.parametrize("attached", [False, None])
def test_a_scaling_group_that_is_not_attached_is_broken(attached: bool | None) -> None:
    found = scaling(attached=attached, targets=())

    assert broken(found) == [CheckId.ENDPOINT_NAME]


def test_a_scaling_group_without_instances_is_broken() -> None:
    found = of(scaling(targets=()), CheckId.TARGET_HEALTH)
    assert (found.state, "Auto Scaling group" in found.remedy) == (BROKEN, True)


# --------------------------------------------------------------------------------- for a terminal


def test_the_text_fits_a_terminal_and_needs_no_colour() -> None:
    found = status_report(
        schedule_enabled=False,
        recent_runs=replace(RUNS, succeeded_at=None),
        changes=DENIED,
    )

    text = to_text(found)

    lines = text.splitlines()
    assert lines[:4] == [
        f"{STACK}, 2026-11-22T10:00:00Z: not healthy",
        "The road is broken at schedule. Besides: 1 warning, 1 unknown.",
        "",
        "✓ ok        The database's name says where it is [endpoint-name]",
    ]
    assert "✗ broken    The schedule is on [schedule]" in lines
    assert "            -> Switch it on: EventBridge Scheduler, Schedules, Enable." in lines
    assert "! warning   The function's runs succeed [last-sync]" in lines
    assert "? unknown   The last change was followed [last-failover]" in lines
    assert "- skipped   PostgreSQL answers there [postgresql]" in lines
    assert max(map(len, lines)) <= 100


def test_a_long_command_is_not_cut() -> None:
    text = to_text(status_report(listeners=()))
    assert f"Type=forward,TargetGroupArn={GROUP_ARN}." in text


def test_the_text_of_a_right_road_says_so_first() -> None:
    assert to_text(status_report()).splitlines()[0].endswith(": healthy")
    assert OUTSIDE.why in to_text(status_report())
