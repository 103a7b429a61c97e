"""A target group and its outbound rules as one group."""

from dataclasses import replace

import pytest

from target_sync.errors import AwsUnavailableError
from target_sync.model import SwitchState, SyncPolicy
from target_sync.targets.switched_group import SwitchedTargetGroup
from tests.support.clock import FakeClock
from tests.support.outbound_rules import FakeOutboundRules
from tests.support.scenario import A, B, C, FakeTargetGroup, target, throttled
from tests.support.warm_targets import WARM_POLICY


class Switched:
    """A group with A serving and other targets warm, described once."""

    def __init__(self, *warm: object, policy: SyncPolicy = WARM_POLICY) -> None:
        clock = FakeClock()
        self.target_group = FakeTargetGroup(clock)
        self.target_group.register_externally(target(A), *map(target, warm))
        self.rules = FakeOutboundRules(clock, target(A))
        self.rules.state = SwitchState.PROVEN
        self.group = SwitchedTargetGroup(
            group=self.target_group, rules=self.rules, policy=policy, now=clock.now
        )
        self.described = self.group.describe().registered

    @property
    def registered(self) -> set[object]:
        return set(self.target_group.snapshot().registered)


def test_only_an_open_target_is_registered() -> None:
    switched = Switched(B)
    switched.rules.set_open([target(A), target(C)])

    assert switched.described == switched.group.describe().registered == {target(A)}


def test_a_draining_target_is_described_whether_it_is_open_or_not() -> None:
    switched = Switched(B)
    switched.target_group.deregister_externally(target(A), target(B))

    assert switched.group.describe().draining == {target(A), target(B)}


def test_opens_before_it_registers() -> None:
    switched = Switched()
    switched.rules.faults["AuthorizeSecurityGroupEgress"] = [throttled("x")]

    with pytest.raises(AwsUnavailableError):
        switched.group.register([target(B)])

    assert switched.registered == {target(A)}


def test_closes_before_it_deregisters() -> None:
    switched = Switched(policy=replace(WARM_POLICY, warm_targets=0))
    switched.rules.faults["RevokeSecurityGroupEgress"] = [throttled("x")]

    with pytest.raises(AwsUnavailableError):
        switched.group.deregister([target(A)])

    assert switched.registered == {target(A)}


def test_a_warm_target_that_is_opened_makes_room_for_the_closed_one() -> None:
    others = [f"10.0.3.{n}" for n in range(1, 5)]
    switched = Switched(B, *others)

    switched.group.register([target(B)])
    switched.group.deregister([target(A)])

    assert switched.registered == {target(A), target(B), *map(target, others)}
    assert switched.rules.open_targets == {target(B)}


def test_a_target_that_another_run_has_opened_is_not_deregistered() -> None:
    switched = Switched(B, C)
    switched.rules.set_open([target(A), target(B)])

    switched.group.let_go([target(B), target(C)])

    assert switched.registered == {target(A), target(B)}


def test_no_target_to_let_go_makes_no_call() -> None:
    switched = Switched()
    calls = switched.rules.calls.total()

    switched.group.let_go([])

    assert switched.rules.calls.total() == calls
    assert not switched.target_group.calls["DeregisterTargets"]
