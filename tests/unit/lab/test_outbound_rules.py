from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import pytest

from lab.emulator.outbound_rules import OutboundRule, OutboundRules, RulesInEffect, allowed


def rule(
    network: str, ports: tuple[int, int] | None = (5432, 5432), protocol: str = "tcp"
) -> OutboundRule:
    return OutboundRule(protocol=protocol, ports=ports, network=IPv4Network(network))


def allows(rules: OutboundRules, address: str = "10.0.1.11", port: int = 5432) -> bool:
    return allowed(rules, IPv4Address(address), port)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (rule("10.0.1.11/32"), True),
        (rule("10.0.1.12/32"), False),
        (rule("10.0.0.0/16"), True),
        (rule("10.0.1.8/30"), True),
        (rule("10.0.1.12/30"), False),
        (rule("0.0.0.0/0"), True),
        (rule("10.0.1.11/32", (5431, 5431)), False),
        (rule("10.0.1.11/32", (5433, 5433)), False),
        (rule("10.0.1.11/32", (5400, 5432)), True),
        (rule("10.0.1.11/32", (5432, 5500)), True),
        (rule("10.0.1.11/32", None), False),
        (rule("10.0.1.11/32", None, "-1"), True),
        (rule("10.0.1.12/32", None, "-1"), False),
        (rule("10.0.1.11/32", (5433, 5433), "-1"), True),
        (rule("10.0.1.11/32", protocol="6"), True),
        (rule("10.0.1.11/32", protocol="udp"), False),
        (rule("255.255.255.255/32", (252, 86), "icmp"), False),
    ],
)
def test_a_rule_allows_a_protocol_ports_and_a_network(given: OutboundRule, expected: bool) -> None:
    assert allows(frozenset({given})) is expected


def test_one_rule_of_any_group_is_enough() -> None:
    rules = frozenset({rule("10.0.1.12/32"), rule("10.0.1.11/32")})
    assert allows(rules)
    assert not allows(rules, "10.0.1.13")


def test_a_load_balancer_without_groups_is_not_limited_and_one_without_rules_reaches_nothing() -> (
    None
):
    assert allows(None)
    assert not allows(frozenset())


@dataclass
class Delayed:
    """Rules, and the clock that a test moves."""

    now: float = 0.0
    rules: RulesInEffect = field(init=False)

    def __post_init__(self) -> None:
        self.rules = RulesInEffect(lambda: self.now, frozenset())

    def current_at(self, moment: float) -> OutboundRules:
        self.now = moment
        return self.rules.current()


A, B = frozenset({rule("10.0.1.11/32")}), frozenset({rule("10.0.2.12/32")})


def test_a_change_takes_effect_after_its_delay() -> None:
    delayed = Delayed()
    delayed.rules.change(A, 2.0)
    delayed.now = 1.0
    delayed.rules.change(A, 2.0)
    assert [delayed.current_at(at) for at in (1.9, 2.0)] == [frozenset(), A]


def test_changes_take_effect_one_after_the_other() -> None:
    delayed = Delayed()
    delayed.rules.change(A, 2.0)
    delayed.now = 1.0
    delayed.rules.change(B, 2.0)
    assert [delayed.current_at(at) for at in (1.0, 2.0, 3.0)] == [frozenset(), A, B]


def test_a_change_that_was_undone_has_its_effect_and_loses_it() -> None:
    delayed = Delayed()
    delayed.rules.change(A, 2.0)
    delayed.now = 0.5
    delayed.rules.change(frozenset(), 2.0)
    assert [delayed.current_at(at) for at in (2.0, 2.5)] == [A, frozenset()]
