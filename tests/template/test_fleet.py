"""The role, the function and the alarms of fleet.yaml."""

from collections.abc import Mapping
from typing import Any

import pytest

from target_sync.fleet.model import ENDPOINT_TAG
from target_sync.fleet.planner import AUDIT_SECONDS
from target_sync.fleet.settings import load_fleet_settings
from target_sync.fleet.sweeper import RESERVE_SECONDS, SWEEP_SECONDS
from tests.template.stack import (
    FLEET_SITUATIONS,
    FLEET_TEMPLATE,
    Resolver,
    as_list,
    load,
    resources,
    statements,
)

TEMPLATE = load(FLEET_TEMPLATE)
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
FUNCTIONS = resources("AWS::Lambda::Function", FLEET_TEMPLATE)
IN_VPC = FLEET_SITUATIONS["in a VPC"]
TOPIC = FLEET_SITUATIONS["with all options"]["AlarmTopicArn"]
EVERYWHERE = pytest.mark.parametrize("situation", FLEET_SITUATIONS)
GROUPS = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/*"


def fleet(**given: str) -> Resolver:
    return Resolver(given, path=FLEET_TEMPLATE)


def of_role(role: str, **given: str) -> list[Mapping[str, Any]]:
    return [statement for owner, statement in statements(fleet(**given)) if owner == role]


def allowed(role: str) -> dict[str, list[str]]:
    """Return the actions of a role, with their resources."""
    found: dict[str, list[str]] = {}
    for statement in of_role(role):
        for action in as_list(statement["Action"]):
            found.setdefault(action, []).extend(as_list(statement["Resource"]))
    return found


# --------------------------------------------------------------------------------------- parameters


def test_every_parameter_has_a_default() -> None:
    assert all("Default" in parameter for parameter in PARAMETERS.values())
    assert not fleet().violations()


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() & load()["Parameters"].keys()))
def test_parameters_of_both_templates_have_the_same_limits(name: str) -> None:
    limits = {"Type", "AllowedPattern", "AllowedValues"}
    ours, theirs = PARAMETERS[name], load()["Parameters"][name]
    assert {k: ours.get(k) for k in limits} == {k: theirs.get(k) for k in limits}


@pytest.mark.parametrize("name", IN_VPC)
def test_subnets_and_security_groups_are_given_together(name: str) -> None:
    (other,) = IN_VPC.keys() - {name}
    (sentence,) = fleet(**{name: IN_VPC[name]}).violations()
    assert other in sentence
    assert not fleet(**IN_VPC).violations()


# ---------------------------------------------------------------------------------------- functions


def test_both_templates_have_the_same_layer_and_runtime() -> None:
    ours, theirs = TEMPLATE["Resources"], load()["Resources"]
    assert ours["TargetSyncLayer"] == theirs["TargetSyncLayer"]
    for name in ("Runtime", "Architectures", "Tracing", "LoggingConfig"):
        assert TEMPLATE["Globals"]["Function"][name] == load()["Globals"]["Function"][name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_own_role_and_log_group(name: str) -> None:
    stem = name.removesuffix("Function")
    assert FUNCTIONS[name]["Role"] == {"Fn::GetAtt": [f"{stem}Role", "Arn"]}
    assert FUNCTIONS[name]["LoggingConfig"]["LogGroup"] == {"Ref": f"{stem}LogGroup"}
    may = allowed(f"{stem}Role")
    assert may["logs:PutLogEvents"] == [f"<{stem}LogGroup.Arn>"]
    group = resources("AWS::Logs::LogGroup", FLEET_TEMPLATE)[f"{stem}LogGroup"]
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@EVERYWHERE
def test_the_functions_are_in_a_vpc_only_if_subnets_are_given(situation: str) -> None:
    given = FLEET_SITUATIONS[situation]
    found = [f.get("VpcConfig") for f in fleet(**given).of_type("AWS::Lambda::Function").values()]
    network = {
        "SubnetIds": [IN_VPC["FunctionSubnetIds"]],
        "SecurityGroupIds": [IN_VPC["FunctionSecurityGroupIds"]],
    }
    assert found == [network if "FunctionSubnetIds" in given else None] * len(FUNCTIONS)


def environment(**given: str) -> dict[str, str]:
    """Return the environment of the function."""
    (function,) = fleet(**given).of_type("AWS::Lambda::Function").values()
    variables: dict[str, str] = function["Environment"]["Variables"]
    return variables


def test_the_function_can_read_the_default_settings() -> None:
    settings = load_fleet_settings(environment())
    assert settings.share == 0.5
    assert (settings.limits.max_targets, settings.resolvers) == (15, ())


def test_the_function_can_read_chosen_settings() -> None:
    chosen = environment(
        ApiShare="0.25",
        MaxTargets="3",
        AllowedNetworks="10.0.0.0/16,10.1.0.0/16",
        Resolvers="10.0.0.2:53",
    )
    settings = load_fleet_settings(chosen)
    assert (settings.share, settings.limits.max_targets) == (0.25, 3)
    networks = [str(network) for network in settings.limits.allowed_networks]
    assert networks == ["10.0.0.0/16", "10.1.0.0/16"]
    assert settings.resolvers == (("10.0.0.2", 53),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("MaxTargets", PARAMETERS["MaxTargets"][limit]) for limit in ("MinValue", "MaxValue")),
        *(("ApiShare", share) for share in PARAMETERS["ApiShare"]["AllowedValues"]),
    ],
)
def test_the_function_accepts_every_number_that_the_template_accepts(
    name: str, value: float
) -> None:
    load_fleet_settings(environment(**{name: str(value)}))


def test_the_function_has_no_other_settings() -> None:
    assert environment().keys() == {
        "ALLOWED_NETWORKS",
        "API_SHARE",
        "MAX_TARGETS",
        "POWERTOOLS_LOG_LEVEL",
        "POWERTOOLS_METRICS_NAMESPACE",
        "POWERTOOLS_SERVICE_NAME",
        "RESOLVERS",
    }


def test_a_sweep_ends_before_the_next_one_and_is_not_retried() -> None:
    (schedule,) = resources("AWS::Scheduler::Schedule", FLEET_TEMPLATE).values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert SWEEP_SECONDS + RESERVE_SECONDS <= FUNCTIONS["FleetSweepFunction"]["Timeout"] <= 60
    (config,) = resources("AWS::Lambda::EventInvokeConfig", FLEET_TEMPLATE).values()
    assert config["FunctionName"] == {"Ref": "FleetSweepFunction"}
    for policy in (config, schedule["Target"]["RetryPolicy"]):
        assert (policy["MaximumRetryAttempts"], policy["MaximumEventAgeInSeconds"]) == (0, 60)


# -------------------------------------------------------------------------------------------- roles


def test_the_role_allows_exactly_what_the_function_does() -> None:
    assert allowed("FleetSweepRole").keys() == {
        "ec2:DescribeVpcs",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "rds:DescribeDBClusters",
        "rds:DescribeDBInstances",
        "tag:GetResources",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }


def test_only_a_tagged_group_can_be_changed() -> None:
    (changing,) = [s for s in of_role("FleetSweepRole") if s["Resource"] == GROUPS]
    assert changing["Condition"] == {"Null": {f"aws:ResourceTag/{ENDPOINT_TAG}": "false"}}


# ------------------------------------------------------------------------------------------- alarms

ALARMS = {
    properties["AlarmName"].removeprefix("postgres-privatelink-"): properties
    for properties in fleet(AlarmTopicArn=TOPIC).of_type("AWS::CloudWatch::Alarm").values()
}


def test_the_template_has_the_known_alarms() -> None:
    assert list(ALARMS) == [
        "no-successful-sweep",
        "sweep-errors",
        "fleet-findings",
        "group-sync-failed",
        "late-groups",
    ]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_the_topic_on_alarm_and_ok(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    undelivered_notifications = fleet().of_type("AWS::CloudWatch::Alarm").values()
    assert not [a for a in undelivered_notifications if "AlarmActions" in a or "OKActions" in a]


def test_a_group_is_late_after_two_rounds_of_the_audit() -> None:
    alarm = ALARMS["late-groups"]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("LongestUnverified", 2 * AUDIT_SECONDS)


def test_the_stack_has_the_outputs_that_users_need() -> None:
    outputs = TEMPLATE["Outputs"]
    assert outputs.keys() >= {f"{function}Name" for function in FUNCTIONS}
