"""A road in memory: an endpoint whose answer we set, and a target group as AWS documents it.

The target group's behaviour is the lab emulator's, so there is one model of it. The contract
suite runs the same expectations over this fake and over the real adapter.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from itertools import count
from typing import TypeAlias

from lab.emulator.errors import ApiError
from lab.emulator.target_group import (
    ALL_ZONES,
    EmulatedTargetGroup,
    GroupSettings,
    TargetRequest,
)
from target_sync.errors import (
    TargetGroupError,
    TargetGroupUnavailableError,
    TargetRefusedError,
    TargetSyncError,
)
from target_sync.model import (
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.ports import Endpoint, Standbys
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import Reconciler
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import Trigger, TriggerKind
from tests.support.client import FakeClient
from tests.support.clock import FakeClock

PORT = 5432
A, B, C = (ip_address(f"10.0.{n}.1{n}") for n in (1, 2, 3))
VPC_NETWORKS = (ip_network("10.0.0.0/16"),)
VPC_SUBNETS = {IPv4Network(f"10.0.{n}.0/24"): f"eu-west-1{'abc'[n - 1]}" for n in (1, 2, 3)}
POLICY = SyncPolicy(port=PORT, allowed_networks=VPC_NETWORKS)
ON_PREM = ip_address("192.168.7.20")
ENDPOINT_NAME = "orders.abc123.eu-west-1.rds.amazonaws.com"
REGISTRATION_SECONDS = 90.0

EVENT = Trigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0013")
COMPLETED = Trigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0049")
SCHEDULE = Trigger(kind=TriggerKind.SCHEDULE)
MANUAL = Trigger(kind=TriggerKind.MANUAL, wait_for_healthy=False)


def target(address: object, port: int = PORT) -> Target:
    """A target from an address or its text."""
    return Target(ip_address(str(address)), port)


def throttled(operation: str) -> TargetGroupUnavailableError:
    """What the adapter raises when AWS says slow down."""
    return TargetGroupUnavailableError(operation, "ThrottlingException", "Rate exceeded")


class FakeTargetGroup:
    """Implements ``target_sync.ports.TargetGroupPort`` in memory.

    Attributes:
        listening: The targets whose port accepts connections; health checks see it.
        calls: How often each operation was called.
        history: Every operation with its targets, in order.
        moments: When each of them was called.
        faults: Errors to raise, by operation, each once; ``lost_replies`` raise after the
            change was made.
        smallest: The fewest registered targets seen between two calls since the first.
    """

    def __init__(self, clock: FakeClock, *, registration_seconds: float = 0.0) -> None:
        self.listening: set[tuple[IPv4Address, int]] = set()
        self.calls: Counter[str] = Counter()
        self.history: list[tuple[str, tuple[Target, ...]]] = []
        self.moments: list[float] = []
        self._clock = clock
        self.faults: dict[str, list[TargetGroupError]] = {}
        self.lost_replies: dict[str, list[TargetGroupError]] = {}
        self.smallest: int | None = None
        self.model = EmulatedTargetGroup(
            GroupSettings(
                port=PORT,
                subnets=VPC_SUBNETS,
                enabled_zones=frozenset(VPC_SUBNETS.values()),
                registration_delay=registration_seconds,
                interval=5.0,
                healthy_threshold=2,
                unhealthy_threshold=2,
                deregistration_delay=20.0,
            ),
            clock=clock.now,
            probe=lambda address, port: (address, port) in self.listening,
        )
        clock.every_tick(self.model.run_health_checks)

    def describe(self) -> TargetGroup:
        self._called("DescribeTargetHealth", ())
        return self.snapshot()

    def register(self, targets: Sequence[Target]) -> None:
        self._called("RegisterTargets", targets)
        self._change("RegisterTargets", self.model.register, targets)

    def deregister(self, targets: Sequence[Target]) -> None:
        self._called("DeregisterTargets", targets)
        self._change("DeregisterTargets", self.model.deregister, targets)

    def snapshot(self) -> TargetGroup:
        """The group as AWS would list it, without counting a call."""
        return TargetGroup(
            tuple(
                TargetHealth(
                    Target(ip_address(health.id), health.port),
                    TargetState(health.state.value),
                    health.reason or "",
                )
                for health in self.model.describe()
            )
        )

    def put(self, *targets: Target) -> None:
        """Register targets as somebody else would: not one of our calls."""
        self.model.register([_request(t) for t in targets])

    def take(self, *targets: Target) -> None:
        """Deregister targets as somebody else would."""
        self.model.deregister([_request(t) for t in targets])

    def _called(self, operation: str, targets: Sequence[Target]) -> None:
        self.calls[operation] += 1
        self.history.append((operation, tuple(targets)))
        self.moments.append(self._clock.now())
        if self.faults.get(operation):
            raise self.faults[operation].pop(0)

    def _change(
        self,
        operation: str,
        change: Callable[[Sequence[TargetRequest]], None],
        targets: Sequence[Target],
    ) -> None:
        try:
            change([_request(t) for t in targets])
        except ApiError as error:
            raise TargetRefusedError(operation, error.code, str(error)) from error
        left = len(self.snapshot().registered)
        self.smallest = left if self.smallest is None else min(self.smallest, left)
        if self.lost_replies.get(operation):
            raise self.lost_replies[operation].pop(0)


def _request(target: Target) -> TargetRequest:
    inside = any(target.address in subnet for subnet in VPC_SUBNETS)
    zone = None if inside else ALL_ZONES
    return TargetRequest(id=str(target.address), port=target.port, availability_zone=zone)


class FakeEndpoint:
    """Implements ``target_sync.ports.Endpoint``: it says what it was told to say."""

    def __init__(self, clock: FakeClock, *, ttl: int | None = 5) -> None:
        self._clock = clock
        self.addresses: frozenset[object] = frozenset()
        self.ttl = ttl
        self.failure: LookupFailure | None = None
        self.queries = 0
        #: Answers to give first, before ``addresses``: a resolver with a stale cache.
        self.stale: list[frozenset[object]] = []

    def says(self, *addresses: object) -> None:
        self.addresses, self.failure = frozenset(addresses), None

    def fails(self, failure: LookupFailure) -> None:
        self.failure = failure

    def observe(self) -> Observation | FailedObservation:
        self.queries += 1
        if self.failure is not None:
            return FailedObservation(
                name=ENDPOINT_NAME,
                failure=self.failure,
                detail=f"{ENDPOINT_NAME}: {self.failure.value}",
                at=self._clock.now(),
            )
        answer = self.stale.pop(0) if self.stale else self.addresses
        return Observation(
            name=ENDPOINT_NAME,
            addresses=frozenset(ip_address(str(address)) for address in answer),
            source="dns",
            ttl=self.ttl,
            at=self._clock.now(),
        )


@dataclass
class FakeReporter:
    """Implements ``target_sync.reconcile.reconciler.Reporter``: it keeps what it is told."""

    results: list[SyncResult] = field(default_factory=list)
    iterations: int = 0

    def iterated(self, run: RunState) -> None:
        self.iterations = run.iterations

    def report(self, result: SyncResult) -> None:
        self.results.append(result)


#: A run that takes turns with others (``Synchronizer.course``).
Course: TypeAlias = Generator[float, None, SyncResult]


class Scenario:
    """A database with its endpoint, its target group, our synchronizer between them, and a client.

    Attributes:
        right: The servers that the client is to reach.
        abandoned: How many runs were killed before they could report anything.
    """

    def __init__(
        self,
        *registered: object,
        answer: Sequence[object] | None = None,
        listening: Sequence[object] | None = None,
        registration_seconds: float = REGISTRATION_SECONDS,
        watch_seconds: float = 300.0,
        dns_poll_seconds: float = 0.0,
        policy: SyncPolicy = POLICY,
        standbys: Standbys | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.endpoint = FakeEndpoint(self.clock)
        self.group = FakeTargetGroup(self.clock, registration_seconds=registration_seconds)
        self.reporter = FakeReporter()
        self.reconciler = Reconciler(
            endpoint=self.endpoint,
            target_group=self.group,
            policy=policy,
            clock=self.clock,
            reporter=self.reporter,
            watch_seconds=watch_seconds,
            dns_poll_seconds=dns_poll_seconds,
            standbys=standbys,
        )
        answer = registered if answer is None else answer
        self.right: frozenset[IPAddress] = _addresses(answer)
        self.abandoned = 0
        self.group.put(*(target(address, policy.port) for address in registered))
        self.endpoint.says(*answer)
        self.listens(*(registered if listening is None else listening))
        self.clock.advance(REGISTRATION_SECONDS + 20)
        self.began = self.clock.now()
        self.client = FakeClient(
            self.clock,
            group=self.group.snapshot,
            listening=lambda: self.group.listening,
            right=lambda: self.right,
        )

    def is_observed_by(self, endpoint: Endpoint) -> None:
        """Put another endpoint in the place of the one whose answer we set."""
        self.reconciler = replace(self.reconciler, endpoint=endpoint)

    def listens(self, *addresses: object) -> None:
        """Exactly these addresses accept connections on the database's port."""
        port = self.reconciler.policy.port
        self.group.listening = {(IPv4Address(str(address)), port) for address in addresses}

    def promotes(self, to: object) -> None:
        """Another server becomes the primary; the former does not listen. The name stays."""
        self.right = _addresses([to])
        self.listens(to)

    def fails_over(self, to: object) -> None:
        """The database moves: its name and its open port."""
        self.endpoint.says(to)
        self.promotes(to)

    def later(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen so many seconds from now."""
        self.clock.at(self.clock.now() + seconds, happens)

    @property
    def elapsed(self) -> float:
        """Seconds since the road was ready and the story began."""
        return self.clock.now() - self.began

    def run(self, trigger: Trigger, *, remaining_seconds: float = 600.0) -> SyncResult:
        return self.reconciler.run(trigger, remaining_seconds=remaining_seconds, age_seconds=0.0)

    def run_in_steps(self, trigger: Trigger, endpoint: Endpoint | None = None) -> Course:
        """A run of ours for ``play``; of a container with another resolver, if one is given."""
        ours = replace(self.reconciler, endpoint=endpoint or self.reconciler.endpoint)
        return ours.run_in_steps(trigger, remaining_seconds=600.0, age_seconds=0.0)

    def play(self, *starts: tuple[float, Course]) -> list[SyncResult | TargetSyncError]:
        """Let runs take turns between any two of their calls, from so many seconds from now.

        Returns:
            How each of them ended.
        """
        turns = count()
        now = self.clock.now()
        due = [(now + seconds, next(turns), n) for n, (seconds, _) in enumerate(starts)]
        heapq.heapify(due)
        ends: dict[int, SyncResult | TargetSyncError] = {}
        while due:
            moment, _, n = heapq.heappop(due)
            self.clock.sleep_until(moment)
            try:
                heapq.heappush(due, (next(starts[n][1]), next(turns), n))
            except StopIteration as ended:
                ends[n] = ended.value
            except TargetSyncError as error:
                ends[n] = error
        return [ends[n] for n in range(len(starts))]

    def runs_until(self, over: Callable[[], bool], trigger: Trigger) -> None:
        """Run, and die as Lambda kills a function: at the first wait at which this holds."""
        run_in_steps = self.run_in_steps(trigger)
        for moment in run_in_steps:
            if over():
                run_in_steps.close()
                self.abandoned += 1
                return
            self.clock.sleep_until(moment)
        raise AssertionError("the run ended by itself")

    def runs_until_it_calls(self, operation: str, trigger: Trigger) -> None:
        """Run, and die at the first wait after this call."""
        before = self.group.calls[operation]
        self.runs_until(lambda: self.group.calls[operation] > before, trigger)

    @property
    def registered(self) -> set[str]:
        """The registered targets, as text."""
        return {str(t) for t in self.group.snapshot().registered}

    @property
    def changes(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every change that was called for, in order."""
        return [
            (operation, tuple(str(t) for t in targets))
            for operation, targets in self.group.history
            if operation != "DescribeTargetHealth"
        ]


def _addresses(listed: Sequence[object]) -> frozenset[IPAddress]:
    return frozenset(ip_address(str(address)) for address in listed)
