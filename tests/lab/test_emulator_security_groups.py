"""The outbound rules of security groups in the lab's AWS."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan, Endpoint
from tests.lab.emulator_process import (
    PROVIDER,
    REGION,
    Emulator,
    create_vpc,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

HOST = "127.0.0.2"
QUOTA = 6
RULE_DELAY = 0.3
OPTIONS = (
    f"--outbound-rule-quota={QUOTA}",
    "--registration-delay=0.1",
    "--health-check-interval=0.1",
    f"--rule-delay={RULE_DELAY}",
)
SERVING, WARM = "10.0.1.11", "10.0.2.12"
EVERYTHING = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
NOTHING = {"IpProtocol": "icmp", "FromPort": 252, "ToPort": 86, "CidrIp": "255.255.255.255/32"}


def to(*addresses: str, description: str = "") -> dict[str, Any]:
    """Return a permission with a range for each address."""
    described = {"Description": description} if description else {}
    ranges = [{"CidrIp": f"{address}/32", **described} for address in addresses]
    return {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": ranges}


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as refusal:
        call()
    return str(refusal.value.response["Error"]["Code"])


@dataclass
class Group:
    """A new security group without outbound rules."""

    emulator: Emulator
    vpc: str
    subnets: Sequence[str]
    name: str = "switch"
    id: str = field(init=False)
    ec2: Any = field(init=False)

    def __post_init__(self) -> None:
        self.ec2 = self.emulator.client("ec2")
        made = self.ec2.create_security_group(GroupName=self.name, Description="x", VpcId=self.vpc)
        self.id = made["GroupId"]
        self.revoke(EVERYTHING)

    def authorize(self, *permissions: Mapping[str, Any]) -> Any:
        return self.ec2.authorize_security_group_egress(GroupId=self.id, IpPermissions=permissions)

    def revoke(self, *permissions: Mapping[str, Any]) -> Any:
        return self.ec2.revoke_security_group_egress(GroupId=self.id, IpPermissions=permissions)

    def described(self) -> list[Mapping[str, Any]]:
        filters = [{"Name": "group-id", "Values": [self.id]}]
        rules = self.ec2.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
        return [rule for rule in rules if rule["IsEgress"]]

    def networks(self) -> list[str]:
        return [rule["CidrIpv4"] for rule in self.described()]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with socket.create_server((HOST, 0)) as server:
        there = Endpoint(IPv4Address(HOST), server.getsockname()[1])
        plan = AddressPlan({Endpoint.parse(f"{a}:5432"): there for a in (SERVING, WARM)})
        directory = tmp_path_factory.mktemp("emulator")
        with running_emulator(directory, plan=plan, options=OPTIONS) as running:
            yield running


@pytest.fixture
def group(emulator: Emulator) -> Iterator[Group]:
    vpc, subnets = create_vpc(emulator)
    yield Group(emulator, vpc, subnets)
    emulator.admin.reset()


def test_each_range_is_a_rule_with_its_own_id_and_description(group: Group) -> None:
    made = group.authorize(to("10.0.1.11", "10.0.2.12", description="ours: a & b"))

    described = group.described()
    assert made["SecurityGroupRules"] == described
    assert [
        (r["IpProtocol"], r["FromPort"], r["ToPort"], r["CidrIpv4"], r["Description"])
        for r in described
    ] == [
        ("tcp", 5432, 5432, "10.0.1.11/32", "ours: a & b"),
        ("tcp", 5432, 5432, "10.0.2.12/32", "ours: a & b"),
    ]
    assert len({rule["SecurityGroupRuleId"] for rule in described}) == 2


def test_a_rule_names_a_group_of_its_own_vpc_or_of_a_peered_one(
    emulator: Emulator, group: Group
) -> None:
    vpc, subnets = create_vpc(emulator)
    database = Group(emulator, vpc, subnets, name="database")
    pair = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432}

    def allow(source: str) -> object:
        return group.ec2.authorize_security_group_ingress(
            GroupId=database.id, IpPermissions=[{**pair, "UserIdGroupPairs": [{"GroupId": source}]}]
        )

    assert code_of(lambda: allow(group.id)) == "InvalidGroup.NotFound"
    allow(database.id)
    peering = group.ec2.create_vpc_peering_connection(VpcId=group.vpc, PeerVpcId=vpc)
    id_ = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    assert code_of(lambda: allow(group.id)) == "InvalidGroup.NotFound"
    group.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=id_)
    allow(group.id)


def test_one_rule_that_exists_rejects_the_whole_call(group: Group) -> None:
    group.authorize(to("10.0.1.11", description="first"))

    again = to("10.0.2.12", "10.0.1.11", description="second")
    assert code_of(lambda: group.authorize(again)) == "InvalidPermission.Duplicate"

    assert [(r["CidrIpv4"], r["Description"]) for r in group.described()] == [
        ("10.0.1.11/32", "first")
    ]


def test_a_network_is_kept_without_its_host_bits(group: Group) -> None:
    ranged = {**to(), "IpRanges": [{"CidrIp": "10.0.1.11/24"}]}
    group.authorize(ranged)

    assert group.networks() == ["10.0.1.0/24"]
    assert code_of(lambda: group.authorize(ranged)) == "InvalidPermission.Duplicate"


@pytest.mark.parametrize(
    "wrong",
    [
        {**to(), "IpRanges": [{"CidrIp": "10.0.1.11"}, {"CidrIp": "10.0.1/24"}]},
        to("10.0.1.11", description="a 'quoted' word"),
        to("10.0.1.11", description="x" * 256),
    ],
)
def test_a_malformed_rule_is_rejected(group: Group, wrong: Mapping[str, Any]) -> None:
    assert code_of(lambda: group.authorize(wrong)) == "InvalidParameterValue"
    assert group.networks() == []


def test_revoking_ignores_the_description_and_the_other_rules(group: Group) -> None:
    group.authorize(to("10.0.1.11", "10.0.2.12", description="first"))

    group.revoke(to("10.0.1.11", description="another"))

    assert group.networks() == ["10.0.2.12/32"]


def test_one_unknown_rule_rejects_the_whole_revocation(group: Group) -> None:
    group.authorize(to("10.0.1.11"))

    unknown = to("10.0.1.11", "10.0.2.12")
    assert code_of(lambda: group.revoke(unknown)) == "InvalidPermission.NotFound"

    assert group.networks() == ["10.0.1.11/32"]


def test_a_rule_is_revoked_by_its_id(group: Group) -> None:
    group.authorize(to("10.0.1.11", "10.0.2.12"))
    first, _ = group.described()

    group.ec2.revoke_security_group_egress(
        GroupId=group.id, SecurityGroupRuleIds=[first["SecurityGroupRuleId"]]
    )

    assert group.networks() == ["10.0.2.12/32"]


def test_a_group_has_a_quota_of_outbound_rules(group: Group) -> None:
    group.authorize(to(*(f"10.0.1.{n}" for n in range(1, QUOTA))))

    more = to("10.0.2.1", "10.0.2.2")
    assert code_of(lambda: group.authorize(more)) == "RulesPerSecurityGroupLimitExceeded"
    group.authorize(to("10.0.2.1"))

    assert len(group.networks()) == QUOTA


def test_the_rules_of_an_unknown_group_are_not_changed(group: Group) -> None:
    group.id = "sg-0123456789abcdef0"

    assert code_of(lambda: group.authorize(to("10.0.1.11"))) == "InvalidGroup.NotFound"
    assert code_of(lambda: group.revoke(to("10.0.1.11"))) == "InvalidGroup.NotFound"
    assert group.networks() == []


def test_rules_are_described_page_by_page_and_for_one_group(group: Group) -> None:
    other = Group(group.emulator, create_vpc(group.emulator)[0], ())
    other.authorize(to("10.0.9.9"))
    addresses = [f"10.0.1.{n}" for n in range(1, QUOTA + 1)]
    group.authorize(to(*addresses))

    pages = group.ec2.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": [group.id]}], PaginationConfig={"PageSize": 5}
    )

    listed = [[rule["CidrIpv4"] for rule in page["SecurityGroupRules"]] for page in pages]
    expected = [f"{address}/32" for address in addresses]
    assert listed == [expected[:5], expected[5:]]


def test_a_filter_that_aws_does_not_know_is_rejected(group: Group) -> None:
    wrong = [{"Name": "is-egress", "Values": ["true"]}]
    describe = group.ec2.describe_security_group_rules
    assert code_of(lambda: describe(Filters=wrong)) == "InvalidParameterValue"


@dataclass(frozen=True)
class Operator:
    """A user whose policy the test sets."""

    emulator: Emulator

    def allow(self, action: str, resource: str) -> None:
        document = {"Effect": "Allow", "Action": action, "Resource": resource}
        self.emulator.client("iam").put_user_policy(
            UserName="operator",
            PolicyName="only",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [document]}),
        )

    def ec2(self) -> Any:
        iam = self.emulator.client("iam")
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        return boto3.session.Session(
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            region_name=REGION,
        ).client("ec2", endpoint_url=self.emulator.url)


@pytest.fixture
def operator(emulator: Emulator) -> Operator:
    emulator.client("iam").create_user(UserName="operator")
    return Operator(emulator)


@pytest.mark.parametrize(
    ("action", "method"),
    [("Authorize", "authorize_security_group_egress"), ("Revoke", "revoke_security_group_egress")],
)
def test_a_policy_limits_which_groups_a_role_changes(
    group: Group, operator: Operator, action: str, method: str
) -> None:
    change = getattr(operator.ec2(), method)
    if action == "Revoke":
        group.authorize(to("10.0.1.11"))

    def call() -> Any:
        return change(GroupId=group.id, IpPermissions=[to("10.0.1.11")])

    def arn(id_: str) -> str:
        return f"arn:aws:ec2:{REGION}:{PROVIDER}:security-group/{id_}"

    for resource in (arn("sg-0123456789abcdef0"), f"arn:aws:ec2:{REGION}:{PROVIDER}:vpc/*"):
        operator.allow(f"ec2:{action}SecurityGroupEgress", resource)
        assert code_of(call) == "UnauthorizedOperation"
    operator.allow(f"ec2:{action}SecurityGroupEgress", arn(group.id))
    call()


def test_describing_rules_needs_a_policy_without_a_resource(
    group: Group, operator: Operator
) -> None:
    describe = operator.ec2().describe_security_group_rules
    arn = f"arn:aws:ec2:{REGION}:{PROVIDER}:security-group/*"

    operator.allow("ec2:DescribeSecurityGroupRules", arn)
    assert code_of(describe) == "UnauthorizedOperation"
    operator.allow("ec2:DescribeSecurityGroupRules", "*")
    describe(Filters=[{"Name": "group-id", "Values": [group.id]}])


def template(vpc: str, subnets: Sequence[str], egress: Sequence[Mapping[str, Any]]) -> str:
    def security_group(name: str) -> Mapping[str, Any]:
        properties = {"GroupDescription": name, "VpcId": vpc, "SecurityGroupEgress": egress}
        return {"Type": "AWS::EC2::SecurityGroup", "Properties": properties}

    balancer = {
        "Type": "network",
        "Scheme": "internal",
        "Subnets": subnets,
        "SecurityGroups": [{"Ref": "Switch"}, {"Ref": "Inbound"}],
    }
    resources = {
        "Switch": security_group("switch"),
        "Inbound": security_group("inbound"),
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": balancer,
        },
    }
    outputs = {name: {"Value": {"Ref": name}} for name in resources}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def test_a_group_of_a_stack_has_the_rule_that_the_stack_gives_it_and_keeps_others(
    group: Group,
) -> None:
    formation, elb = group.emulator.client("cloudformation"), group.emulator.client("elbv2")
    body = template(group.vpc, group.subnets, [{**NOTHING, "Description": "None"}])
    formation.create_stack(StackName="path", TemplateBody=body)
    formation.get_waiter("stack_create_complete").wait(StackName="path", WaiterConfig={"Delay": 1})
    (stack,) = formation.describe_stacks(StackName="path")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    group.id = outputs["Switch"]
    assert group.networks() == ["255.255.255.255/32"]
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert balancer["SecurityGroups"] == [outputs["Switch"], outputs["Inbound"]]
    group.authorize(to("10.0.1.11"))

    changed = template(group.vpc, group.subnets, [{**NOTHING, "Description": "No traffic"}])
    formation.update_stack(StackName="path", TemplateBody=changed)
    formation.get_waiter("stack_update_complete").wait(StackName="path", WaiterConfig={"Delay": 1})
    assert sorted(group.networks()) == ["10.0.1.11/32", "255.255.255.255/32"]

    formation.delete_stack(StackName="path")
    formation.get_waiter("stack_delete_complete").wait(StackName="path", WaiterConfig={"Delay": 1})
    assert group.networks() == []


@dataclass(frozen=True)
class Balancer:
    """A load balancer with these security groups, and two registered targets that listen."""

    emulator: Emulator
    arn: str
    group: str

    def states(self) -> dict[str, str]:
        """The states of the targets, as the API and the data plane have them."""
        described = self.emulator.client("elbv2").describe_target_health(TargetGroupArn=self.group)
        return {
            entry["Target"]["Id"]: entry["TargetHealth"]["State"]
            for entry in described["TargetHealthDescriptions"]
        }

    def allowed(self) -> set[str]:
        (listener,) = self.emulator.admin.data_plane().listeners
        return {str(target.address) for target in listener.targets if target.allowed}

    def wait_for(self, **states: str) -> None:
        expected = {SERVING: states["serving"], WARM: states["warm"]}
        wait_until(lambda: self.states() == expected)


def create_balancer(group: Group, *security_groups: str) -> Balancer:
    elb = group.emulator.client("elbv2")
    arn = elb.create_load_balancer(
        Name="path",
        Type="network",
        Scheme="internal",
        Subnets=group.subnets,
        SecurityGroups=security_groups,
    )["LoadBalancers"][0]["LoadBalancerArn"]
    targets = elb.create_target_group(
        Name="path",
        Protocol="TCP",
        Port=5432,
        VpcId=group.vpc,
        TargetType="ip",
        HealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=arn,
        Protocol="TCP",
        Port=5432,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": targets}],
    )
    elb.register_targets(TargetGroupArn=targets, Targets=[{"Id": a} for a in (SERVING, WARM)])
    return Balancer(group.emulator, arn, targets)


def test_a_load_balancer_reaches_what_the_rules_of_its_groups_allow(group: Group) -> None:
    inbound = Group(group.emulator, group.vpc, group.subnets, name="inbound")
    group.authorize(to(SERVING))
    balancer = create_balancer(group, inbound.id, group.id)
    balancer.wait_for(serving="healthy", warm="unhealthy")
    assert balancer.allowed() == {SERVING}

    began_at = time.monotonic()
    group.authorize(to(WARM))
    wait_until(lambda: balancer.allowed() == {SERVING, WARM})
    assert time.monotonic() - began_at >= RULE_DELAY
    group.revoke(to(SERVING))
    balancer.wait_for(serving="unhealthy", warm="healthy")
    assert balancer.allowed() == {WARM}

    inbound.authorize(EVERYTHING)
    balancer.wait_for(serving="healthy", warm="healthy")
    assert balancer.allowed() == {SERVING, WARM}

    elb = group.emulator.client("elbv2")
    elb.set_security_groups(LoadBalancerArn=balancer.arn, SecurityGroups=[group.id])
    balancer.wait_for(serving="unhealthy", warm="healthy")


def test_a_load_balancer_without_groups_reaches_everything(group: Group) -> None:
    balancer = create_balancer(group)
    balancer.wait_for(serving="healthy", warm="healthy")
    assert balancer.allowed() == {SERVING, WARM}
