"""The bench's computed target group and outbound rules are the lab's, without its ticks."""

import math
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.emulator.outbound_rules import OutboundRule, OutboundRules
from lab.emulator.target_group import EmulatedTargetGroup, GroupSettings, TargetRequest
from lab.simulation.outbound_rules import ComputedRules
from lab.simulation.target_group import CLOSED, Checks, ComputedGroup, Port
from target_sync import model
from target_sync.model import IPAddress, SwitchState, Target, TargetState

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
    st.tuples(
        st.sampled_from(["register", "deregister", "open", "close"]),
        st.sets(st.sampled_from(TARGETS)),
    ),
    max_size=12,
)
EVERYTHING = OutboundRule(protocol="-1", ports=None, network=IPv4Network("0.0.0.0/0"))


def is_open(port: Port, now: float) -> bool:
    return port.open_at_first ^ (sum(turn <= now for turn in port.turns) % 2 == 1)


def rules_for(targets: frozenset[Target]) -> OutboundRules:
    return frozenset(
        OutboundRule(protocol="tcp", ports=(t.port, t.port), network=IPv4Network(str(t.address)))
        for t in targets
    )


@dataclass
class Pair:
    """Both models of one group, and the time that they share."""

    ports: dict[IPAddress, Port]
    registration_seconds: float
    deregistration_delay: float
    checks: Checks
    rule_delay: float = 0.0
    limited: bool = False
    now: float = 0.0
    computed: ComputedGroup = field(init=False)
    rules: ComputedRules = field(init=False)
    emulated: EmulatedTargetGroup = field(init=False)

    def __post_init__(self) -> None:
        self.computed = ComputedGroup(
            now=lambda: self.now,
            ports=self.ports,
            registration_seconds=lambda: self.registration_seconds,
            checks=self.checks,
            deregistration_delay=self.deregistration_delay,
        )
        self.rules = ComputedRules(
            now=lambda: self.now,
            group=self.computed,
            propagation_seconds=lambda: self.rule_delay,
            wide=Port(open_at_first=not self.limited),
        )
        self.emulated = EmulatedTargetGroup(
            self.settings,
            clock=lambda: self.now,
            probe=lambda address, _: is_open(self.ports[address], self.now),
        )

    @property
    def settings(self) -> GroupSettings:
        open_rules = rules_for(self.rules.opened) or frozenset()
        return GroupSettings(
            port=PORT,
            subnets={IPv4Network("10.0.1.0/24"): "a"},
            enabled_zones=frozenset("a"),
            registration_delay=self.registration_seconds,
            interval=self.checks.interval,
            timeout=self.checks.timeout,
            healthy_threshold=self.checks.healthy_threshold,
            unhealthy_threshold=self.checks.unhealthy_threshold,
            deregistration_delay=self.deregistration_delay,
            outbound=open_rules if self.limited else open_rules | {EVERYTHING},
            rule_delay=self.rule_delay,
        )

    def change(self, operation: str, targets: set[Target]) -> None:
        ordered = sorted(targets, key=str)
        if operation in {"open", "close"}:
            getattr(self.rules, operation)(ordered)
            self.emulated.configure(self.settings)
            return
        requests = [TargetRequest(id=str(t.address), port=t.port) for t in targets]
        getattr(self.emulated, operation)(requests)
        getattr(self.computed, operation)(ordered)

    def states(self) -> tuple[dict[str, object], dict[str, object]]:
        return (
            {
                health.id: (health.state.value, health.allowed)
                for health in self.emulated.describe()
            },
            {
                str(health.target.address): (
                    health.state.value,
                    self.rules.allowed(health.target).is_open(self.now),
                )
                for health in self.computed.describe().targets
            },
        )


seconds = st.integers(0, 60).map(lambda n: TICK * n)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    servers: dict[IPAddress, Port] = {address: draw(ports) for address in ADDRESSES}
    interval = draw(st.sampled_from([1.0, 5.0]))
    checks = Checks(
        interval=interval,
        timeout=TICK * draw(st.integers(0, int(interval / TICK))),
        healthy_threshold=draw(st.integers(1, 3)),
        unhealthy_threshold=draw(st.integers(1, 3)),
    )
    registration, deregistration, rule_delay = draw(st.tuples(seconds, seconds, seconds))
    return Pair(
        servers, registration, deregistration, checks, rule_delay, limited=draw(st.booleans())
    )


@settings(max_examples=150)
@given(pair=pairs(), made=changes)
def test_the_computed_group_is_at_every_moment_what_the_emulated_one_is(
    pair: Pair, made: dict[int, tuple[str, set[Target]]]
) -> None:
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


def closed_pair(rule_delay: float = 1.0) -> Pair:
    """A pair with one target that listens, and whose rule is closed."""
    server = Port(open_at_first=True)
    pair = Pair({ADDRESSES[0]: server}, 3.0, 0.0, Checks(), rule_delay, limited=True)
    pair.change("register", {TARGETS[0]})
    return pair


def test_new_connections_reach_a_target_while_it_is_healthy_and_open() -> None:
    pair = closed_pair(rule_delay=2.0)
    pair.now = 10.0
    pair.change("open", {TARGETS[0]})
    pair.now = 31.0
    pair.change("close", {TARGETS[0]})

    (stay,) = pair.computed.stays
    # The checks are at 3, 8, 13 s …: blocked until 12 s and from 33 s on.
    assert stay.turns == ((12.0, "unhealthy"), (18.0, "healthy"), (42.0, "unhealthy"))
    assert stay.healthy_spans() == [(18.0, 42.0)]
    assert stay.connectable_spans() == [(18.0, 33.0)]


def test_a_deregistered_target_is_unreachable_before_its_rule_closes() -> None:
    pair = closed_pair()
    pair.rules.put(TARGETS[:1])
    pair.now = 20.0
    pair.change("close", {TARGETS[0]})
    pair.change("deregister", {TARGETS[0]})

    assert pair.computed.stays[0].connectable_spans() == [(8.0, 20.0)]


def test_a_target_that_was_put_open_is_open_from_the_start() -> None:
    pair = closed_pair()
    pair.rules.put(TARGETS[:1])

    assert pair.rules.describe() == model.OutboundRules(frozenset(TARGETS[:1]))
    assert pair.computed.stays[0].healthy_spans() == [(8.0, math.inf)]
    assert pair.rules.allowed(TARGETS[1]) == CLOSED


def test_a_change_that_overtakes_an_older_one_replaces_it() -> None:
    pair = closed_pair(rule_delay=5.0)
    pair.change("open", {TARGETS[0]})
    pair.now, pair.rule_delay = 1.0, 2.0
    pair.change("close", {TARGETS[0]})
    assert pair.rules.allowed(TARGETS[0]).turns == ()

    pair.change("open", {TARGETS[0]})
    assert pair.rules.allowed(TARGETS[0]).turns == (3.0,)


def test_a_wide_group_makes_the_rules_ineffective_from_its_moment_on() -> None:
    group = ComputedGroup(now=lambda: 0.0, ports={}, registration_seconds=lambda: 0.0)
    rules = ComputedRules(
        now=lambda: 0.0,
        group=group,
        propagation_seconds=lambda: 1.0,
        wide=Port(open_at_first=False, turns=(50.0,)),
    )
    group.put(TARGETS[0], 0.0)
    rules.open([TARGETS[1]])

    assert rules.allowed(TARGETS[0]).turns == (50.0,)
    assert group.stays[0].allowed.turns == (50.0,)
    assert rules.allowed(TARGETS[1]).turns == (1.0,)


def test_calls_are_counted_as_the_adapter_makes_them() -> None:
    rules = closed_pair().rules

    rules.open([])
    assert (rules.calls, rules.changes) == (0, [])
    rules.open(TARGETS[:2])
    rules.open(TARGETS[:1])
    rules.close(TARGETS[:1])
    rules.describe()
    assert rules.calls == 4
    rules.mark(SwitchState.UNPROVEN)
    assert rules.calls == 5
    rules.mark(SwitchState.PROVEN)
    assert (rules.calls, rules.describe().state) == (7, SwitchState.PROVEN)
    assert rules.changes == [
        (0.0, TARGETS[0], True),
        (0.0, TARGETS[1], True),
        (0.0, TARGETS[0], False),
    ]
