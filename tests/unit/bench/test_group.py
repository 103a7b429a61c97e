"""The bench's computed target group is the lab's, without its ticks."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.emulator.target_group import EmulatedTargetGroup, GroupSettings, TargetRequest
from lab.simulation.target_group import Checks, ComputedGroup, Port
from target_sync.model import IPAddress, Target, TargetState

PORT = 5432
ADDRESSES = tuple(IPv4Address(f"10.0.1.{n}") for n in (1, 2, 3))
TARGETS = tuple(Target(address, PORT) for address in ADDRESSES)
TICK = 0.5
LAST_TICK = 240

ticks = st.integers(0, LAST_TICK)
ports = st.builds(
    lambda is_open, turns: Port(is_open, tuple(TICK * turn for turn in sorted(turns))),
    st.booleans(),
    st.sets(ticks, max_size=6),
)
changes = st.dictionaries(
    ticks,
    st.tuples(st.sampled_from(["register", "deregister"]), st.sets(st.sampled_from(TARGETS))),
    max_size=8,
)


def is_open(port: Port, now: float) -> bool:
    return port.open_at_first ^ (sum(turn <= now for turn in port.turns) % 2 == 1)


@dataclass
class Pair:
    """Both models of one group, and the time that they share."""

    ports: dict[IPAddress, Port]
    registration_seconds: float
    deregistration_delay: float
    checks: Checks
    now: float = 0.0
    computed: ComputedGroup = field(init=False)
    emulated: EmulatedTargetGroup = field(init=False)

    def __post_init__(self) -> None:
        self.computed = ComputedGroup(
            now=lambda: self.now,
            ports=self.ports,
            registration_seconds=lambda: self.registration_seconds,
            checks=self.checks,
            deregistration_delay=self.deregistration_delay,
        )
        self.emulated = EmulatedTargetGroup(
            GroupSettings(
                port=PORT,
                subnets={IPv4Network("10.0.1.0/24"): "a"},
                enabled_zones=frozenset("a"),
                registration_delay=self.registration_seconds,
                interval=self.checks.interval,
                healthy_threshold=self.checks.healthy_threshold,
                unhealthy_threshold=self.checks.unhealthy_threshold,
                deregistration_delay=self.deregistration_delay,
            ),
            clock=lambda: self.now,
            probe=lambda address, _: is_open(self.ports[address], self.now),
        )

    def change(self, operation: str, targets: set[Target]) -> None:
        requests = [TargetRequest(id=str(t.address), port=t.port) for t in targets]
        getattr(self.emulated, operation)(requests)
        getattr(self.computed, operation)(sorted(targets, key=str))

    def states(self) -> tuple[dict[str, str], dict[str, str]]:
        return (
            {health.id: health.state.value for health in self.emulated.describe()},
            {
                str(health.target.address): health.state.value
                for health in self.computed.describe().targets
            },
        )


@settings(max_examples=100)
@given(
    of_servers=st.tuples(ports, ports, ports),
    made=changes,
    registration=st.integers(0, 60),
    delay=st.integers(0, 40),
    checks=st.builds(
        Checks,
        interval=st.sampled_from([1.0, 5.0]),
        healthy_threshold=st.integers(1, 3),
        unhealthy_threshold=st.integers(1, 3),
    ),
)
def test_the_computed_group_is_at_every_moment_what_the_emulated_one_is(
    of_servers: tuple[Port, ...],
    made: dict[int, tuple[str, set[Target]]],
    registration: int,
    delay: int,
    checks: Checks,
) -> None:
    servers: dict[IPAddress, Port] = dict(zip(ADDRESSES, of_servers, strict=True))
    pair = Pair(servers, TICK * registration, TICK * delay, checks)
    for tick in range(LAST_TICK + 20):
        pair.now = TICK * tick
        if tick in made:
            pair.change(*made[tick])
        pair.emulated.run_health_checks()
        emulated, computed = pair.states()
        assert computed == emulated, f"at {pair.now} s"


def test_the_spans_in_which_a_target_was_healthy_are_those_that_were_described() -> None:
    server = Port(False, (12.0, 31.0, 60.0))
    pair = Pair({ADDRESSES[0]: server}, 3.0, 0.0, Checks())
    pair.change("register", {TARGETS[0]})
    described = []
    for tick in range(200):
        pair.now = TICK * tick
        if pair.now == 90:
            pair.change("deregister", {TARGETS[0]})
        states = [health.state for health in pair.computed.describe().targets]
        if states == [TargetState.HEALTHY]:
            described.append(pair.now)

    spans = pair.computed.stays[0].healthy_spans()

    assert spans == [(18.0, 38.0), (68.0, 90.0)]
    assert described == [
        TICK * t for t in range(200) if any(start <= TICK * t < end for start, end in spans)
    ]
    assert pair.computed.stays[0].healthy_from(20.0) == 20.0
    assert pair.computed.stays[0].healthy_from(40.0) == 68.0
    assert pair.computed.stays[0].healthy_from(95.0) is None
