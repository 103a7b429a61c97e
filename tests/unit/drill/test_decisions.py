"""Which stacks and databases a drill refuses, and its one call."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore import xform_name

from drill import decisions
from drill.decisions import (
    REQUIRED_RESOURCES,
    DrilledStack,
    FailoverCall,
    Resource,
    recognise_stack,
)
from target_sync.config import StandbyTargets
from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind
from tests.support.drill import (
    ENDPOINT,
    cluster,
    cluster_stack,
    described_stack,
    instance,
    instance_stack,
    stack_resources,
)
from tests.support.notifications import GROUP_ARN
from tests.template.pages import ROOT, read
from tests.template.stack import load

FUNCTION = "AWS::Lambda::Function"


def test_recognises_a_stack_of_the_template() -> None:
    stack = instance_stack()
    assert (stack.account, stack.region) == ("111122223333", "eu-west-1")
    assert (stack.kind, stack.database.identifier) == (DatabaseKind.RDS_INSTANCE, "orders")
    assert stack.target_group_arn == GROUP_ARN
    assert stack.log_group == "physical-ReconcileTargetsLogGroup"
    assert stack.event_source == ("db-instance", "orders")
    assert stack.standby_targets is StandbyTargets.NONE
    assert not stack.rules_group


RULES_GROUP = Resource(type="AWS::EC2::SecurityGroup", id="sg-1")


@pytest.mark.parametrize("value", StandbyTargets)
def test_reads_what_happens_to_the_old_target(value: StandbyTargets) -> None:
    stack = recognise_stack(
        described_stack(parameters={"StandbyTargets": value}),
        stack_resources(OutboundRulesSecurityGroup=RULES_GROUP),
    )
    assert (stack.standby_targets, stack.rules_group) == (value, "sg-1")


def test_without_rules_no_target_is_warm() -> None:
    """As with ExistingTargetGroupArn."""
    stack = recognise_stack(
        described_stack(parameters={"StandbyTargets": "warm"}), stack_resources()
    )
    assert stack.standby_targets is StandbyTargets.NONE


def test_rejects_a_stack_without_the_parameter_for_standby_targets() -> None:
    described = described_stack()
    parameters = [p for p in described["Parameters"] if p["ParameterKey"] != "StandbyTargets"]
    with pytest.raises(RejectedInputError, match="no parameter StandbyTargets"):
        recognise_stack({**described, "Parameters": parameters}, stack_resources())


def test_the_template_has_the_required_resources() -> None:
    resources = load()["Resources"]
    found = {name: resources[name]["Type"] for name in REQUIRED_RESOURCES}
    # SAM transforms its own type to a plain function.
    assert {
        name: kind.replace("Serverless", "Lambda") for name, kind in found.items()
    } == REQUIRED_RESOURCES
    assert {"ReconcileTargetsFunctionName", "ReportStatusFunctionName"} <= load()["Outputs"].keys()


@pytest.mark.parametrize("name", REQUIRED_RESOURCES)
def test_rejects_a_stack_without_a_required_resource(name: str) -> None:
    with pytest.raises(RejectedInputError, match=f"not one of this project's template.*{name}"):
        recognise_stack(described_stack(), stack_resources(**{name: None}))


@pytest.mark.parametrize("name", REQUIRED_RESOURCES)
def test_rejects_a_required_resource_of_another_type(name: str) -> None:
    other = Resource(type="AWS::SNS::Topic", id=f"physical-{name}")
    with pytest.raises(RejectedInputError, match="not one of this project's template"):
        recognise_stack(described_stack(), stack_resources(**{name: other}))


@pytest.mark.parametrize(
    "output", ["ReconcileTargetsFunctionName", "ReportStatusFunctionName", "TargetGroupArn"]
)
def test_rejects_outputs_that_name_other_resources(output: str) -> None:
    with pytest.raises(RejectedInputError, match=f"output {output} is other"):
        recognise_stack(described_stack(outputs={output: "other"}), stack_resources())


@pytest.mark.parametrize(("group", "key"), [
    ("Outputs", "DatabaseKind"), ("Parameters", "DatabaseEndpoint"),
])  # fmt: skip
def test_rejects_a_stack_that_does_not_name_its_database(group: str, key: str) -> None:
    described = dict(described_stack())
    described[group] = [entry for entry in described[group] if key not in entry.values()]
    with pytest.raises(RejectedInputError, match="does not name its database"):
        recognise_stack(described, stack_resources())


def test_takes_an_existing_target_group_from_the_parameter() -> None:
    described = described_stack(parameters={"ExistingTargetGroupArn": GROUP_ARN})
    resources = stack_resources(DatabaseTargetGroup=None, LoadBalancer=None)
    stack = recognise_stack(described, resources)
    assert (stack.target_group_arn, stack.load_balancer_arn) == (GROUP_ARN, "")


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"])
def test_rejects_a_stack_during_an_update(status: str) -> None:
    with pytest.raises(RejectedInputError, match=status):
        recognise_stack(described_stack(status=status), stack_resources())


def test_rejects_a_stack_of_an_auto_scaling_group() -> None:
    resources = stack_resources(
        FirstSync=None,
        ReconcileTargetsFunction=None,
        AutoScalingAttachment=Resource(type="Custom::AutoScalingAttachment", id="x"),
    )
    with pytest.raises(RejectedInputError, match="Auto Scaling group"):
        recognise_stack(described_stack(), resources)


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        ("rds-proxy", "pool.proxy-abc123.eu-west-1.rds.amazonaws.com"),
        ("rds-cluster-readers", "shop.cluster-ro-abc123.eu-west-1.rds.amazonaws.com"),
        ("hostname", "db.example.internal"),
        ("static", "192.168.7.11"),
        ("ec2-instance", "i-0123456789abcdef0"),
    ],
)
def test_rejects_a_kind_that_rds_cannot_fail_over(kind: str, endpoint: str) -> None:
    described = described_stack(
        outputs={"DatabaseKind": kind}, parameters={"DatabaseEndpoint": endpoint}
    )
    stack = recognise_stack(described, stack_resources())
    with pytest.raises(RejectedInputError, match=f"of the kind {kind}: .* --observe"):
        decisions.check_kind(stack)


def test_reboots_an_instance_with_failover() -> None:
    decisions.check_kind(instance_stack())
    call = decisions.instance_failover(instance_stack(), instance())
    assert str(call) == "RebootDBInstance(DBInstanceIdentifier=orders, ForceFailover=True)"
    assert (call.database, call.warnings) == ("orders", ())


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, f"exactly {ENDPOINT}"),
        (instance(Endpoint={"Address": ENDPOINT.replace("abc", "xyz")}), f"exactly {ENDPOINT}"),
        (instance(Endpoint={}), f"exactly {ENDPOINT}"),
        (instance(DBClusterIdentifier="shop"), "member of the cluster shop"),
        (instance(MultiAZ=False), "not Multi-AZ"),
        (instance(DBInstanceStatus="modifying"), "orders is modifying"),
    ],
)
def test_rejects_an_instance_that_is_not_the_stacks_or_not_ready(
    found: Mapping[str, Any] | None, reason: str
) -> None:
    with pytest.raises(RejectedInputError, match=reason):
        decisions.instance_failover(instance_stack(), found)


def test_warns_of_changes_that_a_reboot_applies() -> None:
    found = instance(
        DBParameterGroups=[
            {"DBParameterGroupName": "tuned", "ParameterApplyStatus": "pending-reboot"},
            {"DBParameterGroupName": "other", "ParameterApplyStatus": "in-sync"},
        ],
        PendingModifiedValues={"DBInstanceClass": "db.r8g.large"},
    )
    (warning,) = decisions.instance_failover(instance_stack(), found).warnings
    assert "the parameter group tuned, DBInstanceClass" in warning
    assert "other" not in warning


def test_fails_a_cluster_over() -> None:
    decisions.check_kind(cluster_stack())
    call = decisions.cluster_failover(cluster_stack(), cluster())
    assert str(call) == "FailoverDBCluster(DBClusterIdentifier=shop)"
    assert "Aurora" in call.outage
    multi_az = decisions.cluster_failover(cluster_stack(), cluster(Engine="postgres"))
    assert "Multi-AZ cluster" in multi_az.outage


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "knows no database shop"),
        (cluster(Endpoint="shop.cluster-xyz.eu-west-1.rds.amazonaws.com"), "knows no database"),
        (cluster(DBClusterMembers=[{"IsClusterWriter": True}]), "no reader"),
        (cluster(Status="failing-over"), "shop is failing-over"),
    ],
)
def test_rejects_a_cluster_that_is_not_the_stacks_or_not_ready(
    found: Mapping[str, Any] | None, reason: str
) -> None:
    with pytest.raises(RejectedInputError, match=reason):
        decisions.cluster_failover(cluster_stack(), found)


@pytest.mark.parametrize("standby", StandbyTargets)
@pytest.mark.parametrize(("fail_over", "stack", "found"), [
    (decisions.instance_failover, instance_stack(), instance()),
    (decisions.cluster_failover, cluster_stack(), cluster()),
    (decisions.cluster_failover, cluster_stack(), cluster(Engine="postgres")),
])  # fmt: skip
def test_the_expected_outage_is_the_same_as_on_the_page(
    fail_over: Callable[[DrilledStack, Mapping[str, Any]], FailoverCall],
    stack: DrilledStack,
    found: Mapping[str, Any],
    standby: StandbyTargets,
) -> None:
    call = fail_over(replace(stack, standby_targets=standby), found)
    figures = re.findall(r"\d+ to \d+ s|under \d+ s", call.outage)
    assert len(figures) == (2 if standby is StandbyTargets.NONE else 3)
    assert all(figure in read("docs/failover.md") for figure in figures)


@pytest.mark.parametrize("typed", ["", "order", "Orders", "orders-2", "yes"])
def test_only_the_name_of_the_database_confirms(typed: str) -> None:
    call = decisions.instance_failover(instance_stack(), instance())
    decisions.check_confirmation("orders", call)
    with pytest.raises(RejectedInputError, match="not the name of the database"):
        decisions.check_confirmation(typed, call)


@pytest.mark.parametrize("healthy", [False, None, "yes"])
def test_rejects_a_status_that_is_not_healthy(healthy: object) -> None:
    decisions.check_status({"healthy": True})
    with pytest.raises(RejectedInputError, match="Broken: schedule"):
        decisions.check_status({"healthy": healthy, "summary": "Broken: schedule."})


def test_the_policy_allows_exactly_the_calls_of_the_drill() -> None:
    policy = json.loads(read("drill/policy.json"))
    actions = {
        action
        for statement in policy["Statement"]
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    methods = {xform_name(action.partition(":")[2]) for action in actions} - {"invoke_function"}
    code = (ROOT / "drill/aws.py").read_text()
    clients = "cloudformation|lambda|rds|failing_over|elbv2|logs|cloudwatch"
    called = set(re.findall(rf"self\._(?:{clients})\.([a-z_]+)\b", code))
    called |= set(re.findall(r'get_paginator\("([a-z_]+)"\)', code))
    called -= {"get_paginator", "exceptions", "meta", "invoke"}
    # The adapters of the functions make these calls.
    assert methods == called | {"describe_target_health", "describe_security_group_rules"}
