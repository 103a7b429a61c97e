"""The queues, roles, functions and alarms of fleet.yaml."""

from collections.abc import Mapping
from typing import Any

import pytest

from lab.simulation import queues
from target_sync.fleet.checkpoints import KEY_BYTES
from target_sync.fleet.model import AUDIT_CURSOR_TAG, CHECKPOINT_TAG, ENDPOINT_TAG
from target_sync.fleet.rate_limits import QUOTAS, Call
from target_sync.fleet.settings import load_fleet_settings, queue_url
from target_sync.fleet.watcher import RESERVE_SECONDS
from tests.support import workers
from tests.template.stack import (
    FLEET_SITUATIONS,
    FLEET_TEMPLATE,
    PSEUDO_PARAMETERS,
    Resolver,
    as_list,
    load,
    resources,
    statements,
)

TEMPLATE = load(FLEET_TEMPLATE)
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
QUEUES = resources("AWS::SQS::Queue", FLEET_TEMPLATE)
FUNCTIONS = resources("AWS::Lambda::Function", FLEET_TEMPLATE)
MAPPINGS = resources("AWS::Lambda::EventSourceMapping", FLEET_TEMPLATE)
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


def mapping(function: str) -> Mapping[str, Any]:
    """Return the event source of a function."""
    (found,) = [m for m in MAPPINGS.values() if m["FunctionName"] == {"Ref": function}]
    return found


def queue_of(function: str) -> Mapping[str, Any]:
    """Return the queue of a function's messages."""
    return QUEUES[mapping(function)["EventSourceArn"]["Fn::GetAtt"][0]]


# --------------------------------------------------------------------------------------- parameters


def test_every_parameter_has_a_default() -> None:
    assert all("Default" in parameter for parameter in PARAMETERS.values())
    assert not fleet().violations()


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() & load()["Parameters"].keys()))
def test_parameters_of_both_templates_have_the_same_limits(name: str) -> None:
    limits = {"Type", "AllowedPattern", "AllowedValues"}
    ours, theirs = PARAMETERS[name], load()["Parameters"][name]
    assert {k: ours.get(k) for k in limits} == {k: theirs.get(k) for k in limits}


@pytest.mark.parametrize("share", PARAMETERS["ApiShare"]["AllowedValues"])
def test_rejects_a_share_of_less_than_one_call_per_worker(share: float) -> None:
    limits = PARAMETERS["MaxWorkers"]
    scarcest = QUOTAS[Call.MUTATING]
    for most in range(limits["MinValue"], limits["MaxValue"] + 1):
        sentences = fleet(ApiShare=str(share), MaxWorkers=str(most)).violations()
        try:
            scarcest.per_worker(share, most)
        except ValueError:
            (sentence,) = sentences
            assert "MaxWorkers" in sentence
            assert "ApiShare" in sentence
        else:
            assert not sentences


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


def test_the_signing_key_is_unique_to_the_deployment() -> None:
    stack_id = PSEUDO_PARAMETERS["AWS::StackId"]
    for function in fleet().of_type("AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["SIGNING_KEY"] == stack_id
    assert len(stack_id) >= KEY_BYTES[0]


QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333"
URLS = {"WorkQueue": f"{QUEUE}/work.fifo", "EventQueue": f"{QUEUE}/events"}


def environments(**given: str) -> dict[str, dict[str, str]]:
    """Return the environment of each function."""
    resolver = Resolver(given, attributes=URLS, path=FLEET_TEMPLATE)
    found = resolver.of_type("AWS::Lambda::Function").items()
    return {name: function["Environment"]["Variables"] for name, function in found}


def test_the_functions_can_read_the_default_settings() -> None:
    for name, variables in environments().items():
        settings = load_fleet_settings(variables)
        assert (settings.share, settings.workers, settings.watch_seconds) == (0.5, 10, 120)
        assert (settings.limits.max_targets, settings.resolvers) == (15, ())
        assert queue_url(variables, "WORK_QUEUE_URL") == URLS["WorkQueue"]
        if name == "FleetWatchFunction":
            assert queue_url(variables, "EVENT_QUEUE_URL") == URLS["EventQueue"]


def test_the_functions_can_read_chosen_settings() -> None:
    chosen = environments(
        ApiShare="0.25",
        MaxWorkers="5",
        EventWatchDurationSeconds="30",
        MaxTargets="3",
        AllowedNetworks="10.0.0.0/16,10.1.0.0/16",
        Resolvers="10.0.0.2:53",
    )
    for variables in chosen.values():
        settings = load_fleet_settings(variables)
        assert (settings.share, settings.workers, settings.watch_seconds) == (0.25, 5, 30)
        assert settings.limits.max_targets == 3
        networks = [str(network) for network in settings.limits.allowed_networks]
        assert networks == ["10.0.0.0/16", "10.1.0.0/16"]
        assert settings.resolvers == (("10.0.0.2", 53),)


@pytest.mark.parametrize("name", ["EventWatchDurationSeconds", "MaxTargets"])
@pytest.mark.parametrize("limit", ["MinValue", "MaxValue"])
def test_the_functions_accept_every_number_that_the_template_accepts(name: str, limit: str) -> None:
    for variables in environments(**{name: str(PARAMETERS[name][limit])}).values():
        load_fleet_settings(variables)


def test_the_functions_have_no_other_settings() -> None:
    always = {
        "ALLOWED_NETWORKS",
        "API_SHARE",
        "MAX_TARGETS",
        "MAX_WORKERS",
        "POWERTOOLS_LOG_LEVEL",
        "POWERTOOLS_METRICS_NAMESPACE",
        "POWERTOOLS_SERVICE_NAME",
        "RESOLVERS",
        "SIGNING_KEY",
        "EVENT_WATCH_DURATION_SECONDS",
        "WORK_QUEUE_URL",
    }
    for name, variables in environments().items():
        more = {"EVENT_QUEUE_URL"} if name == "FleetWatchFunction" else set[str]()
        assert variables.keys() == always | more


def test_a_sweep_ends_before_the_next_one_and_is_not_retried() -> None:
    (schedule,) = resources("AWS::Scheduler::Schedule", FLEET_TEMPLATE).values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert FUNCTIONS["FleetSweepFunction"]["Timeout"] < 60
    (config,) = resources("AWS::Lambda::EventInvokeConfig", FLEET_TEMPLATE).values()
    assert config["FunctionName"] == {"Ref": "FleetSweepFunction"}
    assert config["MaximumRetryAttempts"] == 0
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0


# ------------------------------------------------------------------------------------------- queues


@pytest.mark.parametrize("name", ["FleetWorkerFunction", "FleetWatchFunction"])
def test_a_message_is_invisible_until_its_run_has_ended(name: str) -> None:
    window = mapping(name).get("MaximumBatchingWindowInSeconds", 0)
    assert queue_of(name)["VisibilityTimeout"] > FUNCTIONS[name]["Timeout"] + window


@pytest.mark.parametrize("name", ["FleetWorkerFunction", "FleetWatchFunction"])
def test_a_message_that_failed_three_times_is_kept_long_enough(name: str) -> None:
    queue = queue_of(name)
    redrive = queue["RedrivePolicy"]
    dead = QUEUES[redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]]
    assert redrive["maxReceiveCount"] == 3
    assert queue["MessageRetentionPeriod"] > 3 * queue["VisibilityTimeout"]
    assert dead["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert dead.get("FifoQueue") == queue.get("FifoQueue")
    assert "RedrivePolicy" not in dead


def test_a_group_has_one_worker_at_a_time_and_fails_alone() -> None:
    work = mapping("FleetWorkerFunction")
    assert queue_of("FleetWorkerFunction")["FifoQueue"] is True
    # The sender sets both IDs: the target group, and the minute with the body.
    assert "ContentBasedDeduplication" not in queue_of("FleetWorkerFunction")
    assert work["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert work["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MaxWorkers"}}
    # For a FIFO queue Lambda supports at most ten messages, and no batching window.
    assert work["BatchSize"] == queues.BATCH == workers.BATCH <= 10
    assert "MaximumBatchingWindowInSeconds" not in work


def test_many_events_cause_few_watches() -> None:
    watch = mapping("FleetWatchFunction")
    assert (watch["BatchSize"], watch["MaximumBatchingWindowInSeconds"]) == (100, 1)
    assert watch["ScalingConfig"] == {"MaximumConcurrency": 2}
    longest = PARAMETERS["EventWatchDurationSeconds"]["MaxValue"]
    # A watch has time for an event that arrives during it.
    assert FUNCTIONS["FleetWatchFunction"]["Timeout"] > longest + RESERVE_SECONDS


@pytest.mark.parametrize("name", QUEUES)
def test_every_queue_is_encrypted(name: str) -> None:
    assert QUEUES[name]["SqsManagedSseEnabled"] is True


# ------------------------------------------------------------------------------------------- events


def test_the_events_are_those_of_a_stack_for_every_instance_and_cluster() -> None:
    (rule,) = resources("AWS::Events::Rule", FLEET_TEMPLATE).values()
    of_a_stack = load()["Resources"]["DatabaseRule"]["Properties"]["EventPattern"]
    pattern = rule["EventPattern"]
    assert pattern["detail"] == of_a_stack["detail"]
    assert pattern["detail-type"] == ["RDS DB Instance Event", "RDS DB Cluster Event"]
    assert set(pattern["detail-type"]) < set(of_a_stack["detail-type"])
    assert "resources" not in pattern


def test_only_the_rule_may_send_to_its_queues() -> None:
    policies = fleet().of_type("AWS::SQS::QueuePolicy")
    filled = {}
    for policy in policies.values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "<DatabaseRule.Arn>"}}
        filled[statement["Resource"]] = policy["Queues"]
    assert filled == {
        "<EventQueue.Arn>": ["<EventQueue>"],
        "<UndeliveredEventsQueue.Arn>": ["<UndeliveredEventsQueue>"],
    }


def test_undelivered_events_are_kept() -> None:
    (rule,) = fleet().of_type("AWS::Events::Rule").values()
    (schedule,) = fleet().of_type("AWS::Scheduler::Schedule").values()
    for target in (*rule["Targets"], schedule["Target"]):
        assert target["DeadLetterConfig"] == {"Arn": "<UndeliveredEventsQueue.Arn>"}


# -------------------------------------------------------------------------------------------- roles


COMMON = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
}
LISTS = {"tag:GetResources", "elasticloadbalancing:DescribeTargetGroups", "ec2:DescribeVpcs"}
RECEIVES = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}


@pytest.mark.parametrize(
    ("role", "more"),
    [
        ("FleetSweepRole", LISTS | {"sqs:SendMessage", "sqs:GetQueueAttributes"}),
        ("FleetWatchRole", LISTS | RECEIVES | {"sqs:SendMessage"}),
        (
            "FleetWorkerRole",
            RECEIVES
            | {
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:DeregisterTargets",
                "elasticloadbalancing:DescribeTargetHealth",
                "elasticloadbalancing:RegisterTargets",
            },
        ),
    ],
)
def test_a_role_allows_exactly_what_its_function_does(role: str, more: set[str]) -> None:
    may = allowed(role)
    assert may.keys() == COMMON | more
    queues = {"sqs:SendMessage": ["<WorkQueue.Arn>"], "sqs:ReceiveMessage": ["<EventQueue.Arn>"]}
    if role == "FleetWorkerRole":
        queues = {"sqs:ReceiveMessage": ["<WorkQueue.Arn>"]}
    for action, expected in queues.items():
        assert may.get(action, expected) == expected


def test_only_a_tagged_group_can_be_changed() -> None:
    changing = [
        statement for statement in of_role("FleetWorkerRole") if statement["Resource"] == GROUPS
    ]
    assert len(changing) == 2
    for statement in changing:
        assert statement["Condition"]["Null"][f"aws:ResourceTag/{ENDPOINT_TAG}"] == "false"


def test_a_worker_can_write_only_the_fleets_own_tags() -> None:
    (statement,) = [
        s for s in of_role("FleetWorkerRole") if s["Action"] == "elasticloadbalancing:AddTags"
    ]
    condition = statement["Condition"]
    assert condition["ForAllValues:StringEquals"] == {
        "aws:TagKeys": [CHECKPOINT_TAG, AUDIT_CURSOR_TAG]
    }
    # Without this, ForAllValues also matches a call without keys.
    assert condition["Null"]["aws:TagKeys"] == "false"


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
        "late-work-items",
        "watch-errors",
        "failed-work-items",
        "failed-events",
        "undelivered-events",
    ]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_the_topic_on_alarm_and_ok(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    undelivered_notifications = fleet().of_type("AWS::CloudWatch::Alarm").values()
    assert not [a for a in undelivered_notifications if "AlarmActions" in a or "OKActions" in a]


def test_each_dead_letter_queue_has_an_alarm() -> None:
    fed = {
        *(
            q["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            for q in QUEUES.values()
            if "RedrivePolicy" in q
        ),
        "UndeliveredEventsQueue",
    }
    watched = {
        dimension["Value"]
        for alarm in ALARMS.values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm["Dimensions"]
    }
    assert watched == {f"<{queue}.QueueName>" for queue in fed}


def test_the_stack_has_the_outputs_that_users_need() -> None:
    outputs = TEMPLATE["Outputs"]
    assert outputs.keys() >= {f"{queue}Url" for queue in QUEUES}
    assert outputs.keys() >= {f"{function}Name" for function in FUNCTIONS}
