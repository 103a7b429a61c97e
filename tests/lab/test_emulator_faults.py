"""What the lab breaks: a whole API, an endpoint's name; and how functions reach the VPC."""

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

HERE, CLOSED = (Endpoint(IPv4Address("10.0.1.11"), port) for port in (5432, 5433))
CODE = """
import socket

def handler(event, context):
    try:
        with socket.create_connection((event["address"], event["port"]), 2.0) as connection:
            return connection.recv(5).decode()
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def greeter() -> Iterator[Endpoint]:
    """A server that says hello to whoever connects."""
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
    plan = AddressPlan({HERE: greeter, CLOSED: greeter}, frozenset({CLOSED}))
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
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "ServiceUnavailable"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert emulator.client("ec2").describe_vpcs()

    emulator.admin.clear_faults()
    assert elb.describe_load_balancers()["LoadBalancers"] == []


def test_an_interface_endpoint_of_a_stack_may_lose_its_private_name(emulator: Emulator) -> None:
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

    def is_named() -> bool:
        (found,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
        return bool(found["PrivateDnsEnabled"])

    assert is_named()
    (found,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], PrivateDnsEnabled=False)
    assert not is_named()
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], AddSubnetIds=subnets)
    assert not is_named()
    ec2.modify_vpc_endpoint(VpcEndpointId=found["VpcEndpointId"], PrivateDnsEnabled=True)
    assert is_named()


@pytest.fixture(scope="module")
def function(emulator: Emulator) -> str:
    """A function that connects to what it is told."""
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


def connect(emulator: Emulator, function: str, there: Endpoint) -> str:
    event = {"address": str(there.address), "port": there.port}
    reply = emulator.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    return str(json.load(reply["Payload"]))


def test_a_function_reaches_the_addresses_of_the_plan_and_no_other(
    emulator: Emulator, function: str, greeter: Endpoint
) -> None:
    nowhere = Endpoint(IPv4Address("10.0.1.99"), 5432)

    assert connect(emulator, function, HERE) == "hello"
    assert connect(emulator, function, greeter) == "hello"
    assert connect(emulator, function, CLOSED) == "ConnectionRefusedError"
    assert connect(emulator, function, nowhere) == "ConnectionRefusedError"


def test_a_port_of_an_address_is_moved_and_led_elsewhere_for_a_while(
    emulator: Emulator, function: str
) -> None:
    ports = emulator.ports
    other = Endpoint(HERE.address, 5999)
    with ports.moved(HERE, other.port):
        assert connect(emulator, function, HERE) == "ConnectionRefusedError"
        assert connect(emulator, function, other) == "hello"
    assert connect(emulator, function, HERE) == "hello"

    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = Endpoint(IPv4Address("127.0.0.1"), silent.getsockname()[1])
        with ports.redirected(HERE, there):
            silent.close()
            assert connect(emulator, function, HERE) == "ConnectionRefusedError"
    assert connect(emulator, function, HERE) == "hello"
