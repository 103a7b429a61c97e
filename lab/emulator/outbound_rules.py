"""The outbound rules that limit a Network Load Balancer, and when a change takes effect.

Sources: Network Load Balancer guide, "Update the security groups for your Network Load Balancer";
EC2 user guide, "Security group rules"; EC2 API reference, AuthorizeSecurityGroupEgress: rules take
effect "as quickly as possible. However, a small delay might occur".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

_EVERY_PROTOCOL = "-1"
_TCP = frozenset({"tcp", "6", _EVERY_PROTOCOL})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRule:
    """A rule with an IPv4 network.

    Attributes:
        protocol: A name, a number, or -1 for every protocol.
        ports: The first and the last port; None: every port.
        network: The destination.
    """

    protocol: str
    ports: tuple[int, int] | None
    network: IPv4Network

    def allows(self, address: IPv4Address, port: int) -> bool:
        """Return whether the rule allows a TCP connection."""
        if self.protocol not in _TCP or address not in self.network:
            return False
        return self.protocol == _EVERY_PROTOCOL or (
            self.ports is not None and self.ports[0] <= port <= self.ports[1]
        )


#: The rules of all security groups of a load balancer. None: it has no groups, and no limits.
OutboundRules: TypeAlias = frozenset[OutboundRule] | None


def allowed(rules: OutboundRules, address: IPv4Address, port: int) -> bool:
    """Return whether rules allow a TCP connection: one rule is enough."""
    return rules is None or any(rule.allows(address, port) for rule in rules)


@dataclass(slots=True)
class RulesInEffect:
    """The rules of a load balancer as its data plane knows them.

    Attributes:
        clock: Monotonic seconds.
        first: The rules in effect from the start.
    """

    clock: Callable[[], float]
    first: OutboundRules
    _changes: list[tuple[float, OutboundRules]] = field(default_factory=list)

    def change(self, rules: OutboundRules, delay: float) -> None:
        """Note the newest rules. They take effect after the delay, in the order of the changes."""
        if rules != (self._changes[-1][1] if self._changes else self.first):
            self._changes.append((self.clock() + delay, rules))

    def current(self) -> OutboundRules:
        """Return the rules in effect now."""
        while self._changes and self._changes[0][0] <= self.clock():
            _, self.first = self._changes.pop(0)
        return self.first
