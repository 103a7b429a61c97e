"""What a drill refuses, and the one call that it makes."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from botocore import xform_name

from drill import decisions
from drill.decisions import OURS, FailoverCall, Resource, our_stack
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


def test_a_stack_of_our_template_is_recognised_with_all_that_a_drill_needs() -> None:
    stack = instance_stack()
    assert (stack.account, stack.region) == ("111122223333", "eu-west-1")
    assert (stack.kind, stack.subject.identifier) == (DatabaseKind.RDS_INSTANCE, "orders")
    assert stack.target_group_arn == GROUP_ARN
    assert stack.log_group == "physical-ReconcileTargetsLogGroup"
    assert stack.event_source == ("db-instance", "orders")
    assert not stack.keeps_standby


def test_what_is_looked_for_is_in_the_template() -> None:
    resources = load()["Resources"]
    found = {name: resources[name]["Type"] for name in OURS}
    # SAM makes a plain function of its own type.
    assert {name: kind.replace("Serverless", "Lambda") for name, kind in found.items()} == OURS
    assert {"ReconcileTargetsFunctionName", "ReportStatusFunctionName"} <= load()["Outputs"].keys()


@pytest.mark.parametrize("name", OURS)
def test_a_stack_without_one_of_our_resources_is_not_ours(name: str) -> None:
    with pytest.raises(RejectedInputError, match=f"not one of this project's template.*{name}"):
        our_stack(described_stack(), stack_resources(**{name: None}))


@pytest.mark.parametrize("name", OURS)
def test_a_resource_of_our_name_and_another_type_is_not_ours(name: str) -> None:
    other = Resource(type="AWS::SNS::Topic", id=f"physical-{name}")
    with pytest.raises(RejectedInputError, match="not one of this project's template"):
        our_stack(described_stack(), stack_resources(**{name: other}))


@pytest.mark.parametrize(
    "output", ["ReconcileTargetsFunctionName", "ReportStatusFunctionName", "TargetGroupArn"]
)
def test_a_stack_whose_outputs_lead_to_somebody_elses_resources_is_not_ours(output: str) -> None:
    with pytest.raises(RejectedInputError, match=f"output {output} is other"):
        our_stack(described_stack(outputs={output: "other"}), stack_resources())


@pytest.mark.parametrize(("group", "key"), [
    ("Outputs", "DatabaseKind"), ("Parameters", "DatabaseEndpoint"),
])  # fmt: skip
def test_a_stack_that_does_not_say_what_its_database_is_is_not_ours(group: str, key: str) -> None:
    described = dict(described_stack())
    described[group] = [entry for entry in described[group] if key not in entry.values()]
    with pytest.raises(RejectedInputError, match="does not say what its database is"):
        our_stack(described, stack_resources())


def test_an_existing_target_group_is_that_of_the_parameter() -> None:
    described = described_stack(parameters={"ExistingTargetGroupArn": GROUP_ARN})
    resources = stack_resources(DatabaseTargetGroup=None, LoadBalancer=None)
    stack = our_stack(described, resources)
    assert (stack.target_group_arn, stack.load_balancer_arn) == (GROUP_ARN, "")


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"])
def test_a_stack_that_somebody_works_on_is_refused(status: str) -> None:
    with pytest.raises(RejectedInputError, match=status):
        our_stack(described_stack(status=status), stack_resources())


def test_a_stack_of_an_auto_scaling_group_has_nothing_to_drill() -> None:
    resources = stack_resources(
        FirstSync=None,
        ReconcileTargetsFunction=None,
        AutoScalingAttachment=Resource(type="Custom::AutoScalingAttachment", id="x"),
    )
    with pytest.raises(RejectedInputError, match="Auto Scaling group"):
        our_stack(described_stack(), resources)


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
def test_what_rds_cannot_fail_over_is_only_observed(kind: str, endpoint: str) -> None:
    described = described_stack(
        outputs={"DatabaseKind": kind}, parameters={"DatabaseEndpoint": endpoint}
    )
    stack = our_stack(described, stack_resources())
    with pytest.raises(RejectedInputError, match=f"of the kind {kind}: .* --observe"):
        decisions.refuse_unless_rds_can(stack)


def test_an_instance_is_rebooted_with_failover() -> None:
    decisions.refuse_unless_rds_can(instance_stack())
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
def test_an_instance_that_is_not_exactly_the_stacks_or_not_ready_is_refused(
    found: Mapping[str, Any] | None, reason: str
) -> None:
    with pytest.raises(RejectedInputError, match=reason):
        decisions.instance_failover(instance_stack(), found)


def test_changes_that_wait_for_a_reboot_are_told() -> None:
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


def test_a_cluster_is_failed_over_as_a_whole() -> None:
    decisions.refuse_unless_rds_can(cluster_stack())
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
def test_a_cluster_that_is_not_exactly_the_stacks_or_not_ready_is_refused(
    found: Mapping[str, Any] | None, reason: str
) -> None:
    with pytest.raises(RejectedInputError, match=reason):
        decisions.cluster_failover(cluster_stack(), found)


@pytest.mark.parametrize("call", [
    decisions.instance_failover(instance_stack(), instance()),
    decisions.cluster_failover(cluster_stack(), cluster()),
    decisions.cluster_failover(cluster_stack(), cluster(Engine="postgres")),
])  # fmt: skip
def test_the_outage_is_told_as_on_the_page(call: FailoverCall) -> None:
    figures = re.findall(r"\d+ to \d+ s|under \d+ s", call.outage)
    assert len(figures) == 3
    assert all(figure in read("docs/failover.md") for figure in figures)


@pytest.mark.parametrize("typed", ["", "order", "Orders", "orders-2", "yes"])
def test_only_the_databases_own_name_confirms(typed: str) -> None:
    call = decisions.instance_failover(instance_stack(), instance())
    decisions.refuse_unless_named("orders", call)
    with pytest.raises(RejectedInputError, match="not the name of the database"):
        decisions.refuse_unless_named(typed, call)


@pytest.mark.parametrize("healthy", [False, None, "yes"])
def test_a_road_that_does_not_work_is_not_drilled(healthy: object) -> None:
    decisions.refuse_unless_healthy({"healthy": True})
    with pytest.raises(RejectedInputError, match="Broken: schedule"):
        decisions.refuse_unless_healthy({"healthy": healthy, "summary": "Broken: schedule."})


def test_the_policy_allows_what_the_drill_calls_and_nothing_else() -> None:
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
    # DescribeTargetHealth is called by the adapter that the functions use too.
    assert methods == called | {"describe_target_health"}
