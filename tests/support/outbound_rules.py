"""Outbound rules in memory, which limit what a fake target group's load balancer reaches."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address

from target_sync.errors import AwsCallError
from target_sync.model import OutboundRules, SwitchState, Target
from tests.support.clock import FakeClock
from tests.support.scenario import FakeTargetGroup, target


class FakeOutboundRules:
    """Implements ``target_sync.ports.OutboundRulesPort`` in memory.

    Attributes:
        delay: The seconds until a change limits the health checks.
        most: The highest number of rules.
        is_effective: Whether the rules limit anything; they do not if another group allows more.
        calls: The number of calls of each operation.
        history: Every call that changes rules, with its targets, in order.
        faults: The errors that the next calls of an operation raise, one each; None for none.
        lost_replies: The same, but raised after the change is made.
    """

    def __init__(self, clock: FakeClock, *open_targets: Target, delay: float = 1.0) -> None:
        self.delay = delay
        self.most = 60
        self.is_effective = True
        self.state = SwitchState.UNPROVEN
        self.open_targets = frozenset(open_targets)
        self.calls: Counter[str] = Counter()
        self.history: list[tuple[str, tuple[Target, ...]]] = []
        self.faults: dict[str, list[AwsCallError | None]] = {}
        self.lost_replies: dict[str, list[AwsCallError | None]] = {}
        self._clock = clock
        self._changes = [(0.0, self.open_targets)]

    def describe(self) -> OutboundRules:
        self._called("DescribeSecurityGroupRules")
        return OutboundRules(self.open_targets, self.state)

    def open(self, targets: Sequence[Target]) -> None:
        def change() -> None:
            opened = self.open_targets | {*targets}
            if len(opened) > self.most:
                raise AwsCallError(
                    "AuthorizeSecurityGroupEgress",
                    "RulesPerSecurityGroupLimitExceeded",
                    "The maximum number of rules per security group has been reached.",
                )
            self.set_open(opened)

        self._change("AuthorizeSecurityGroupEgress", targets, change)

    def close(self, targets: Sequence[Target]) -> None:
        self._change(
            "RevokeSecurityGroupEgress",
            targets,
            lambda: self.set_open(self.open_targets - {*targets}),
        )

    def mark(self, state: SwitchState) -> None:
        self._change("mark", (), lambda: setattr(self, "state", state))

    def set_open(self, targets: Iterable[Target]) -> None:
        """Let exactly these targets be open, without a call."""
        self.open_targets = frozenset(targets)
        self._changes.append((self._clock.now(), self.open_targets))

    def limit(self, group: FakeTargetGroup) -> None:
        """Let the health checks of a group reach the open targets only."""
        group.reaches = self.reaches

    def reaches(self, address: IPv4Address, port: int) -> bool:
        """Whether the load balancer reaches an address now."""
        changed_by = self._clock.now() - self.delay
        in_effect = [targets for at, targets in self._changes if at <= changed_by]
        return not self.is_effective or target(address, port) in in_effect[-1]

    def _called(self, operation: str) -> None:
        self.calls[operation] += 1
        fault = self.faults[operation].pop(0) if self.faults.get(operation) else None
        if fault is not None:
            raise fault

    def _change(
        self, operation: str, targets: Sequence[Target], change: Callable[[], None]
    ) -> None:
        if not targets and operation != "mark":
            return
        self.history.append((operation, tuple(targets)))
        self._called(operation)
        change()
        lost = self.lost_replies[operation].pop(0) if self.lost_replies.get(operation) else None
        if lost is not None:
            raise lost
