"""Custom resources and the resources that depend on them, in the lab's CloudFormation."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.leftovers import leftovers
from tests.lab.emulator_process import CONSUMER, Emulator, create_vpc, running_emulator, wait_until

pytestmark = pytest.mark.lab

TEMPLATE = (Path(__file__).parent / "emulator_custom_resources" / "template.yaml").read_text()
OPTIONS = ("--registration-delay=0.1", "--health-check-interval=0.1")


@dataclass(frozen=True, kw_only=True)
class World:
    """An emulator with a database."""

    emulator: Emulator
    endpoint: str
    group: str

    @property
    def cloudformation(self) -> Any:
        return self.emulator.client("cloudformation")

    def parameters(self, **values: str) -> list[dict[str, str]]:
        given = {"Endpoint": self.endpoint, **values}
        return [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()]

    def deploy(self, name: str, **values: str) -> str:
        """Create a stack and return its final status."""
        self.cloudformation.create_stack(
            StackName=name,
            TemplateBody=TEMPLATE,
            Parameters=self.parameters(**values),
            Capabilities=["CAPABILITY_IAM"],
        )
        return self.final_status(name)

    def update(self, name: str, **values: str) -> str:
        self.cloudformation.update_stack(
            StackName=name,
            TemplateBody=TEMPLATE,
            Parameters=self.parameters(**values),
            Capabilities=["CAPABILITY_IAM"],
        )
        return self.final_status(name)

    def delete(self, name: str) -> None:
        self.cloudformation.delete_stack(StackName=name)
        wait_until(lambda: self.status(name) in {"", "DELETE_COMPLETE", "DELETE_FAILED"})
        assert self.status(name) in {"", "DELETE_COMPLETE"}, self.reasons(name)

    def final_status(self, name: str) -> str:
        wait_until(lambda: not self.status(name).endswith("_IN_PROGRESS"))
        return self.status(name)

    def status(self, name: str) -> str:
        try:
            (stack,) = self.cloudformation.describe_stacks(StackName=name)["Stacks"]
        except self.cloudformation.exceptions.ClientError:
            return ""
        return str(stack["StackStatus"])

    def outputs(self, name: str) -> dict[str, str]:
        (stack,) = self.cloudformation.describe_stacks(StackName=name)["Stacks"]
        return {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}

    def reasons(self, name: str) -> str:
        events = self.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)

    def events(self, function: str) -> list[Mapping[str, Any]]:
        """Return the events of a function's invocations."""
        logs = self.emulator.client("logs")
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        lines = [entry["message"].strip() for entry in found]
        return [json.loads(line)["event"] for line in lines if line.startswith('{"event"')]

    def requests(self, function: str) -> list[tuple[str, str]]:
        """Return CloudFormation's requests to a function."""
        return [
            (event["RequestType"], event["LogicalResourceId"])
            for event in self.events(function)
            if "RequestType" in event
        ]

    def remaining(self) -> list[str]:
        found = leftovers(self.emulator.client, ignore=[self.group])
        # Lambda creates these for a function without a log group, as on AWS.
        return [entry for entry in found if "/aws/lambda/" not in entry]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_emulator(tmp_path_factory.mktemp("emulator"), options=OPTIONS) as emulator:
        vpc, subnets = create_vpc(emulator)
        group = emulator.client("ec2").create_security_group(
            GroupName="database", Description="database", VpcId=vpc
        )["GroupId"]
        rds = emulator.client("rds")
        rds.create_db_subnet_group(
            DBSubnetGroupName="orders", DBSubnetGroupDescription="x", SubnetIds=subnets
        )
        instance = rds.create_db_instance(
            DBInstanceIdentifier="orders",
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            DBSubnetGroupName="orders",
            VpcSecurityGroupIds=[group],
            MasterUsername="lab",
            ManageMasterUserPassword=True,
        )["DBInstance"]
        yield World(emulator=emulator, endpoint=instance["Endpoint"]["Address"], group=group)


@pytest.fixture(scope="module")
def stack(world: World) -> Iterator[str]:
    status = world.deploy("orders-path")
    assert status == "CREATE_COMPLETE", world.reasons("orders-path")
    yield "orders-path"
    world.delete("orders-path")
    assert world.remaining() == []


def test_describing_a_stack_waits_for_its_deletion(world: World) -> None:
    assert world.deploy("short") == "CREATE_COMPLETE"
    world.cloudformation.delete_stack(StackName="short")
    assert world.status("short") == ""


def test_publishes_a_connection_request_through_sns(world: World, stack: str) -> None:
    outputs = world.outputs(stack)
    consumer = world.emulator.client("ec2", CONSUMER)
    vpc = consumer.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    endpoint = consumer.create_vpc_endpoint(
        VpcId=vpc, VpcEndpointType="Interface", ServiceName=outputs["ServiceName"]
    )["VpcEndpoint"]["VpcEndpointId"]

    def published() -> list[Mapping[str, Any]]:
        found = world.events(outputs["FunctionName"])
        return [json.loads(e["Records"][0]["Sns"]["Message"]) for e in found if "Records" in e]

    wait_until(published)
    assert published() == [
        {
            "Event": "Connect",
            "ServiceId": outputs["ServiceId"],
            "VpcEndpointId": endpoint,
            "VpcEndpointOwner": CONSUMER,
        }
    ]


def test_an_update_sends_the_old_properties_too(world: World, stack: str) -> None:
    other = world.emulator.client("rds").create_db_instance(
        DBInstanceIdentifier="other",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        DBSubnetGroupName="orders",
        VpcSecurityGroupIds=[world.group],
        MasterUsername="lab",
        ManageMasterUserPassword=True,
    )["DBInstance"]["Endpoint"]["Address"]
    assert world.update(stack, Endpoint=other) == "UPDATE_COMPLETE", world.reasons(stack)
    requests = world.events(world.outputs(stack)["FunctionName"])
    (update,) = [r for r in requests if r.get("RequestType") == "Update"]
    assert update["OldResourceProperties"]["Endpoint"] == world.endpoint
    assert update["ResourceProperties"]["Endpoint"] == other
    assert update["PhysicalResourceId"] == "lookup"


def test_rolls_a_failed_update_back(world: World, stack: str) -> None:
    before = world.outputs(stack)
    assert world.update(stack, Endpoint="unknown.rds.example") == "UPDATE_ROLLBACK_COMPLETE"
    assert "there is no such database" in world.reasons(stack)
    assert world.outputs(stack) == before


@pytest.mark.parametrize(
    ("behaviour", "seconds", "reason"),
    [
        ("long", 60, "Response object is too long"),
        ("bug", 4, "did not receive a response"),
        ("typed", 4, "did not receive a response"),
    ],
)
def test_a_missing_or_invalid_response_fails_the_stack(
    world: World, behaviour: str, seconds: int, reason: str
) -> None:
    name = f"response-{behaviour}"
    assert (
        world.deploy(name, Behaviour=behaviour, ServiceTimeout=str(seconds)) == "ROLLBACK_COMPLETE"
    )
    assert reason in world.reasons(name)
    world.delete(name)
