"""A scenario whose reconciler owns the outbound rules of the load balancer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from target_sync.model import CandidateList, IPAddress, SwitchState, SyncPolicy, Target
from target_sync.targets.switch_proof import SwitchProof
from target_sync.targets.switched_group import SwitchedTargetGroup
from target_sync.targets.warm_pool import WarmPool
from tests.support.outbound_rules import FakeOutboundRules
from tests.support.scenario import POLICY, Scenario, target

WARM_POLICY = replace(POLICY, warm_targets=5)


class FakeCandidates:
    """Implements ``target_sync.ports.Candidates`` with addresses that a test sets.

    Attributes:
        listed: The addresses that the database may move to, the most likely one first.
        failure: The failure of every listing; empty if listings succeed.
        listings: The number of listings.
    """

    def __init__(self, *listed: IPAddress) -> None:
        self.listed = listed
        self.failure = ""
        self.listings = 0

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        self.listings += 1
        if self.failure:
            return CandidateList(failure=self.failure)
        return CandidateList(addresses=tuple(a for a in self.listed if a not in serving))


class WarmScenario(Scenario):
    """A connection path whose load balancer reaches the open targets only.

    It begins when every closed target is unhealthy.

    Attributes:
        rules: The outbound rules. At first exactly the endpoint's addresses are open.
        candidates: The addresses that the database may move to; None if no API lists them.
    """

    def __init__(
        self,
        *registered: object,
        candidates: Sequence[IPAddress] | None = (),
        state: SwitchState = SwitchState.PROVEN,
        policy: SyncPolicy = WARM_POLICY,
        dns_poll_seconds: float = 5.0,
        **settings: Any,
    ) -> None:
        super().__init__(*registered, policy=policy, dns_poll_seconds=dns_poll_seconds, **settings)
        self.rules = FakeOutboundRules(
            self.clock, *(Target(a, policy.port) for a in self.expected_servers)
        )
        self.rules.state = state
        self.group.reaches = self.rules.reaches
        self.candidates = None if candidates is None else FakeCandidates(*candidates)
        self.start_container()
        self.clock.advance(15)
        self.client.refused = self.client.misrouted = 0.0
        self.started_at = self.clock.now()

    def start_container(self) -> None:
        """Run with a new memory from now on."""
        policy = self.reconciler.policy
        switched = SwitchedTargetGroup(
            group=self.group, rules=self.rules, policy=policy, now=self.clock.now
        )
        self.reconciler = replace(
            self.reconciler,
            target_group=switched,
            pool=WarmPool(
                switched=switched,
                candidates=self.candidates,
                policy=policy,
                now=self.clock.now,
            ),
            proof=SwitchProof(
                endpoint=self.reconciler.endpoint,
                group=self.group,
                rules=self.rules,
                policy=policy,
                clock=self.clock,
            ),
        )

    @property
    def serving(self) -> set[str]:
        """Return the registered and open targets as texts."""
        return self.registered & {str(t) for t in self.rules.open_targets}

    @property
    def warm(self) -> set[str]:
        """Return the registered and closed targets as texts."""
        return self.registered - {str(t) for t in self.rules.open_targets}


def texts(*addresses: object) -> set[str]:
    """Return the targets at these addresses as texts."""
    return {str(target(address)) for address in addresses}
