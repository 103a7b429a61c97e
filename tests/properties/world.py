"""Replays a history: many runs of the real reconciler on one virtual clock.

Each run is a ``Reconciler.run_in_steps``. It resumes at the time that it asked for, or later if
the history freezes it, so other runs and outside changes happen between any two of its calls.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

from lab.simulation.outbound_rules import ComputedRules
from lab.simulation.target_group import ComputedGroup, Port
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    TargetSyncError,
)
from target_sync.model import (
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
    StandbyCheck,
    SyncPolicy,
    Target,
    TargetGroup,
)
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import RESERVE_SECONDS, Reconciler
from target_sync.reconcile.result import SyncResult
from tests.properties.history import TRIGGERS, Answer, FaultKind, History, Start, Switch
from tests.properties.rules import (
    CONFIRM_SECONDS,
    RuleChecker,
    assert_applied_twice_changes_nothing,
)
from tests.properties.switched import CheckedPool, Container, FaultyGroup
from tests.properties.waits import WaitChecker
from tests.support.scenario import ENDPOINT_NAME, PORT, VPC_NETWORKS

if TYPE_CHECKING:
    from target_sync.ports import TargetGroupPort

#: The duration of a slow call or a time-out, with the client's own retries.
SLOW_SECONDS = 8.0
#: How long after its reply a late registration takes effect.
LATE_SECONDS = 10.0
#: How long before the history its first targets were registered.
REGISTERED_BEFORE_SECONDS = 1_000.0
#: A step is a call or a wait. A second has at most a DNS poll, a snapshot and a change, two each.
STEPS_PER_SECOND = 6


class World:
    """The clock, the database, its DNS, its target group, and every run.

    Attributes:
        now: The time of the clock.
        journal: The time, the actor and the content of each event.
        rules: The outbound rules. Without a switch they limit nothing.
        containers: The containers that no run uses now, or that will be used again.
        changes: The number of changes of the group and of the rules.
        registrations: How often runs made each target a serving one.
        removals: How often runs removed each target from the serving ones.
        emptied: How often a run left the group without a serving target.
        changed_by: The actor of each change of the serving targets, in order.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = -REGISTERED_BEFORE_SECONDS
        self.group = ComputedGroup(
            now=lambda: self.now,
            ports=_ports(history),
            registration_seconds=lambda: history.registration_seconds,
            deregistration_delay=history.draining_seconds,
        )
        self.group.register(history.registered)
        self.rules = _rules(history.switch, self.group, lambda: self.now)
        self.rules.put(t for t in history.registered if t.port == PORT)
        self.containers: list[Container] = []
        self.changes = 0
        self.now = 0.0
        self.journal: list[tuple[float, str, object]] = []
        self.registrations: Counter[Target] = Counter()
        self.removals: Counter[Target] = Counter()
        self.emptied = 0
        self.changed_by: list[str] = []
        self.runs: list[Run] = []
        self._late: set[Target] = set()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        for drift in history.drifts:
            self._schedule(drift.at, self._drift(drift.target, registers=drift.registers))
        for start in history.runs:
            self.start(start)

    @property
    def serving(self) -> frozenset[Target]:
        """The registered targets that the load balancer may reach."""
        if self.history.switch is None:
            return self.group.registered
        return self.group.registered & self.rules.opened

    @property
    def warm(self) -> frozenset[Target]:
        """The registered targets that the load balancer may not reach."""
        return self.group.registered - self.serving

    @property
    def faults_ended(self) -> bool:
        """Whether the faults have ended."""
        return self.now >= self.history.faults_end_at

    @property
    def owned(self) -> frozenset[IPAddress]:
        """The database's own addresses, as far as a check reports them."""
        confirmed = self.history.owned.at(min(self.now, self.history.faults_end_at)).confirmed
        return frozenset() if confirmed is None else confirmed

    def start(self, start: Start) -> "Run":
        """Schedule a run."""
        run = Run(self, len(self.runs), start)
        self.runs.append(run)
        self._schedule(start.at, run.step)
        return run

    def play_until(self, until: float) -> None:
        """Process everything that is due until then."""
        while self._agenda and self._agenda[0][0] <= until:
            due, _, action = heapq.heappop(self._agenda)
            self.now = max(self.now, due)
            action()
        self.now = max(self.now, until)

    def finish_all_runs(self) -> None:
        """Freeze every run until its deadline, then let it end."""
        self.play_until(self.now)
        self._agenda.clear()
        for run in sorted(self.runs, key=lambda run: run.deadline):
            while not run.is_over:
                self.now = max(self.now, run.deadline)
                run.step()

    def resume(self, run: "Run", at: float) -> None:
        """Schedule the next step of a run."""
        self._schedule(at, run.step)

    def log(self, actor: str, content: object) -> None:
        """Add an event to the journal."""
        self.journal.append((self.now, actor, content))

    def apply(
        self, actor: str, change: Callable[[Sequence[Target]], None], targets: Sequence[Target]
    ) -> None:
        """Make a change, and count its effect on the serving targets if a run made it."""
        before = self.serving
        change(targets)
        if change == self.group.deregister:
            self._late.difference_update(targets)
        self.changes += 1
        after = self.serving
        if before == after:
            return
        self.changed_by.append(actor)
        if actor == OUTSIDE:
            return
        self.registrations.update(after - before)
        self.removals.update(before - after)
        if not after:
            self.emptied += 1

    def register_late(self, actor: str, targets: Sequence[Target]) -> None:
        """Register targets later, unless they are deregistered until then."""
        self._late.update(targets)

        def action() -> None:
            late = [target for target in targets if target in self._late]
            self.log(actor, ("registers late", *late))
            self.apply(actor, self.group.register, late)

        self._schedule(self.now + LATE_SECONDS, action)

    def journal_lines(self) -> Iterator[str]:
        """Return the journal, a line for each event."""
        for at, actor, content in self.journal:
            yield f"{at:8.2f} s  {actor:20} {_text(content)}"

    def _schedule(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), action))

    def _drift(self, target: Target, *, registers: bool) -> Callable[[], None]:
        change = self.group.register if registers else self.group.deregister

        def action() -> None:
            self.log(OUTSIDE, ("registers" if registers else "deregisters", target))
            self.apply(OUTSIDE, change, [target])

        return action


OUTSIDE = "outside"


class Run:
    """One run. It implements every port of the reconciler, with the faults of the history."""

    def __init__(self, world: World, number: int, start: Start) -> None:
        history = world.history
        self.name = f"run {number} ({start.trigger})"
        self.is_over = False
        self.started_at = start.at
        self.deadline = start.at
        self.requested: Counter[tuple[str, Target]] = Counter()
        self.first_described_at: float | None = None
        self._world = world
        self._start = start
        self._faults = {f.call: f.kind for f in history.faults if f.run == number}
        self._pauses = {p.step: p.seconds for p in history.pauses if p.run == number}
        self._steps = 0
        self._calls = 0
        self._observations = 0
        self._late = 0.0
        self._changes_seen = 0
        self.changes_described = 0
        self._group: TargetGroupPort = FaultyGroup(self, world)
        self._pool: CheckedPool | None = None
        self._described: TargetGroup | None = None
        self._rules: RuleChecker | None = None
        self._waits: WaitChecker | None = None
        self._steps_of_run: Generator[float, None, SyncResult] | None = None

    def step(self) -> None:
        """Continue until the next wait."""
        if self._steps_of_run is None:
            self._begin()
        if self._world.now > self.started_at + self._start.remaining_seconds:
            assert self._late, "the run did not end in time"
            self._end("times out")
            return
        try:
            assert self._steps_of_run is not None
            resume_at = next(self._steps_of_run)
        except StopIteration as end:
            self._release(keep=True)
            self._world.log(self.name, end.value.status)
            self.waits.check("end", self.now())
            self.waits.check_status(end.value.status)
        except TargetSyncError as error:
            self._release(keep=True)
            self._world.log(self.name, error)
            self.waits.check("failure", self.now())
        else:
            self._wait_until(resume_at)

    # Clock

    def now(self) -> float:
        return self._world.now

    def sleep_until(self, at: float) -> None:
        raise AssertionError(f"a stepped run must not sleep, until {at}")

    # Endpoint

    def observe(self) -> Observation | FailedObservation:
        group, self._described = self._described, None
        if group is None:
            self.waits.check("poll", self.now())
        fault = self.next_fault()
        sources, resolvers = self._world.history.sources, self._start.resolvers
        resolver = resolvers[self._observations % len(resolvers)]
        self._observations += 1
        answer, ttl = sources.answer_of(resolver, self.now())
        second = sources.second_at(self.now())
        if self._world.faults_ended:
            answer = self._world.history.final_addresses
            second = answer if sources.second is not None else None
        if fault is FaultKind.SLOW:
            self._take_long()
        elif fault in _LOOKUP_FAILURES:
            answer = _LOOKUP_FAILURES[fault]
        has_second = sources.second is not None
        observation = _observation(answer, ttl, second, self.now(), has_second=has_second)
        if isinstance(observation, Observation):
            at = min(self.now(), self._world.history.faults_end_at)
            observation = replace(observation, aliases=sources.aliases_of(resolver, at))
        self._world.log(self.name, ("observes", answer, "second", second, "TTL", ttl))
        self._check_observation(group, observation)
        return observation

    def _check_observation(
        self, group: TargetGroup | None, observation: Observation | FailedObservation
    ) -> None:
        rules = self.rules
        if group is not None:
            rules.on_snapshot(group, observation)
        if isinstance(observation, FailedObservation):
            rules.on_failure()
            retryable = observation.failure is not LookupFailure.ACCESS_DENIED
            self.waits.after_failure(observation.at, retryable=retryable)
        elif group is None:
            same = observation.says_the_same(rules.newest)
            rules.on_poll(observation)
            self.waits.after_poll(same=same)

    # TargetGroupPort

    def describe(self) -> TargetGroup:
        self.waits.check("snapshot", self.now())
        try:
            group = self._described = self._group.describe()
        except AwsCallError as error:
            self._failed(error)
        self.changes_described = self._world.changes
        if self.first_described_at is None:
            self.first_described_at = self.now()
        self._changes_seen = len(self._world.changed_by)
        self._world.log(self.name, ("describes", group))
        return group

    def register(self, targets: Sequence[Target]) -> None:
        self._world.log(self.name, ("registers", *targets))
        self.waits.check("change", self.now())
        self.rules.check_registration(targets, self.now())
        self.requested.update(("RegisterTargets", target) for target in targets)
        try:
            self._group.register(targets)
        except AwsCallError as error:
            self._failed(error)
        self.rules.on_change(added=targets)
        self.waits.after_registration(self.now())

    def deregister(self, targets: Sequence[Target]) -> None:
        self._world.log(self.name, ("deregisters", *targets))
        self.waits.check("change", self.now())
        self.rules.check_deregistration(targets, self.now())
        self.requested.update(("DeregisterTargets", target) for target in targets)
        try:
            self._group.deregister(targets)
        except AwsCallError as error:
            self._failed(error)
        finally:
            others = set(self._world.changed_by[self._changes_seen :]) - {self.name}
            assert self._world.serving or others, "emptied the group"
        self.rules.on_change(removed=targets)
        self.waits.after_deregistration()

    # Standbys

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        fails = self.next_fault() not in (None, FaultKind.SLOW)
        unknown = self._world.history.owned.at(self.now()).confirmed is None
        if fails or (unknown and not self._world.faults_ended):
            check = StandbyCheck(failure="DescribeNetworkInterfaces failed")
        else:
            check = StandbyCheck(confirmed=self._world.owned & addresses)
        self._world.log(self.name, ("finds confirmed", check.confirmed))
        self.rules.on_standby_check(addresses, check)
        return check

    # Reporter

    def report_iteration(self, run: RunState) -> None:
        assert_applied_twice_changes_nothing(run)
        if run.plan is not None:
            self.waits.after_snapshot()

    def report(self, result: SyncResult) -> None:
        assert result.to_document()["status"] == result.status.value
        self.rules.check_known(result.run.tracks.registered)
        self.waits.check_times(result.run)

    @property
    def rules(self) -> RuleChecker:
        assert self._rules is not None
        return self._rules

    @property
    def waits(self) -> WaitChecker:
        assert self._waits is not None
        return self._waits

    def _begin(self) -> None:
        history, trigger = self._world.history, TRIGGERS[self._start.trigger]
        self.started_at = self.now()
        self.deadline = self.started_at + self._start.remaining_seconds - RESERVE_SECONDS
        self._rules = RuleChecker(history, dry_run=trigger.dry_run, deadline=self.deadline)
        self._waits = WaitChecker(self._rules, history, trigger, self.started_at)
        policy = SyncPolicy(
            port=PORT,
            allowed_networks=VPC_NETWORKS,
            max_targets=history.max_targets,
            serving_standby=history.serving_standby,
            warm_targets=history.switch.warm_targets if history.switch else 0,
            confirm_seconds=CONFIRM_SECONDS,
        )
        if history.switch is not None:
            self._pool = CheckedPool(self, self._world, history.switch, policy)
            self._group = self._pool.switched
        pool: Any = self._pool
        reconciler = Reconciler(
            endpoint=self,
            target_group=self,
            policy=policy,
            clock=self,
            reporter=self,
            watch_seconds=history.watch_seconds,
            dns_poll_seconds=history.dns_poll_seconds,
            standbys=self if history.serving_standby else None,
            pool=pool,
        )
        self._steps_of_run = reconciler.run_in_steps(
            trigger, remaining_seconds=self._start.remaining_seconds, age_seconds=0.0
        )

    def _wait_until(self, resume_at: float) -> None:
        now = self.now()
        due = self.waits.next
        assert resume_at <= max(now, due.at) + 1e-6, f"waits until {resume_at} for {due}"
        self._steps += 1
        elapsed = now - self.started_at
        assert self._steps <= STEPS_PER_SECOND * (elapsed + 2.0), "too many steps"
        wake_at = max(resume_at, now + self._world.history.call_seconds)
        if not self._world.faults_ended and self._steps in self._pauses:
            seconds = self._pauses[self._steps]
            if seconds is None:
                self._end("crashes")
                return
            frozen_until = min(wake_at + seconds, max(wake_at, self._world.history.faults_end_at))
            self._late += frozen_until - wake_at
            wake_at = frozen_until
        self._world.resume(self, wake_at)

    def _end(self, reason: str) -> None:
        assert self._steps_of_run is not None
        self._steps_of_run.close()
        self._release(keep=False)
        self._world.log(self.name, reason)

    def _release(self, *, keep: bool) -> None:
        self.is_over = True
        if self._pool is not None:
            self._pool.release(keep=keep)

    def next_fault(self, operation: str = "") -> FaultKind | None:
        """Return the fault of the next call, if it has one and the operation can have it."""
        self._calls += 1
        fault = self._faults.get(self._calls)
        if fault is None or operation not in _ONLY_OF.get(fault, {operation}):
            return None
        lasts = _LASTING.get(fault, 0.0)
        return fault if self.now() + lasts < self._world.history.faults_end_at else None

    def _take_long(self) -> None:
        self._late += SLOW_SECONDS
        self._world.now += SLOW_SECONDS

    def fail_before(self, operation: str) -> None:
        """Raise the error of the next call if it has no effect. Its reply may be lost too."""
        self._raise(operation, self.next_fault())

    def _raise(self, operation: str, fault: FaultKind | None) -> None:
        if fault in (FaultKind.TIMED_OUT, FaultKind.SLOW):
            self._take_long()
        if fault is FaultKind.DENIED:
            raise AwsAccessDeniedError(operation, "AccessDenied", "not allowed")
        if fault not in (None, FaultKind.SLOW):
            raise AwsUnavailableError(operation, "Throttling", str(fault))

    def _failed(self, error: AwsCallError) -> NoReturn:
        self.rules.on_failure()
        self.waits.after_failure(self.now(), retryable=error.retryable)
        raise error

    def change(
        self, operation: str, change: Callable[[Sequence[Target]], None], targets: Sequence[Target]
    ) -> None:
        """Make a call that changes the group or the rules."""
        self._world.log(self.name, (operation, *targets))
        fault = self.next_fault(operation)
        lost = fault is FaultKind.LOST_REPLY
        if fault is FaultKind.IGNORED:
            return
        if fault is FaultKind.LATE:
            self._world.register_late(self.name, targets)
            return
        self._raise(operation, None if lost else fault)
        self._world.apply(self.name, change, targets)
        if lost:
            raise AwsUnavailableError(operation, "RequestTimeout", str(fault))


def _text(content: object) -> str:
    if isinstance(content, tuple):
        return " ".join(map(_text, content))
    if isinstance(content, TargetGroup):
        return ", ".join(f"{t.target} {t.state.value}" for t in content.targets) or "nothing"
    if isinstance(content, frozenset):
        return "{" + ", ".join(sorted(map(str, content))) + "}"
    return str(content)


def _ports(history: History) -> dict[IPAddress, Port]:
    """Return when each address accepts connections. Nothing changes after the faults."""
    listening = history.listening
    changes = [c for c in listening.changes if c[0] <= history.faults_end_at]
    ports = {}
    for address in listening.first.union(*(value for _, value in changes)):
        is_open, turns = address in listening.first, []
        for at, value in changes:
            if (address in value) is not is_open:
                is_open = not is_open
                turns.append(at)
        ports[address] = Port(address in listening.first, tuple(turns))
    return ports


def _rules(switch: Switch | None, group: ComputedGroup, now: Callable[[], float]) -> ComputedRules:
    """Return the rules of a switch. Without one, they allow everything."""
    if switch is None:
        wide = Port(open_at_first=True)
        return ComputedRules(now=now, group=group, propagation_seconds=lambda: 0.0, wide=wide)
    turns = () if switch.wide_from is None else (switch.wide_from,)
    return ComputedRules(
        now=now,
        group=group,
        propagation_seconds=lambda: switch.propagation_seconds,
        wide=Port(open_at_first=False, turns=turns),
        state=switch.state,
    )


_LASTING = {
    FaultKind.TIMED_OUT: SLOW_SECONDS,
    FaultKind.SLOW: SLOW_SECONDS,
    FaultKind.LATE: LATE_SECONDS,
}
_ONLY_OF = {
    FaultKind.IGNORED: {"RegisterTargets", "DeregisterTargets"},
    FaultKind.LATE: {"RegisterTargets"},
}
_LOOKUP_FAILURES = {
    FaultKind.THROTTLED: LookupFailure.API_UNAVAILABLE,
    FaultKind.LOST_REPLY: LookupFailure.SERVERS_FAILED,
    FaultKind.TIMED_OUT: LookupFailure.TIMED_OUT,
    FaultKind.DENIED: LookupFailure.ACCESS_DENIED,
}


def _observation(
    answer: Answer,
    ttl: int | None,
    second: frozenset[IPAddress] | None,
    at: float,
    *,
    has_second: bool,
) -> Observation | FailedObservation:
    if isinstance(answer, LookupFailure):
        return FailedObservation(name=ENDPOINT_NAME, failure=answer, detail=answer.value, at=at)
    return Observation(
        name=ENDPOINT_NAME,
        addresses=answer,
        source="dns",
        ttl=ttl,
        at=at,
        second=second,
        disagreement="" if not has_second or second == answer else "The sources disagree.",
    )
