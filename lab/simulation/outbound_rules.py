"""Outbound rules whose effect on a computed target group is known for any moment.

Times are seconds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lab.simulation.target_group import CLOSED, ComputedGroup, Port
from target_sync.model import OutboundRules, SwitchState, Target, in_order


@dataclass(slots=True, kw_only=True)
class ComputedRules:
    """Implements ``target_sync.ports.OutboundRulesPort``. At first every target is closed.

    Attributes:
        now: The clock.
        group: The group that the rules limit.
        propagation_seconds: Draws the time until the next change takes effect. A change that
            overtakes an older one replaces it.
        wide: When another security group of the load balancer allows everything.
        state: What is known about the switch.
        calls: The number of calls to the EC2 API.
        changes: When each change of a rule was called, its target, and whether it opened it.
        opened: The open targets; reading them counts no call.
    """

    now: Callable[[], float]
    group: ComputedGroup
    propagation_seconds: Callable[[], float]
    wide: Port = CLOSED
    state: SwitchState = SwitchState.UNPROVEN
    calls: int = 0
    changes: list[tuple[float, Target, bool]] = field(default_factory=list)
    opened: frozenset[Target] = frozenset()
    _rules: dict[Target, Port] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.group.unruled = self.wide

    def put(self, targets: Iterable[Target]) -> None:
        """Let targets be open as if they always had been."""
        for target in targets:
            self.opened |= {target}
            self._set(target, Port(open_at_first=True))

    def allowed(self, target: Target) -> Port:
        """Return when the load balancer may connect to a target, as far as it is known now."""
        return self._rules.get(target, CLOSED).either(self.wide)

    def describe(self) -> OutboundRules:
        """Return the open targets and the state of the switch."""
        self.calls += 1
        return OutboundRules(self.opened, self.state)

    def open(self, targets: Sequence[Target]) -> None:
        """Open targets."""
        self._change(targets, frozenset(targets) - self.opened)
        self.opened |= {*targets}

    def close(self, targets: Sequence[Target]) -> None:
        """Close targets."""
        self._change(targets, self.opened & {*targets})
        self.opened -= {*targets}

    def mark(self, state: SwitchState) -> None:
        """Keep the state: a call removes the old mark, and another one adds the new one."""
        self.calls += 1 + (state is not SwitchState.UNPROVEN)
        self.state = state

    def _change(self, named: Sequence[Target], turned: frozenset[Target]) -> None:
        """Count the call, and turn the rules of some of its targets over."""
        self.calls += bool(named)
        if not turned:
            return
        now = self.now()
        effect_at = now + self.propagation_seconds()
        for target in in_order(turned):
            self.changes.append((now, target, target not in self.opened))
            rule = self._rules.get(target, CLOSED)
            kept = tuple(turn for turn in rule.turns if turn < effect_at)
            # An even number of replaced changes leaves the old value, which the new one turns.
            turns = (*kept, effect_at) if (len(rule.turns) - len(kept)) % 2 == 0 else kept
            self._set(target, Port(rule.open_at_first, turns))

    def _set(self, target: Target, rule: Port) -> None:
        self._rules[target] = rule
        self.group.limit(target, self.allowed(target))
