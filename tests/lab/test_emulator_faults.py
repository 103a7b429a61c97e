"""Faults of the lab: a whole API, an endpoint's name; and how functions reach the VPC."""

import io
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan, Endpoint
from lab.emulator.messages import EVERY_ACTION, Fault
from tests.lab.emulator_process import REGION, Emulator, create_vpc, running_emulator

pytestmark = pytest.mark.lab

TARGET, CLOSED = (Endpoint(IPv4Address("10.0.1.11"), port) for port in (5432, 5433))
CODE = """
import socket

def handler(event, context):
    try:
        with socket.create_connection((event["address"], event["port"]), 20.0) as connection:
            return connection.recv(5).decode()
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def greeter() -> Iterator[Endpoint]:
    """A server that sends hello to each client."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with connection:
                    connection.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        yield Endpoint(IPv4Address("127.0.0.1"), server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, greeter: Endpoint) -> Iterator[Emulator]:
    plan = AddressPlan({TARGET: greeter, CLOSED: greeter}, frozenset({CLOSED}))
    with running_emulator(tmp_path_factory.mktemp("emulator"), plan=plan) as it:
        yield it


def test_a_whole_api_is_unavailable_until_the_fault_is_cleared(emulator: Emulator) -> None:
    elb = emulator.client("elbv2")
    emulator.admin.inject(
        Fault(
            service="elasticloadbalancing",
            action=EVERY_ACTION,
            error="ServiceUnavailable",
            times=1_000,
        )
    )

    for call in (elb.describe_load_balancers, elb.describe_target_groups):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert emulator.client("ec2").describe_vpcs()

    emulator.admin.clear_faults()
    assert elb.describe_load_balancers()["LoadBalancers"] == []


def test_the_private_name_of_an_interface_endpoint_can_be_switched_off(emulator: Emulator) -> None:
    ec2, formation = emulator.client("ec2"), emulator.client("cloudformation")
    vpc, subnets = create_vpc(emulator)
    properties = {
        "VpcEndpointType": "Interface",
        "ServiceName": f"com.amazonaws.{REGION}.ec2",
        "PrivateDnsEnabled": True,
        "VpcId": vpc,
        "SubnetIds": subnets,
    }
    endpoint = {"Type": "AWS::EC2::VPCEndpoint", "Properties": properties}
    formation.create_stack(
        StackName="named", TemplateBody=json.dumps({"Resources": {"Endpoint": endpoint}})
    )
    formation.get_waiter("stack_create_complete").wait(StackName="named")

    def has_private_name() -> bool:
        (found,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
        return bool(found["PrivateDnsEnabled"])

    assert has_private_name()
    (found,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], PrivateDnsEnabled=False)
    assert not has_private_name()
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], AddSubnetIds=subnets)
    assert not has_private_name()
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], PrivateDnsEnabled=True)
    assert has_private_name()


@pytest.fixture(scope="module")
def function(emulator: Emulator) -> str:
    """A function that connects to the address in its event."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", CODE)
    role = emulator.client("iam").create_role(RoleName="connects", AssumeRolePolicyDocument="{}")
    emulator.client("lambda").create_function(
        FunctionName="connects",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return "connects"


def connect(emulator: Emulator, function: str, endpoint: Endpoint) -> str:
    event = {"address": str(endpoint.address), "port": endpoint.port}
    reply = emulator.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    return str(json.load(reply["Payload"]))


def test_a_function_reaches_only_the_addresses_of_the_plan(
    emulator: Emulator, function: str, greeter: Endpoint
) -> None:
    nowhere = Endpoint(IPv4Address("10.0.1.99"), 5432)

    assert connect(emulator, function, TARGET) == "hello"
    assert connect(emulator, function, greeter) == "hello"
    assert connect(emulator, function, CLOSED) == "ConnectionRefusedError"
    assert connect(emulator, function, nowhere) == "ConnectionRefusedError"


def test_moves_and_redirects_a_port_during_a_block(emulator: Emulator, function: str) -> None:
    ports = emulator.ports
    other = Endpoint(TARGET.address, 5999)
    with ports.moved(TARGET, other.port):
        assert connect(emulator, function, TARGET) == "ConnectionRefusedError"
        assert connect(emulator, function, other) == "hello"
    assert connect(emulator, function, TARGET) == "hello"

    with socket.create_server(("127.0.0.1", 0)) as silent:
        closed = Endpoint(IPv4Address("127.0.0.1"), silent.getsockname()[1])
        with ports.redirected(TARGET, closed):
            silent.close()
            assert connect(emulator, function, TARGET) == "ConnectionRefusedError"
    assert connect(emulator, function, TARGET) == "hello"
