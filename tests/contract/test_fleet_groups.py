"""The adapters for target groups and tags, over fakes, moto and the emulator."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from target_sync.errors import (
    AwsCallError,
    AwsUnavailableError,
)
from target_sync.fleet.groups import AwsGroups, GroupsPort
from target_sync.fleet.model import ENDPOINT_TAG, GroupFacts, Tags
from target_sync.targets.group_settings import HEALTH_CHECK
from tests.lab.emulator_process import Emulator
from tests.support.fleet import FakeGroups
from tests.unit.fleet.builders import arn

_names = (f"fleet-{number}" for number in itertools.count())

NETWORK = "10.77.0.0/16"
PORT = 6432
NO_HEALTH_CHECK = dict.fromkeys(HEALTH_CHECK)
#: A client that is not used.
NONE: Any = None


@dataclass(frozen=True)
class Account:
    """An account in a Region, and the actions of a person.

    Attributes:
        make: Makes a target group of this type with these tags, and returns its ARN.
        delete: Deletes it.
    """

    groups: GroupsPort
    make: Callable[[str, Mapping[str, str]], str]
    delete: Callable[[str], object]

    def list_groups(self, *arns: str) -> Mapping[str, Tags]:
        """Return the groups of this test; the emulator has others."""
        return {arn: tags for arn, tags in self.groups.list_groups().items() if arn in arns}


def fake_account() -> Account:
    groups = FakeGroups()
    numbers = itertools.count(1)

    def make(target_type: str, tags: Mapping[str, str]) -> str:
        name = arn(next(numbers))
        groups.put(name, tags)
        networks = () if target_type == "lambda" else (ip_network(NETWORK),)
        port = 0 if target_type == "lambda" else PORT
        groups.facts[name] = GroupFacts(port, target_type == "ip", networks)
        return name

    def delete(name: str) -> None:
        groups.delete(name)
        del groups.facts[name]

    return Account(groups, make, delete)


def aws_account(client: Callable[[str], Any]) -> Account:
    elb, ec2 = client("elbv2"), client("ec2")
    vpc = ec2.create_vpc(CidrBlock=NETWORK)["Vpc"]["VpcId"]

    def make(target_type: str, tags: Mapping[str, str]) -> str:
        scope = {"Protocol": "TCP", "Port": PORT, "VpcId": vpc}
        reply = elb.create_target_group(
            Name=next(_names),
            TargetType=target_type,
            **({} if target_type == "lambda" else scope),
            **({"Tags": [{"Key": k, "Value": v} for k, v in tags.items()]} if tags else {}),
        )
        return str(reply["TargetGroups"][0]["TargetGroupArn"])

    return Account(
        AwsGroups(client("resourcegroupstaggingapi"), elb, ec2),
        make,
        lambda name: elb.delete_target_group(TargetGroupArn=name),
    )


@pytest.fixture
def moto_account() -> Iterator[Account]:
    with mock_aws():
        yield aws_account(lambda service: boto3.client(service, "eu-west-1"))  # type: ignore[call-overload]


@pytest.fixture
def emulated_account(emulator: Emulator) -> Iterator[Account]:
    yield aws_account(emulator.client)
    emulator.admin.reset()


@pytest.fixture(params=["fake", "moto", pytest.param("emulated", marks=pytest.mark.lab)])
def account(request: pytest.FixtureRequest) -> Account:
    if request.param == "fake":
        return fake_account()
    return request.getfixturevalue(f"{request.param}_account")  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------ listing


def test_lists_a_group_with_an_endpoint_and_all_its_tags(account: Account) -> None:
    tags = {ENDPOINT_TAG: "orders.example.com", "team": "sales", "empty": ""}
    group = account.make("ip", tags)

    assert account.list_groups(group) == {group: tags}


def test_does_not_list_a_group_without_an_endpoint(account: Account) -> None:
    others = [account.make("ip", {}), account.make("ip", {"team": "sales"})]

    assert account.list_groups(*others) == {}


def test_stops_listing_a_deleted_group(account: Account) -> None:
    group = account.make("ip", {ENDPOINT_TAG: "orders.example.com"})
    account.delete(group)

    assert account.list_groups(group) == {}


def test_lists_more_groups_than_fit_on_a_page(account: Account) -> None:
    groups = {
        account.make("ip", {ENDPOINT_TAG: f"db-{number}.example.com"}) for number in range(101)
    }

    assert account.list_groups(*groups).keys() == groups


# -------------------------------------------------------------------------------------------- facts


def test_describes_the_port_the_target_type_and_the_networks_of_the_vpc(
    account: Account,
) -> None:
    group, other = account.make("ip", {}), account.make("instance", {})

    found = account.groups.describe([group, other])
    assert {name: replace(facts, health_check={}) for name, facts in found.items()} == {
        group: GroupFacts(PORT, has_ip_targets=True, vpc_networks=(ip_network(NETWORK),)),
        other: GroupFacts(PORT, has_ip_targets=False, vpc_networks=(ip_network(NETWORK),)),
    }


def test_a_missing_group_has_no_facts_and_affects_no_other(account: Account) -> None:
    group, gone = account.make("ip", {}), account.make("ip", {})
    account.delete(gone)

    assert set(account.groups.describe([group, gone])) == {group}


def test_describes_no_groups_as_an_empty_result(account: Account) -> None:
    assert account.groups.describe([]) == {}


# ------------------------------------------------------------------------------- the adapters alone


@contextmanager
def stubbed(*services: str) -> Iterator[tuple[Sequence[Any], Sequence[Stubber]]]:
    clients = [boto3.client(service, "eu-west-1") for service in services]  # type: ignore[call-overload]
    stubbers = [Stubber(client) for client in clients]
    for stubber in stubbers:
        stubber.activate()
    yield clients, stubbers
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


LISTING = {
    "TagFilters": [{"Key": ENDPOINT_TAG}],
    "ResourceTypeFilters": ["elasticloadbalancing:targetgroup"],
    "ResourcesPerPage": 100,
}
VPCS = {"Vpcs": [{"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"}]}


def group_of(number: int, vpc: str | None = "vpc-1", **more: object) -> dict[str, object]:
    scope = {"VpcId": vpc} if vpc else {}
    return {"TargetGroupArn": arn(number), "TargetType": "ip", "Port": PORT, **scope, **more}


def test_lists_a_group_whose_tags_were_all_removed_without_tags() -> None:
    with stubbed("resourcegroupstaggingapi") as ((client,), (stubber,)):
        stubber.add_response(
            "get_resources", {"ResourceTagMappingList": [{"ResourceARN": arn(1)}]}, LISTING
        )
        assert AwsGroups(client, NONE, NONE).list_groups() == {arn(1): {}}


def test_reads_a_listing_page_by_page() -> None:
    with stubbed("resourcegroupstaggingapi") as ((client,), (stubber,)):
        for token, following, found in ((None, "2", [1]), ("2", "3", []), ("3", "", [2, 1])):
            stubber.add_response(
                "get_resources",
                {
                    "PaginationToken": following,
                    "ResourceTagMappingList": [{"ResourceARN": arn(it)} for it in found],
                },
                LISTING | ({"PaginationToken": token} if token else {}),
            )
        assert AwsGroups(client, NONE, NONE).list_groups().keys() == {arn(1), arn(2)}


def test_a_failed_page_fails_the_listing() -> None:
    with stubbed("resourcegroupstaggingapi") as ((client,), (stubber,)):
        page = {"PaginationToken": "2", "ResourceTagMappingList": [{"ResourceARN": arn(1)}]}
        stubber.add_response("get_resources", page)
        stubber.add_client_error("get_resources", "PaginationTokenExpiredException", "x", 400)
        with pytest.raises(AwsUnavailableError, match="GetResources failed with Pagination"):
            AwsGroups(client, NONE, NONE).list_groups()


def test_rejects_a_listing_that_never_ends() -> None:
    with stubbed("resourcegroupstaggingapi") as ((client,), (stubber,)):
        for _ in range(2):
            stubber.add_response(
                "get_resources", {"PaginationToken": "2", "ResourceTagMappingList": []}
            )
        with pytest.raises(AwsCallError, match="does not have the documented shape"):
            AwsGroups(client, NONE, NONE).list_groups()


def test_reads_the_facts_page_by_page_and_ignores_other_groups() -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, ec2)):
        ec2.add_response("describe_vpcs", {**VPCS, "NextToken": "2"}, {"MaxResults": 1000})
        second = {
            "VpcId": "vpc-2",
            "CidrBlockAssociationSet": [
                {"CidrBlock": "10.9.0.0/16", "CidrBlockState": {"State": "associated"}},
                {"CidrBlock": "10.8.0.0/16", "CidrBlockState": {"State": "associated"}},
                {"CidrBlock": "10.7.0.0/16", "CidrBlockState": {"State": "disassociated"}},
            ],
        }
        more = {"MaxResults": 1000, "NextToken": "2"}
        ec2.add_response("describe_vpcs", {"Vpcs": [second]}, more)
        page = {"TargetGroups": [group_of(1, "vpc-2")], "NextMarker": "2"}
        elb.add_response("describe_target_groups", page, {"PageSize": 400})
        page = {"TargetGroups": [group_of(2), group_of(3, "vpc-2")]}
        elb.add_response("describe_target_groups", page, {"PageSize": 400, "Marker": "2"})

        networks = (ip_network("10.8.0.0/16"), ip_network("10.9.0.0/16"))
        facts = GroupFacts(
            PORT, has_ip_targets=True, vpc_networks=networks, health_check=NO_HEALTH_CHECK
        )
        assert AwsGroups(NONE, *clients).describe([arn(1), arn(3)]) == {
            arn(1): facts,
            arn(3): facts,
        }


def test_makes_no_call_for_no_groups() -> None:
    with stubbed("elbv2", "ec2") as (clients, _):
        assert AwsGroups(NONE, *clients).describe([]) == {}


def test_the_group_of_a_function_has_neither_port_nor_network() -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, ec2)):
        ec2.add_response("describe_vpcs", VPCS)
        function = {"TargetGroupArn": arn(1), "TargetType": "lambda"}
        elb.add_response("describe_target_groups", {"TargetGroups": [function]})

        assert AwsGroups(NONE, *clients).describe([arn(1)]) == {
            arn(1): GroupFacts(
                0, has_ip_targets=False, vpc_networks=(), health_check=NO_HEALTH_CHECK
            )
        }


def test_a_group_has_its_health_check() -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, ec2)):
        ec2.add_response("describe_vpcs", VPCS)
        given = {**group_of(1), "HealthCheckIntervalSeconds": 30, "HealthyThresholdCount": 5}
        elb.add_response("describe_target_groups", {"TargetGroups": [given]})

        (facts,) = AwsGroups(NONE, *clients).describe([arn(1)]).values()

    expected = {"HealthCheckIntervalSeconds": 30, "HealthyThresholdCount": 5}
    assert facts.health_check == {**NO_HEALTH_CHECK, **expected}


def test_a_group_has_its_attributes_and_a_missing_one_none() -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, _)):
        listed = {"Attributes": [{"Key": "a", "Value": "1"}]}
        named = {"TargetGroupArn": arn(1)}
        elb.add_response("describe_target_group_attributes", listed, named)
        elb.add_client_error("describe_target_group_attributes", "TargetGroupNotFound")
        groups = AwsGroups(NONE, *clients)

        assert groups.attributes(arn(1)) == {"a": "1"}
        assert groups.attributes(arn(1)) == {}


def test_a_group_whose_vpc_was_deleted_has_no_facts() -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, ec2)):
        ec2.add_response("describe_vpcs", VPCS)
        groups = [group_of(1, "vpc-gone"), group_of(2)]
        elb.add_response("describe_target_groups", {"TargetGroups": groups})

        assert set(AwsGroups(NONE, *clients).describe([arn(1), arn(2)])) == {arn(2)}


def failing_facts(code: str, status: int, *, in_ec2: bool) -> None:
    with stubbed("elbv2", "ec2") as (clients, (elb, ec2)):
        if in_ec2:
            ec2.add_client_error("describe_vpcs", code, "in AWS's words", status)
        else:
            ec2.add_response("describe_vpcs", VPCS)
            elb.add_client_error("describe_target_groups", code, "in AWS's words", status)
        AwsGroups(NONE, *clients).describe([arn(1)])


def failing_listing(code: str, status: int) -> None:
    with stubbed("resourcegroupstaggingapi") as ((client,), (stubber,)):
        stubber.add_client_error("get_resources", code, "in AWS's words", status)
        AwsGroups(client, NONE, NONE).list_groups()


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("RequestLimitExceeded", 503, True),
        ("Throttling", 400, True),
        ("Internal", 500, True),
        ("AccessDenied", 403, False),
        ("ValidationError", 400, False),
    ],
)
@pytest.mark.parametrize("in_ec2", [True, False])
def test_classifies_the_failures_of_the_facts(
    code: str, status: int, *, retryable: bool, in_ec2: bool
) -> None:
    with pytest.raises(AwsCallError, match=f"{code}: in AWS's words") as raised:
        failing_facts(code, status, in_ec2=in_ec2)
    assert raised.value.retryable is retryable


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("ThrottledException", 400, True),
        ("PaginationTokenExpiredException", 400, True),
        ("InternalServiceException", 500, True),
        ("InvalidParameterException", 400, False),
        ("AccessDeniedException", 400, False),
    ],
)
def test_classifies_the_failures_of_the_listing(code: str, status: int, *, retryable: bool) -> None:
    with pytest.raises(AwsCallError, match=f"GetResources failed with {code}") as raised:
        failing_listing(code, status)
    assert raised.value.retryable is retryable


class _Pages:
    """A client with these pages, or an error, for every listing."""

    def __init__(self, *pages: object) -> None:
        self._pages = pages

    def get_paginator(self, _: str) -> "_Pages":
        return self

    def paginate(self, **_: object) -> Iterator[object]:
        for page in self._pages:
            if isinstance(page, Exception):
                raise page
            yield page


def facts_of(groups: object, vpcs: object = VPCS) -> Mapping[str, GroupFacts]:
    elb, ec2 = (_Pages(it) for it in (groups, vpcs))
    return AwsGroups(NONE, elb, ec2).describe([arn(1)])  # type: ignore[arg-type]


def listed(page: object) -> Mapping[str, Tags]:
    return AwsGroups(_Pages(page), NONE, NONE).list_groups()  # type: ignore[arg-type]


WRONG: list[Callable[[], object]] = [
    lambda: listed({}),
    lambda: listed({"ResourceTagMappingList": [None]}),
    lambda: listed({"ResourceTagMappingList": [{"ResourceARN": arn(1), "Tags": [{"Key": "a"}]}]}),
    lambda: facts_of({}),
    lambda: facts_of({"TargetGroups": [{"TargetGroupArn": arn(1)}]}),
    lambda: facts_of({"TargetGroups": [group_of(1, Port="high")]}),
    lambda: facts_of({"TargetGroups": [None]}),
    lambda: facts_of({"TargetGroups": []}, {"Vpcs": [{}]}),
    lambda: facts_of(
        {"TargetGroups": []},
        {
            "Vpcs": [
                {
                    "VpcId": "vpc-1",
                    "CidrBlockAssociationSet": [
                        {"CidrBlock": "all", "CidrBlockState": {"State": "associated"}}
                    ],
                }
            ]
        },
    ),
]


@pytest.mark.parametrize("look_up", WRONG)
def test_rejects_a_malformed_reply_of_a_listing(look_up: Callable[[], object]) -> None:
    with pytest.raises(AwsCallError, match="does not have the documented shape"):
        look_up()


SILENT = ConnectTimeoutError(endpoint_url="https://aws.example")


@pytest.mark.parametrize(
    ("service", "look_up"),
    [
        ("tagging", lambda: listed(SILENT)),
        ("elasticloadbalancing", lambda: facts_of(SILENT)),
        ("ec2", lambda: facts_of({"TargetGroups": []}, SILENT)),
    ],
)
def test_a_service_without_a_reply_is_unavailable(
    service: str, look_up: Callable[[], object]
) -> None:
    with pytest.raises(AwsUnavailableError, match=f"interface endpoint for {service}"):
        look_up()
