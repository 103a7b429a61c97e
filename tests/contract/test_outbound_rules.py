"""What every implementation of the outbound rules port does: the fake, and the real adapter.

The adapter runs over moto, and over the lab's emulator, which answers duplicates as AWS does.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsNotFoundError,
    AwsReplyError,
    AwsUnavailableError,
)
from target_sync.model import OutboundRules, SwitchState, Target
from target_sync.ports import OutboundRulesPort
from target_sync.targets.outbound_rules import CHUNK, SecurityGroupRules
from tests.lab.emulator_process import Emulator, create_vpc
from tests.support.clock import FakeClock
from tests.support.outbound_rules import FakeOutboundRules
from tests.support.scenario import PORT, A, B, C, target

GROUP = "sg-0a1b2c3d"
OPEN = "postgres-privatelink: open"
#: The rule that CloudFormation adds to a group without rules, if the template has none.
NO_TRAFFIC = {"IpProtocol": "icmp", "FromPort": 252, "ToPort": 86, "CidrIpv4": "255.255.255.255/32"}


def permission(address: object, description: str = OPEN, **more: object) -> dict[str, object]:
    cidr = address if "/" in str(address) else f"{address}/32"
    described = {"Description": description} if description else {}
    ranges = [{"CidrIp": cidr, **described}]
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "IpRanges": ranges} | more


@dataclass(frozen=True)
class Group:
    """The adapter over a group of moto."""

    client: Any
    rules: SecurityGroupRules

    def add(self, *permissions: Mapping[str, object]) -> None:
        self.client.authorize_security_group_egress(
            GroupId=self.rules.group_id, IpPermissions=list(permissions)
        )

    @property
    def listed(self) -> set[tuple[str, str]]:
        """The network and the description of each rule that allows something."""
        reply = self.client.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.rules.group_id]}]
        )
        return {(r["CidrIpv4"], r.get("Description", "")) for r in reply["SecurityGroupRules"]}


@pytest.fixture
def group() -> Iterator[Group]:
    with mock_aws():
        client: Any = boto3.client("ec2", "eu-west-1")
        vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        yield Group(client, SecurityGroupRules(client, _group_without_rules(client, vpc), PORT))


def _group_without_rules(client: Any, vpc: str) -> str:
    id_: str = client.create_security_group(GroupName="rules", Description="x", VpcId=vpc)[
        "GroupId"
    ]
    (default,) = client.describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [id_]}]
    )["SecurityGroupRules"]
    client.revoke_security_group_egress(
        GroupId=id_, SecurityGroupRuleIds=[default["SecurityGroupRuleId"]]
    )
    return id_


@pytest.fixture
def emulated_group(emulator: Emulator) -> Group:
    client = emulator.client("ec2")
    vpc, _ = create_vpc(emulator)
    return Group(client, SecurityGroupRules(client, _group_without_rules(client, vpc), PORT))


@pytest.fixture(params=["fake", "moto", pytest.param("emulator", marks=pytest.mark.lab)])
def rules(request: pytest.FixtureRequest) -> OutboundRulesPort:
    if request.param == "fake":
        return FakeOutboundRules(FakeClock())
    fixture = {"moto": "group", "emulator": "emulated_group"}[request.param]
    group: Group = request.getfixturevalue(fixture)
    return group.rules


def opened(rules: OutboundRulesPort) -> frozenset[Target]:
    return rules.describe().open


def test_a_new_group_opens_nothing_and_proves_nothing(rules: OutboundRulesPort) -> None:
    assert rules.describe() == OutboundRules(frozenset())


def test_opens_targets(rules: OutboundRulesPort) -> None:
    rules.open([target(A), target(B)])

    assert opened(rules) == {target(A), target(B)}


def test_an_open_target_stays_as_it_is(rules: OutboundRulesPort) -> None:
    rules.open([target(A)])
    rules.open([target(A)])
    rules.open([target(B), target(A), target(C)])

    assert opened(rules) == {target(A), target(B), target(C)}


def test_closes_targets(rules: OutboundRulesPort) -> None:
    rules.open([target(A), target(B), target(C)])
    rules.close([target(A), target(C)])

    assert opened(rules) == {target(B)}


def test_a_closed_target_is_no_error(rules: OutboundRulesPort) -> None:
    rules.open([target(A), target(B)])
    rules.close([target(C)])
    rules.close([target(C), target(A)])

    assert opened(rules) == {target(B)}


def test_an_empty_change_makes_no_call(rules: OutboundRulesPort) -> None:
    rules.open([])
    rules.close([])

    assert opened(rules) == frozenset()


@pytest.mark.parametrize("state", SwitchState)
@pytest.mark.parametrize("before", SwitchState)
def test_keeps_the_state_beside_the_open_targets(
    rules: OutboundRulesPort, before: SwitchState, state: SwitchState
) -> None:
    rules.open([target(A)])
    rules.mark(before)
    rules.mark(state)

    assert rules.describe() == OutboundRules(frozenset({target(A)}), state)


# --- Rules of others ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        permission(A, "opened by the network team"),
        permission(A, ""),
        permission(A, IpProtocol="udp"),
        permission(A, FromPort=PORT - 1),
        permission(A, ToPort=PORT + 1),
        permission("10.0.1.0/24"),
        {
            **permission(A, IpRanges=[]),
            "Ipv6Ranges": [{"CidrIpv6": "2001:db8::9/128", "Description": OPEN}],
        },
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": OPEN}]},
    ],
    ids=[
        "another description", "no description", "another protocol", "more ports below",
        "more ports above", "a network", "IPv6", "all traffic",
    ],
)  # fmt: skip
def test_a_rule_of_another_owner_opens_nothing_and_stays(
    group: Group, other: Mapping[str, object]
) -> None:
    group.add(other)
    group.rules.open([target(B)])
    group.rules.close([target(B)])

    assert opened(group.rules) == frozenset()
    (rule,) = group.client.describe_security_group_rules()["SecurityGroupRules"][-1:]
    assert rule.get("Description", "") == (other.get("IpRanges") or other["Ipv6Ranges"])[0].get(  # type: ignore[index]
        "Description", ""
    )


def test_an_inbound_rule_opens_nothing(group: Group) -> None:
    group.client.authorize_security_group_ingress(
        GroupId=group.rules.group_id, IpPermissions=[permission(A)]
    )

    assert opened(group.rules) == frozenset()


def test_a_mark_with_another_text_proves_nothing(group: Group) -> None:
    group.add(permission("255.255.255.255", "postgres-privatelink: the switch is fine"))

    assert group.rules.describe() == OutboundRules(frozenset())


def test_the_descriptions_say_whose_rules_they_are(group: Group) -> None:
    group.rules.open([target(A)])
    group.rules.mark(SwitchState.PROVEN)

    assert group.listed == {
        (f"{A}/32", OPEN),
        ("255.255.255.255/32", "postgres-privatelink: the switch is proven"),
    }
    group.rules.mark(SwitchState.INEFFECTIVE)
    assert ("255.255.255.255/32", "postgres-privatelink: the switch is ineffective") in group.listed


# --- How the adapter calls and translates ---------------------------------------------------------


@pytest.fixture
def stubbed() -> Iterator[tuple[SecurityGroupRules, Stubber]]:
    client = boto3.client("ec2", "eu-west-1")
    with Stubber(client) as stubber:
        yield SecurityGroupRules(client, GROUP, PORT), stubber
        stubber.assert_no_pending_responses()


Stubbed = tuple[SecurityGroupRules, Stubber]
CALLS: Mapping[str, Callable[[SecurityGroupRules], object]] = {
    "describe_security_group_rules": lambda rules: rules.describe(),
    "authorize_security_group_egress": lambda rules: rules.open([target(A)]),
    "revoke_security_group_egress": lambda rules: rules.close([target(A)]),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(
    ("code", "http_status", "kind"),
    [
        ("RequestLimitExceeded", 503, AwsUnavailableError),
        ("InternalError", 500, AwsUnavailableError),
        ("UnauthorizedOperation", 403, AwsAccessDeniedError),
        ("InvalidGroup.NotFound", 400, AwsNotFoundError),
        ("InvalidGroupId.Malformed", 400, AwsNotFoundError),
        ("RulesPerSecurityGroupLimitExceeded", 400, AwsCallError),
        ("SomethingNew", 400, AwsCallError),
    ],
)
def test_the_code_of_an_error_decides_its_type(
    stubbed: Stubbed, operation: str, code: str, http_status: int, kind: type[AwsCallError]
) -> None:
    rules, stubber = stubbed
    stubber.add_client_error(operation, code, "in AWS's words", http_status)

    with pytest.raises(AwsCallError) as raised:
        CALLS[operation](rules)

    assert type(raised.value) is kind
    assert raised.value.code == code


def rule(**more: object) -> dict[str, object]:
    return {
        "IsEgress": True,
        "IpProtocol": "tcp",
        "FromPort": PORT,
        "ToPort": PORT,
        "CidrIpv4": f"{A}/32",
        "Description": OPEN,
        **more,
    }


def without(key: str) -> dict[str, object]:
    return {name: value for name, value in rule().items() if name != key}


def test_reads_every_page(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    filters = [{"Name": "group-id", "Values": [GROUP]}]
    replies: list[dict[str, object]] = [
        {"SecurityGroupRules": [rule(), rule(**NO_TRAFFIC)], "NextToken": "more"},
        {"SecurityGroupRules": [rule(CidrIpv4=f"{B}/32")]},
    ]
    requests: list[dict[str, object]] = [{}, {"NextToken": "more"}]
    for reply, request in zip(replies, requests, strict=True):
        expected = {"Filters": filters, **request}
        stubber.add_response("describe_security_group_rules", reply, expected)

    assert opened(rules) == {target(A), target(B)}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"SecurityGroupRules": None},
        {"SecurityGroupRules": ["sgr-1"]},
        {"SecurityGroupRules": [rule(CidrIpv4="10.0.1.300/32")]},
        *(
            {"SecurityGroupRules": [without(key)]}
            for key in ("IsEgress", "IpProtocol", "FromPort", "ToPort")
        ),
    ],
)
def test_rejects_a_reply_with_another_shape(reply: object) -> None:
    class _Odd:
        def get_paginator(self, _: str) -> "_Odd":
            return self

        def paginate(self, **_: object) -> list[object]:
            return [reply]

    client: Any = _Odd()

    with pytest.raises(AwsReplyError, match="documented shape"):
        SecurityGroupRules(client, GROUP, PORT).describe()


def change(*permissions: Mapping[str, object]) -> dict[str, object]:
    return {"GroupId": GROUP, "IpPermissions": list(permissions)}


def test_one_duplicate_fails_a_whole_call_so_each_rule_gets_its_own(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    operation, duplicate = "authorize_security_group_egress", "InvalidPermission.Duplicate"
    both = change(permission(A), permission(B))
    stubber.add_client_error(operation, duplicate, expected_params=both)
    stubber.add_client_error(operation, duplicate, expected_params=change(permission(A)))
    stubber.add_response(operation, {"Return": True}, change(permission(B)))

    rules.open([target(A), target(B)])


def test_a_failure_after_a_duplicate_is_raised(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    operation = "authorize_security_group_egress"
    stubber.add_client_error(operation, "InvalidPermission.Duplicate")
    stubber.add_client_error(operation, "RequestLimitExceeded", http_status_code=503)

    with pytest.raises(AwsUnavailableError):
        rules.open([target(A), target(B)])


def test_a_change_that_was_not_made_is_an_error(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    stubber.add_response("authorize_security_group_egress", {"Return": False})

    with pytest.raises(AwsReplyError, match="Return is not true"):
        rules.open([target(A)])


def test_a_mark_of_another_run_stays(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    stubber.add_response("revoke_security_group_egress", {"Return": True})
    stubber.add_client_error("authorize_security_group_egress", "InvalidPermission.Duplicate")

    rules.mark(SwitchState.PROVEN)


def test_sends_many_rules_in_chunks(stubbed: Stubbed) -> None:
    rules, stubber = stubbed
    many = [target(f"10.0.3.{n + 1}") for n in range(CHUNK + 1)]
    for chunk in (many[:CHUNK], many[CHUNK:]):
        expected = change(*(permission(t.address, "") for t in chunk))
        stubber.add_response("revoke_security_group_egress", {"Return": True}, expected)

    rules.close(many)
