"""What template.yaml and fleet.yaml have in common: parameters, names, roles, outputs, alarms.

Neither template skips an unknown check of checkov. The requirements do not lock checkov, because it
needs another boto3 than the lab. To run it:
``uvx checkov --framework cloudformation -f template.yaml``
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from target_sync.notifications.messages import RUNBOOK
from tests.template.pages import anchors, read
from tests.template.stack import (
    FLEET_SITUATIONS,
    FLEET_TEMPLATE,
    PSEUDO_PARAMETERS,
    SITUATIONS,
    TEMPLATE,
    Resolver,
    as_list,
    expand,
    load,
    statements,
)

BOTH = (TEMPLATE, FLEET_TEMPLATE)


def each(of: Callable[[Path], Iterable[str]]) -> pytest.MarkDecorator:
    """Run a test for each of these names in each template."""
    both = [(path, name) for path in BOTH for name in of(path)]
    ids = [f"{path.stem}-{name}" for path, name in both]
    return pytest.mark.parametrize(("path", "name"), both, ids=ids)


EACH = pytest.mark.parametrize("path", BOTH, ids=lambda path: path.stem)
EVERYWHERE = each(lambda path: SITUATIONS if path == TEMPLATE else FLEET_SITUATIONS)
BOUNDARY = SITUATIONS["boundary"]["PermissionsBoundaryArn"]
SKIPPED_CHECKS = {
    "AWS::EC2::VPCEndpointService": {"CKV_AWS_123"},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {"CKV_AWS_91"},
    "AWS::Logs::LogGroup": {"CKV_AWS_158"},
    "AWS::SNS::Topic": {"CKV_AWS_26"},
    "AWS::SQS::Queue": {"CKV_AWS_27"},
    "AWS::Serverless::Function": {"CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_173"},
}
"""The checks of checkov that every resource of a type skips, by type."""
NO_RESOURCE_LEVEL = {
    "autoscaling:DescribeAutoScalingGroups",
    "cloudwatch:GetMetricData",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcEndpointConnections",
    "ec2:DescribeVpcEndpointServiceConfigurations",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcs",
    "elasticloadbalancing:DescribeListenerAttributes",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "tag:GetResources",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions that AWS lets no policy narrow (Service Authorization Reference)."""
WHOLE_TYPES = {
    # The look-up has to find the database.
    "rds:DescribeDBClusterEndpoints": {":cluster:*", ":cluster-endpoint:*"},
    "rds:DescribeDBClusters": {":cluster:*"},
    "rds:DescribeDBInstances": {":db:*"},
    "rds:DescribeDBProxies": {":db-proxy:*"},
    "rds:DescribeDBProxyEndpoints": {":db-proxy:*", ":db-proxy-endpoint:*"},
    # When the name changes, the function also detaches the old group.
    "autoscaling:AttachLoadBalancerTargetGroups": {":autoScalingGroup:*:autoScalingGroupName/*"},
    "autoscaling:DetachLoadBalancerTargetGroups": {":autoScalingGroup:*:autoScalingGroupName/*"},
    # Lambda requires these for a function in a VPC, whose interfaces have no names yet.
    "ec2:AssignPrivateIpAddresses": {":network-interface/*"},
    "ec2:CreateNetworkInterface": {":network-interface/*", ":subnet/*"},
    "ec2:DeleteNetworkInterface": {":*/*"},
    "ec2:UnassignPrivateIpAddresses": {":network-interface/*"},
}
"""Actions that a role may have on every resource of a type in the account and Region."""
#: The fleet's template cannot name the target groups, because their tags decide.
WHOLE_TYPES_OF_THE_FLEET = {
    **WHOLE_TYPES,
    "elasticloadbalancing:DeregisterTargets": {":targetgroup/*"},
    "elasticloadbalancing:RegisterTargets": {":targetgroup/*"},
    "ec2:CreateNetworkInterface": {":network-interface/*", ":subnet/*", ":security-group/*"},
}
NAME_PROPERTIES = re.compile(
    r"(Name|(Bucket|Function|Group|Layer|LoadBalancer|LogGroup|Queue|Role|Rule|Schedule|Topic)Name)"
)
LONGEST_STACK_NAME = "s" * 128
LIMITS = {
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::EC2::SecurityGroup", "GroupDescription"): 255,
    ("AWS::EC2::SecurityGroupIngress", "Description"): 255,
    ("AWS::CloudWatch::Dashboard", "DashboardBody"): sys.maxsize,  # AWS documents no limit
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Events::Rule", "Description"): 512,
    ("AWS::IAM::ManagedPolicy", "Description"): 1000,
    ("AWS::Lambda::Function", "Description"): 256,
    ("AWS::Lambda::LayerVersion", "LayerName"): 140,
    ("AWS::Logs::QueryDefinition", "Name"): 255,
    ("AWS::Scheduler::Schedule", "Description"): 512,
}
"""The maximum length of texts in AWS, by resource type and property."""


def resolver(path: Path, situation: str, stack: str = "postgres-privatelink") -> Resolver:
    given = (SITUATIONS if path == TEMPLATE else FLEET_SITUATIONS)[situation]
    return Resolver(given, pseudo={**PSEUDO_PARAMETERS, "AWS::StackName": stack}, path=path)


@each(lambda path: load(path)["Resources"])
def test_skips_only_the_known_security_checks_and_says_why(path: Path, name: str) -> None:
    resource = load(path)["Resources"][name]
    skipped = resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    assert all(re.fullmatch(r"\w.{20,}", entry["comment"]) for entry in skipped)
    is_function = resource["Type"] == "AWS::Serverless::Function"
    functions = load(path)["Globals"]["Function"]
    may_be_in_a_vpc = "VpcConfig" in {**functions, **resource.get("Properties", {})}
    expected = SKIPPED_CHECKS.get(resource["Type"], set())
    if is_function and not may_be_in_a_vpc:
        expected = expected | {"CKV_AWS_117"}
    assert {entry["id"] for entry in skipped} == expected


# --------------------------------------------------------------------------------------- parameters


@EACH
def test_every_parameter_is_in_one_group_and_has_a_label_of_its_own(path: Path) -> None:
    parameters = load(path)["Parameters"]
    interface = load(path)["Metadata"]["AWS::CloudFormation::Interface"]
    groups, labels = interface["ParameterGroups"], interface["ParameterLabels"]
    listed = Counter(name for group in groups for name in group["Parameters"])
    assert listed == dict.fromkeys(parameters, 1)
    assert all(group["Label"]["default"] for group in groups)
    assert labels.keys() == parameters.keys()
    assert len({label["default"] for label in labels.values()}) == len(parameters)


@each(lambda path: load(path)["Parameters"])
def test_a_parameter_has_a_description_limits_and_a_valid_default(path: Path, name: str) -> None:
    parameter = load(path)["Parameters"][name]
    assert parameter["Description"].endswith((".", "com"))
    assert {"AllowedPattern", "AllowedValues", "MinValue"} & parameter.keys()
    if parameter["Type"] in {"String", "CommaDelimitedList"}:
        assert {"AllowedPattern", "AllowedValues"} & parameter.keys()
    assert parameter["ConstraintDescription"].startswith("must be ")
    if "Default" in parameter:
        default = parameter["Default"]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), str(default))
        assert default in parameter.get("AllowedValues", [default])
        assert parameter.get("MinValue", default) <= default <= parameter.get("MaxValue", default)


# -------------------------------------------------------------------------------------------- roles


@EVERYWHERE
def test_a_role_names_its_resources_where_aws_has_a_resource_level(path: Path, name: str) -> None:
    whole_types = WHOLE_TYPES if path == TEMPLATE else WHOLE_TYPES_OF_THE_FLEET
    here = ":".join(PSEUDO_PARAMETERS[f"AWS::{part}"] for part in ("Region", "AccountId"))
    for _, statement in statements(resolver(path, name)):
        for action in as_list(statement["Action"]):
            assert "*" not in action
            for resource in as_list(statement["Resource"]):
                if resource == "*":
                    assert action in NO_RESOURCE_LEVEL
                elif "*" in resource:
                    assert resource.split(here)[1] in whole_types[action]


@EACH
def test_every_star_has_a_reason(path: Path) -> None:
    lines = path.read_text().splitlines()
    stars = [number for number, line in enumerate(lines) if 'Resource: "*"' in line]
    assert stars
    for number in stars:
        start = max(i for i in range(number) if re.match(r" +- (Sid:|&)", lines[i]))
        assert lines[start - 1].strip().startswith("# AWS has no resource level"), lines[start]


@pytest.mark.parametrize(
    # One role for each function, and one for each schedule.
    ("path", "count"),
    [(TEMPLATE, 6), (FLEET_TEMPLATE, 2)],
)
def test_every_role_has_the_permissions_boundary(path: Path, count: int) -> None:
    given = {} if path == FLEET_TEMPLATE else {"AcceptanceRequired": "true"}
    roles = Resolver({**given, "PermissionsBoundaryArn": BOUNDARY}, path=path)
    bounded = roles.of_type("AWS::IAM::Role").values()
    assert [role["PermissionsBoundary"] for role in bounded] == [BOUNDARY] * count
    plain = Resolver(given, path=path).of_type("AWS::IAM::Role").values()
    assert not [role for role in plain if "PermissionsBoundary" in role]


# ------------------------------------------------------------------------------------------- alarms


@pytest.mark.parametrize(
    ("path", "situation"), [(TEMPLATE, "acceptance"), (FLEET_TEMPLATE, "by default")]
)
def test_an_alarm_description_names_its_runbook_entry(path: Path, situation: str) -> None:
    for alarm in resolver(path, situation).of_type("AWS::CloudWatch::Alarm").values():
        name = alarm["AlarmName"].removeprefix("postgres-privatelink-")
        description = alarm["AlarmDescription"]
        assert re.fullmatch(rf"[A-Z].{{30,}}\. See {RUNBOOK}#{name}\.", description)
        assert name in anchors(read(RUNBOOK))
        assert len(description) < 1024
        # Missing data leads to one of the two states, so there is no third state to notify.
        assert alarm["TreatMissingData"] in {"breaching", "notBreaching"}


# ---------------------------------------------------------------------------------- names, outputs


@each(lambda path: expand(path)["Resources"])
def test_two_stacks_have_no_name_in_common_and_a_deleted_stack_leaves_nothing(
    path: Path, name: str
) -> None:
    resource = expand(path)["Resources"][name]
    assert resource.get("DeletionPolicy", "Delete") == "Delete"
    if resource["Type"] == "AWS::IAM::Policy" or resource["Type"].startswith("Custom::"):
        return  # an inline policy's name need only differ within its role
    for key, value in resource.get("Properties", {}).items():
        if NAME_PROPERTIES.fullmatch(key):
            one, other = (
                Resolver(pseudo={**PSEUDO_PARAMETERS, "AWS::StackName": s}, path=path).resolve(
                    value
                )
                for s in ("one", "other")
            )
            assert one.startswith("<") or one != other, f"{key} of {name} is always {one}"


@EVERYWHERE
def test_the_longest_name_of_a_stack_fits_everywhere(path: Path, name: str) -> None:
    created = resolver(path, name, LONGEST_STACK_NAME).created()
    for logical_id, resource in created.items():
        for key, value in resource.get("Properties", {}).items():
            if isinstance(value, str) and LONGEST_STACK_NAME in value:
                assert len(value) <= LIMITS[resource["Type"], key], f"{key} of {logical_id}"


@EACH
def test_every_output_is_described_and_none_is_exported(path: Path) -> None:
    outputs = load(path)["Outputs"].values()
    assert all(entry["Description"] for entry in outputs)
    assert not any("Export" in entry for entry in outputs)  # stacks share export names
