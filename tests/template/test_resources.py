import re
from collections.abc import Iterator
from typing import Any

import pytest

from target_sync.settings import load_settings
from tests.template.stack import PSEUDO_PARAMETERS, TEMPLATE, Resolver, expand, resources

FUNCTIONS = resources("AWS::Lambda::Function")
ROLES = resources("AWS::IAM::Role")
NO_RESOURCE_LEVEL = {
    "elasticloadbalancing:DescribeTargetHealth",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions that AWS lets no policy narrow (Service Authorization Reference)."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role.get("Policies", []):
        yield from as_list(policy["PolicyDocument"]["Statement"])


def role_of(function: dict[str, Any]) -> str:
    logical_id = function["Role"]["Fn::GetAtt"][0]
    assert isinstance(logical_id, str)
    return logical_id


def destination_of(function_id: str) -> str:
    """Logical ID of the queue that gets a function's failed runs."""
    (config,) = [
        config
        for config in resources("AWS::Lambda::EventInvokeConfig").values()
        if config["FunctionName"] == {"Ref": function_id}
    ]
    queue = config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
    assert isinstance(queue, str)
    return queue


# ------------------------------------------------------------------------------- functions


def test_there_is_a_function() -> None:
    assert "SyncTargetsFunction" in FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_the_runtime_that_is_built_for(name: str) -> None:
    function = FUNCTIONS[name]
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert function["TracingConfig"] == {"Mode": "Active"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_log_group_with_an_end_to_retention(name: str) -> None:
    group = FUNCTIONS[name]["LoggingConfig"]["LogGroup"]["Ref"]
    assert resources("AWS::Logs::LogGroup")[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    others = [other for key, other in FUNCTIONS.items() if key != name]
    assert all(other["LoggingConfig"]["LogGroup"]["Ref"] != group for other in others)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_failed_run_of_a_function_is_kept(name: str) -> None:
    queue = destination_of(name)
    assert queue in resources("AWS::SQS::Queue")
    (send,) = [
        entry
        for entry in statements(ROLES[role_of(FUNCTIONS[name])])
        if "sqs:SendMessage" in as_list(entry["Action"])
    ]
    assert send["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own_without_managed_policies(name: str) -> None:
    role = role_of(FUNCTIONS[name])
    assert "ManagedPolicyArns" not in ROLES[role]
    assert [role_of(function) for function in FUNCTIONS.values()].count(role) == 1


def test_the_level_of_the_log_never_silences_the_metrics() -> None:
    levels = expand()["Parameters"]["LogLevel"]["AllowedValues"]
    assert set(levels) <= {"DEBUG", "INFO"}
    for function in FUNCTIONS.values():
        assert function["LoggingConfig"]["ApplicationLogLevel"] == {"Ref": "LogLevel"}


# ---------------------------------------------------------------------------------- policies


@pytest.mark.parametrize("name", ROLES)
def test_a_role_allows_no_wildcard_action(name: str) -> None:
    for entry in statements(ROLES[name]):
        assert not [action for action in as_list(entry["Action"]) if "*" in action]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_names_its_resources_where_aws_can_tell_them_apart(name: str) -> None:
    for entry in statements(ROLES[name]):
        if "*" in str(Resolver().resolve(entry["Resource"])):
            assert entry["Resource"] == "*"
            assert set(as_list(entry["Action"])) <= NO_RESOURCE_LEVEL


def test_every_star_in_the_template_says_why() -> None:
    lines = TEMPLATE.read_text().splitlines()
    stars = [number for number, line in enumerate(lines) if 'Resource: "*"' in line]
    for number in stars:
        sid = max(i for i in range(number) if "- Sid:" in lines[i])
        assert lines[sid - 1].strip().startswith("# AWS has no resource level"), lines[sid]
    assert len(stars) == 2


def test_targets_are_changed_in_the_stacks_own_group_only() -> None:
    (change,) = [
        entry
        for entry in statements(ROLES["SyncTargetsRole"])
        if "elasticloadbalancing:RegisterTargets" in as_list(entry["Action"])
    ]
    assert change["Resource"] == {"Ref": "DatabaseTargetGroup"}


def test_only_the_stacks_own_rule_may_fill_the_queue() -> None:
    (policy,) = resources("AWS::SQS::QueuePolicy").values()
    (entry,) = policy["PolicyDocument"]["Statement"]
    (rule,) = resources("AWS::Events::Rule")
    assert entry["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}}


# ------------------------------------------------------------------------------------ events


def test_what_cannot_be_delivered_is_kept() -> None:
    (rule,) = resources("AWS::Events::Rule").values()
    (schedule,) = resources("AWS::Scheduler::Schedule").values()
    for target in [*rule["Targets"], schedule["Target"]]:
        assert target["DeadLetterConfig"]["Arn"] == {
            "Fn::GetAtt": ["UndeliveredEventsQueue", "Arn"]
        }
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 600


def test_the_targets_are_checked_every_minute() -> None:
    (schedule,) = resources("AWS::Scheduler::Schedule").values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule.get("State", "ENABLED") == "ENABLED"


@pytest.mark.parametrize("name", resources("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_and_keeps_messages_for_two_weeks(name: str) -> None:
    queue = resources("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


# -------------------------------------------------------------------------------- two stacks

NAME_PROPERTIES = re.compile(
    r"(Name|(Bucket|Function|Group|Layer|LoadBalancer|LogGroup|Queue|Role|Rule|Schedule|Topic)Name)"
)


@pytest.mark.parametrize("logical_id", expand()["Resources"])
def test_no_name_is_the_same_in_every_stack(logical_id: str) -> None:
    properties = expand()["Resources"][logical_id].get("Properties", {})
    for key, value in properties.items():
        if NAME_PROPERTIES.fullmatch(key):
            one, other = (
                Resolver(pseudo={**PSEUDO_PARAMETERS, "AWS::StackName": stack}).resolve(value)
                for stack in ("one", "other")
            )
            is_reference = one.startswith("<")
            assert is_reference or one != other, f"{key} of {logical_id} is always {one}"


def test_the_metrics_of_two_stacks_stay_apart() -> None:
    for function in FUNCTIONS.values():
        variables = function["Environment"]["Variables"]
        assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


@pytest.mark.parametrize("logical_id", expand()["Resources"])
def test_a_deleted_stack_leaves_nothing(logical_id: str) -> None:
    assert expand()["Resources"][logical_id].get("DeletionPolicy", "Delete") == "Delete"


# ------------------------------------------------------------------------------- environment


def test_the_function_can_read_the_settings_that_the_template_gives() -> None:
    arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/a/0123456789abcdef"
    variables = environment(Resolvers="10.0.0.2:53", WatchSeconds="120", DatabasePort="5433")
    settings = load_settings({**variables, "TARGET_GROUP_ARN": arn})
    assert settings.endpoint == "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"
    assert settings.policy.port == 5433
    assert [str(network) for network in settings.policy.allowed_networks] == [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
    ]
    assert settings.resolvers == (("10.0.0.2", 53),)
    assert settings.watch_seconds == 120
    assert load_settings({**environment(), "TARGET_GROUP_ARN": arn}).resolvers == ()


def environment(**given: str) -> dict[str, str]:
    variables = FUNCTIONS["SyncTargetsFunction"]["Environment"]["Variables"]
    resolved: dict[str, str] = Resolver(given).resolve(variables)
    return resolved


def test_the_function_is_told_nothing_else() -> None:
    assert environment().keys() == {
        "ALLOWED_NETWORKS",
        "DATABASE_ENDPOINT",
        "DATABASE_PORT",
        "POWERTOOLS_LOG_LEVEL",
        "POWERTOOLS_METRICS_NAMESPACE",
        "POWERTOOLS_SERVICE_NAME",
        "RESOLVERS",
        "TARGET_GROUP_ARN",
        "WATCH_SECONDS",
    }


def test_the_function_has_time_to_watch_and_to_see_health() -> None:
    longest_watch = expand()["Parameters"]["WatchSeconds"]["MaxValue"]
    assert FUNCTIONS["SyncTargetsFunction"]["Timeout"] >= longest_watch + 60


# --------------------------------------------------------------------------------------- road


def attributes(resource: dict[str, Any], key: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in resource[key]}


def test_the_load_balancer_is_internal_and_reaches_every_zone() -> None:
    (balancer,) = resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert (balancer["Type"], balancer["Scheme"], balancer["IpAddressType"]) == (
        "network",
        "internal",
        "ipv4",
    )
    assert attributes(balancer, "LoadBalancerAttributes") == {
        "load_balancing.cross_zone.enabled": "true"
    }
    # Without a group at creation the load balancer can never get one.
    assert balancer["SecurityGroups"] == [{"Ref": "LoadBalancerSecurityGroup"}]


def test_the_function_alone_owns_the_targets() -> None:
    (group,) = resources("AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert "Targets" not in group
    assert group["TargetType"] == "ip"


def test_a_dead_target_is_found_as_fast_as_aws_allows() -> None:
    (group,) = resources("AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert group["HealthCheckIntervalSeconds"] == 5
    assert group["HealthCheckTimeoutSeconds"] < 5
    assert (group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]) == (2, 2)


def test_connections_end_with_their_target() -> None:
    (group,) = resources("AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert attributes(group, "TargetGroupAttributes") == {
        "deregistration_delay.timeout_seconds": "0",
        "deregistration_delay.connection_termination.enabled": "true",
        "target_health_state.unhealthy.connection_termination.enabled": "true",
        "preserve_client_ip.enabled": "false",
        "proxy_protocol_v2.enabled": "false",
    }


def test_only_the_database_port_is_open() -> None:
    (group,) = resources("AWS::EC2::SecurityGroup").values()
    for rule in [*group["SecurityGroupIngress"], *group["SecurityGroupEgress"]]:
        assert rule["IpProtocol"] == "tcp"
        assert rule["FromPort"] == rule["ToPort"] == {"Ref": "DatabasePort"}


def test_the_listener_forwards_the_database_port() -> None:
    (listener,) = resources("AWS::ElasticLoadBalancingV2::Listener").values()
    (group,) = resources("AWS::ElasticLoadBalancingV2::TargetGroup").values()
    assert (listener["Protocol"], listener["Port"]) == ("TCP", {"Ref": "DatabasePort"})
    assert group["Port"] == listener["Port"]
    # A custom idle timeout excludes cross-Region PrivateLink.
    assert "ListenerAttributes" not in listener


def test_only_the_allowed_principals_may_connect() -> None:
    (permissions,) = resources("AWS::EC2::VPCEndpointServicePermissions").values()
    (service,) = resources("AWS::EC2::VPCEndpointService").values()
    assert permissions["AllowedPrincipals"] == {"Ref": "AllowedPrincipals"}
    assert service["AcceptanceRequired"] == {"Ref": "AcceptanceRequired"}


def test_everyone_may_connect_only_with_acceptance() -> None:
    rule = expand()["Rules"]["EveryoneNeedsAcceptance"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "AcceptanceRequired"}, "false"]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {
        "Fn::Not": [{"Fn::Contains": [{"Ref": "AllowedPrincipals"}, "*"]}]
    }
