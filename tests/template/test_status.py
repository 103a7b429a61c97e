"""ReportStatusFunction in the template: it only reads, and observes as the sync function does."""

from typing import Any

import pytest

from target_sync.model import DatabaseKind
from target_sync.status.checks.result import CheckId
from target_sync.status.collector import SECONDS
from target_sync.status.settings import StatusSettings, load_status_settings
from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK
from tests.template.pages import read, sections
from tests.template.stack import SITUATIONS, Resolver, as_list, load, policies

EVERYWHERE = pytest.mark.parametrize("situation", SITUATIONS)
SERVICE = "vpce-svc-0a1b2c3d4e5f60718"
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/x/0123456789abcdef"
BALANCER = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/x/0123456789abcdef"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/queue"
ENDPOINTS = {"ec2-instance": "i-0a1b2c3d4e5f60718", "static": "192.168.7.1,192.168.7.2"}


def variables(situation: str, kind: str = "", **given: str) -> dict[str, str]:
    """The function's environment, with example results of the database look-up."""
    parameters = {**SITUATIONS[situation], **given}
    is_cluster = Resolver(parameters).condition("IsCluster")
    default = "rds-cluster-writer" if is_cluster else "rds-instance"
    kind = kind or (situation if situation in set(DatabaseKind) else default)
    resolver = Resolver(
        parameters,
        attributes={
            "DatabaseLookup.Kind": kind,
            "DatabaseLookup.Endpoint": ENDPOINTS.get(kind, "orders.example"),
            "DatabaseLookup.Identifier": "orders",
            "DatabaseLookup.Port": "5433",
            "DatabaseLookup.AllowedNetworks": "10.0.0.0/16",
            "DatabaseLookup.VpcNetworks": "10.0.0.0/16",
            "DatabaseLookup.DatabaseVpcId": "vpc-0a1b2c3d",
            "DatabaseLookup.DatabaseSubnetIds": "subnet-0a1b2c3d",
            "DatabaseLookup.SecurityGroupIds": "sg-0a1b2c3d",
            "DatabaseTargetGroup": GROUP,
            "FailedRunsQueue": QUEUE,
            "LoadBalancer": BALANCER,
            "UndeliveredEventsQueue": QUEUE,
            "EndpointService": SERVICE,
            "OutboundRulesSecurityGroup": "sg-2a3b4c5d",
        },
    )
    found: dict[str, str] = resolver.of_type("AWS::Lambda::Function")["ReportStatusFunction"][
        "Environment"
    ]["Variables"]
    return found


def settings(situation: str, **given: str) -> StatusSettings:
    return load_status_settings(variables(situation, **given))


def actions(situation: str, *, by_lambda: bool) -> set[str]:
    """The actions of its role, either those of Lambda itself or those of the function."""
    lambdas_own = {"WriteLog", "SendTraces", "CreateInterfaces", "ChangeInterfaces"}
    lambdas_own |= {"DeleteInterfaces", "ReadInterfaces"}
    return {
        action
        for role, statement in policies(situation)
        if role == "ReportStatusRole" and (statement["Sid"] in lambdas_own) == by_lambda
        for action in as_list(statement["Action"])
    }


@EVERYWHERE
def test_the_function_only_reads(situation: str) -> None:
    for action in actions(situation, by_lambda=False):
        assert action.partition(":")[2].startswith(("Describe", "Get")), action


@EVERYWHERE
def test_only_lambda_itself_may_write(situation: str) -> None:
    assert actions(situation, by_lambda=True) <= {
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:UnassignPrivateIpAddresses",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }


@EVERYWHERE
def test_the_function_has_the_sync_functions_variables(situation: str) -> None:
    functions = Resolver(SITUATIONS[situation]).of_type("AWS::Lambda::Function")
    if "ReconcileTargetsFunction" not in functions:
        return
    sync, status = (
        functions[name]["Environment"]["Variables"]
        for name in ("ReconcileTargetsFunction", "ReportStatusFunction")
    )
    shared = {name: value for name, value in status.items() if name in sync}
    # Only the sync function sends notifications.
    assert shared == {name: value for name, value in sync.items() if name != "ALARM_TOPIC_ARN"}


@EVERYWHERE
def test_the_function_reads_the_settings_of_the_template(situation: str) -> None:
    found = settings(situation)

    assert found.deployment.policy.port == 5433
    assert found.deployment.stack == "postgres-privatelink"
    assert found.deployment.owns_network == (situation != "existing target group")
    assert (found.sync is None) == (situation == "ec2-asg")
    has_switch = situation not in {"existing target group", "ec2-asg"}
    assert bool(found.deployment.outbound_rules_group) == has_switch
    assert bool(found.deployment.schedule) == (situation != "ec2-asg")


def test_the_deployment_has_the_parameters_of_the_stack() -> None:
    deployment = settings(
        "rejection",
        EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic="on",
        ConsumerNetwork="10.9.0.0/16",
        IdleTimeoutSeconds="600",
        TrustedAccounts="444455556666",
    ).deployment

    assert deployment.enforces_inbound_rules
    assert str(deployment.consumer_network) == "10.9.0.0/16"
    assert deployment.idle_timeout == 600
    assert deployment.manages_ingress
    assert deployment.acceptance_required
    assert deployment.trusted_accounts == {"444455556666"}
    assert deployment.service_id == SERVICE
    assert deployment.database_security_groups == ("sg-0a1b2c3d",)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Consumer": "databricks"},
        {"Consumer": "clickhouse"},
        {"AllowedPrincipals": "arn:aws:iam::1:root,arn:aws:iam::2:root"},
    ],
)
def test_the_expected_principals_are_those_of_the_service(given: dict[str, str]) -> None:
    (permissions,) = Resolver(given).of_type("AWS::EC2::VPCEndpointServicePermissions").values()
    expected = settings("rds-instance", **given).deployment.principals
    assert expected == frozenset(permissions["AllowedPrincipals"])


def test_no_idle_timeout_is_expected_of_a_listener_outside_the_stack() -> None:
    assert settings("rds-instance").deployment.idle_timeout == 350
    assert settings("rds-instance", SupportedRegions="us-east-1").deployment.idle_timeout == 350
    assert settings("existing target group").deployment.idle_timeout is None


@pytest.mark.parametrize(
    ("situation", "apis"),
    [
        ("existing target group", ("elasticloadbalancing",)),
        ("rds-instance", ("elasticloadbalancing", "ec2")),
        ("cluster, function in the VPC", ("elasticloadbalancing", "rds", "ec2")),
        ("instance, function in the VPC", ("elasticloadbalancing", "ec2")),
        ("serving standby", ("elasticloadbalancing", "ec2")),
    ],
)
def test_the_deployment_has_the_apis_of_the_sync_function(
    situation: str, apis: tuple[str, ...]
) -> None:
    kind = {"cluster": "rds-cluster-writer", "instance": "ec2-instance"}.get(
        situation.partition(",")[0], ""
    )
    assert load_status_settings(variables(situation, kind)).deployment.apis == apis


def group() -> dict[str, Any]:
    properties: dict[str, Any] = load()["Resources"]["DatabaseTargetGroup"]["Properties"]
    return properties


def test_the_expected_attributes_are_those_of_the_template() -> None:
    written = {entry["Key"]: entry["Value"] for entry in group()["TargetGroupAttributes"]}
    assert written == GROUP_ATTRIBUTES


def test_the_expected_health_checks_are_those_of_the_template() -> None:
    properties = group()
    assert {name: properties[name] for name in HEALTH_CHECK} == HEALTH_CHECK


def test_the_function_reads_only_this_stacks_resources() -> None:
    allowed = {
        action: as_list(statement["Resource"])
        for role, statement in policies("rds-instance")
        for action in as_list(statement["Action"])
        if role == "ReportStatusRole"
    }
    here = "eu-west-1:111122223333"
    assert allowed["scheduler:GetSchedule"] == [
        f"arn:aws:scheduler:{here}:schedule/default/<ReconcileTargetsFunctionEveryMinute>"
    ]
    assert allowed["ec2:DescribeVpcEndpointServicePermissions"] == [
        f"arn:aws:ec2:{here}:vpc-endpoint-service/<EndpointService>"
    ]
    assert allowed["sqs:GetQueueAttributes"] == [
        "<FailedRunsQueue.Arn>",
        "<UndeliveredEventsQueue.Arn>",
    ]


def test_a_report_ends_before_the_functions_timeout() -> None:
    timeout = Resolver().of_type("AWS::Lambda::Function")["ReportStatusFunction"]["Timeout"]
    assert SECONDS + 5 < timeout < 60


def test_the_page_explains_every_check_in_its_order() -> None:
    assert list(sections(read("docs/status.md"), 3)) == [id_.value for id_ in CheckId]
