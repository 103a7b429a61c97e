"""The built provisioner handles one request of each type with moto."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws

from target_sync.model import AwsScope, scope_of_function
from target_sync.provisioning import build
from target_sync.provisioning.build import stack_provisioner
from target_sync.provisioning.cloudformation import ResponseUrl
from tests.support.custom_resources import TARGET_GROUP, event, lookup_properties

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:provision"


@pytest.fixture
def _moto() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def responses(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> list[Mapping[str, Any]]:
    """The responses to CloudFormation."""
    sent: list[Mapping[str, Any]] = []

    def put(_: ResponseUrl, url: str, body: bytes, deadline: float) -> None:  # noqa: ARG001
        sent.append(json.loads(body))

    monkeypatch.setattr(ResponseUrl, "put", put)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # Powertools keeps one logger for each service, with its first output.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    stack_provisioner.cache_clear()
    return sent


@pytest.mark.usefixtures("_powertools")
def test_a_container_has_one_provisioner_with_its_scope() -> None:
    assert stack_provisioner(ARN) is stack_provisioner(ARN)
    assert scope_of_function(ARN.replace("aws:", "aws-cn:")) == AwsScope(
        "aws-cn", "eu-west-1", "123456789012"
    )


@pytest.mark.usefixtures("_moto")
def test_looks_a_database_up(
    responses: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
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
    properties = lookup_properties({"DatabaseEndpoint": name})

    stack_provisioner(ARN).handle(
        event("Create", "DatabaseLookup", properties), remaining_seconds=300
    )

    assert responses[0]["Status"] == "SUCCESS", responses[0]["Reason"]
    assert (responses[0]["Data"]["Kind"], responses[0]["Data"]["Port"]) == ("rds-instance", "5432")
    assert len(responses[0]["Data"]["SubnetIds"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert record["message"] == "custom resource request ended"
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
def test_an_attachment_calls_the_auto_scaling_api(
    responses: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    properties = {"AutoScalingGroupName": "missing", "TargetGroupArn": TARGET_GROUP}

    stack_provisioner(ARN).handle(
        event("Create", "AutoScalingAttachment", properties), remaining_seconds=300
    )

    assert responses[0]["Status"] == "FAILED"
    record = json.loads(capsys.readouterr().out)
    assert record["level"] == "ERROR"
    assert record["reason"] == responses[0]["Reason"]


@pytest.mark.usefixtures("_moto")
def test_the_first_sync_calls_the_lambda_api(responses: list[Mapping[str, Any]]) -> None:
    properties = {"FunctionName": "missing"}

    stack_provisioner(ARN).handle(event("Create", "FirstSync", properties), remaining_seconds=300)

    assert responses[0]["Status"] == "FAILED"
    assert responses[0]["Reason"].startswith("Invoke failed with ResourceNotFoundException")


def test_the_deletion_of_connections_calls_the_ec2_api(
    responses: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Client:
        """EC2 lookup_properties any connection."""

        def get_paginator(self, name: str) -> "Client":
            calls.append(name)
            return self

        def paginate(self, **filters: object) -> list[Mapping[str, object]]:
            calls.append(json.dumps(filters))
            return [{"VpcEndpointConnections": []}]

    def make_client(service: str) -> Client:
        calls.append(service)
        return Client()

    monkeypatch.setattr(build, "make_client", make_client)

    stack_provisioner(ARN).handle(
        event("Delete", "EndpointConnections", {"ServiceId": "vpce-svc-0123"}),
        remaining_seconds=300,
    )

    assert responses[0]["Status"] == "SUCCESS"
    assert calls[:2] == ["ec2", "describe_vpc_endpoint_connections"]
    assert "vpce-svc-0123" in calls[2]
