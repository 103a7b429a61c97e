"""The deployed stack: the load balancer over moto, and CloudFormation by its documented replies."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from target_sync.errors import AwsAccessDeniedError
from target_sync.provisioning.deployed_stack import DeployedStack

REGION = "eu-west-1"
STACK = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/0123"
DETAIL = {
    "LogicalResourceId": "LoadBalancer",
    "ResourceType": "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "LastUpdatedTimestamp": "2026-01-01T00:00:00Z",
    "ResourceStatus": "CREATE_COMPLETE",
}


def client(name: str) -> Any:
    create: Any = boto3.client
    return create(name, REGION)


@pytest.fixture
def cloudformation() -> Iterator[Stubber]:
    with mock_aws(), Stubber(client("cloudformation")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def subnets_of(cloudformation: Stubber) -> frozenset[str]:
    api: Any = cloudformation.client
    return DeployedStack(api, client("elbv2")).load_balancer_subnets(STACK)


def test_returns_the_subnets_of_the_load_balancer(cloudformation: Stubber) -> None:
    ec2, elb = client("ec2"), client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=network, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for network, zone in (("10.0.1.0/24", "eu-west-1a"), ("10.0.2.0/24", "eu-west-1b"))
    ]
    arn = elb.create_load_balancer(Name="orders", Type="network", Subnets=subnets)["LoadBalancers"][
        0
    ]["LoadBalancerArn"]
    for _ in range(2):
        cloudformation.add_response(
            "describe_stack_resource",
            {"StackResourceDetail": {**DETAIL, "PhysicalResourceId": arn}},
            {"StackName": STACK, "LogicalResourceId": "LoadBalancer"},
        )

    assert subnets_of(cloudformation) == frozenset(subnets)

    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert subnets_of(cloudformation) == frozenset()


def test_a_stack_without_a_load_balancer_has_no_subnets(cloudformation: Stubber) -> None:
    cloudformation.add_client_error(
        "describe_stack_resource", "ValidationError", "Resource LoadBalancer does not exist"
    )
    cloudformation.add_response("describe_stack_resource", {"StackResourceDetail": DETAIL})

    assert subnets_of(cloudformation) == frozenset()
    # CloudFormation has not created it yet.
    assert subnets_of(cloudformation) == frozenset()


def test_a_denied_call_is_an_error(cloudformation: Stubber) -> None:
    cloudformation.add_client_error("describe_stack_resource", "AccessDenied", "no")

    with pytest.raises(AwsAccessDeniedError, match="DescribeStackResource"):
        subnets_of(cloudformation)
