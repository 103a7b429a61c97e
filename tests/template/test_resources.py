import re
from collections.abc import Mapping
from typing import Any

import pytest

from target_sync.config import load_settings
from target_sync.errors import SettingsError
from target_sync.notifications.messages import SOURCE
from target_sync.provisioning import provisioner
from target_sync.provisioning.functions import LONGEST_RUN_SECONDS
from target_sync.provisioning.resources import first_sync
from target_sync.reconcile.loop import HEALTHY_WITHIN_SECONDS
from target_sync.reconcile.reconciler import RESERVE_SECONDS, SCHEDULE_SECONDS
from target_sync.targets import switch_proof
from tests.template.stack import (
    NETWORK,
    ROOT,
    SITUATIONS,
    Resolver,
    as_list,
    expand,
    load,
    policies,
    resources,
    statements,
)

FUNCTIONS = resources("AWS::Lambda::Function")
ROLES = resources("AWS::IAM::Role")
EVERYWHERE = pytest.mark.parametrize("situation", SITUATIONS)


def allowed(situation: str, role: str) -> dict[str, list[str]]:
    """Return the resources of each action that a role may call."""
    found: dict[str, list[str]] = {}
    for owner, statement in policies(situation):
        for action in as_list(statement["Action"]) if owner == role else []:
            found.setdefault(action, []).extend(as_list(statement["Resource"]))
    return found


def role_of(function: Mapping[str, Any]) -> str:
    logical_id = function["Role"]["Fn::GetAtt"][0]
    assert isinstance(logical_id, str)
    return logical_id


def destination_of(function_id: str) -> str:
    """Return the logical ID of the queue that gets the failed runs of a function."""
    (config,) = [
        config
        for config in resources("AWS::Lambda::EventInvokeConfig").values()
        if config["FunctionName"] == {"Ref": function_id}
    ]
    queue = config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
    assert isinstance(queue, str)
    return queue


# ------------------------------------------------------------------------------- functions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_uses_the_runtime_of_the_build(name: str) -> None:
    function = FUNCTIONS[name]
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert function["TracingConfig"] == {"Mode": "Active"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_log_group_with_limited_retention(name: str) -> None:
    group = FUNCTIONS[name]["LoggingConfig"]["LogGroup"]["Ref"]
    assert resources("AWS::Logs::LogGroup")[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    others = [other for key, other in FUNCTIONS.items() if key != name]
    assert all(other["LoggingConfig"]["LogGroup"]["Ref"] != group for other in others)


# The caller of the status function gets the error, so no queue is needed.
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"ReportStatusFunction"}))
def test_the_failed_runs_of_a_function_go_to_a_queue(name: str) -> None:
    queue = destination_of(name)
    assert queue in resources("AWS::SQS::Queue")
    may = allowed("acceptance", role_of(FUNCTIONS[name]))
    assert may["sqs:SendMessage"] == [f"<{queue}.Arn>"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_role_without_managed_policies(name: str) -> None:
    role = role_of(FUNCTIONS[name])
    assert "ManagedPolicyArns" not in ROLES[role]
    assert [role_of(function) for function in FUNCTIONS.values()].count(role) == 1


def test_no_log_level_drops_the_metrics() -> None:
    levels = expand()["Parameters"]["LogLevel"]["AllowedValues"]
    assert set(levels) <= {"DEBUG", "INFO"}
    for function in FUNCTIONS.values():
        assert function["LoggingConfig"]["ApplicationLogLevel"] == {"Ref": "LogLevel"}


def test_cloudformation_gets_one_response_to_each_request() -> None:
    (config,) = [
        config
        for config in resources("AWS::Lambda::EventInvokeConfig").values()
        if config["FunctionName"] == {"Ref": "ProvisionStackFunction"}
    ]
    assert config["MaximumRetryAttempts"] == 0


@pytest.mark.parametrize(
    "logical_id",
    [name for name, found in load()["Resources"].items() if found["Type"].startswith("Custom::")],
)
def test_the_timeout_of_a_custom_resource_fits_its_function(logical_id: str) -> None:
    properties = load()["Resources"][logical_id]["Properties"]
    assert properties["ServiceToken"] == {"Fn::GetAtt": ["ProvisionStackFunction", "Arn"]}
    timeout = FUNCTIONS["ProvisionStackFunction"]["Timeout"]
    assert timeout < properties["ServiceTimeout"] <= timeout + 60


def test_the_first_sync_may_take_as_long_as_its_runs() -> None:
    timeout = FUNCTIONS["ProvisionStackFunction"]["Timeout"]
    assert timeout >= (
        first_sync.POLICY_SECONDS
        + LONGEST_RUN_SECONDS
        + first_sync.HEALTH_SECONDS
        + provisioner.RESERVE_SECONDS
    )
    assert FUNCTIONS["ReconcileTargetsFunction"]["Timeout"] > LONGEST_RUN_SECONDS
    proof = switch_proof.UNHEALTHY_WITHIN_SECONDS + switch_proof.HEALTHY_WITHIN_SECONDS
    # The sync after the proof waits for no health.
    assert proof + 90 <= LONGEST_RUN_SECONDS


# ---------------------------------------------------------------------------------- policies


def test_the_reconciler_has_the_permissions_of_its_database_kind_only() -> None:
    always = {
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:DescribeSecurityGroupRules",
        "ec2:RevokeSecurityGroupEgress",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
        "events:PutEvents",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:SendMessage",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    cluster = {"rds:DescribeDBClusters", "rds:DescribeDBInstances"}
    more = {
        "rds-instance": {"ec2:DescribeNetworkInterfaces"},
        "rds-cluster-writer": cluster,
        "rds-cluster-readers": cluster,
        "rds-proxy": set(),
        "hostname": set(),
        "static": set(),
        "ec2-instance": {"ec2:DescribeInstances"},
        "serving standby": {"ec2:DescribeNetworkInterfaces"},
        "no warm targets": set(),
    }
    for situation, actions in more.items():
        assert allowed(situation, "ReconcileTargetsRole").keys() == always | actions
    # With an existing target group the load balancer and its rules are not the stack's.
    existing = allowed("existing target group", "ReconcileTargetsRole").keys()
    assert existing == {action for action in always if not action.startswith("ec2:")}


@pytest.mark.parametrize(
    ("given", "reads"),
    [
        ({}, True),
        (SITUATIONS["rds-cluster-writer"], False),
        (SITUATIONS["rds-cluster-readers"], False),
        (SITUATIONS["rds-proxy"], False),
        ({"DatabaseEndpoint": "pool-ro.endpoint.proxy-abc.eu-west-1.rds.amazonaws.com"}, False),
        ({"DatabaseKind": "hostname", **NETWORK}, False),
        ({"DatabaseEndpoint": "db.rds.example", "DatabaseKind": "rds-instance"}, True),
        (SITUATIONS["hostname"], False),
        (SITUATIONS["ec2-instance"], False),
        (SITUATIONS["existing target group"], False),
    ],
)
def test_only_warm_targets_of_an_instance_need_the_network_interfaces(
    given: dict[str, str], reads: bool
) -> None:
    resolver = Resolver(given)
    variables = resolver.of_type("AWS::Lambda::Function")["ReconcileTargetsFunction"][
        "Environment"
    ]["Variables"]
    network = {"VPC_ID", "DATABASE_SUBNETS", "DATABASE_SECURITY_GROUPS"}
    assert network & variables.keys() == (network if reads else set())
    found = [
        statement["Sid"]
        for role, statement in statements(resolver)
        if role == "ReconcileTargetsRole" and statement["Sid"] == "FindInterfaces"
    ]
    assert bool(found) == reads


def test_the_reconciler_may_change_the_rules_of_one_security_group_only() -> None:
    may = allowed("rds-instance", "ReconcileTargetsRole")
    group = "arn:aws:ec2:eu-west-1:111122223333:security-group/<OutboundRulesSecurityGroup>"
    assert may["ec2:AuthorizeSecurityGroupEgress"] == [group]
    assert may["ec2:RevokeSecurityGroupEgress"] == [group]


def test_the_reconciler_may_read_its_own_cluster_only() -> None:
    (cluster,) = allowed("rds-cluster-writer", "ReconcileTargetsRole")["rds:DescribeDBClusters"]
    assert cluster == "arn:aws:rds:eu-west-1:111122223333:cluster:<DatabaseLookup.Identifier>"


@pytest.mark.parametrize(
    ("situation", "group"),
    [
        ("rds-instance", "<DatabaseTargetGroup>"),
        ("existing target group", SITUATIONS["existing target group"]["ExistingTargetGroupArn"]),
    ],
)
def test_the_reconciler_may_change_one_target_group_only(situation: str, group: str) -> None:
    may = allowed(situation, "ReconcileTargetsRole")
    assert may["elasticloadbalancing:RegisterTargets"] == [group]
    assert may["elasticloadbalancing:DeregisterTargets"] == [group]
    variables = Resolver(SITUATIONS[situation]).of_type("AWS::Lambda::Function")[
        "ReconcileTargetsFunction"
    ]["Environment"]["Variables"]
    assert variables["TARGET_GROUP_ARN"] == group


def test_connections_are_accepted_and_rejected_on_the_own_service_only() -> None:
    service = "arn:aws:ec2:eu-west-1:111122223333:vpc-endpoint-service/<EndpointService>"
    trusting = allowed("acceptance", "ReviewConnectionsRole")
    assert trusting["ec2:AcceptVpcEndpointConnections"] == [service]
    assert trusting.keys().isdisjoint({"ec2:RejectVpcEndpointConnections", "sns:Publish"})
    rejecting = allowed("rejection", "ReviewConnectionsRole")
    assert rejecting["ec2:RejectVpcEndpointConnections"] == [service]
    assert rejecting["sns:Publish"] == [SITUATIONS["rejection"]["AlarmTopicArn"]]


def test_provisioning_may_change_resources_of_this_stack_only() -> None:
    may = allowed("rds-instance", "ProvisionStackRole")
    assert may["lambda:InvokeFunction"] == ["<ReconcileTargetsFunction.Arn>"]
    assert may["ec2:RejectVpcEndpointConnections"] == [
        "arn:aws:ec2:eu-west-1:111122223333:vpc-endpoint-service/<EndpointService>"
    ]
    assert "autoscaling:AttachLoadBalancerTargetGroups" not in may
    assert "lambda:InvokeFunction" not in allowed("ec2-asg", "ProvisionStackRole")
    existing = allowed("existing target group", "ProvisionStackRole")
    assert "ec2:RejectVpcEndpointConnections" not in existing


@EVERYWHERE
def test_only_the_rules_and_the_topic_of_the_stack_may_send_to_the_queue(situation: str) -> None:
    resolver = Resolver(SITUATIONS[situation])
    sources: set[str] = set()
    for policy in resolver.of_type("AWS::SQS::QueuePolicy").values():
        assert policy["PolicyDocument"]["Statement"]
        for statement in policy["PolicyDocument"]["Statement"]:
            sources.update(as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"]))
    rules = {f"<{rule}.Arn>" for rule in resolver.of_type("AWS::Events::Rule")}
    asked = resolver.of_type("AWS::SNS::Topic").keys() - {"AlarmTopic"}
    topics = {f"<{topic}>" for topic in asked}
    assert sources == rules | topics


# ------------------------------------------------------------------------------------ events


@EVERYWHERE
def test_undelivered_events_go_to_a_queue(situation: str) -> None:
    resolver = Resolver(SITUATIONS[situation])
    targets = [
        target
        for rule in resolver.of_type("AWS::Events::Rule").values()
        for target in rule["Targets"]
    ]
    schedules = resolver.of_type("AWS::Scheduler::Schedule").values()
    for target in [*targets, *(schedule["Target"] for schedule in schedules)]:
        assert target["DeadLetterConfig"]["Arn"] == "<UndeliveredEventsQueue.Arn>"
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 600
    for subscription in resolver.of_type("AWS::SNS::Subscription").values():
        assert subscription["RedrivePolicy"] == {
            "deadLetterTargetArn": "<UndeliveredEventsQueue.Arn>"
        }


@EVERYWHERE
def test_every_rule_may_invoke_the_function(situation: str) -> None:
    resolver = Resolver(SITUATIONS[situation])
    permitted = {
        permission["SourceArn"]
        for permission in resolver.of_type("AWS::Lambda::Permission").values()
        if permission["Principal"] == "events.amazonaws.com"
    }
    assert permitted == {f"<{rule}.Arn>" for rule in resolver.of_type("AWS::Events::Rule")}


def test_each_kind_of_database_has_its_own_rules() -> None:
    of_rds = {"DatabaseRule", "SwitchoverRule"}
    rules = {
        "rds-instance": of_rds,
        "rds-cluster-writer": of_rds,
        "rds-cluster-readers": of_rds,
        "rds-proxy": of_rds,
        "hostname": set(),
        "static": set(),
        "ec2-instance": {"InstanceStateRule"},
        "ec2-asg": set(),
        "existing target group": of_rds,
    }
    for situation, expected in rules.items():
        assert Resolver(SITUATIONS[situation]).of_type("AWS::Events::Rule").keys() == expected


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("ReconcileTargetsFunctionEveryMinute", "rate(1 minute)"),
        ("ReviewConnectionsFunctionEveryFiveMinutes", "rate(5 minutes)"),
    ],
)
def test_a_schedule_covers_lost_events(name: str, rate: str) -> None:
    schedule = Resolver(SITUATIONS["acceptance"]).of_type("AWS::Scheduler::Schedule")[name]
    assert schedule["ScheduleExpression"] == rate
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule.get("State", "ENABLED") == "ENABLED"


def test_the_layer_knows_the_interval_of_the_schedule() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["ReconcileTargetsFunctionEveryMinute"]
    minutes = SCHEDULE_SECONDS / 60
    assert schedule["ScheduleExpression"] == f"rate({minutes:g} minute)"


@pytest.mark.parametrize("name", resources("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_and_keeps_messages_for_two_weeks(name: str) -> None:
    queue = resources("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_two_stacks_have_separate_metrics() -> None:
    for function in FUNCTIONS.values():
        variables = function["Environment"]["Variables"]
        assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


# ------------------------------------------------------------------------------- environment

ARN = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/a/0123456789abcdef"
LOOKED_UP = {
    "DatabaseTargetGroup": ARN,
    "DatabaseLookup.AllowedNetworks": "10.0.0.0/16,10.1.0.0/16",
    "DatabaseLookup.Endpoint": "orders.cluster-abcdefghijkl.eu-west-1.rds.amazonaws.com",
    "DatabaseLookup.Identifier": "orders",
    "DatabaseLookup.Kind": "rds-cluster-writer",
    "DatabaseLookup.Port": "5433",
    "DatabaseLookup.VpcNetworks": "10.0.0.0/16",
    "OutboundRulesSecurityGroup": "sg-2a3b4c5d",
}
LOOKED_UP_INSTANCE = {
    "DatabaseLookup.DatabaseVpcId": "vpc-0a1b2c3d4e5f60718",
    "DatabaseLookup.DatabaseSubnetIds": "subnet-0a1b2c3d,subnet-1a2b3c4d",
    "DatabaseLookup.Endpoint": "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com",
    "DatabaseLookup.Kind": "rds-instance",
    "DatabaseLookup.SecurityGroupIds": "sg-0a1b2c3d,sg-1a2b3c4d",
}


def environment(**given: str) -> dict[str, str]:
    """Return the variables for a cluster, or for an instance if StandbyTargets is given."""
    is_instance = "StandbyTargets" in given
    names = {} if is_instance else SITUATIONS["rds-cluster-writer"]
    attributes = {**LOOKED_UP, **(LOOKED_UP_INSTANCE if is_instance else {})}
    resolver = Resolver({**names, **given}, attributes=attributes)
    function = resolver.of_type("AWS::Lambda::Function")["ReconcileTargetsFunction"]
    variables: dict[str, str] = function["Environment"]["Variables"]
    return variables


def test_the_function_reads_the_settings_of_the_template() -> None:
    settings = load_settings(environment(Resolvers="10.0.0.2:53", EventWatchDurationSeconds="120"))
    assert settings.endpoint == LOOKED_UP["DatabaseLookup.Endpoint"]
    assert (settings.kind, settings.identifier) == ("rds-cluster-writer", "orders")
    assert settings.policy.port == 5433
    assert list(map(str, settings.policy.allowed_networks)) == ["10.0.0.0/16", "10.1.0.0/16"]
    assert list(map(str, settings.vpc_networks)) == ["10.0.0.0/16"]
    assert settings.target_group_arn == ARN
    assert settings.resolvers == (("10.0.0.2", 53),)
    assert settings.watch_seconds == 120
    assert load_settings(environment()).resolvers == ()
    plain = load_settings(environment())
    assert (plain.resolution, plain.dns_poll_seconds, plain.follow_writer) == ("system", 5, False)
    assert (plain.policy.serving_standby, plain.policy.max_targets) == (False, 15)


def test_the_function_reads_settings_that_differ_from_the_defaults() -> None:
    settings = load_settings(
        environment(
            DnsResolution="authoritative",
            DnsPollIntervalSeconds="30",
            MaxTargets="3",
            FollowWriterWithoutReaders="true",
            StandbyTargets="serving",
        )
    )
    assert (settings.resolution, settings.dns_poll_seconds) == ("authoritative", 30)
    assert (settings.policy.max_targets, settings.follow_writer) == (3, True)
    assert settings.policy.serving_standby
    assert settings.vpc_id == LOOKED_UP_INSTANCE["DatabaseLookup.DatabaseVpcId"]
    assert settings.security_groups == ("sg-0a1b2c3d", "sg-1a2b3c4d")
    assert settings.outbound_rules_group == "sg-2a3b4c5d"


def test_the_function_reads_the_settings_of_warm_targets() -> None:
    warm = load_settings(environment(StandbyTargets="warm"))
    assert (warm.standby_targets, warm.policy.serving_standby) == ("warm", False)
    assert warm.vpc_id == LOOKED_UP_INSTANCE["DatabaseLookup.DatabaseVpcId"]
    assert warm.subnets == ("subnet-0a1b2c3d", "subnet-1a2b3c4d")


@pytest.mark.parametrize(
    ("parameter", "variable", "rejected"),
    [
        ("DnsPollIntervalSeconds", "DNS_POLL_INTERVAL_SECONDS", "-1"),
        ("MaxTargets", "MAX_TARGETS", "0"),
    ],
)
def test_the_function_and_the_template_accept_the_same_numbers(
    parameter: str, variable: str, rejected: str
) -> None:
    limits = expand()["Parameters"][parameter]
    for number in (limits["MinValue"], limits["MaxValue"]):
        load_settings(environment(**{parameter: str(number)}))
    for wrong in (rejected, str(limits["MaxValue"] + 1)):
        with pytest.raises(SettingsError, match=variable):
            load_settings(environment(**{parameter: wrong}))


def test_the_function_reads_each_of_its_variables() -> None:
    variables = environment(StandbyTargets="warm").keys()
    network = {"DATABASE_SECURITY_GROUPS", "DATABASE_SUBNETS", "VPC_ID"}
    assert variables - environment(StandbyTargets="none").keys() == network
    code = "".join(path.read_text() for path in (ROOT / "layers").rglob("*.py"))
    assert not {name for name in variables if f'"{name}"' not in code}


def test_the_timeout_covers_the_longest_watch_or_polls_and_the_health_checks() -> None:
    parameters = expand()["Parameters"]
    longest_watch = parameters["EventWatchDurationSeconds"]["MaxValue"]
    longest_polls = SCHEDULE_SECONDS + parameters["DnsPollIntervalSeconds"]["MaxValue"]
    timeout = FUNCTIONS["ReconcileTargetsFunction"]["Timeout"]
    assert timeout >= longest_watch + 60
    assert timeout >= longest_polls + HEALTHY_WITHIN_SECONDS + RESERVE_SECONDS


# ------------------------------------------------------------------------- connection requests


def trusted(**given: str) -> str:
    resolver = Resolver({"AcceptanceRequired": "true", **given})
    function = resolver.of_type("AWS::Lambda::Function")["ReviewConnectionsFunction"]
    accounts: str = function["Environment"]["Variables"]["TRUSTED_ACCOUNTS"]
    return accounts


def test_the_account_of_the_consumer_is_trusted_by_default() -> None:
    assert trusted() == "346425330055"
    assert trusted(Consumer="clickhouse") == "072088201116"
    assert trusted(Consumer="databricks") == "565502421330"
    assert trusted(Consumer="custom") == ""
    assert trusted(TrustedAccounts="111122223333,444455556666") == "111122223333,444455556666"


def test_only_the_endpoint_service_may_publish_requests() -> None:
    resolver = Resolver(SITUATIONS["acceptance"])
    (policy,) = resolver.of_type("AWS::SNS::TopicPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "vpce.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {
            "aws:SourceArn": "arn:aws:ec2:eu-west-1:111122223333:"
            "vpc-endpoint-service/<EndpointService>"
        },
        "StringEquals": {"aws:SourceAccount": "111122223333"},
    }
    (subscription,) = resolver.of_type("AWS::SNS::Subscription").values()
    assert subscription["Endpoint"] == "<ReviewConnectionsFunction.Arn>"
    (notification,) = resolver.of_type("AWS::EC2::VPCEndpointConnectionNotification").values()
    assert notification["ConnectionNotificationArn"] == subscription["TopicArn"]
    # AWS sends a test message to the topic first.
    notification_id = "ConnectionNotification"
    assert load()["Resources"][notification_id]["DependsOn"] == "ConnectionTopicPolicy"


def test_without_acceptance_no_function_reviews_requests() -> None:
    without = Resolver()
    assert "ReviewConnectionsFunction" not in without.created()
    assert not without.of_type("AWS::SNS::Topic")


# ---------------------------------------------------------------------------- notifications


@pytest.mark.parametrize(
    ("given", "topic"),
    [
        ({"AlarmEmail": "on-call@example.com"}, "<AlarmTopic>"),
        (
            {"AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms"},
            "arn:aws:sns:eu-west-1:111122223333:alarms",
        ),
        ({}, ""),
    ],
)
def test_both_functions_publish_to_one_topic_and_have_the_permission(
    given: dict[str, str], topic: str
) -> None:
    resolver = Resolver({"AcceptanceRequired": "true", **given})
    functions = resolver.of_type("AWS::Lambda::Function")
    for name in ("ReconcileTargets", "ReviewConnections"):
        variables = functions[f"{name}Function"]["Environment"]["Variables"]
        assert variables["ALARM_TOPIC_ARN"] == topic
        may = [
            statement["Resource"]
            for role, statement in statements(resolver)
            if role == f"{name}Role" and "sns:Publish" in as_list(statement["Action"])
        ]
        assert may == ([topic] if topic else [])


def test_the_stack_creates_a_topic_for_an_email_address() -> None:
    topics = Resolver({"AlarmEmail": "on-call@example.com"}).of_type("AWS::SNS::Topic")
    assert topics["AlarmTopic"]["Subscription"] == [
        {"Protocol": "email", "Endpoint": "on-call@example.com"}
    ]


@EVERYWHERE
def test_a_function_may_send_events_of_its_source_only(situation: str) -> None:
    sent = [
        statement
        for _, statement in policies(situation)
        if "events:PutEvents" in as_list(statement["Action"])
    ]
    assert all(
        statement["Condition"] == {"ForAllValues:StringEquals": {"events:source": SOURCE}}
        for statement in sent
    )


# ----------------------------------------------------------------------- creation and deletion


def needs(logical_id: str) -> set[str]:
    """Return every resource that CloudFormation creates before this one and deletes after it."""
    template = expand()["Resources"]
    found: set[str] = set()
    waiting = [logical_id]
    while waiting:
        resource = template[waiting.pop()]
        named = {
            *as_list(resource.get("DependsOn", [])),
            *re.findall(r"'(?:Ref|Fn::GetAtt)': \[?'(\w+)'", str(resource)),
            *re.findall(r"\$\{(\w+)[.}]", str(resource)),
        }
        waiting.extend((named & template.keys()) - found)
        found |= named & template.keys()
    return found


def test_the_first_sync_comes_after_everything_that_a_healthy_target_needs() -> None:
    assert needs("FirstSync") >= {
        "DatabaseIngress",
        "DatabaseListener",
        "FirstSyncPolicy",
        "LoadBalancingEndpoint",
        "OutboundRulesSecurityGroup",
        "ReconcileTargetsFunction",
        "ReconcileTargetsRole",
    }


def test_nothing_starts_a_run_before_the_first_sync() -> None:
    sync = "'Fn::GetAtt': ['ReconcileTargetsFunction', 'Arn']"
    triggers = {
        logical_id
        for logical_id, resource in expand()["Resources"].items()
        if resource["Type"] in {"AWS::Scheduler::Schedule", "AWS::Events::Rule"}
        and sync in str(resource["Properties"])
    }

    assert triggers == {
        "DatabaseRule",
        "InstanceStateRule",
        "ReconcileTargetsFunctionEveryMinute",
        "SwitchoverRule",
    }
    assert all("FirstSync" in needs(logical_id) for logical_id in triggers)


@pytest.mark.parametrize(
    "key",
    [
        "Endpoint",
        "Port",
        "Kind",
        "AllowedNetworks",
        "Resolvers",
        "DnsResolution",
        "StandbyTargets",
        "OutboundRulesGroup",
        "FollowWriterWithoutReaders",
        "MaxTargets",
        "TargetGroupArn",
    ],
)
def test_an_update_that_may_change_the_desired_targets_runs_the_first_sync_again(key: str) -> None:
    assert key in load()["Resources"]["FirstSync"]["Properties"]


def test_connections_are_rejected_after_the_principals_and_before_the_permission_are_removed() -> (
    None
):
    assert "EndpointConnections" in needs("EndpointServicePermissions")
    assert needs("EndpointConnections") >= {"EndpointService", "EndpointConnectionsPolicy"}


def test_the_scaling_group_is_attached_after_the_listener_is_created() -> None:
    attachment = needs("AutoScalingAttachment")
    assert attachment >= {"DatabaseListener", "DatabaseTargetGroup", "AutoScalingAttachmentPolicy"}


@pytest.mark.parametrize("name", ["FirstSync", "EndpointConnections", "AutoScalingAttachment"])
def test_a_custom_resource_keeps_its_permission_until_it_is_deleted(name: str) -> None:
    resources = load()["Resources"]

    assert f"{name}Policy" in as_list(resources[name]["DependsOn"])
    assert resources[f"{name}Policy"]["Condition"] == resources[name]["Condition"]


def test_the_look_up_has_no_circular_dependency() -> None:
    assert "DatabaseLookup" not in needs("DatabaseLookup")
    assert "ProvisionStackRole" in needs("DatabaseLookup")


def test_an_auto_scaling_group_has_no_reconciler() -> None:
    created = Resolver(SITUATIONS["ec2-asg"]).created()
    assert not {name for name in created if name.startswith(("ReconcileTargets", "FirstSync"))}
    assert "AutoScalingAttachment" in created


def test_a_stack_for_an_existing_target_group_has_functions_but_no_network() -> None:
    created = Resolver(SITUATIONS["existing target group"]).created()
    kinds = {resource["Type"].split("::")[1] for resource in created.values()}
    assert kinds.isdisjoint({"EC2", "ElasticLoadBalancingV2", "SNS"})
    assert {"DatabaseLookup", "ReconcileTargetsFunction", "FirstSync"} <= created.keys()


# --------------------------------------------------------------------------- connection path


def attributes(resource: dict[str, Any], key: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in resource[key]}


def one(resource_type: str, **given: str) -> dict[str, Any]:
    """Return the properties of the only resource of a type."""
    (properties,) = Resolver(given).of_type(resource_type).values()
    return properties


def test_the_load_balancer_is_internal_and_reaches_every_zone() -> None:
    balancer = one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    assert (balancer["Type"], balancer["Scheme"], balancer["IpAddressType"]) == (
        "network",
        "internal",
        "ipv4",
    )
    assert balancer["Subnets"] == "<DatabaseLookup.SubnetIds>"
    assert attributes(balancer, "LoadBalancerAttributes") == {
        "load_balancing.cross_zone.enabled": "true",
        "deletion_protection.enabled": "false",
    }
    # AWS accepts a security group only when it creates a load balancer.
    assert balancer["SecurityGroups"] == [
        "<LoadBalancerSecurityGroup>",
        "<OutboundRulesSecurityGroup>",
    ]


@pytest.mark.parametrize("mode", load()["Parameters"]["StandbyTargets"]["AllowedValues"])
def test_an_update_of_the_standby_targets_changes_no_security_group(mode: str) -> None:
    def groups(given: str) -> object:
        resolver = Resolver({"StandbyTargets": given})
        (balancer,) = resolver.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
        return resolver.of_type("AWS::EC2::SecurityGroup"), balancer["SecurityGroups"]

    assert groups(mode) == groups("none")


def test_the_instances_of_an_auto_scaling_group_need_no_switch() -> None:
    scaling = Resolver(SITUATIONS["ec2-asg"])
    (balancer,) = scaling.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert balancer["SecurityGroups"] == ["<LoadBalancerSecurityGroup>"]
    assert "OutboundRulesSecurityGroup" not in scaling.created()


def test_the_group_of_outbound_rules_depends_on_the_vpc_only() -> None:
    assert needs("OutboundRulesSecurityGroup") == needs("DatabaseLookup") | {"DatabaseLookup"}
    text = str(load()["Resources"]["OutboundRulesSecurityGroup"])
    assert re.findall(r"'DatabaseLookup', '(\w+)'", text) == ["VpcId"]


def test_the_load_balancer_can_be_protected() -> None:
    balancer = one("AWS::ElasticLoadBalancingV2::LoadBalancer", DeletionProtection="true")
    protection = attributes(balancer, "LoadBalancerAttributes")["deletion_protection.enabled"]
    assert protection == "true"


def test_the_template_contains_no_targets() -> None:
    group = one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert "Targets" not in group
    assert group["TargetType"] == "ip"


def test_a_scaling_group_registers_instances() -> None:
    group = one("AWS::ElasticLoadBalancingV2::TargetGroup", **SITUATIONS["ec2-asg"])
    assert group["TargetType"] == "instance"


def test_the_health_checks_are_as_fast_as_aws_allows() -> None:
    group = one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert group["HealthCheckIntervalSeconds"] == 5
    assert group["HealthCheckTimeoutSeconds"] < 5
    assert (group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]) == (2, 2)


def test_connections_end_with_their_target() -> None:
    group = one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert attributes(group, "TargetGroupAttributes") == {
        "deregistration_delay.timeout_seconds": "0",
        "deregistration_delay.connection_termination.enabled": "true",
        "target_health_state.unhealthy.connection_termination.enabled": "true",
        "preserve_client_ip.enabled": "false",
        "proxy_protocol_v2.enabled": "false",
    }


def test_only_the_database_port_is_open() -> None:
    group = Resolver().of_type("AWS::EC2::SecurityGroup")["LoadBalancerSecurityGroup"]
    scaling = one("AWS::EC2::SecurityGroup", **SITUATIONS["ec2-asg"])
    for rule in [*group["SecurityGroupIngress"], *scaling["SecurityGroupEgress"]]:
        assert rule["IpProtocol"] == "tcp"
        assert rule["FromPort"] == rule["ToPort"] == "<DatabaseLookup.Port>"


@pytest.mark.parametrize(
    ("looked_up", "group"), [("sg-0123,", "sg-0123"), ("", "<LoadBalancerSecurityGroup>")]
)
def test_a_rule_that_the_database_cannot_have_is_in_the_load_balancers_own_group(
    looked_up: str, group: str
) -> None:
    resolver = Resolver(attributes={"DatabaseLookup.IngressGroups": looked_up})

    (rule,) = resolver.of_type("AWS::EC2::SecurityGroupIngress").values()

    assert (rule["GroupId"], rule["SourceSecurityGroupId"]) == (
        group,
        "<LoadBalancerSecurityGroup>",
    )


def test_only_the_reconciler_opens_targets() -> None:
    groups = Resolver().of_type("AWS::EC2::SecurityGroup")
    assert groups.keys() == {"LoadBalancerSecurityGroup", "OutboundRulesSecurityGroup"}
    for group in groups.values():
        # It allows nothing: there is no such ICMP message, and no network has this address.
        (nothing,) = group["SecurityGroupEgress"]
        assert (nothing["IpProtocol"], nothing["CidrIp"]) == ("icmp", "255.255.255.255/32")


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ({}, True),
        ({"ManageDatabaseIngress": "false"}, False),
        ({"DatabaseKind": "hostname", **NETWORK}, False),
        (SITUATIONS["hostname"], False),
        (SITUATIONS["static"], False),
        (SITUATIONS["ec2-instance"], False),
        ({**SITUATIONS["ec2-instance"], "ManageDatabaseIngress": "true"}, True),
        (SITUATIONS["ec2-asg"], False),
        (SITUATIONS["rds-cluster-readers"], True),
        (SITUATIONS["rds-proxy"], True),
        (SITUATIONS["existing target group"], False),
        ({"DatabaseEndpoint": "o.abc.cn-north-1.rds.amazonaws.com.cn"}, True),
        ({"DatabaseEndpoint": "db.rds.example", **NETWORK}, False),
        ({"DatabaseEndpoint": "db.rds.example", "DatabaseKind": "rds-instance"}, True),
    ],
)
def test_the_security_group_of_the_database_allows_the_load_balancer(
    given: dict[str, str], opened: bool
) -> None:
    rules = Resolver(given).of_type("AWS::EC2::SecurityGroupIngress")
    assert bool(rules) == opened
    for rule in rules.values():
        assert rule["GroupId"].startswith("<DatabaseLookup.IngressGroups>")
        assert rule["SourceSecurityGroupId"] == "<LoadBalancerSecurityGroup>"
        assert rule["FromPort"] == rule["ToPort"] == "<DatabaseLookup.Port>"


def test_the_listener_forwards_the_database_port() -> None:
    listener = one("AWS::ElasticLoadBalancingV2::Listener")
    group = one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert (listener["Protocol"], listener["Port"]) == ("TCP", "<DatabaseLookup.Port>")
    assert group["Port"] == listener["Port"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({"IdleTimeoutSeconds": "600"}, "600"), ({"SupportedRegions": "us-east-1"}, "350")],
)
def test_an_update_sets_the_idle_timeout_before_it_adds_regions(
    given: dict[str, str], seconds: str
) -> None:
    listener = one("AWS::ElasticLoadBalancingV2::Listener", **given)
    # A missing attribute would keep a custom value.
    assert attributes(listener, "ListenerAttributes") == {"tcp.idle_timeout.seconds": seconds}
    assert "DatabaseListener" in needs("EndpointService")


@pytest.mark.parametrize("separator", [",", ", ", " , "])
def test_a_list_may_have_spaces_around_its_commas(separator: str) -> None:
    given = {
        "AllowedPrincipals": separator.join(("firehose.amazonaws.com", "arn:aws:iam::1:root")),
        "FunctionSubnetIds": separator.join(("subnet-0a1b2c3d", "subnet-1a2b3c4d")),
    }
    created = Resolver(given).created()

    assert created["EndpointServicePermissions"]["Properties"]["AllowedPrincipals"] == [
        "firehose.amazonaws.com",
        "arn:aws:iam::1:root",
    ]
    function = created["ReconcileTargetsFunction"]["Properties"]
    assert function["VpcConfig"]["SubnetIds"] == ["subnet-0a1b2c3d", "subnet-1a2b3c4d"]


def test_other_regions_are_supported_on_request() -> None:
    assert "SupportedRegions" not in one("AWS::EC2::VPCEndpointService")
    service = one("AWS::EC2::VPCEndpointService", SupportedRegions="us-east-1, eu-central-1")
    assert service["SupportedRegions"] == ["us-east-1", "eu-central-1"]


@pytest.mark.parametrize(
    ("given", "principals"),
    [
        ({}, ["arn:aws:iam::346425330055:role/MTPL_Admin"]),
        (
            {"Consumer": "databricks"},
            ["arn:aws:iam::565502421330:role/private-connectivity-role-eu-west-1"],
        ),
        ({"Consumer": "clickhouse"}, ["arn:aws:iam::072088201116:root"]),
        (
            {"AllowedPrincipals": "arn:aws:iam::1:root,arn:aws:iam::2:root"},
            ["arn:aws:iam::1:root", "arn:aws:iam::2:root"],
        ),
        ({"Consumer": "custom", "AllowedPrincipals": "*"}, ["*"]),
    ],
)
def test_only_the_principals_of_the_consumer_or_the_parameter_may_connect(
    given: dict[str, str], principals: list[str]
) -> None:
    permissions = one("AWS::EC2::VPCEndpointServicePermissions", **given)
    assert permissions["AllowedPrincipals"] == principals


# ------------------------------------------------------------------------ a function in a VPC


@pytest.mark.parametrize(
    ("situation", "services"),
    [
        ("rds-instance", set()),
        ("function in the VPC", {"elasticloadbalancing", "events", "ec2"}),
        ("cluster, function in the VPC", {"elasticloadbalancing", "events", "ec2", "rds"}),
        ("instance, function in the VPC", {"elasticloadbalancing", "events", "ec2"}),
        ("function in the VPC, mail address", {"elasticloadbalancing", "events", "sns", "ec2"}),
        ("serving standby, function in the VPC", {"elasticloadbalancing", "events", "ec2"}),
    ],
)
def test_a_function_in_the_vpc_has_the_endpoints_of_the_services_that_it_calls(
    situation: str, services: set[str]
) -> None:
    endpoints = Resolver(SITUATIONS[situation]).of_type("AWS::EC2::VPCEndpoint").values()
    assert {endpoint["ServiceName"] for endpoint in endpoints} == {
        f"com.amazonaws.eu-west-1.{service}" for service in services
    }
    assert all(endpoint["PrivateDnsEnabled"] for endpoint in endpoints)
    # An interface endpoint has at most one subnet in each zone.
    assert all(it["SubnetIds"] == "<DatabaseLookup.EndpointSubnetIds>" for it in endpoints)


def test_only_reconciler_and_status_can_be_in_the_vpc() -> None:
    functions = Resolver(SITUATIONS["function in the VPC"]).of_type("AWS::Lambda::Function")
    there = {name: f["VpcConfig"] for name, f in functions.items() if "VpcConfig" in f}
    assert there.keys() == {"ReportStatusFunction", "ReconcileTargetsFunction"}
    for network in there.values():
        assert network["SubnetIds"] == ["subnet-0a1b2c3d4e5f60718"]
        assert network["SecurityGroupIds"] == ["<FunctionSecurityGroup>"]
    outside = Resolver().of_type("AWS::Lambda::Function")
    assert not [name for name, function in outside.items() if "VpcConfig" in function]


def test_the_security_group_of_the_functions_has_no_inbound_rule() -> None:
    group = Resolver(SITUATIONS["function in the VPC"]).of_type("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group["FunctionSecurityGroup"]
