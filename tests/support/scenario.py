"""A connection path in memory: an endpoint with given addresses, and a target group.

The lab's emulator supplies the behaviour of the target group. The contract suite runs the same
tests over this fake and over the real adapter.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from itertools import count
from typing import TypeAlias

from lab.emulator.errors import ApiError
from lab.emulator.target_group import ALL_ZONES, EmulatedTargetGroup, GroupSettings, TargetRequest
from target_sync.errors import AwsCallError, AwsUnavailableError, TargetSyncError
from target_sync.model import (
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
    RunStatus,
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
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind
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

EVENT = SyncTrigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0013")
COMPLETED = SyncTrigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0049")
SCHEDULE = SyncTrigger(kind=TriggerKind.SCHEDULE)
MANUAL = SyncTrigger(kind=TriggerKind.MANUAL, wait_for_healthy=False)


def target(address: object, port: int = PORT) -> Target:
    """Return the target at an address, which may be a text."""
    return Target(ip_address(str(address)), port)


#: The calls of every failover from the first address to the second.
FROM_A_TO_B = [("RegisterTargets", (str(target(B)),)), ("DeregisterTargets", (str(target(A)),))]


def throttled(operation: str) -> AwsUnavailableError:
    """Return the error that the adapter raises when AWS throttles a call."""
    return AwsUnavailableError(operation, "ThrottlingException", "Rate exceeded")


class FakeTargetGroup:
    """Implements ``target_sync.ports.TargetGroupPort`` in memory.

    Attributes:
        listening: The addresses and ports that accept connections, and so pass health checks.
        calls: The number of calls of each operation.
        history: Every call with its targets, in order.
        call_times: The time of each call in ``history``.
        faults: The errors that the next calls of an operation raise, one each; None for none.
        lost_replies: The same, but raised after the change is made.
        fewest_registered: The smallest number of registered targets after any of our changes.
        reaches: Whether the load balancer may connect to an address and a port.
        effective_after: The seconds until a registration takes effect; infinity for never.
    """

    def __init__(self, clock: FakeClock, *, registration_seconds: float = 0.0) -> None:
        self.listening: set[tuple[IPv4Address, int]] = set()
        self.calls: Counter[str] = Counter()
        self.history: list[tuple[str, tuple[Target, ...]]] = []
        self.call_times: list[float] = []
        self.effective_after = 0.0
        self._late: list[tuple[float, Sequence[Target]]] = []
        self._clock = clock
        self.faults: dict[str, list[AwsCallError | None]] = {}
        self.lost_replies: dict[str, list[AwsCallError | None]] = {}
        self.fewest_registered: int | None = None
        self.reaches: Callable[[IPv4Address, int], bool] = lambda _, __: True
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
            probe=lambda *at: at in self.listening and self.reaches(*at),
        )
        clock.every_tick(self._register_late)
        clock.every_tick(self.model.run_health_checks)

    def describe(self) -> TargetGroup:
        self._called("DescribeTargetHealth", ())
        return self.snapshot()

    def register(self, targets: Sequence[Target]) -> None:
        self._called("RegisterTargets", targets)
        if self.effective_after:
            self._late.append((self._clock.now() + self.effective_after, targets))
            return
        self._change("RegisterTargets", self.model.register, targets)

    def deregister(self, targets: Sequence[Target]) -> None:
        self._called("DeregisterTargets", targets)
        self._change("DeregisterTargets", self.model.deregister, targets)

    def snapshot(self) -> TargetGroup:
        """Return the group as AWS lists it, without counting a call."""
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

    def register_externally(self, *targets: Target) -> None:
        """Register targets outside any run."""
        self.model.register([_request(t) for t in targets])

    def deregister_externally(self, *targets: Target) -> None:
        """Deregister targets outside any run."""
        self.model.deregister([_request(t) for t in targets])

    def _register_late(self) -> None:
        now = self._clock.now()
        for _, targets in (it for it in self._late if it[0] <= now):
            self._change("RegisterTargets", self.model.register, targets)
        self._late = [it for it in self._late if it[0] > now]

    def _called(self, operation: str, targets: Sequence[Target]) -> None:
        self.calls[operation] += 1
        self.history.append((operation, tuple(targets)))
        self.call_times.append(self._clock.now())
        fault = self.faults[operation].pop(0) if self.faults.get(operation) else None
        if fault is not None:
            raise fault

    def _change(
        self,
        operation: str,
        change: Callable[[Sequence[TargetRequest]], None],
        targets: Sequence[Target],
    ) -> None:
        try:
            change([_request(t) for t in targets])
        except ApiError as error:
            raise AwsCallError(operation, error.code, str(error)) from error
        count = len(self.snapshot().registered)
        fewest = self.fewest_registered
        self.fewest_registered = count if fewest is None else min(fewest, count)
        lost = self.lost_replies[operation].pop(0) if self.lost_replies.get(operation) else None
        if lost is not None:
            raise lost


def _request(target: Target) -> TargetRequest:
    inside = any(target.address in subnet for subnet in VPC_SUBNETS)
    zone = None if inside else ALL_ZONES
    return TargetRequest(id=str(target.address), port=target.port, availability_zone=zone)


class FakeEndpoint:
    """Implements ``target_sync.ports.Endpoint`` with the addresses that a test sets.

    Attributes:
        stale: The addresses of the next observations, before ``addresses`` applies.
    """

    def __init__(self, clock: FakeClock, *, ttl: int | None = 5) -> None:
        self._clock = clock
        self.addresses: frozenset[object] = frozenset()
        self.ttl = ttl
        self.failure: LookupFailure | None = None
        self.queries = 0
        self.stale: list[frozenset[object]] = []

    def set_addresses(self, *addresses: object) -> None:
        self.addresses, self.failure = frozenset(addresses), None

    def set_failure(self, failure: LookupFailure) -> None:
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
        current = self.stale.pop(0) if self.stale else self.addresses
        return Observation(
            name=ENDPOINT_NAME,
            addresses=frozenset(ip_address(str(address)) for address in current),
            source="dns",
            ttl=self.ttl,
            at=self._clock.now(),
        )


@dataclass
class FakeReporter:
    """Implements ``target_sync.reconcile.reconciler.RunReporter`` and keeps the results."""

    results: list[SyncResult] = field(default_factory=list)
    iterations: int = 0

    def report_iteration(self, run: RunState) -> None:
        self.iterations = run.iterations

    def report(self, result: SyncResult) -> None:
        self.results.append(result)


#: A run that shares the clock with others (``Reconciler.run_in_steps``).
SteppedRun: TypeAlias = Generator[float, None, SyncResult]


class Scenario:
    """A database, its endpoint, its target group, the reconciler, and a client.

    Attributes:
        expected_servers: The servers that the client should reach.
        killed_runs: The number of runs that ended without a report.
        started_at: When the target group was ready and the scenario began.
    """

    def __init__(
        self,
        *registered: object,
        addresses: Sequence[object] | None = None,
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
        addresses = registered if addresses is None else addresses
        self.expected_servers: frozenset[IPAddress] = _addresses(addresses)
        self.killed_runs = 0
        self.group.register_externally(*(target(address, policy.port) for address in registered))
        self.endpoint.set_addresses(*addresses)
        self.set_listening(*(registered if listening is None else listening))
        self.clock.advance(REGISTRATION_SECONDS + 20)
        self.started_at = self.clock.now()
        self.client = FakeClient(
            self.clock,
            group=self.group.snapshot,
            listening=lambda: {at for at in self.group.listening if self.group.reaches(*at)},
            expected_servers=lambda: self.expected_servers,
        )

    def use_endpoint(self, endpoint: Endpoint) -> None:
        """Observe this endpoint from now on."""
        self.reconciler = replace(self.reconciler, endpoint=endpoint)

    def set_listening(self, *addresses: object) -> None:
        """Let exactly these addresses accept connections on the database's port."""
        port = self.reconciler.policy.port
        self.group.listening = {(IPv4Address(str(address)), port) for address in addresses}

    def promote(self, to: object) -> None:
        """Promote another server: only it accepts connections. DNS does not change."""
        self.expected_servers = _addresses([to])
        self.set_listening(to)

    def fail_over(self, to: object) -> None:
        """Promote another server and change DNS at the same time."""
        self.endpoint.set_addresses(to)
        self.promote(to)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after a delay."""
        self.clock.at(self.clock.now() + seconds, action)

    @property
    def elapsed(self) -> float:
        """Return the seconds since the scenario began."""
        return self.clock.now() - self.started_at

    def run(self, trigger: SyncTrigger, *, remaining_seconds: float = 600.0) -> SyncResult:
        return self.reconciler.run(trigger, remaining_seconds=remaining_seconds, age_seconds=0.0)

    def follow(self, trigger: SyncTrigger, *, repeats: bool = False) -> SyncResult:
        """Run, and check that the run replaces A by B and ends in sync; calls may be repeated."""
        result = self.run(trigger)
        assert result.status is RunStatus.SYNCED
        assert (list(dict.fromkeys(self.changes)) if repeats else self.changes) == FROM_A_TO_B
        return result

    def run_in_steps(self, trigger: SyncTrigger, endpoint: Endpoint | None = None) -> SteppedRun:
        """Return a run for ``run_concurrently``, optionally with another endpoint."""
        reconciler = replace(self.reconciler, endpoint=endpoint or self.reconciler.endpoint)
        return reconciler.run_in_steps(trigger, remaining_seconds=600.0, age_seconds=0.0)

    def run_concurrently(
        self, *starts: tuple[float, SteppedRun]
    ) -> list[SyncResult | TargetSyncError]:
        """Interleave runs, each after its delay in seconds, and return how each one ended."""
        sequence = count()
        now = self.clock.now()
        due = [(now + seconds, next(sequence), n) for n, (seconds, _) in enumerate(starts)]
        heapq.heapify(due)
        ends: dict[int, SyncResult | TargetSyncError] = {}
        while due:
            resume_at, _, n = heapq.heappop(due)
            self.clock.sleep_until(resume_at)
            try:
                heapq.heappush(due, (next(starts[n][1]), next(sequence), n))
            except StopIteration as end:
                ends[n] = end.value
            except TargetSyncError as error:
                ends[n] = error
        return [ends[n] for n in range(len(starts))]

    def run_until_killed(self, condition: Callable[[], bool], trigger: SyncTrigger) -> None:
        """Run, and stop at the first wait at which the condition holds, as a time-out does."""
        run = self.run_in_steps(trigger)
        for resume_at in run:
            if condition():
                run.close()
                self.killed_runs += 1
                return
            self.clock.sleep_until(resume_at)
        raise AssertionError("the run ended before the condition held")

    def run_until_killed_after(self, operation: str, trigger: SyncTrigger) -> None:
        """Run, and stop at the first wait after a call of this operation."""
        before = self.group.calls[operation]
        self.run_until_killed(lambda: self.group.calls[operation] > before, trigger)

    @property
    def registered(self) -> set[str]:
        """Return the registered targets as texts."""
        return {str(t) for t in self.group.snapshot().registered}

    @property
    def changes(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return every call that registers or deregisters, in order."""
        return [
            (operation, tuple(str(t) for t in targets))
            for operation, targets in self.group.history
            if operation != "DescribeTargetHealth"
        ]


def _addresses(listed: Sequence[object]) -> frozenset[IPAddress]:
    return frozenset(ip_address(str(address)) for address in listed)
