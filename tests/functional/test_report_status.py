"""ReportStatusFunction from its handler: the formats, the queries, failed and slow calls."""

import json
import re
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
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    OutboundRules,
    Target,
    TargetState,
)
from target_sync.reporting import PowertoolsReporter
from target_sync.status import build
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import Deployment, FunctionNetwork, SslReply, SubnetRoute
from target_sync.status.report import StatusReport, make_report
from target_sync.status.request import ReportFormat, Widget, parse_request
from target_sync.status.settings import load_status_settings
from target_sync.status.sources.databases import AwsDatabase
from target_sync.status.sources.postgres import PostgresProbe
from target_sync.status.widget import Frame, to_html
from target_sync.targets.network_interfaces import RdsNetworkInterfaces
from target_sync.targets.outbound_rules import SecurityGroupRules
from tests.support.events import context, load_event
from tests.support.status import (
    BALANCER_ARN,
    BALANCER_GROUP,
    DATABASE,
    DATABASE_GROUP,
    DEPLOYMENT,
    EXISTING_GROUP,
    FACTS,
    FAILED_RUNS_URL,
    GROUP,
    GROUP_ARN,
    LISTENER,
    LISTENER_ARN,
    OUTBOUND_RULES_GROUP,
    PORT,
    PRINCIPAL,
    SCALING,
    SERVICE_ID,
    STACK,
    UNDELIVERED_EVENTS_URL,
    A,
    B,
    FakeAws,
    FakeReporter,
    make_collector,
    target,
)


def states(report: StatusReport, state: CheckState) -> set[CheckId]:
    return {check.id for check in report.checks if check.state is state}


def texts(report: StatusReport, id_: CheckId) -> str:
    (check,) = [check for check in report.checks if check.id is id_]
    return " ".join([*check.details, check.remedy])


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    it = FakeAws()
    yield it
    it.released.set()


# ---------------------------------------------------------------------------------- the handler


@pytest.fixture
def reporter(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeReporter:
    collector = make_collector(aws)
    monkeypatch.setattr(app, "status_collector", lambda: collector)
    assert isinstance(collector.reporter, FakeReporter)
    return collector.reporter


@pytest.mark.usefixtures("reporter")
def test_a_pipeline_can_gate_on_healthy() -> None:
    response = json.loads(json.dumps(app.handler(load_event("status"), context())))

    assert response["healthy"] is True
    assert response["summary"] == "The connection path works."
    assert [check["id"] for check in response["checks"]] == [id_.value for id_ in CheckId]
    assert response["stack"] == STACK


@pytest.mark.usefixtures("reporter")
def test_a_person_gets_a_text() -> None:
    text = app.handler(load_event("status-text"), context())

    assert isinstance(text, str)
    assert text.startswith(f"{STACK}, 2026-11-22T10:00:00Z: healthy\nThe connection path works.\n")


def test_every_report_is_logged_once(reporter: FakeReporter) -> None:
    app.handler({}, context())
    assert [report.healthy for report in reporter.reported] == [True]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            {"formt": "text"},
            "unknown key 'formt' in the payload; known keys: format, describe, widgetContext",
        ),
        ({"format": "html"}, "'format' must be json or text, not \"html\""),
        ({"format": ["text"]}, "'format' must be json or text, not [\"text\"]"),
        ({"format": None}, "'format' must be json or text, not null"),
        ([], "must be a JSON object, not []; send {}"),
        (None, "must be a JSON object, not null; send {}"),
        ("a" * 100, 'must be a JSON object, not "aaaaaa'),
    ],
)
def test_rejects_an_invalid_payload_before_any_query(
    aws: FakeAws, reporter: FakeReporter, payload: object, words: str
) -> None:
    with pytest.raises(TriggerError, match=re.escape(words)):
        app.handler(payload, context())

    assert not aws.calls
    assert not reporter.reported


def test_json_can_be_requested_by_name() -> None:
    assert parse_request({"format": "json"}) is ReportFormat.JSON


def test_a_dashboard_gets_the_widget_in_its_frame(reporter: FakeReporter) -> None:
    html = app.handler(load_event("status-widget"), context())

    (report,) = reporter.reported
    assert html == to_html(report, Frame(width=1180.0, dark=True))


@pytest.mark.parametrize("payload", [{}, load_event("status-widget")])
def test_a_dashboard_gets_the_description_without_a_report(
    reporter: FakeReporter, payload: dict[str, Any]
) -> None:
    text = app.handler(load_event("status-describe") | payload, context())

    assert isinstance(text, str)
    assert text.startswith("## ")
    assert "lambda:InvokeFunction" in text
    assert not reporter.reported


@pytest.mark.parametrize(
    "frame",
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
def test_an_invalid_frame_gets_the_default_frame(frame: object) -> None:
    assert parse_request({"widgetContext": frame}) == Widget(Frame(width=600.0, dark=False))


# ---------------------------------------------------------------------------------- the queries


def test_every_query_is_about_this_stack(aws: FakeAws) -> None:
    make_collector(aws).run()

    arguments = dict(call[:2] if len(call) > 1 else (call[0], None) for call in aws.calls)
    assert arguments["targets"] == arguments["group"] == arguments["group_attributes"] == GROUP_ARN
    assert arguments["load_balancer"] == arguments["listeners"] == BALANCER_ARN
    assert arguments["load_balancer_attributes"] == BALANCER_ARN
    assert arguments["listener_attributes"] == LISTENER_ARN
    assert arguments["security_groups"] == {BALANCER_GROUP, OUTBOUND_RULES_GROUP, DATABASE_GROUP}
    assert arguments["subnets"] == "vpc-0a1b2c3d"
    assert {"check", "of_function", "ask", "attached_target_groups"}.isdisjoint(arguments)


def test_the_report_is_made_from_the_facts(aws: FakeAws) -> None:
    aws.facts = replace(FACTS, schedule_enabled=False, failed_runs=2)

    report = make_collector(aws).run()

    assert report == make_report(make_collector(aws).facts(), DEPLOYMENT)
    assert states(report, CheckState.BROKEN) == {CheckId.SCHEDULE, CheckId.DEAD_LETTER_QUEUES}


def test_the_load_balancer_of_an_existing_group_is_checked(aws: FakeAws) -> None:
    report = make_collector(aws, EXISTING_GROUP).run()

    assert report.healthy
    assert ("load_balancer", BALANCER_ARN) in aws.calls
    assert states(report, CheckState.SKIPPED) >= {
        CheckId.ENDPOINT_SERVICE,
        CheckId.ALLOWED_PRINCIPALS,
        CheckId.ENDPOINT_CONNECTIONS,
    }
    assert "ExistingTargetGroupArn" in texts(report, CheckId.ENDPOINT_SERVICE)


@pytest.mark.parametrize("group", [None, replace(GROUP, load_balancer_arns=())])
def test_an_existing_group_without_a_load_balancer_is_broken(aws: FakeAws, group: Any) -> None:
    aws.facts = replace(FACTS, group=group)

    report = make_collector(aws, EXISTING_GROUP).run()

    root = CheckId.TARGET_GROUP if group is None else CheckId.LOAD_BALANCER
    assert states(report, CheckState.BROKEN) == {root}
    assert not [call for call in aws.calls if call[0] in {"load_balancer", "listeners"}]


def test_a_scaling_group_is_checked_for_its_attachment(aws: FakeAws) -> None:
    aws.facts = replace(
        FACTS,
        targets=(target("i-0a1b2c3d4e5f60718"),),
        group=replace(GROUP, target_type="instance"),
    )

    report = make_collector(aws, SCALING).run()

    assert report.healthy
    assert ("attached_target_groups", "databases") in aws.calls
    assert states(report, CheckState.SKIPPED) >= {
        CheckId.DRIFT,
        CheckId.LAST_SYNC,
        CheckId.LAST_FAILOVER,
        CheckId.SCHEDULE,
    }
    assert not {"observe", "recent_runs", "is_enabled"} & {call[0] for call in aws.calls}


def test_a_missing_scaling_group_is_broken(aws: FakeAws) -> None:
    collector = make_collector(aws, SCALING)
    aws.attached = None

    assert states(collector.run(), CheckState.BROKEN) >= {CheckId.ENDPOINT_NAME}


SERVING_STANDBY = replace(DEPLOYMENT, policy=replace(DEPLOYMENT.policy, serving_standby=True))
STANDBY = target(B, TargetState.UNHEALTHY, "Target.FailedHealthChecks")
DRAINING = target("10.0.2.99", TargetState.DRAINING)


def test_only_addresses_outside_the_observation_are_looked_up(aws: FakeAws) -> None:
    open_ = OutboundRules(frozenset({Target(A, PORT), Target(B, PORT)}))
    aws.facts = replace(FACTS, targets=(target(), STANDBY, DRAINING), outbound_rules=open_)
    aws.confirmed = frozenset({B})

    report = make_collector(aws, SERVING_STANDBY, serves_standby=True).run()

    assert ("check", {B}) in aws.calls
    assert CheckId.DRIFT in states(report, CheckState.OK) | states(report, CheckState.WARNING)
    assert "belongs to the standby" in texts(report, CheckId.DRIFT)


def test_without_such_addresses_nothing_is_looked_up(aws: FakeAws) -> None:
    assert make_collector(aws, SERVING_STANDBY, serves_standby=True).run().healthy
    assert not [call for call in aws.calls if call[0] == "check"]


def test_without_an_observation_the_name_alone_is_broken(aws: FakeAws) -> None:
    failure = FailedObservation(
        name="x", failure=LookupFailure.NAME_DOES_NOT_EXIST, detail="x does not exist.", at=0.0
    )
    aws.facts = replace(FACTS, observation=failure, targets=(target(),))
    aws.confirmed = frozenset({A})

    report = make_collector(aws, SERVING_STANDBY, serves_standby=True).run()

    assert states(report, CheckState.BROKEN) == {CheckId.ENDPOINT_NAME}


def test_a_function_in_the_vpc_connects_to_the_healthy_targets(aws: FakeAws) -> None:
    aws.facts = replace(FACTS, targets=(target(), STANDBY))
    aws.reply = SslReply.PLAIN
    aws.network = FunctionNetwork((SubnetRoute("subnet-f", "nat-1"),), frozenset())

    report = make_collector(aws, in_vpc=True).run()

    assert [call for call in aws.calls if call[0] == "ask"] == [("ask", target())]
    assert "10.0.1.11:5432 is PostgreSQL and does not accept TLS." in texts(
        report, CheckId.POSTGRESQL
    )
    assert texts(report, CheckId.FUNCTION_NETWORK) == "subnet-f reaches AWS through nat-1. "
    assert ("of_function", ("subnet-f",)) in aws.calls


def test_without_a_healthy_target_postgresql_is_skipped(aws: FakeAws) -> None:
    aws.facts = replace(FACTS, targets=(STANDBY,))

    report = make_collector(aws, in_vpc=True).run()

    assert texts(report, CheckId.POSTGRESQL) == "No target is healthy. "


def test_a_function_outside_the_vpc_connects_to_no_target(aws: FakeAws) -> None:
    report = make_collector(aws).run()
    assert "FunctionSubnetIds" in texts(report, CheckId.POSTGRESQL)


def test_without_security_groups_none_are_read(aws: FakeAws) -> None:
    bare = replace(FACTS.load_balancer, security_groups=())  # type: ignore[type-var]
    no_groups = replace(DATABASE, security_groups=())
    aws.facts = replace(FACTS, load_balancer=bare, database=no_groups)

    report = make_collector(aws, replace(EXISTING_GROUP, database_security_groups=())).run()

    assert report.healthy
    assert not [call for call in aws.calls if call[0] == "security_groups"]


def test_the_attributes_of_a_listener_of_another_group_are_not_read(aws: FakeAws) -> None:
    other = replace(LISTENER, target_group_arns=frozenset({"arn:other"}))
    aws.facts = replace(FACTS, listeners=(other,))

    report = make_collector(aws).run()

    assert states(report, CheckState.BROKEN) == {CheckId.LISTENER}
    assert not [call for call in aws.calls if call[0] == "listener_attributes"]


def test_the_groups_of_today_are_read(aws: FakeAws) -> None:
    """The deployment knows only the groups of its day."""
    aws.facts = replace(FACTS, database=replace(DATABASE, security_groups=("sg-9",)))

    report = make_collector(aws).run()

    (read,) = [call[1] for call in aws.calls if call[0] == "security_groups"]
    assert read == {BALANCER_GROUP, OUTBOUND_RULES_GROUP, "sg-9"}
    assert states(report, CheckState.BROKEN) == {CheckId.DATABASE_SECURITY_GROUP}


def test_without_a_load_balancer_no_rules_or_subnets_are_read(aws: FakeAws) -> None:
    aws.facts = replace(FACTS, load_balancer=None, listeners=None)

    report = make_collector(aws).run()

    assert states(report, CheckState.BROKEN) == {CheckId.LOAD_BALANCER}
    assert not {"security_groups", "subnets"} & {call[0] for call in aws.calls}


# ---------------------------------------------------------------------------- unavailable facts


@pytest.mark.parametrize(
    ("method", "action", "ids"),
    [
        ("targets", "elasticloadbalancing:Call", {CheckId.TARGET_HEALTH, CheckId.DRIFT}),
        ("database", "rds:Call", {CheckId.DATABASE}),
        ("listeners", "elasticloadbalancing:Call", {CheckId.LISTENER}),
        ("security_groups", "ec2:Call",
         {CheckId.LOAD_BALANCER_SECURITY_GROUP, CheckId.SWITCH, CheckId.DATABASE_SECURITY_GROUP}),
        ("describe", "ec2:Call", {CheckId.SWITCH}),
        ("connections", "ec2:Call", {CheckId.ENDPOINT_CONNECTIONS}),
        ("recent_runs", "cloudwatch:Call", {CheckId.LAST_SYNC}),
        ("is_enabled", "scheduler:Call", {CheckId.SCHEDULE}),
        ("messages", "sqs:Call", {CheckId.DEAD_LETTER_QUEUES}),
    ],
)  # fmt: skip
def test_a_missing_permission_makes_its_checks_unknown_and_is_named(
    aws: FakeAws, method: str, action: str, ids: set[CheckId]
) -> None:
    aws.errors[method] = AwsAccessDeniedError("Call", "AccessDenied", "not authorized")

    report = make_collector(aws).run()

    assert states(report, CheckState.UNKNOWN) == ids
    assert not states(report, CheckState.BROKEN)
    for id_ in ids:
        assert f"The function may not call {action}" in texts(report, id_)
        assert f"the permission {action}" in texts(report, id_)


def test_a_check_that_needs_an_unknown_fact_has_the_same_reason(aws: FakeAws) -> None:
    aws.errors["load_balancer"] = AwsAccessDeniedError("Call", "AccessDenied", "no")

    report = make_collector(aws).run()

    assert states(report, CheckState.UNKNOWN) == {
        CheckId.LOAD_BALANCER,
        CheckId.AVAILABILITY_ZONES,
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
        CheckId.SWITCH,
        CheckId.DATABASE_SECURITY_GROUP,
    }
    assert "elasticloadbalancing:Call" in texts(report, CheckId.DATABASE_SECURITY_GROUP)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AwsUnavailableError("Call", "Throttling", "slow down"), "in a minute"),
        (AwsCallError("Call", "InternalFailure", "oops"), "Read the error"),
        (AwsAccessDeniedError("Call", "UnauthorizedOperation", "no"), "may not call ec2:Call"),
    ],
)
def test_an_unknown_check_says_why(aws: FakeAws, error: Exception, words: str) -> None:
    aws.errors["service"] = error

    report = make_collector(aws).run()

    assert states(report, CheckState.UNKNOWN) == {CheckId.ENDPOINT_SERVICE}
    assert words in texts(report, CheckId.ENDPOINT_SERVICE)
    assert not report.healthy


def test_an_api_that_hangs_does_not_delay_the_other_checks(aws: FakeAws) -> None:
    aws.hanging = frozenset({"service"})

    report = make_collector(aws, seconds=0.5).run()

    assert states(report, CheckState.UNKNOWN) == {CheckId.ENDPOINT_SERVICE}
    assert "It took too long to read the endpoint service." in texts(
        report, CheckId.ENDPOINT_SERVICE
    )


def test_a_query_that_needs_a_hanging_one_is_not_waited_for(aws: FakeAws) -> None:
    aws.hanging = frozenset({"load_balancer"})

    report = make_collector(aws, seconds=0.5).run()

    assert states(report, CheckState.UNKNOWN) >= {
        CheckId.LOAD_BALANCER,
        CheckId.DATABASE_SECURITY_GROUP,
    }
    assert not states(report, CheckState.BROKEN)


@pytest.mark.parametrize(
    "deployment", [DEPLOYMENT, replace(DEPLOYMENT, outbound_rules_group="sg-1")]
)
def test_a_target_that_is_no_address_does_not_stop_the_report(
    aws: FakeAws, deployment: Deployment
) -> None:
    aws.facts = replace(aws.facts, targets=(target(), target("i-0a1b2c3d4e5f60718")))

    report = make_collector(aws, deployment, serves_standby=True).run()

    assert "i-0a1b2c3d4e5f60718" in " ".join(it for check in report.checks for it in check.details)


def test_a_bug_is_raised(aws: FakeAws) -> None:
    aws.errors["group"] = ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        make_collector(aws).run()


# -------------------------------------------------------------------- the record and the build


@pytest.mark.usefixtures("_powertools")
def test_a_report_writes_one_record(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    report = make_collector(aws).run()

    PowertoolsReporter().report(report)

    (record,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["message"] == "status reported"
    assert record["result"] == json.loads(json.dumps(report.to_document()))


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
    "OUTBOUND_RULES_GROUP": OUTBOUND_RULES_GROUP,
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
    "FAILED_RUNS_QUEUE_URL": FAILED_RUNS_URL,
    "UNDELIVERED_EVENTS_QUEUE_URL": UNDELIVERED_EVENTS_URL,
}
GROUP_ENVIRONMENT = {
    **ENVIRONMENT,
    "DATABASE_KIND": "ec2-asg",
    "DATABASE_IDENTIFIER": "databases",
    "DATABASE_SECURITY_GROUPS": "",
    "SCHEDULE_NAME": "",
}
EXISTING_GROUP_ENVIRONMENT = {
    **ENVIRONMENT,
    "LOAD_BALANCER_ARN": "",
    "IDLE_TIMEOUT_SECONDS": "",
    "OUTBOUND_RULES_GROUP": "",
    "ENDPOINT_SERVICE_ID": "",
    "ALLOWED_PRINCIPALS": "",
}


@pytest.fixture
def _region(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    build.status_collector.cache_clear()
    yield
    build.status_collector.cache_clear()


def test_the_environment_becomes_the_deployment() -> None:
    deployment: Deployment = load_status_settings(ENVIRONMENT).deployment
    assert deployment == replace(DEPLOYMENT, apis=("elasticloadbalancing", "ec2"))


@pytest.mark.usefixtures("_region", "_powertools")
def test_the_collector_is_built_once_per_container(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    collector = build.status_collector()

    assert isinstance(collector.endpoint, DnsEndpoint)
    assert isinstance(collector.service, Ec2EndpointService)
    assert collector.standbys is None
    assert collector.probe is None
    assert build.status_collector() is collector


@pytest.mark.usefixtures("_region", "_powertools")
def test_each_stack_gets_the_parts_that_it_needs() -> None:
    serving_standby = build.build_status_collector(
        {**ENVIRONMENT, "STANDBY_TARGETS": "serving", "VPC_ID": "vpc-0a1b2c3d"}
    )
    inside = build.build_status_collector({**ENVIRONMENT, "FUNCTION_SUBNETS": "subnet-a,subnet-b"})
    scaling = build.build_status_collector(GROUP_ENVIRONMENT)
    existing = build.build_status_collector(EXISTING_GROUP_ENVIRONMENT)
    hostname = build.build_status_collector({**ENVIRONMENT, "DATABASE_KIND": "hostname"})
    instance = build.build_status_collector(
        {**ENVIRONMENT, "DATABASE_KIND": "ec2-instance", "DATABASE_ENDPOINT": "i-0a1b2c3d4e5f60718"}
    )

    assert isinstance(serving_standby.standbys, RdsNetworkInterfaces)
    assert isinstance(serving_standby.outbound_rules, SecurityGroupRules)
    assert existing.outbound_rules is None
    assert isinstance(inside.probe, PostgresProbe)
    assert inside.settings.function_subnets == ("subnet-a", "subnet-b")
    assert (scaling.endpoint, scaling.schedule) == (None, None)
    assert scaling.settings.deployment.scaling_group == "databases"
    assert existing.service is None
    assert not existing.settings.deployment.owns_network
    assert existing.settings.deployment.idle_timeout is None
    assert isinstance(instance.endpoint, InstanceEndpoint)
    databases = [it.database for it in (inside, instance, scaling, hostname)]
    assert [isinstance(it, AwsDatabase) for it in databases] == [True, True, False, False]
    assert instance.settings.deployment.apis == ("elasticloadbalancing", "ec2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POWERTOOLS_SERVICE_NAME", ""),
        ("ENDPOINT_SERVICE_ID", "vpce-1"),
        ("ENFORCE_INBOUND_RULES", "maybe"),
        ("CONSUMER_NETWORK", "everywhere"),
        ("IDLE_TIMEOUT_SECONDS", "long"),
        ("IDLE_TIMEOUT_SECONDS", "59"),
        ("IDLE_TIMEOUT_SECONDS", "6001"),
        ("ACCEPTANCE_REQUIRED", "perhaps"),
        ("MANAGES_INGRESS", ""),
        ("ALLOWED_PRINCIPALS", ""),
        ("SCHEDULE_NAME", ""),
        ("FAILED_RUNS_QUEUE_URL", ""),
        ("FAILED_RUNS_QUEUE_URL", "failed"),
        ("UNDELIVERED_EVENTS_QUEUE_URL", ""),
        ("LOAD_BALANCER_ARN", "orders"),
        ("FUNCTION_SUBNETS", "subnet-0a1b2c3d,orders"),
        ("DATABASE_SECURITY_GROUPS", "orders"),
        ("TRUSTED_ACCOUNTS", "orders"),
        ("DATABASE_PORT", "none"),
        ("DATABASE_PORT", "99999"),
    ],
)
def test_an_invalid_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_status_settings({**ENVIRONMENT, name: value})
    if name == "DATABASE_PORT":
        with pytest.raises(SettingsError, match=name):
            load_status_settings({**GROUP_ENVIRONMENT, name: value})
