"""The standby check of addresses, for which the fake and the emulator agree, and the candidates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from lab.emulator.messages import NetworkInterface
from target_sync.model import CandidateList, IPAddress, StandbyCheck
from target_sync.ports import Standbys
from target_sync.targets.network_interfaces import RdsNetworkInterfaces
from tests.lab.emulator_process import Emulator, create_vpc
from tests.support.databases import api_error
from tests.support.scenario import A, B
from tests.support.standbys import FakeStandbys

RDS = "RDSNetworkInterface"
DATABASE = ("databases",)


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A network interface; by default that of a server of the database."""

    address: IPAddress
    vpc: str = "ours"
    groups: tuple[str, ...] = DATABASE
    description: str = RDS
    of_a_service: bool = True

    @property
    def is_the_database(self) -> bool:
        return self == Interface(address=self.address)


@dataclass(frozen=True)
class World:
    """The implementation under test, and a function that adds an interface."""

    standbys: Standbys
    add: Callable[[Interface], None]

    def confirmed(self, *addresses: IPAddress) -> set[IPAddress]:
        check = self.standbys.check(frozenset(addresses))
        assert check.failure == ""
        return set(check.confirmed)


def fake_world() -> World:
    fake = FakeStandbys()
    return World(fake, lambda it: fake.owned.add(it.address) if it.is_the_database else None)


@dataclass
class Network:
    """The VPCs ``ours`` and ``theirs``, with the same addresses and separate groups."""

    client: Any
    subnets: dict[str, str] = field(default_factory=dict)
    groups: dict[tuple[str, str], str] = field(default_factory=dict)

    def add_vpc(self, name: str, vpc_id: str, subnet_id: str) -> RdsNetworkInterfaces:
        self.subnets[name] = subnet_id
        for group in (*DATABASE, "others"):
            made = self.client.create_security_group(GroupName=group, Description="x", VpcId=vpc_id)
            self.groups[name, group] = made["GroupId"]
        return RdsNetworkInterfaces(self.client, vpc_id, self.group_ids(name, DATABASE))

    def group_ids(self, vpc: str, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.groups[vpc, name] for name in names)


def emulated_world(emulator: Emulator) -> World:
    network = Network(emulator.client("ec2"))
    standbys = {}
    for name in ("theirs", "ours"):
        vpc, (first, second) = create_vpc(emulator)
        standbys[name] = network.add_vpc(name, vpc, first)
        network.subnets[f"{name} {B}"] = second

    def add(it: Interface) -> None:
        emulator.admin.put_network_interface(
            NetworkInterface(
                address=str(it.address),
                subnet_id=network.subnets.get(f"{it.vpc} {it.address}", network.subnets[it.vpc]),
                security_group_ids=network.group_ids(it.vpc, it.groups),
                description=it.description,
                requester="amazon-rds" if it.of_a_service else None,
            )
        )

    return World(standbys["ours"], add)


@pytest.fixture(params=["fake", pytest.param("emulator", marks=pytest.mark.lab)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield fake_world()
    else:
        emulator: Emulator = request.getfixturevalue("emulator")
        yield emulated_world(emulator)
        emulator.admin.reset()


def test_confirms_the_address_of_an_interface_of_the_database(world: World) -> None:
    world.add(Interface(address=A))

    assert world.confirmed(A) == {A}


def test_does_not_confirm_an_address_without_an_interface(world: World) -> None:
    world.add(Interface(address=A))

    assert world.confirmed(B) == set()


@pytest.mark.parametrize(
    "other",
    [
        Interface(address=A, vpc="theirs"),
        Interface(address=A, groups=("others",)),
        Interface(address=A, description="the orders service"),
        Interface(address=A, description=f"{RDS}2"),
        Interface(address=A, of_a_service=False),
    ],
    ids=["other VPC", "other group", "other description", "longer description", "made by hand"],
)
def test_does_not_confirm_an_address_of_another_owner(world: World, other: Interface) -> None:
    world.add(other)
    world.add(Interface(address=B))

    assert world.confirmed(A, B) == {B}


def test_checks_several_addresses_in_one_call(world: World) -> None:
    world.add(Interface(address=A))
    world.add(Interface(address=B))

    assert world.confirmed(A, B, ip_address("10.0.1.99")) == {A, B}
    assert world.confirmed(B) == {B}


def test_confirms_nothing_without_an_address(world: World) -> None:
    world.add(Interface(address=A))

    assert world.standbys.check(frozenset()) == StandbyCheck()


# --- The request, and replies with another shape --------------------------------------------------


class Ec2:
    """The only call of the client, with the reply or the error of the test."""

    def __init__(self, *interfaces: object, fault: Exception | None = None) -> None:
        self.reply: Any = {"NetworkInterfaces": list(interfaces)}
        self.fault = fault
        self.requests: list[Mapping[str, Any]] = []

    def describe_network_interfaces(self, **request: Any) -> Any:
        self.requests.append(request)
        if self.fault:
            raise self.fault
        return self.reply

    def get_paginator(self, operation: str) -> "Ec2":
        assert operation == "describe_network_interfaces"
        return self

    def paginate(self, **request: Any) -> list[Any]:
        reply = self.describe_network_interfaces(**request)
        return reply if isinstance(reply, list) else [reply]

    def candidates(self, *serving: IPAddress, subnets: tuple[str, ...] = ()) -> CandidateList:
        client: Any = self
        interfaces = RdsNetworkInterfaces(client, "vpc-1", ("sg-1",), subnets)
        return interfaces.addresses(frozenset(serving))

    def check(self, *addresses: IPAddress, groups: tuple[str, ...] = ("sg-1",)) -> StandbyCheck:
        client: Any = self
        return RdsNetworkInterfaces(client, "vpc-1", groups).check(frozenset(addresses))


def interface(address: object = A, **more: object) -> dict[str, object]:
    """Return the fields of an interface of the database that the check reads."""
    return {
        "VpcId": "vpc-1",
        "Groups": [{"GroupId": "sg-1", "GroupName": "databases"}],
        "Description": RDS,
        "RequesterManaged": True,
        "Status": "in-use",
        "AvailabilityZone": "eu-west-1a",
        "PrivateIpAddresses": [{"PrivateIpAddress": str(address), "Primary": True}],
        **more,
    }


def test_the_call_filters_by_everything_that_matters() -> None:
    ec2 = Ec2(interface())

    assert ec2.check(B, A, groups=("sg-1",)).confirmed == {A}
    (request,) = ec2.requests
    assert {f["Name"]: list(f["Values"]) for f in request["Filters"]} == {
        "addresses.private-ip-address": [str(A), str(B)],
        "vpc-id": ["vpc-1"],
        "description": [RDS],
        "group-id": ["sg-1"],
    }


def test_makes_no_call_without_an_address() -> None:
    ec2 = Ec2()

    assert ec2.check() == ec2.check(ip_address("fd00::1")) == StandbyCheck()
    assert ec2.requests == []


def test_ignores_an_ipv6_address() -> None:
    ec2 = Ec2(interface())

    assert ec2.check(A, ip_address("fd00::1")).confirmed == {A}
    assert ec2.requests[0]["Filters"][0]["Values"] == [str(A)]


def test_splits_more_addresses_than_a_filter_accepts_into_several_calls() -> None:
    addresses = [ip_address(f"10.0.{n // 100}.{n % 100 + 1}") for n in range(201)]
    ec2 = Ec2(*(interface(address) for address in addresses))

    assert ec2.check(*addresses).confirmed == set(addresses)
    asked = [request["Filters"][0]["Values"] for request in ec2.requests]
    assert [len(values) for values in asked] == [200, 1]
    assert {ip_address(value) for values in asked for value in values} == set(addresses)


@pytest.mark.parametrize(
    "odd",
    [
        {"VpcId": "vpc-2"},
        {"Groups": [{"GroupId": "sg-2"}]},
        {"Groups": []},
        {"Description": "Interface of another service"},
        {"RequesterManaged": False},
    ],
)
def test_ignores_an_interface_that_does_not_match_the_filters(odd: Mapping[str, object]) -> None:
    assert Ec2(interface(**odd)).check(A) == StandbyCheck()


def test_an_interface_needs_every_group_of_the_database() -> None:
    both = [{"GroupId": "sg-2"}, {"GroupId": "sg-1"}, {"GroupId": "sg-3"}]

    assert Ec2(interface()).check(A, groups=("sg-1", "sg-2")).confirmed == set()
    assert Ec2(interface(Groups=both)).check(A, groups=("sg-1", "sg-2")).confirmed == {A}


def test_does_not_confirm_an_address_that_was_not_requested() -> None:
    more = [{"PrivateIpAddress": str(A)}, {"PrivateIpAddress": str(B)}]

    assert Ec2(interface(PrivateIpAddresses=more)).check(B).confirmed == {B}


@pytest.mark.parametrize("status", ["available", "detaching"])
def test_a_detached_interface_still_holds_its_address(status: str) -> None:
    assert Ec2(interface(Status=status)).check(A).confirmed == {A}


@pytest.mark.parametrize("code", ["AccessDenied", "UnauthorizedOperation"])
def test_a_denied_call_names_the_permission(code: str) -> None:
    check = Ec2(fault=api_error("DescribeNetworkInterfaces", code, 403)).check(A)

    assert check == StandbyCheck(
        failure=f"DescribeNetworkInterfaces failed with {code}: in AWS's words."
        " Give the function's role the permission ec2:DescribeNetworkInterfaces."
    )


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (api_error("X", "RequestLimitExceeded", 503), "RequestLimitExceeded"),
        (api_error("X", "InternalError", 500), "InternalError"),
        (api_error("X", "SomethingNew"), "SomethingNew"),
        (ConnectTimeoutError(endpoint_url="https://x.example"), "interface endpoint for ec2"),
    ],
)
def test_a_failed_call_confirms_nothing_and_reports_the_consequence(
    fault: Exception, text: str
) -> None:
    check = Ec2(fault=fault).check(A)

    assert check.confirmed == frozenset()
    assert check.failure.startswith("DescribeNetworkInterfaces failed with ")
    assert text in check.failure
    assert check.failure.endswith(". Therefore no target is removed. The next run checks again.")


def without(key: str) -> dict[str, object]:
    return {name: value for name, value in interface().items() if name != key}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"NetworkInterfaces": None},
        {"NetworkInterfaces": ["eni-1"]},
        {"NetworkInterfaces": [interface(Groups=None)]},
        {"NetworkInterfaces": [interface("10.0.1.300")]},
        {"NetworkInterfaces": [interface(PrivateIpAddresses=[{}])]},
        *(
            {"NetworkInterfaces": [without(key)]}
            for key in ("VpcId", "Groups", "Description", "RequesterManaged", "PrivateIpAddresses")
        ),
        {"NetworkInterfaces": [interface()], "NextToken": "more"},
    ],
)
def test_a_reply_with_another_shape_confirms_nothing(reply: object) -> None:
    ec2 = Ec2()
    ec2.reply = reply

    check = ec2.check(A)

    assert check.confirmed == frozenset()
    assert "does not have the documented shape" in check.failure


# --- Candidates -----------------------------------------------------------------------------------

C2 = ip_address("10.0.3.14")


def candidates_of(world: World, *serving: IPAddress) -> tuple[IPAddress, ...]:
    assert isinstance(world.standbys, RdsNetworkInterfaces)
    listed = world.standbys.addresses(frozenset(serving))
    assert listed.failure == ""
    return listed.addresses


@pytest.mark.lab
@pytest.mark.parametrize("world", ["emulator"], indirect=True)
def test_the_candidates_are_the_other_interfaces_of_the_database(world: World) -> None:
    for other in (
        Interface(address=A, vpc="theirs"),
        Interface(address=ip_address("10.0.1.21"), groups=("others",)),
        Interface(address=ip_address("10.0.1.22"), description="the orders service"),
        Interface(address=ip_address("10.0.1.23"), of_a_service=False),
    ):
        world.add(other)
    for address in (A, B, ip_address("10.0.1.12")):
        world.add(Interface(address=address))

    assert candidates_of(world, A) == (B, ip_address("10.0.1.12"))
    assert candidates_of(world) == (A, ip_address("10.0.1.12"), B)


def test_interfaces_in_another_zone_than_the_serving_one_come_first() -> None:
    zones = {"10.0.1.9": "a", "10.0.1.11": "a", "10.0.2.12": "b", "10.0.3.13": "c", "10.0.3.9": "c"}
    ec2 = Ec2(*(interface(address, AvailabilityZone=zone) for address, zone in zones.items()))

    listed = ec2.candidates(A)

    assert [str(a) for a in listed.addresses] == ["10.0.2.12", "10.0.3.9", "10.0.3.13", "10.0.1.9"]


def test_without_a_known_serving_interface_the_addresses_are_in_order() -> None:
    ec2 = Ec2(interface(B), interface(A, AvailabilityZone="b"))

    assert ec2.candidates(ip_address("10.0.9.9")).addresses == (A, B)


@pytest.mark.parametrize("subnets", [(), ("subnet-1", "subnet-2")])
def test_the_candidates_are_in_the_subnets_of_the_database(subnets: tuple[str, ...]) -> None:
    ec2 = Ec2(interface())

    assert ec2.candidates(subnets=subnets).addresses == (A,)
    (request,) = ec2.requests
    filters = {f["Name"]: tuple(f["Values"]) for f in request["Filters"]}
    assert filters.pop("subnet-id", ()) == subnets
    assert filters == {"vpc-id": ("vpc-1",), "description": (RDS,), "group-id": ("sg-1",)}


def test_lists_the_candidates_of_every_page_that_belong_to_the_database() -> None:
    ec2 = Ec2()
    ec2.reply = [
        {"NetworkInterfaces": [interface(A), interface(C2, RequesterManaged=False)]},
        {"NetworkInterfaces": [interface(B)]},
    ]

    assert ec2.candidates().addresses == (A, B)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (
            api_error("X", "UnauthorizedOperation", 403),
            (
                "DescribeNetworkInterfaces failed with UnauthorizedOperation: in AWS's words."
                " Give the function's role the permission ec2:DescribeNetworkInterfaces."
            ),
        ),
        (
            api_error("X", "RequestLimitExceeded", 503),
            (
                "DescribeNetworkInterfaces failed with RequestLimitExceeded: in AWS's words."
                " The warm targets stay as they are."
            ),
        ),
    ],
)
def test_a_failed_call_lists_no_candidates(fault: Exception, failure: str) -> None:
    assert Ec2(fault=fault).candidates(A) == CandidateList(failure=failure)


@pytest.mark.parametrize(
    "reply", [{}, {"NetworkInterfaces": [without("AvailabilityZone")]}, {"NetworkInterfaces": None}]
)
def test_a_reply_with_another_shape_lists_no_candidates(reply: object) -> None:
    ec2 = Ec2()
    ec2.reply = reply

    assert "does not have the documented shape" in ec2.candidates().failure
