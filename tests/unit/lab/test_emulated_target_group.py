from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from lab.emulator.errors import ApiError
from lab.emulator.outbound_rules import OutboundRule, OutboundRules
from lab.emulator.target_group import EmulatedTargetGroup, GroupSettings, TargetRequest

SETTINGS = GroupSettings(
    port=5432,
    subnets={
        IPv4Network("10.0.1.0/24"): "us-east-1a",
        IPv4Network("10.0.2.0/24"): "us-east-1b",
        IPv4Network("203.0.113.0/24"): "us-east-1b",
    },
    enabled_zones=frozenset({"us-east-1a", "us-east-1b"}),
    registration_delay=90.0,
    interval=5.0,
    healthy_threshold=2,
    unhealthy_threshold=2,
    deregistration_delay=30.0,
)
A = TargetRequest(id="10.0.1.11")
B = TargetRequest(id="10.0.2.12")


@dataclass
class World:
    """A clock that the test moves, and servers that the test stops."""

    settings: GroupSettings = SETTINGS
    now: float = 0.0
    running: set[str] = field(default_factory=lambda: {A.id, B.id})
    probed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.group = EmulatedTargetGroup(self.settings, clock=lambda: self.now, probe=self._probe)

    def _probe(self, address: IPv4Address, port: int) -> bool:
        self.probed.append((str(address), port))
        return str(address) in self.running

    def run(self, seconds: float) -> None:
        """Advance the clock and check twice a second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            self.group.run_health_checks()

    def states(self) -> dict[str, tuple[str, str | None]]:
        return {f"{t.id}:{t.port}": (str(t.state), t.reason) for t in self.group.describe()}

    def state(self, request: TargetRequest = A) -> tuple[str, str | None]:
        (health,) = self.group.describe([request])
        return str(health.state), health.reason


def test_a_new_target_registers_then_is_checked_then_is_healthy() -> None:
    world = World()
    world.group.register([A])
    assert world.state() == ("initial", "Elb.RegistrationInProgress")
    world.run(89.5)
    assert world.state() == ("initial", "Elb.RegistrationInProgress")
    assert world.probed == []
    world.run(0.5)
    assert world.state() == ("initial", "Elb.InitialHealthChecking")
    world.run(5.0)
    assert world.state() == ("healthy", None)
    assert world.probed == [(A.id, 5432)] * 2


def test_a_target_without_a_server_is_unhealthy() -> None:
    world = World(running=set())
    world.group.register([A])
    world.run(90.0)
    assert world.state()[0] == "initial"
    world.run(5.0)
    assert world.state() == ("unhealthy", "Target.FailedHealthChecks")


def test_one_failed_check_does_not_make_a_healthy_target_unhealthy() -> None:
    world = World()
    world.group.register([A])
    world.run(95.0)
    world.running.clear()
    world.run(5.0)
    assert world.state() == ("healthy", None)
    world.running.add(A.id)
    world.run(5.0)
    world.running.clear()
    world.run(5.0)
    assert world.state() == ("healthy", None)
    world.run(5.0)
    assert world.state()[0] == "unhealthy"


def test_an_unhealthy_target_recovers_after_the_healthy_threshold() -> None:
    world = World(settings=replace(SETTINGS, healthy_threshold=3), running=set())
    world.group.register([A])
    world.run(95.0)
    world.running.add(A.id)
    world.run(10.0)
    assert world.state()[0] == "unhealthy"
    world.run(5.0)
    assert world.state()[0] == "healthy"


def test_checks_go_to_the_groups_own_health_check_port_when_it_has_one() -> None:
    world = World(settings=replace(SETTINGS, health_check_port=8008))
    world.group.register([A])
    world.run(90.0)
    assert world.probed == [(A.id, 8008)]
    (health,) = world.group.describe()
    assert (health.port, health.health_check_port) == (5432, 8008)


def test_a_port_override_must_be_named_to_deregister() -> None:
    world = World()
    world.group.register([replace(A, port=5433)])
    world.group.deregister([A])
    assert world.states() == {"10.0.1.11:5433": ("initial", "Elb.RegistrationInProgress")}


def test_lists_a_deregistered_target_as_draining_until_the_delay_ends() -> None:
    world = World()
    world.group.register([A])
    world.run(95.0)
    world.group.deregister([A])
    world.run(29.5)
    assert world.states() == {"10.0.1.11:5432": ("draining", "Target.DeregistrationInProgress")}
    world.run(0.5)
    assert world.states() == {}


def test_a_draining_target_is_not_probed() -> None:
    world = World()
    world.group.register([A])
    world.run(95.0)
    world.group.deregister([A])
    world.probed.clear()
    world.run(20.0)
    assert world.probed == []


def test_a_second_deregistration_does_not_prolong_the_draining() -> None:
    world = World()
    world.group.register([A])
    world.group.deregister([A])
    world.run(20.0)
    world.group.deregister([A])
    world.run(10.0)
    assert world.states() == {}


def test_without_a_deregistration_delay_a_target_is_gone_at_once() -> None:
    world = World(settings=replace(SETTINGS, deregistration_delay=0.0))
    world.group.register([A])
    world.group.deregister([A])
    assert world.states() == {}


def test_registering_again_keeps_a_healthy_target_healthy() -> None:
    world = World()
    world.group.register([A])
    world.run(95.0)
    world.group.register([A])
    assert world.state() == ("healthy", None)


def test_registering_a_draining_target_starts_its_registration_again() -> None:
    world = World()
    world.group.register([A])
    world.run(95.0)
    world.group.deregister([A])
    world.group.register([A])
    assert world.state() == ("initial", "Elb.RegistrationInProgress")
    world.run(95.0)
    assert world.state() == ("healthy", None)


def test_a_described_target_without_registration_is_unused() -> None:
    world = World()
    world.group.register([A])
    assert world.state(B) == ("unused", "Target.NotRegistered")


def test_targets_of_a_group_without_a_load_balancer_are_unused_and_unchecked() -> None:
    world = World(settings=replace(SETTINGS, enabled_zones=None))
    world.group.register([A])
    world.run(200.0)
    assert world.state() == ("unused", "Target.NotInUse")
    assert world.probed == []


def test_registration_starts_when_the_group_gets_its_load_balancer() -> None:
    world = World(settings=replace(SETTINGS, enabled_zones=None))
    world.group.register([A])
    world.run(200.0)
    world.group.configure(SETTINGS)
    assert world.state() == ("initial", "Elb.RegistrationInProgress")
    world.run(95.0)
    assert world.state() == ("healthy", None)


def test_a_target_in_a_zone_that_the_load_balancer_lacks_is_unused() -> None:
    world = World(settings=replace(SETTINGS, enabled_zones=frozenset({"us-east-1a"})))
    world.group.register([A, B])
    world.run(95.0)
    assert world.state(A) == ("healthy", None)
    assert world.state(B) == ("unused", "Target.NotInUse")


def test_the_zone_is_found_inside_the_vpc_and_kept_outside_it() -> None:
    world = World()
    outside = TargetRequest(id="192.168.7.7", availability_zone="all")
    world.group.register([B, outside])
    assert {t.id: t.availability_zone for t in world.group.describe()} == {
        B.id: "us-east-1b",
        outside.id: "all",
    }


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (TargetRequest(id="8.8.8.8", availability_zone="all"), "InvalidTarget", "8.8.8.8"),
        (TargetRequest(id="127.0.0.1", availability_zone="all"), "InvalidTarget", "127.0.0.1"),
        (TargetRequest(id="169.254.0.9", availability_zone="all"), "InvalidTarget", "169.254"),
        (TargetRequest(id="0.0.0.0", availability_zone="all"), "InvalidTarget", "0.0.0.0"),
        (TargetRequest(id="999.1.1.1"), "ValidationError", "999.1.1.1"),
        (TargetRequest(id="i-0abc"), "ValidationError", "i-0abc"),
        (TargetRequest(id="fd00::1"), "ValidationError", "fd00::1"),
        (TargetRequest(id="10.9.9.9"), "ValidationError", "Availability Zone is required"),
        (replace(A, availability_zone="all"), "ValidationError", "cannot have its"),
    ],
)
def test_rejects_an_address_that_aws_rejects(
    request_: TargetRequest, code: str, message: str
) -> None:
    world = World()
    with pytest.raises(ApiError, match=message) as caught:
        world.group.register([B, request_])
    assert caught.value.code == code
    assert world.states() == {}, "a rejected request registers nothing"


def test_a_public_address_of_the_vpcs_own_subnet_is_allowed() -> None:
    world = World()
    world.group.register([TargetRequest(id="203.0.113.9")])
    assert list(world.states()) == ["203.0.113.9:5432"]


def test_rejects_a_target_of_a_full_group() -> None:
    world = World()
    world.group.register([replace(A, port=port) for port in range(1, 1001)])
    world.group.register([replace(A, port=1)])
    with pytest.raises(ApiError) as caught:
        world.group.register([B])
    assert caught.value.code == "TooManyTargets"


def to(*networks: str, port: int = 5432) -> OutboundRules:
    return frozenset(
        OutboundRule(protocol="tcp", ports=(port, port), network=IPv4Network(network))
        for network in networks
    )


CLOSED = replace(SETTINGS, outbound=to(), rule_delay=1.0, timeout=4.0)
OPEN = replace(CLOSED, outbound=to("10.0.1.11/32"))


def test_the_checks_of_a_closed_target_fail_after_the_time_out_without_a_packet() -> None:
    world = World(settings=CLOSED)
    world.group.register([A])
    world.run(98.5)
    assert world.state() == ("initial", "Elb.InitialHealthChecking")
    world.run(0.5)
    assert world.state() == ("unhealthy", "Target.FailedHealthChecks")
    assert world.probed == []


def test_an_opened_target_is_healthy_after_the_delay_and_two_checks() -> None:
    world = World(settings=CLOSED)
    world.group.register([A, B])
    world.run(94.5)  # the second check is due at 95 s, and the rule takes effect at 95.5 s
    world.group.configure(OPEN)
    world.run(10.0)
    assert world.state(A) == ("unhealthy", "Target.FailedHealthChecks")
    world.run(0.5)
    assert world.state(A) == ("healthy", None)
    assert world.state(B)[0] == "unhealthy"
    assert world.probed == [(A.id, 5432)] * 2


def test_a_closed_target_stays_healthy_until_two_checks_have_timed_out() -> None:
    world = World(settings=OPEN)
    world.group.register([A])
    world.run(95.0)
    world.group.configure(CLOSED)
    (health,) = world.group.describe()
    assert health.allowed
    world.run(1.0)
    (health,) = world.group.describe()
    assert not health.allowed
    world.run(12.5)
    assert world.state() == ("healthy", None)
    world.run(0.5)
    assert world.state()[0] == "unhealthy"


def test_a_time_out_as_long_as_the_interval_delays_no_later_result() -> None:
    world = World(settings=replace(CLOSED, timeout=5.0, healthy_threshold=1))
    world.group.register([A])
    world.run(94.0)
    world.group.configure(replace(OPEN, timeout=5.0, healthy_threshold=1))
    world.run(1.0)
    assert world.state() == ("healthy", None)
    world.run(10.0)
    assert world.state() == ("healthy", None)


def test_the_rules_allow_the_target_and_its_health_check_port_separately() -> None:
    world = World(settings=replace(OPEN, health_check_port=8008))
    world.group.register([A])
    world.run(100.0)
    (health,) = world.group.describe()
    assert (health.state, health.allowed) == ("unhealthy", True)


def test_the_rules_of_a_load_balancer_are_in_effect_when_it_begins_to_use_the_group() -> None:
    world = World(settings=replace(SETTINGS, enabled_zones=None))
    world.group.register([A])
    world.group.configure(CLOSED)
    (health,) = world.group.describe()
    assert not health.allowed


def test_a_target_that_is_not_registered_is_not_allowed() -> None:
    (health,) = World().group.describe([A])
    assert not health.allowed
