"""Plays a history: many runs of the real synchronizer on one virtual clock, and their world.

A run is a ``Reconciler.run_in_steps``. It is resumed at the moment that it asked for, or later if
the history freezes it, so that other runs, and somebody else's changes, come between any two of
its calls.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count

from lab.simulation.target_group import ComputedGroup, Port
from target_sync.errors import (
    AwsAccessDeniedError,
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
from tests.properties.history import TRIGGERS, Answer, FaultKind, History, Start
from tests.properties.referee import (
    CONFIRM_SECONDS,
    Referee,
    assert_applied_twice_changes_nothing,
)
from tests.support.scenario import ENDPOINT_NAME, PORT, VPC_NETWORKS

#: How long a call takes that times out, or works slowly: the client's own retries included.
SLOW_SECONDS = 8.0
#: How long before the history the targets of its beginning were registered.
LONG_AGO = 1_000.0
#: A step is a call or a wait. A second has at most a poll, a look and a change, of two each.
STEPS_PER_SECOND = 6


class World:
    """The clock, the database, its names, its target group, and every run.

    Attributes:
        now: The time of the one clock.
        journal: What happened: when, who, what.
        registrations: How often each target became registered by one of our runs.
        removals: How often each target left by one of our runs.
        emptied: How often one of our runs left the group without a registered target.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = -LONG_AGO
        self.group = ComputedGroup(
            now=lambda: self.now,
            ports=_ports(history),
            registration_seconds=lambda: history.registration_seconds,
            deregistration_delay=history.draining_seconds,
        )
        self.group.register(history.registered)
        self.now = 0.0
        self.journal: list[tuple[float, str, object]] = []
        self.registrations: Counter[Target] = Counter()
        self.removals: Counter[Target] = Counter()
        self.emptied = 0
        self.changed_by: list[str] = []
        self.runs: list[Run] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        for drift in history.drifts:
            self._plans(drift.at, self._drift(drift.target, puts=drift.puts))
        for start in history.runs:
            self.starts(start)

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now >= self.history.calm_at

    @property
    def held(self) -> frozenset[IPAddress]:
        """The database's own addresses, as far as they can be found out."""
        found = self.history.held.at(min(self.now, self.history.calm_at)).confirmed
        return frozenset() if found is None else found

    def starts(self, start: Start) -> "Run":
        """Plan a run."""
        run = Run(self, len(self.runs), start)
        self.runs.append(run)
        self._plans(start.at, run.step)
        return run

    def plays_until(self, moment: float) -> None:
        """Let everything happen that is due by then."""
        while self._agenda and self._agenda[0][0] <= moment:
            due, _, happens = heapq.heappop(self._agenda)
            self.now = max(self.now, due)
            happens()
        self.now = max(self.now, moment)

    def jumps_to_the_end(self) -> None:
        """Freeze every run until its deadline, and let it end."""
        self.plays_until(self.now)
        self._agenda.clear()
        for run in sorted(self.runs, key=lambda run: run.deadline):
            while not run.over:
                self.now = max(self.now, run.deadline)
                run.step()

    def resumes(self, run: "Run", at: float) -> None:
        """Plan the next step of a run."""
        self._plans(at, run.step)

    def notes(self, who: str, what: object) -> None:
        """Write a line of the journal."""
        self.journal.append((self.now, who, what))

    def changes(
        self, who: str, change: Callable[[Sequence[Target]], None], targets: Sequence[Target]
    ) -> None:
        """Make a change, and count what it really changed if it was one of our runs."""
        before = self.group.registered
        change(targets)
        after = self.group.registered
        if before == after:
            return
        self.changed_by.append(who)
        if who == SOMEBODY:
            return
        self.registrations.update(after - before)
        self.removals.update(before - after)
        if not after:
            self.emptied += 1

    def story(self) -> Iterator[str]:
        """The journal, a line for each thing that happened."""
        for at, who, what in self.journal:
            yield f"{at:8.2f} s  {who:20} {_notified(what)}"

    def _plans(self, at: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), happens))

    def _drift(self, target: Target, *, puts: bool) -> Callable[[], None]:
        change = self.group.register if puts else self.group.deregister

        def happens() -> None:
            self.notes(SOMEBODY, ("registers" if puts else "deregisters", target))
            self.changes(SOMEBODY, change, [target])

        return happens


SOMEBODY = "somebody"


class Run:
    """One run, and its ports onto the world with the faults that the history has for it.

    Implements every port of the synchronizer.
    """

    def __init__(self, world: World, number: int, start: Start) -> None:
        history = world.history
        self.name = f"run {number} ({start.trigger})"
        self.over = False
        self.began = start.at
        self.deadline = start.at
        self.called_for: Counter[tuple[str, Target]] = Counter()
        self.first_look_at: float | None = None
        self._world = world
        self._start = start
        self._faults = {f.call: f.kind for f in history.faults if f.run == number}
        self._pauses = {p.step: p.seconds for p in history.pauses if p.run == number}
        self._steps = 0
        self._calls = 0
        self._observations = 0
        self._late = 0.0
        self._changes_seen = 0
        self._referee: Referee | None = None
        self._course: Generator[float, None, SyncResult] | None = None

    def step(self) -> None:
        """Go on until the next wait."""
        if self._course is None:
            self._begin()
        if self._world.now > self.began + self._start.remaining_seconds:
            assert self._late, "the run did not end in time"
            self._dies("its time is up")
            return
        try:
            assert self._course is not None
            moment = next(self._course)
        except StopIteration as ended:
            self.over = True
            self._world.notes(self.name, ended.value.status)
        except TargetSyncError as error:
            self.over = True
            self._world.notes(self.name, error)
        else:
            self._waits_until(moment)

    # Clock

    def now(self) -> float:
        return self._world.now

    def sleep_until(self, at: float) -> None:
        raise AssertionError(f"a course does not wait by itself, until {at}")

    # Endpoint

    def observe(self) -> Observation | FailedObservation:
        fault = self._next_fault()
        sources, resolvers = self._world.history.sources, self._start.resolvers
        resolver = resolvers[self._observations % len(resolvers)]
        self._observations += 1
        answer, ttl = sources.answer(resolver, self.now())
        second = sources.said_by_second(self.now())
        if self._world.is_calm:
            answer = self._world.history.right
            second = answer if sources.second is not None else None
        if fault is FaultKind.SLOW:
            self._takes_long()
        elif fault is not None:
            answer = _LOOKUP_FAILURES[fault]
        seen = _observation(answer, ttl, second, self.now(), of_two=sources.second is not None)
        self._world.notes(self.name, ("observes", answer, "second", second, "TTL", ttl))
        self.referee.observed(seen)
        return seen

    # TargetGroupPort

    def describe(self) -> TargetGroup:
        self._fail_before("DescribeTargetHealth", self._next_fault())
        group = self._world.group.describe()
        if self.first_look_at is None:
            self.first_look_at = self.now()
        self._changes_seen = len(self._world.changed_by)
        self._world.notes(self.name, ("describes", group))
        self.referee.described(group)
        return group

    def register(self, targets: Sequence[Target]) -> None:
        self._world.notes(self.name, ("registers", *targets))
        self.referee.registers(targets)
        self._change("RegisterTargets", self._world.group.register, targets)
        self.referee.registered(targets)

    def deregister(self, targets: Sequence[Target]) -> None:
        self._world.notes(self.name, ("deregisters", *targets))
        self.referee.deregisters(targets)
        try:
            self._change("DeregisterTargets", self._world.group.deregister, targets)
        finally:
            others = set(self._world.changed_by[self._changes_seen :]) - {self.name}
            assert self._world.group.registered or others, "emptied the group by itself"

    # Standbys

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        fails = self._next_fault() not in (None, FaultKind.SLOW)
        unknown = self._world.history.held.at(self.now()).confirmed is None
        if fails or (unknown and not self._world.is_calm):
            return StandbyCheck(failure="DescribeNetworkInterfaces failed")
        self._world.notes(self.name, ("finds confirmed", self._world.held & addresses))
        return StandbyCheck(confirmed=self._world.held & addresses)

    # Reporter

    def report_iteration(self, run: RunState) -> None:
        assert_applied_twice_changes_nothing(run)

    def report(self, result: SyncResult) -> None:
        assert result.to_document()["status"] == result.status.value

    @property
    def referee(self) -> Referee:
        assert self._referee is not None
        return self._referee

    def _begin(self) -> None:
        history, trigger = self._world.history, TRIGGERS[self._start.trigger]
        self.began = self.now()
        self.deadline = self.began + self._start.remaining_seconds - RESERVE_SECONDS
        self._referee = Referee(
            dry_run=trigger.dry_run, deadline=self.deadline, max_targets=history.max_targets
        )
        reconciler = Reconciler(
            endpoint=self,
            target_group=self,
            policy=SyncPolicy(
                port=PORT,
                allowed_networks=VPC_NETWORKS,
                max_targets=history.max_targets,
                serving_standby=history.serving_standby,
                confirm_seconds=CONFIRM_SECONDS,
            ),
            clock=self,
            reporter=self,
            watch_seconds=history.watch_seconds,
            dns_poll_seconds=history.dns_poll_seconds,
            standbys=self if history.serving_standby else None,
        )
        self._course = reconciler.run_in_steps(
            trigger, remaining_seconds=self._start.remaining_seconds, age_seconds=0.0
        )

    def _waits_until(self, moment: float) -> None:
        now = self.now()
        assert moment <= max(now, self.deadline + 1.0), f"waits until {moment}"
        self._steps += 1
        lasted = now - self.began
        assert self._steps <= STEPS_PER_SECOND * (lasted + 2.0), "it does not come to an end"
        wakes = max(moment, now + self._world.history.call_seconds)
        if not self._world.is_calm and self._steps in self._pauses:
            seconds = self._pauses[self._steps]
            if seconds is None:
                self._dies("crashes")
                return
            frozen_until = min(wakes + seconds, max(wakes, self._world.history.calm_at))
            self._late += frozen_until - wakes
            wakes = frozen_until
        self._world.resumes(self, wakes)

    def _dies(self, why: str) -> None:
        assert self._course is not None
        self._course.close()
        self.over = True
        self._world.notes(self.name, why)

    def _next_fault(self) -> FaultKind | None:
        self._calls += 1
        fault = self._faults.get(self._calls)
        lasts = SLOW_SECONDS if fault in (FaultKind.TIMED_OUT, FaultKind.SLOW) else 0.0
        return fault if self.now() + lasts < self._world.history.calm_at else None

    def _takes_long(self) -> None:
        self._late += SLOW_SECONDS
        self._world.now += SLOW_SECONDS

    def _fail_before(self, operation: str, fault: FaultKind | None) -> None:
        """Fail as a call does that has done nothing."""
        if fault in (FaultKind.TIMED_OUT, FaultKind.SLOW):
            self._takes_long()
        if fault is FaultKind.DENIED:
            raise AwsAccessDeniedError(operation, "AccessDenied", "not allowed")
        if fault not in (None, FaultKind.SLOW):
            raise AwsUnavailableError(operation, "Throttling", str(fault))

    def _change(
        self,
        operation: str,
        change: Callable[[Sequence[Target]], None],
        targets: Sequence[Target],
    ) -> None:
        self.called_for.update((operation, target) for target in targets)
        fault = self._next_fault()
        lost = fault is FaultKind.LOST_REPLY
        self._fail_before(operation, None if lost else fault)
        self._world.changes(self.name, change, targets)
        if lost:
            raise AwsUnavailableError(operation, "RequestTimeout", str(fault))


def _notified(what: object) -> str:
    if isinstance(what, tuple):
        return " ".join(map(_notified, what))
    if isinstance(what, TargetGroup):
        return ", ".join(f"{t.target} {t.state.value}" for t in what.targets) or "nothing"
    if isinstance(what, frozenset):
        return "{" + ", ".join(sorted(map(str, what))) + "}"
    return str(what)


def _ports(history: History) -> dict[IPAddress, Port]:
    """When each address accepts connections; from the calm on nothing changes any more."""
    listening = history.listening
    changes = [c for c in listening.changes if c[0] <= history.calm_at]
    ports = {}
    for address in listening.first.union(*(value for _, value in changes)):
        is_open, turns = address in listening.first, []
        for at, value in changes:
            if (address in value) is not is_open:
                is_open = not is_open
                turns.append(at)
        ports[address] = Port(address in listening.first, tuple(turns))
    return ports


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
    of_two: bool,
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
        disagreement="" if not of_two or second == answer else "The sources disagree.",
    )
