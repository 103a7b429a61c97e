"""RDS clusters and proxies, EC2 instances and Auto Scaling groups in the lab's AWS."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import boto3.session
import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan, Endpoint
from lab.emulator.client import EmulatorAdminError
from lab.emulator.messages import ClusterStatus, RdsEvent, RdsSource
from lab.rds_control_plane import FailoverHook
from tests.lab.emulator_process import REGION, Emulator, create_vpc, running_emulator, wait_until

pytestmark = pytest.mark.lab

ACCOUNT_ARN = f"{REGION}:111111111111"


@dataclass(frozen=True, kw_only=True)
class World:
    """An emulator with a network, and a queue of all events."""

    emulator: Emulator
    hook: FailoverHook
    vpc: str
    subnets: list[str]
    queue: str

    def events(self, source: str) -> list[Mapping[str, Any]]:
        """Return the new events of a source and remove all events."""
        sqs = self.emulator.client("sqs")
        received = []
        while messages := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                received.append(json.loads(message["Body"]))
        return [event for event in received if event["source"] == source]


@pytest.fixture(scope="module")
def hook() -> Iterator[FailoverHook]:
    """Receives requests for a failover; it also passes a TCP health check."""
    with FailoverHook() as server:
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, hook: FailoverHook) -> Iterator[World]:
    server = Endpoint(IPv4Address("127.0.0.1"), hook.port)
    plan = AddressPlan(
        {Endpoint.parse(f"{a}:5432"): server for a in ("10.0.1.50", "10.0.2.50", "10.0.2.51")}
    )
    options = (
        "--registration-delay=0.1",
        "--health-check-interval=0.1",
        f"--rds-failover-hook={hook.url}",
    )
    directory = tmp_path_factory.mktemp("emulator")
    with running_emulator(directory, plan=plan, options=options) as emulator:
        vpc, subnets = create_vpc(emulator)
        emulator.client("rds").create_db_subnet_group(
            DBSubnetGroupName="orders", DBSubnetGroupDescription="x", SubnetIds=subnets
        )
        sqs, events = emulator.client("sqs"), emulator.client("events")
        queue = sqs.create_queue(QueueName="events")["QueueUrl"]
        arn = f"arn:aws:sqs:{ACCOUNT_ARN}:events"
        policy = {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                }
            ]
        }
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
        pattern = json.dumps({"source": ["aws.rds", "aws.ec2"]})
        events.put_rule(Name="all", EventPattern=pattern)
        events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
        yield World(emulator=emulator, hook=hook, vpc=vpc, subnets=subnets, queue=queue)


@pytest.fixture(scope="module")
def cluster(world: World) -> Mapping[str, Any]:
    rds = world.emulator.client("rds")
    group = world.emulator.client("ec2").create_security_group(
        GroupName="cluster", Description="cluster", VpcId=world.vpc
    )["GroupId"]
    made = rds.create_db_cluster(
        DBClusterIdentifier="shop",
        Engine="aurora-postgresql",
        DBSubnetGroupName="orders",
        VpcSecurityGroupIds=[group],
        MasterUsername="lab",
        ManageMasterUserPassword=True,
    )["DBCluster"]
    for name in ("shop-1", "shop-2", "shop-3"):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier="shop",
            DBInstanceClass="db.t4g.medium",
            Engine="aurora-postgresql",
        )
    return dict(made)


def members(world: World) -> dict[str, bool]:
    (found,) = world.emulator.client("rds").describe_db_clusters(DBClusterIdentifier="shop")[
        "DBClusters"
    ]
    return {m["DBInstanceIdentifier"]: m["IsClusterWriter"] for m in found["DBClusterMembers"]}


@pytest.mark.usefixtures("cluster")
def test_the_writer_of_a_cluster_must_be_a_member(world: World) -> None:
    with pytest.raises(EmulatorAdminError, match="stranger is no member"):
        world.emulator.admin.set_cluster_status(
            ClusterStatus(identifier="shop", status="available", writer="stranger")
        )
    with pytest.raises(EmulatorAdminError, match="DBCluster unknown not found"):
        world.emulator.admin.set_cluster_status(
            ClusterStatus(identifier="unknown", status="available")
        )


def test_the_endpoints_of_a_proxy_have_the_form_of_aws(world: World) -> None:
    rds = world.emulator.client("rds")
    proxy = rds.create_db_proxy(
        DBProxyName="pool",
        EngineFamily="POSTGRESQL",
        Auth=[{"AuthScheme": "SECRETS", "SecretArn": f"arn:aws:secretsmanager:{ACCOUNT_ARN}:s"}],
        RoleArn="arn:aws:iam::111111111111:role/proxy",
        VpcSubnetIds=world.subnets,
    )["DBProxy"]
    (found,) = rds.describe_db_proxies()["DBProxies"]
    assert found["Endpoint"] == proxy["Endpoint"]
    name, label, *_ = proxy["Endpoint"].split(".")
    assert (name, label[:6]) == ("pool", "proxy-")
    assert (proxy["VpcId"], proxy["VpcSubnetIds"]) == (world.vpc, world.subnets)
    further = rds.create_db_proxy_endpoint(
        DBProxyName="pool", DBProxyEndpointName="reads", VpcSubnetIds=world.subnets
    )["DBProxyEndpoint"]
    assert further["Endpoint"] == proxy["Endpoint"].replace("pool.", "reads.endpoint.")


def test_cluster_events_have_the_form_of_aws_and_are_listed(
    world: World, cluster: Mapping[str, Any]
) -> None:
    world.emulator.admin.emit(
        RdsEvent(
            identifier="shop",
            event_id="RDS-EVENT-0071",
            categories=("failover",),
            message="Failed over.",
            source=RdsSource.CLUSTER,
            prefixed=True,
        )
    )
    (about_cluster,) = world.events("aws.rds")
    assert about_cluster["detail-type"] == "RDS DB Cluster Event"
    assert about_cluster["resources"] == [cluster["DBClusterArn"]]
    assert about_cluster["detail"]["SourceType"] == "CLUSTER"
    assert about_cluster["detail"]["SourceIdentifier"] == "rds:shop"
    (listed,) = world.emulator.client("rds").describe_events(
        SourceType="db-cluster", SourceIdentifier="shop"
    )["Events"]
    assert (listed["Message"], listed["EventCategories"]) == ("Failed over.", ["failover"])
    assert listed["SourceArn"] == cluster["DBClusterArn"]


def launch(world: World, subnet: str, **more: str) -> Mapping[str, Any]:
    ec2 = world.emulator.client("ec2")
    (launched,) = ec2.run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet, **more
    )["Instances"]
    return dict(launched)


def test_an_instance_has_an_address_of_its_subnet_and_emits_its_states(world: World) -> None:
    ec2 = world.emulator.client("ec2")
    world.events("aws.ec2")
    launched = launch(world, world.subnets[1])
    assert launched["PrivateIpAddress"] == "10.0.2.50", "the first address of the lab's plan"
    assert launched["Placement"]["AvailabilityZone"] == "us-east-1b"
    assert launch(world, world.subnets[1], PrivateIpAddress="10.0.2.77")["PrivateIpAddress"] == (
        "10.0.2.77"
    )
    world.events("aws.ec2")
    instance = launched["InstanceId"]
    ec2.stop_instances(InstanceIds=[instance])
    ec2.start_instances(InstanceIds=[instance])
    ec2.terminate_instances(InstanceIds=[instance])
    events = world.events("aws.ec2")
    assert [event["detail"]["state"] for event in events] == [
        "stopping", "stopped", "pending", "running", "shutting-down", "terminated",
    ]  # fmt: skip
    first = events[0]
    assert first["detail-type"] == "EC2 Instance State-change Notification"
    assert first["resources"] == [f"arn:aws:ec2:{ACCOUNT_ARN}:instance/{instance}"]
    assert first["detail"]["instance-id"] == instance
    (reservation,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    assert "PrivateIpAddress" not in reservation["Instances"][0]


@dataclass(frozen=True, kw_only=True)
class Group:
    """A target group of instance targets behind a load balancer."""

    world: World
    arn: str

    def states(self) -> dict[str, str]:
        found = self.world.emulator.client("elbv2").describe_target_health(TargetGroupArn=self.arn)
        return {
            entry["Target"]["Id"]: entry["TargetHealth"]["State"]
            for entry in found["TargetHealthDescriptions"]
        }


@pytest.fixture(scope="module")
def group(world: World) -> Group:
    elb = world.emulator.client("elbv2")
    arn = elb.create_target_group(
        Name="instances", Protocol="TCP", Port=5432, VpcId=world.vpc, TargetType="instance"
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(
        TargetGroupArn=arn,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}],
    )
    balancer = elb.create_load_balancer(
        Name="instances", Type="network", Scheme="internal", Subnets=world.subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="TCP",
        Port=5432,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    return Group(world=world, arn=arn)


def test_an_instance_target_is_probed_at_its_address(world: World, group: Group) -> None:
    elb, ec2 = world.emulator.client("elbv2"), world.emulator.client("ec2")
    instance = launch(world, world.subnets[0])["InstanceId"]
    elb.register_targets(TargetGroupArn=group.arn, Targets=[{"Id": instance}])
    wait_until(lambda: group.states() == {instance: "healthy"})
    (listener,) = world.emulator.admin.data_plane().listeners
    (target,) = listener.targets
    assert (str(target.address), target.port) == ("10.0.1.50", 5432)
    ec2.stop_instances(InstanceIds=[instance])
    assert group.states() == {instance: "unused"}
    ec2.terminate_instances(InstanceIds=[instance])
    assert group.states() == {}
    with pytest.raises(ClientError, match="InvalidTarget"):
        elb.register_targets(TargetGroupArn=group.arn, Targets=[{"Id": instance}])
    with pytest.raises(ClientError, match="not valid"):
        elb.register_targets(TargetGroupArn=group.arn, Targets=[{"Id": "10.0.1.50"}])


def test_an_attached_auto_scaling_group_keeps_its_instances_registered(
    world: World, group: Group
) -> None:
    scaling, ec2 = world.emulator.client("autoscaling"), world.emulator.client("ec2")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="fleet",
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=2,
        VPCZoneIdentifier=",".join(world.subnets),
        LaunchTemplate={"LaunchTemplateName": "postgres"},
    )
    scaling.attach_load_balancer_target_groups(
        AutoScalingGroupName="fleet", TargetGroupARNs=[group.arn]
    )

    def instances() -> list[str]:
        (found,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        assert found["TargetGroupARNs"] == [group.arn]
        return [member["InstanceId"] for member in found["Instances"]]

    first, second = instances()
    wait_until(lambda: group.states() == {first: "healthy", second: "healthy"})
    ec2.terminate_instances(InstanceIds=[first])
    assert first not in instances()
    assert len(instances()) == 2
    assert sorted(group.states()) == sorted(instances())
    scaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=1)
    assert list(group.states()) == instances()
    scaling.detach_load_balancer_target_groups(
        AutoScalingGroupName="fleet", TargetGroupARNs=[group.arn]
    )
    assert group.states() == {}
    with pytest.raises(ClientError, match="not attached"):
        scaling.detach_load_balancer_target_groups(
            AutoScalingGroupName="fleet", TargetGroupARNs=[group.arn]
        )
    with pytest.raises(ClientError, match="not found"):
        scaling.detach_load_balancer_target_groups(
            AutoScalingGroupName="nothing", TargetGroupARNs=[group.arn]
        )
    scaling.delete_auto_scaling_group(AutoScalingGroupName="fleet", ForceDelete=True)


@pytest.mark.parametrize(
    ("action", "resource", "call"),
    [
        ("rds:DescribeDBInstances", "db:*", ("rds", "describe_db_instances", {})),
        ("rds:DescribeDBClusters", "cluster:*", ("rds", "describe_db_clusters", {})),
        ("rds:DescribeDBProxies", "db-proxy:*", ("rds", "describe_db_proxies", {})),
        (
            "rds:DescribeDBProxyEndpoints",
            "db-proxy-endpoint:*",
            ("rds", "describe_db_proxy_endpoints", {}),
        ),
    ],
)
def test_a_policy_allows_only_its_resource(
    world: World, action: str, resource: str, call: tuple[str, str, Mapping[str, Any]]
) -> None:
    arn = f"arn:aws:rds:{ACCOUNT_ARN}:{resource}"
    assert allowed(world, call, action, arn)
    assert not allowed(world, call, action, f"arn:aws:rds:{ACCOUNT_ARN}:snapshot:*")
    assert not allowed(world, call, "rds:ListTagsForResource", arn)


def test_a_policy_for_attaching_must_name_the_group(world: World, group: Group) -> None:
    scaling = world.emulator.client("autoscaling")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="small",
        MinSize=0,
        MaxSize=0,
        VPCZoneIdentifier=world.subnets[0],
        LaunchTemplate={"LaunchTemplateName": "postgres"},
    )
    arguments = {"AutoScalingGroupName": "small", "TargetGroupARNs": [group.arn]}
    call = ("autoscaling", "attach_load_balancer_target_groups", arguments)
    action = "autoscaling:AttachLoadBalancerTargetGroups"
    own = f"arn:aws:autoscaling:{ACCOUNT_ARN}:autoScalingGroup:*:autoScalingGroupName"
    assert allowed(world, call, action, f"{own}/small")
    assert not allowed(world, call, action, f"{own}/other")


def allowed(
    world: World, call: tuple[str, str, Mapping[str, Any]], action: str, resource: str
) -> bool:
    """Return whether a user with one permission may make a call."""
    iam = world.emulator.client("iam")
    iam.create_user(UserName="caller")
    key = iam.create_access_key(UserName="caller")["AccessKey"]
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    iam.put_user_policy(
        UserName="caller",
        PolicyName="one",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    service, method, arguments = call
    make: Any = boto3.session.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name=REGION,
    ).client
    try:
        getattr(make(service, endpoint_url=world.emulator.url), method)(**arguments)
    except ClientError as error:
        if "not authorized" not in str(error):
            raise
        return False
    else:
        return True
    finally:
        iam.delete_user_policy(UserName="caller", PolicyName="one")
        iam.delete_access_key(UserName="caller", AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName="caller")
