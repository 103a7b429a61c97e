"""A target group whose registered targets are those that the load balancer may reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from target_sync.model import SwitchState, SyncPolicy, Target, TargetGroup
from target_sync.ports import OutboundRulesPort, TargetGroupPort
from target_sync.targets.pool_planner import SwitchView, targets_to_let_go


@dataclass(slots=True, kw_only=True)
class SwitchedTargetGroup:
    """A target group and its outbound rules. Implements ``target_sync.ports.TargetGroupPort``.

    *Registered* means registered and open. A run may end between any two calls, and leave a target
    that is only open or only registered. It does not count as registered, so the next run registers
    it if it is desired. If not, the refresh of the warm pool handles it.

    Attributes:
        group: The target group without the rules.
        view: The newest description, and what the descriptions before showed.
    """

    group: TargetGroupPort
    rules: OutboundRulesPort
    policy: SyncPolicy
    now: Callable[[], float]
    view: SwitchView = field(default_factory=SwitchView)

    def describe(self) -> TargetGroup:
        """Return the group without its warm targets."""
        at = self.now()
        rules = self.rules.describe()
        self.view = self.view.after_description(self.group.describe(), rules, at)
        return self.view.serving_group

    def register(self, targets: Sequence[Target]) -> None:
        """Open targets, and then register them. A warm target needs only the first."""
        self.rules.open(targets)
        self.view = self.view.with_open(self.view.rules.open.union(targets))
        self.group.register(targets)

    def deregister(self, targets: Sequence[Target]) -> None:
        """Close targets, and then deregister those that the warm pool has no room for."""
        self.rules.close(targets)
        self.let_go(targets_to_let_go(self.view, targets, self.policy))

    def let_go(self, targets: Sequence[Target]) -> None:
        """Deregister closed targets, except those that another run has opened in between."""
        if targets:
            is_open = self.rules.describe().open
            self.group.deregister([t for t in targets if t not in is_open])

    def mark(self, state: SwitchState) -> None:
        """Keep the state of the switch with the rules."""
        self.rules.mark(state)
        self.view = self.view.with_state(state)
