"""What every implementation of the target group port does.

The fake of the other tests and the real adapter run the same expectations: the adapter over the
lab's emulator, which behaves as AWS documents.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_network
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from botocore.stub import Stubber

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsNotFoundError,
    AwsReplyError,
    AwsUnavailableError,
)
from target_sync.model import Target, TargetState
from target_sync.ports import TargetGroupPort
from target_sync.targets.target_group import CHUNK, ElbTargetGroup
from tests.contract.cluster_state import Situation
from tests.support.clock import FakeClock
from tests.support.scenario import ON_PREM, PORT, VPC_NETWORKS, A, B, FakeTargetGroup, target

GROUP_ARN = (
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/missing/0123456789abcdef"
)


@pytest.fixture(params=["fake", pytest.param("emulator", marks=pytest.mark.lab)])
def situation(request: pytest.FixtureRequest) -> Situation:
    if request.param == "emulator":
        return request.getfixturevalue("emulated_situation")  # type: ignore[no-any-return]
    clock = FakeClock()
    group = FakeTargetGroup(clock, registration_seconds=90)

    def until(condition: Callable[[], object]) -> None:
        for _ in range(600):
            if condition():
                return
            clock.advance(0.5)
        pytest.fail("it did not come true in five minutes of virtual time")

    return Situation(
        group, lambda address: group.listening.add((IPv4Address(str(address)), PORT)), until
    )


@pytest.fixture
def group(situation: Situation) -> TargetGroupPort:
    return situation.group


def test_an_empty_group_lists_nothing(group: TargetGroupPort) -> None:
    assert group.describe().targets == ()


def test_a_registered_target_is_listed_with_its_port(group: TargetGroupPort) -> None:
    group.register([target(A)])

    assert group.describe().registered == {target(A)}


def test_registering_a_registered_target_changes_nothing(group: TargetGroupPort) -> None:
    group.register([target(A)])
    group.register([target(A), target(B)])

    assert group.describe().registered == {target(A), target(B)}


def test_a_deregistered_target_is_no_longer_registered(group: TargetGroupPort) -> None:
    group.register([target(A), target(B)])
    group.deregister([target(A)])

    assert group.describe().registered == {target(B)}


def test_an_empty_change_makes_no_call(group: TargetGroupPort) -> None:
    group.register([])
    group.deregister([])

    assert group.describe().targets == ()


def states(group: TargetGroupPort) -> dict[Target, TargetState]:
    return {t.target: t.state for t in group.describe().targets}


def test_a_new_target_is_initial_and_healthy_only_after_its_checks(situation: Situation) -> None:
    situation.listens(A)
    situation.group.register([target(A)])

    assert states(situation.group) == {target(A): TargetState.INITIAL}
    situation.until(lambda: states(situation.group)[target(A)] is TargetState.HEALTHY)
    assert situation.group.describe().healthy == {target(A)}


def test_a_target_whose_port_is_closed_becomes_unhealthy_and_stays_registered(
    situation: Situation,
) -> None:
    situation.group.register([target(B)])

    situation.until(lambda: states(situation.group)[target(B)] is TargetState.UNHEALTHY)
    assert situation.group.describe().registered == {target(B)}


def test_a_deregistered_target_is_draining_until_its_delay_ends(situation: Situation) -> None:
    situation.group.register([target(A), target(B)])
    situation.group.deregister([target(A)])

    assert states(situation.group)[target(A)] is TargetState.DRAINING
    assert situation.group.describe().draining == {target(A)}
    situation.until(lambda: target(A) not in states(situation.group))


def test_a_draining_target_can_be_registered_again(situation: Situation) -> None:
    situation.group.register([target(A)])
    situation.group.deregister([target(A)])
    situation.group.register([target(A)])

    assert situation.group.describe().registered == {target(A)}


def test_the_same_address_on_another_port_is_another_target(situation: Situation) -> None:
    situation.group.register([target(A), target(A, 5433)])
    situation.group.deregister([target(A, 5433)])

    assert situation.group.describe().registered == {target(A)}


def test_deregistering_an_absent_target_succeeds_and_changes_nothing(situation: Situation) -> None:
    situation.group.register([target(A)])
    situation.group.deregister([target(B), target(A, 5433)])

    assert situation.group.describe().registered == {target(A)}


def test_a_public_address_is_rejected_without_a_change(situation: Situation) -> None:
    with pytest.raises(AwsCallError, match="InvalidTarget"):
        situation.group.register([target(A), target("8.8.8.8")])

    assert situation.group.describe().targets == ()


def test_an_address_outside_the_vpc_becomes_a_healthy_target(situation: Situation) -> None:
    situation.listens(ON_PREM)
    situation.group.register([target(ON_PREM), target(A)])

    situation.until(lambda: states(situation.group)[target(ON_PREM)] is TargetState.HEALTHY)
    situation.group.deregister([target(ON_PREM)])
    assert situation.group.describe().registered == {target(A)}


# --- How the adapter translates ------------------------------------------------------------------


@pytest.fixture
def stubbed() -> Iterator[tuple[ElbTargetGroup, Stubber]]:
    client = boto3.client("elbv2", "eu-west-1")
    with Stubber(client) as stubber:
        yield ElbTargetGroup(client, GROUP_ARN), stubber


@pytest.mark.parametrize(
    ("code", "http_status", "kind", "retryable"),
    [
        ("ThrottlingException", 400, AwsUnavailableError, True),
        ("Throttling", 400, AwsUnavailableError, True),
        ("InternalFailure", 500, AwsUnavailableError, True),
        ("ServiceUnavailable", 503, AwsUnavailableError, True),
        ("AccessDenied", 403, AwsAccessDeniedError, False),
        # The code is definite, whatever the status.
        ("AccessDenied", 503, AwsAccessDeniedError, False),
        ("TargetGroupNotFound", 400, AwsNotFoundError, False),
        ("InvalidTarget", 400, AwsCallError, False),
        ("TooManyTargets", 400, AwsCallError, False),
        ("SomethingNew", 400, AwsCallError, False),
    ],
)
def test_the_code_of_an_error_decides_its_type(
    stubbed: tuple[ElbTargetGroup, Stubber],
    code: str,
    http_status: int,
    kind: type[AwsCallError],
    retryable: bool,
) -> None:
    group, stubber = stubbed
    stubber.add_client_error("register_targets", code, "in AWS's words", http_status)

    with pytest.raises(AwsCallError) as raised:
        group.register([target(A)])

    assert type(raised.value) is kind
    assert raised.value.retryable is retryable
    assert str(raised.value) == f"RegisterTargets failed with {code}: in AWS's words"
    assert (raised.value.operation, raised.value.code) == ("RegisterTargets", code)


@pytest.mark.parametrize("failure", [ConnectTimeoutError, ReadTimeoutError, ConnectionClosedError])
def test_the_error_of_an_unreachable_api_names_the_missing_endpoint(
    failure: type[ConnectTimeoutError | ReadTimeoutError | ConnectionClosedError],
) -> None:
    class _Unreachable:
        def describe_target_health(self, **_: object) -> None:
            raise failure(endpoint_url="https://elasticloadbalancing.example")

    client: Any = _Unreachable()

    with pytest.raises(AwsUnavailableError, match="interface endpoint") as raised:
        ElbTargetGroup(client, GROUP_ARN).describe()

    assert raised.value.retryable
    assert raised.value.code == failure.__name__


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"TargetHealthDescriptions": [{}]},
        {"TargetHealthDescriptions": [{"Target": {"Id": "i-0abc"}, "TargetHealth": {}}]},
        {"TargetHealthDescriptions": [{"Target": {"Id": str(A)}, "TargetHealth": {"State": "x"}}]},
        {"TargetHealthDescriptions": None},
    ],
)
def test_rejects_a_reply_with_another_shape(reply: object) -> None:
    class _Odd:
        def describe_target_health(self, **_: object) -> object:
            return reply

    client: Any = _Odd()

    with pytest.raises(AwsReplyError, match="documented shape"):
        ElbTargetGroup(client, GROUP_ARN).describe()


def test_an_unknown_state_is_registered_but_not_healthy(
    stubbed: tuple[ElbTargetGroup, Stubber],
) -> None:
    group, stubber = stubbed
    description = {
        "Target": {"Id": str(A), "Port": PORT},
        "TargetHealth": {"State": "resting", "Reason": "Target.Asleep"},
    }
    stubber.add_response("describe_target_health", {"TargetHealthDescriptions": [description]})

    described = group.describe()

    assert described.registered == {target(A)}
    assert not described.healthy
    assert described.targets[0].state is TargetState.UNKNOWN
    assert described.targets[0].reason == "Target.Asleep"


def test_only_an_address_outside_every_network_of_the_vpc_is_registered_for_every_zone() -> None:
    client = boto3.client("elbv2", "eu-west-1")
    targets = [target(A), target("10.1.0.9"), target(ON_PREM)]
    inside, secondary, outside = ({"Id": str(t.address), "Port": PORT} for t in targets)
    with Stubber(client) as stubber:
        for networks, described in [
            (
                (*VPC_NETWORKS, ip_network("10.1.0.0/16")),
                [inside, secondary, outside | {"AvailabilityZone": "all"}],
            ),
            ((), [inside, secondary, outside]),
        ]:
            expected = {"TargetGroupArn": GROUP_ARN, "Targets": described}
            stubber.add_response("register_targets", {}, expected)
            ElbTargetGroup(client, GROUP_ARN, networks).register(targets)


def test_a_deregistration_names_no_zone() -> None:
    client = boto3.client("elbv2", "eu-west-1")
    outside = {"Id": str(ON_PREM), "Port": PORT}
    with Stubber(client) as stubber:
        expected = {"TargetGroupArn": GROUP_ARN, "Targets": [outside]}
        stubber.add_response("deregister_targets", {}, expected)
        ElbTargetGroup(client, GROUP_ARN, VPC_NETWORKS).deregister([target(ON_PREM)])


def test_many_targets_are_sent_in_chunks_with_their_ports(
    stubbed: tuple[ElbTargetGroup, Stubber],
) -> None:
    group, stubber = stubbed
    many = [target(f"10.0.{n // 250}.{n % 250 + 1}") for n in range(CHUNK + 1)]
    for chunk in (many[:CHUNK], many[CHUNK:]):
        described = [{"Id": str(t.address), "Port": t.port} for t in chunk]
        expected = {"TargetGroupArn": GROUP_ARN, "Targets": described}
        stubber.add_response("deregister_targets", {}, expected)

    group.deregister(many)

    stubber.assert_no_pending_responses()
