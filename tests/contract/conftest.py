"""Fixtures of the lab's emulator: real HTTP, real health checks, AWS's documented states."""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.addresses import AddressPlan, Endpoint, free_port
from target_sync.model import IPAddress
from target_sync.targets.target_group import ElbTargetGroup
from tests.contract.cluster_state import Situation
from tests.lab.emulator_process import Emulator, create_vpc, running_emulator, wait_until
from tests.support.scenario import ON_PREM, PORT, VPC_NETWORKS, A, B

HOST = "127.0.0.1"
#: The addresses of the database servers. A test decides which of them listen.
SOCKETS = {
    address: Endpoint(IPv4Address(HOST), port)
    for address, port in ((it, free_port(HOST)) for it in (A, B, ON_PREM))
}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    plan = AddressPlan(
        {Endpoint(IPv4Address(str(vpc)), PORT): there for vpc, there in SOCKETS.items()}
    )
    options = ("--registration-delay=0.3", "--health-check-interval=0.1")
    with running_emulator(tmp_path_factory.mktemp("emulator"), plan=plan, options=options) as it:
        yield it


@pytest.fixture
def emulated_situation(emulator: Emulator, tmp_path: Path) -> Iterator[Situation]:
    """A new target group behind a new load balancer."""
    listeners: list[socket.socket] = []

    def listens(address: IPAddress) -> None:
        there = SOCKETS[address]
        listeners.append(socket.create_server((str(there.address), there.port)))

    client = emulator.client("elbv2")
    arn = _target_group_in_use(emulator, tmp_path.name[-20:].replace("_", "-").strip("-"))
    yield Situation(ElbTargetGroup(client, arn, VPC_NETWORKS), listens, wait_until)
    for listener in listeners:
        listener.close()


def _target_group_in_use(emulator: Emulator, name: str) -> str:
    elbv2 = emulator.client("elbv2")
    vpc, subnets = create_vpc(emulator)
    balancer = elbv2.create_load_balancer(
        Name=name, Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    arn: str = elbv2.create_target_group(
        Name=name,
        Protocol="TCP",
        Port=PORT,
        TargetType="ip",
        VpcId=vpc,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elbv2.modify_target_group_attributes(
        TargetGroupArn=arn,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}],
    )
    elbv2.create_listener(
        LoadBalancerArn=balancer,
        Protocol="TCP",
        Port=PORT,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    return arn
