"""The parts of ProvisionStackFunction put together: one request of each type over moto."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws

from target_sync.model import AwsScope, scope_of_function
from target_sync.provisioning import build
from target_sync.provisioning.build import stack_manager
from target_sync.provisioning.cloudformation import ResponseUrl
from tests.support.custom_resources import TARGET_GROUP, event, without

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:manage"


@pytest.fixture
def _moto() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def answers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> list[Mapping[str, Any]]:
    """What CloudFormation is told."""
    told: list[Mapping[str, Any]] = []

    def put(_: ResponseUrl, url: str, body: bytes, deadline: float) -> None:  # noqa: ARG001
        told.append(json.loads(body))

    monkeypatch.setattr(ResponseUrl, "put", put)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # Powertools keeps one logger for each service, with the output that it first saw.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    stack_manager.cache_clear()
    return told


def test_a_container_has_one_manager_which_knows_where_it_is() -> None:
    assert stack_manager(ARN) is stack_manager(ARN)
    assert scope_of_function(ARN.replace("aws:", "aws-cn:")) == AwsScope(
        "aws-cn", "eu-west-1", "123456789012"
    )


@pytest.mark.usefixtures("_moto")
def test_a_database_is_looked_up_for_real(
    answers: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rds = boto3.client("rds", "eu-west-1")
    rds.create_db_instance(
        DBInstanceIdentifier="orders",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        PubliclyAccessible=False,
        DBSubnetGroupName=_subnet_group(rds),
    )
    name = rds.describe_db_instances()["DBInstances"][0]["Endpoint"]["Address"]
    properties = without({"DatabaseEndpoint": name})

    stack_manager(ARN).handle(event("Create", "DatabaseLookup", properties), remaining_seconds=300)

    assert answers[0]["Status"] == "SUCCESS", answers[0]["Reason"]
    assert (answers[0]["Data"]["Kind"], answers[0]["Data"]["Port"]) == ("rds-instance", "5432")
    assert len(answers[0]["Data"]["SubnetIds"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert record["message"] == "custom resource answered"
    assert record["level"] == "INFO"
    assert record["attributes"]["Identifier"] == "orders"
    assert record["request"]["resource_type"] == "Custom::DatabaseLookup"
    assert "signature" not in json.dumps(record)


def _subnet_group(rds: Any) -> str:
    ec2 = boto3.client("ec2", "eu-west-1")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=network, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for network, zone in (("10.0.1.0/24", "eu-west-1a"), ("10.0.2.0/24", "eu-west-1b"))
    ]
    rds.create_db_subnet_group(
        DBSubnetGroupName="databases", DBSubnetGroupDescription="x", SubnetIds=subnets
    )
    return "databases"


@pytest.mark.usefixtures("_moto")
def test_the_lookup_and_the_attachment_ask_the_same_auto_scaling_api(
    answers: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    properties = {"AutoScalingGroupName": "nobody", "TargetGroupArn": TARGET_GROUP}

    stack_manager(ARN).handle(
        event("Create", "AutoScalingAttachment", properties), remaining_seconds=300
    )

    assert answers[0]["Status"] == "FAILED"
    record = json.loads(capsys.readouterr().out)
    assert record["level"] == "ERROR"
    assert record["reason"] == answers[0]["Reason"]


@pytest.mark.usefixtures("_moto")
def test_the_first_sync_asks_the_lambda_api(answers: list[Mapping[str, Any]]) -> None:
    properties = {"FunctionName": "nobody"}

    stack_manager(ARN).handle(event("Create", "FirstSync", properties), remaining_seconds=300)

    assert answers[0]["Status"] == "FAILED"
    assert answers[0]["Reason"].startswith("Invoke failed with ResourceNotFoundException")


def test_the_deletion_of_connections_asks_the_ec2_api(
    answers: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Client:
        """EC2 without any connection."""

        def get_paginator(self, name: str) -> "Client":
            asked.append(name)
            return self

        def paginate(self, **filters: object) -> list[Mapping[str, object]]:
            asked.append(json.dumps(filters))
            return [{"VpcEndpointConnections": []}]

    def make_client(service: str) -> Client:
        asked.append(service)
        return Client()

    monkeypatch.setattr(build, "make_client", make_client)

    stack_manager(ARN).handle(
        event("Delete", "EndpointConnections", {"ServiceId": "vpce-svc-0123"}),
        remaining_seconds=300,
    )

    assert answers[0]["Status"] == "SUCCESS"
    assert asked[:2] == ["ec2", "describe_vpc_endpoint_connections"]
    assert "vpce-svc-0123" in asked[2]
