"""The function that says whether the road works, from its door: facts, faults, and time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from functions.report_status import app
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.endpoints.dns import DnsEndpoint
from target_sync.endpoints.ec2 import InstanceEndpoint
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    SettingsError,
    TriggerError,
)
from target_sync.model import FailedObservation, LookupFailure, TargetState
from target_sync.status import build
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import Deployment, FunctionNetwork, SslReply, SubnetRoute
from target_sync.status.report import StatusReport, make_report
from target_sync.status.reporting import PowertoolsStatusReporter
from target_sync.status.request import ReportFormat, Widget, parse_request
from target_sync.status.settings import load_status_settings
from target_sync.status.sources.postgres import PostgresProbe
from target_sync.status.widget import Frame, to_html
from target_sync.targets.network_interfaces import RdsNetworkInterfaces
from tests.support.events import context, load_event
from tests.support.status import (
    BALANCER_ARN,
    BALANCER_GROUP,
    DATABASE_GROUP,
    DEPLOYMENT,
    FACTS,
    GROUP,
    GROUP_ARN,
    LISTENER,
    LISTENER_ARN,
    OWN_GROUP,
    PRINCIPAL,
    SCALING,
    SERVICE_ID,
    STACK,
    A,
    B,
    FakeAws,
    FakeReporter,
    target,
)
from tests.support.status import status_collector as make_surveyor


def states(found: StatusReport, state: CheckState) -> set[CheckId]:
    return {check.step for check in found.checks if check.state is state}


def seen(found: StatusReport, step: CheckId) -> str:
    (check,) = [check for check in found.checks if check.step is step]
    return " ".join([*check.seen, check.remedy])


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    it = FakeAws()
    yield it
    it.released.set()


# ------------------------------------------------------------------------------------- the door


@pytest.fixture
def reporter(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeReporter:
    status_collector = make_surveyor(aws)
    monkeypatch.setattr(app, "status_collector", lambda: status_collector)
    assert isinstance(status_collector.reporter, FakeReporter)
    return status_collector.reporter


@pytest.mark.usefixtures("reporter")
def test_a_pipeline_can_gate_on_healthy() -> None:
    answer = json.loads(json.dumps(app.handler(load_event("status"), context())))

    assert answer["healthy"] is True
    assert answer["summary"] == "The road works."
    assert [check["id"] for check in answer["checks"]] == [step.value for step in CheckId]
    assert answer["stack"] == STACK


@pytest.mark.usefixtures("reporter")
def test_a_person_gets_a_text() -> None:
    text = app.handler(load_event("status-text"), context())

    assert isinstance(text, str)
    assert text.startswith(f"{STACK}, 2026-11-22T10:00:00Z: healthy\nThe road works.\n")


def test_every_look_is_reported_once(reporter: FakeReporter) -> None:
    app.handler({}, context())
    assert [status_report.healthy for status_report in reporter.reported] == [True]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            {"formt": "text"},
            "unknown key 'formt' in the payload; known keys: format, describe, widgetContext",
        ),
        ({"format": "html"}, "'format' must be json or text, not 'html'"),
        ({"format": ["text"]}, "'format' must be json or text"),
        ([], "must be a JSON object, not list"),
    ],
)
def test_a_wrong_payload_is_named_before_anything_is_asked(
    aws: FakeAws, reporter: FakeReporter, payload: object, words: str
) -> None:
    with pytest.raises(TriggerError, match=words.replace("[", "\\[")):
        app.handler(payload, context())

    assert not aws.asked
    assert not reporter.reported


def test_json_may_be_asked_for_by_name() -> None:
    assert parse_request({"format": "json"}) is ReportFormat.JSON


def test_a_dashboard_gets_the_widget_in_its_frame(reporter: FakeReporter) -> None:
    html = app.handler(load_event("status-widget"), context())

    (found,) = reporter.reported
    assert html == to_html(found, Frame(width=1180.0, dark=True))


@pytest.mark.parametrize("asked", [{}, load_event("status-widget")])
def test_a_dashboard_is_told_what_the_widget_is_without_a_look(
    reporter: FakeReporter, asked: dict[str, Any]
) -> None:
    text = app.handler(load_event("status-describe") | asked, context())

    assert isinstance(text, str)
    assert text.startswith("## ")
    assert "lambda:InvokeFunction" in text
    assert not reporter.reported


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"width": "588", "theme": "blue"},
        {"width": -1},
        {"width": float("nan")},
        {"width": float("inf")},
        {"theme": ["dark"]},
    ],
)
def test_a_frame_that_cannot_be_read_is_no_reason_to_show_nothing(told: object) -> None:
    assert parse_request({"widgetContext": told}) == Widget(Frame(width=600.0, dark=False))


# -------------------------------------------------------------------------------- what is asked


def test_every_question_is_about_this_stack(aws: FakeAws) -> None:
    make_surveyor(aws).run()

    asked = dict(entry[:2] if len(entry) > 1 else (entry[0], None) for entry in aws.asked)
    assert asked["targets"] == asked["group"] == asked["group_attributes"] == GROUP_ARN
    assert asked["load_balancer"] == asked["listeners"] == BALANCER_ARN
    assert asked["load_balancer_attributes"] == BALANCER_ARN
    assert asked["listener_attributes"] == LISTENER_ARN
    assert asked["rules"] == {BALANCER_GROUP, DATABASE_GROUP}
    assert asked["subnets"] == "vpc-0a1b2c3d"
    assert {"check", "of_function", "ask", "attached_target_groups"}.isdisjoint(asked)


def test_the_road_is_judged_by_what_was_found(aws: FakeAws) -> None:
    aws.world = replace(FACTS, schedule_enabled=False, failed_runs=2)

    found = make_surveyor(aws).run()

    assert found == make_report(make_surveyor(aws).facts(), DEPLOYMENT)
    assert states(found, CheckState.BROKEN) == {CheckId.SCHEDULE, CheckId.DEAD_LETTER_QUEUES}


def test_with_somebodys_own_group_its_load_balancer_is_looked_at(aws: FakeAws) -> None:
    found = make_surveyor(aws, OWN_GROUP).run()

    assert found.healthy
    assert ("load_balancer", BALANCER_ARN) in aws.asked
    assert states(found, CheckState.SKIPPED) >= {
        CheckId.ENDPOINT_SERVICE,
        CheckId.ALLOWED_PRINCIPALS,
        CheckId.ENDPOINT_CONNECTIONS,
    }
    assert "ExistingTargetGroupArn" in seen(found, CheckId.ENDPOINT_SERVICE)


@pytest.mark.parametrize("group", [None, replace(GROUP, load_balancer_arns=())])
def test_somebodys_own_group_may_have_no_load_balancer(aws: FakeAws, group: Any) -> None:
    aws.world = replace(FACTS, group=group)

    found = make_surveyor(aws, OWN_GROUP).run()

    root = CheckId.TARGET_GROUP if group is None else CheckId.LOAD_BALANCER
    assert states(found, CheckState.BROKEN) == {root}
    assert not [entry for entry in aws.asked if entry[0] in {"load_balancer", "listeners"}]


def test_a_scaling_group_is_asked_whether_it_is_attached(aws: FakeAws) -> None:
    aws.world = replace(
        FACTS,
        targets=(target("i-0a1b2c3d4e5f60718"),),
        group=replace(GROUP, target_type="instance"),
    )

    found = make_surveyor(aws, SCALING).run()

    assert found.healthy
    assert ("attached_target_groups", "databases") in aws.asked
    assert states(found, CheckState.SKIPPED) >= {
        CheckId.DRIFT,
        CheckId.LAST_SYNC,
        CheckId.LAST_FAILOVER,
        CheckId.SCHEDULE,
    }
    assert not {"observe", "recent_runs", "is_enabled"} & {entry[0] for entry in aws.asked}


def test_a_scaling_group_that_is_gone_is_broken(aws: FakeAws) -> None:
    status_collector = make_surveyor(aws, SCALING)
    aws.attached = None

    assert states(status_collector.run(), CheckState.BROKEN) >= {CheckId.ENDPOINT_NAME}


KEEPING = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, serving_standby=True))
STANDBY = target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")
LEAVING = target("10.0.2.99", TargetState.DRAINING)


def test_only_addresses_outside_the_answer_are_looked_up(aws: FakeAws) -> None:
    aws.world = replace(FACTS, targets=(target(), STANDBY, LEAVING))
    aws.confirmed = frozenset({B})

    found = make_surveyor(aws, KEEPING, keeps=True).run()

    assert ("check", {B}) in aws.asked
    assert CheckId.DRIFT in states(found, CheckState.OK) | states(found, CheckState.WARNING)
    assert "kept as the standby's" in seen(found, CheckId.DRIFT)


def test_without_such_addresses_nobody_is_asked(aws: FakeAws) -> None:
    assert make_surveyor(aws, KEEPING, keeps=True).run().healthy
    assert not [entry for entry in aws.asked if entry[0] == "check"]


def test_without_an_answer_the_standby_is_told_from_no_one(aws: FakeAws) -> None:
    gone = FailedObservation(
        name="x", failure=LookupFailure.NAME_DOES_NOT_EXIST, detail="x is gone.", at=0.0
    )
    aws.world = replace(FACTS, observation=gone, targets=(target(),))
    aws.confirmed = frozenset({A})

    found = make_surveyor(aws, KEEPING, keeps=True).run()

    assert states(found, CheckState.BROKEN) == {CheckId.ENDPOINT_NAME}


def test_from_inside_the_vpc_healthy_targets_are_connected_to(aws: FakeAws) -> None:
    aws.world = replace(FACTS, targets=(target(), STANDBY))
    aws.reply = SslReply.PLAIN
    aws.network = FunctionNetwork((SubnetRoute("subnet-f", "nat-1"),), frozenset())

    found = make_surveyor(aws, in_vpc=True).run()

    assert [entry for entry in aws.asked if entry[0] == "ask"] == [("ask", target())]
    assert "10.0.1.11:5432 is PostgreSQL and takes no TLS." in seen(found, CheckId.POSTGRESQL)
    assert seen(found, CheckId.FUNCTION_NETWORK) == "subnet-f leaves by nat-1. "
    assert ("of_function", ("subnet-f",)) in aws.asked


def test_without_a_healthy_target_there_is_nothing_to_connect_to(aws: FakeAws) -> None:
    aws.world = replace(FACTS, targets=(STANDBY,))

    found = make_surveyor(aws, in_vpc=True).run()

    assert seen(found, CheckId.POSTGRESQL) == "No target is healthy. "


def test_from_outside_the_vpc_nothing_is_connected_to(aws: FakeAws) -> None:
    found = make_surveyor(aws).run()
    assert "FunctionSubnetIds" in seen(found, CheckId.POSTGRESQL)


def test_security_groups_are_not_asked_for_where_there_are_none(aws: FakeAws) -> None:
    bare = replace(FACTS.load_balancer, security_groups=())  # type: ignore[type-var]
    aws.world = replace(FACTS, load_balancer=bare)

    found = make_surveyor(aws, replace(DEPLOYMENT, database_security_groups=())).run()

    assert found.healthy
    assert not [entry for entry in aws.asked if entry[0] == "rules"]


def test_a_listener_of_another_group_has_no_attributes_to_look_at(aws: FakeAws) -> None:
    other = replace(LISTENER, target_group_arns=frozenset({"arn:other"}))
    aws.world = replace(FACTS, listeners=(other,))

    found = make_surveyor(aws).run()

    assert states(found, CheckState.BROKEN) == {CheckId.LISTENER}
    assert not [entry for entry in aws.asked if entry[0] == "listener_attributes"]


def test_a_load_balancer_that_is_gone_leaves_nothing_behind_it_to_ask(aws: FakeAws) -> None:
    aws.world = replace(FACTS, load_balancer=None, listeners=None)

    found = make_surveyor(aws).run()

    assert states(found, CheckState.BROKEN) == {CheckId.LOAD_BALANCER}
    assert not {"rules", "subnets"} & {entry[0] for entry in aws.asked}


# ----------------------------------------------------------------------------- what cannot be seen


@pytest.mark.parametrize(
    ("method", "action", "steps"),
    [
        ("targets", "elasticloadbalancing:Call", {CheckId.TARGET_HEALTH, CheckId.DRIFT}),
        ("listeners", "elasticloadbalancing:Call", {CheckId.LISTENER}),
        ("rules", "ec2:Call",
         {CheckId.LOAD_BALANCER_SECURITY_GROUP, CheckId.DATABASE_SECURITY_GROUP}),
        ("connections", "ec2:Call", {CheckId.ENDPOINT_CONNECTIONS}),
        ("recent_runs", "cloudwatch:Call", {CheckId.LAST_SYNC}),
        ("is_enabled", "scheduler:Call", {CheckId.SCHEDULE}),
        ("messages", "sqs:Call", {CheckId.DEAD_LETTER_QUEUES}),
    ],
)  # fmt: skip
def test_a_missing_permission_makes_its_steps_unknown_and_is_named(
    aws: FakeAws, method: str, action: str, steps: set[CheckId]
) -> None:
    aws.errors[method] = AwsAccessDeniedError("Call", "AccessDenied", "not authorized")

    found = make_surveyor(aws).run()

    assert states(found, CheckState.UNKNOWN) == steps
    assert not states(found, CheckState.BROKEN)
    for step in steps:
        assert f"The function may not call {action}" in seen(found, step)
        assert f"the permission {action}" in seen(found, step)


def test_what_rests_on_something_unknown_is_unknown_for_the_same_reason(aws: FakeAws) -> None:
    aws.errors["load_balancer"] = AwsAccessDeniedError("Call", "AccessDenied", "no")

    found = make_surveyor(aws).run()

    assert states(found, CheckState.UNKNOWN) == {
        CheckId.LOAD_BALANCER,
        CheckId.AVAILABILITY_ZONES,
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        CheckId.DATABASE_SECURITY_GROUP,
    }
    assert "elasticloadbalancing:Call" in seen(found, CheckId.DATABASE_SECURITY_GROUP)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AwsUnavailableError("Call", "Throttling", "slow down"), "in a minute"),
        (AwsCallError("Call", "InternalFailure", "oops"), "Read the error"),
        (AwsAccessDeniedError("Call", "UnauthorizedOperation", "no"), "may not call ec2:Call"),
    ],
)
def test_why_something_is_unknown_is_told(aws: FakeAws, error: Exception, words: str) -> None:
    aws.errors["service"] = error

    found = make_surveyor(aws).run()

    assert states(found, CheckState.UNKNOWN) == {CheckId.ENDPOINT_SERVICE}
    assert words in seen(found, CheckId.ENDPOINT_SERVICE)
    assert not found.healthy


def test_an_api_that_hangs_does_not_hold_up_the_rest(aws: FakeAws) -> None:
    """The time of the look is over at once, on a clock that stands still for the others."""
    aws.hanging = frozenset({"service"})

    found = make_surveyor(aws, seconds=0.5).run()

    assert states(found, CheckState.UNKNOWN) == {CheckId.ENDPOINT_SERVICE}
    assert "It took too long to find out the endpoint service." in seen(
        found, CheckId.ENDPOINT_SERVICE
    )


def test_what_waits_for_something_that_hangs_is_not_waited_for(aws: FakeAws) -> None:
    aws.hanging = frozenset({"load_balancer"})

    found = make_surveyor(aws, seconds=0.5).run()

    assert states(found, CheckState.UNKNOWN) >= {
        CheckId.LOAD_BALANCER,
        CheckId.DATABASE_SECURITY_GROUP,
    }
    assert not states(found, CheckState.BROKEN)


def test_a_bug_is_not_taken_for_an_answer(aws: FakeAws) -> None:
    aws.errors["group"] = ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        make_surveyor(aws).run()


# ------------------------------------------------------------------- the record and the wiring


@pytest.mark.usefixtures("_powertools")
def test_a_look_writes_one_record(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    found = make_surveyor(aws).run()

    PowertoolsStatusReporter().report(found)

    (record,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["message"] == "status reported"
    assert record["result"] == json.loads(json.dumps(found.to_document()))


ENVIRONMENT = {
    "POWERTOOLS_SERVICE_NAME": STACK,
    "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": "orders.example.com",
    "DATABASE_IDENTIFIER": "orders",
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": GROUP_ARN,
    "ALLOWED_NETWORKS": "10.0.0.0/16",
    "EVENT_WATCH_DURATION_SECONDS": "300",
    "DATABASE_SECURITY_GROUPS": DATABASE_GROUP,
    "LOAD_BALANCER_ARN": BALANCER_ARN,
    "ENFORCE_INBOUND_RULES": "off",
    "CONSUMER_NETWORK": "10.0.0.0/8",
    "IDLE_TIMEOUT_SECONDS": "350",
    "MANAGES_INGRESS": "true",
    "ENDPOINT_SERVICE_ID": SERVICE_ID,
    "ACCEPTANCE_REQUIRED": "false",
    "ALLOWED_PRINCIPALS": PRINCIPAL,
    "TRUSTED_ACCOUNTS": "222222222222",
    "SCHEDULE_NAME": "every-minute",
    "FAILED_RUNS_QUEUE_URL": "https://sqs.example/failed",
    "UNDELIVERED_EVENTS_QUEUE_URL": "https://sqs.example/lost",
}
GROUP_ENVIRONMENT = {
    **ENVIRONMENT,
    "DATABASE_KIND": "ec2-asg",
    "DATABASE_IDENTIFIER": "databases",
    "DATABASE_SECURITY_GROUPS": "",
    "SCHEDULE_NAME": "",
}
OWN_GROUP_ENVIRONMENT = {
    **ENVIRONMENT,
    "LOAD_BALANCER_ARN": "",
    "ENDPOINT_SERVICE_ID": "",
    "ALLOWED_PRINCIPALS": "",
}


@pytest.fixture
def _region(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    build.status_collector.cache_clear()
    yield
    build.status_collector.cache_clear()


def test_the_environment_becomes_what_the_road_is_held_against() -> None:
    deployment: Deployment = load_status_settings(ENVIRONMENT).deployment
    assert deployment == DEPLOYMENT


@pytest.mark.usefixtures("_region", "_powertools")
def test_the_parts_are_put_together_once_per_container(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    found = build.status_collector()

    assert isinstance(found.endpoint, DnsEndpoint)
    assert isinstance(found.service, Ec2EndpointService)
    assert found.standbys is None
    assert found.probe is None
    assert build.status_collector() is found


@pytest.mark.usefixtures("_region", "_powertools")
def test_each_stack_gets_the_parts_that_it_needs() -> None:
    keeping = build.build_status_collector(
        {**ENVIRONMENT, "STANDBY_TARGETS": "serving", "VPC_ID": "vpc-0a1b2c3d"}
    )
    inside = build.build_status_collector({**ENVIRONMENT, "FUNCTION_SUBNETS": "subnet-a,subnet-b"})
    scaling = build.build_status_collector(GROUP_ENVIRONMENT)
    own = build.build_status_collector(OWN_GROUP_ENVIRONMENT)
    instance = build.build_status_collector(
        {
            **ENVIRONMENT,
            "DATABASE_KIND": "ec2-instance",
            "DATABASE_ENDPOINT": "i-0a1b2c3d4e5f60718",
        }
    )

    assert isinstance(keeping.standbys, RdsNetworkInterfaces)
    assert isinstance(inside.probe, PostgresProbe)
    assert inside.settings.function_subnets == ("subnet-a", "subnet-b")
    assert (scaling.endpoint, scaling.schedule) == (None, None)
    assert scaling.settings.scaling_group == "databases"
    assert own.service is None
    assert not own.settings.deployment.owns_network
    assert isinstance(instance.endpoint, InstanceEndpoint)
    assert instance.settings.deployment.apis == ("elasticloadbalancing", "ec2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POWERTOOLS_SERVICE_NAME", ""),
        ("ENDPOINT_SERVICE_ID", "vpce-1"),
        ("ENFORCE_INBOUND_RULES", "maybe"),
        ("CONSUMER_NETWORK", "everywhere"),
        ("IDLE_TIMEOUT_SECONDS", "long"),
        ("ACCEPTANCE_REQUIRED", "perhaps"),
        ("MANAGES_INGRESS", ""),
        ("ALLOWED_PRINCIPALS", ""),
        ("SCHEDULE_NAME", ""),
        ("FAILED_RUNS_QUEUE_URL", ""),
        ("UNDELIVERED_EVENTS_QUEUE_URL", ""),
        ("DATABASE_PORT", "none"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_status_settings({**ENVIRONMENT, name: value})
    if name == "DATABASE_PORT":
        with pytest.raises(SettingsError, match=name):
            load_status_settings({**GROUP_ENVIRONMENT, name: value})
