"""Runs a sweep: list the groups, observe their endpoints all the time, run what needs a run."""

import heapq
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import inf
from typing import Any, TypeVar

from target_sync.errors import AwsUnavailableError
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import Binding, EndpointKey, Finding, RunReason
from target_sync.fleet.planner import RunPlanner
from target_sync.fleet.polls import PollSchedule
from target_sync.fleet.result import FailedSweep, SweepResult
from target_sync.fleet.runs import GroupRun, GroupRuns, RunBug
from target_sync.model import (
    DatabaseKind,
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
    RunStatus,
)
from target_sync.ports import Clock, Endpoint, Reporter
from target_sync.reconcile.reconciler import wait_for_each
from target_sync.reconcile.result import SyncResult
from target_sync.triggers import Trigger

#: The duration of a sweep. The next one starts after 60 s, in the same container.
SWEEP_SECONDS = 55.0
#: Seconds at the end of the function's time that are reserved for the report.
RESERVE_SECONDS = 5.0
#: The runs of a container that was not invoked for this long are not continued: what they have
#: observed is too old.
PAUSE_SECONDS = 15.0
#: How often the sweep checks whether a call has returned.
TICK_SECONDS = 0.02
#: The longest pause between two steps of a sweep.
IDLE_SECONDS = 1.0
_Observed = Observation | FailedObservation
_T = TypeVar("_T")


def names_schedule() -> PollSchedule:
    """Return the schedule of DNS queries.

    Route 53 Resolver allows 1,024 packets a second for each network interface (Route 53 developer
    guide, *Quotas*).
    """
    return PollSchedule(interval=1.0, per_second=200.0, most_at_once=32)


def readers_schedule() -> PollSchedule:
    """Return the schedule of cluster readers, which cost two calls of the RDS API each."""
    return PollSchedule(interval=20.0, per_second=2.0, most_at_once=4)


@dataclass(slots=True)
class _Sweep:
    """What one sweep has done.

    Attributes:
        listed: Whether the groups were listed.
        checked: Whether the settings of the groups were checked.
        failure: Why the listing failed; None if it did not.
    """

    trigger: Trigger
    listed: bool = False
    checked: bool = False
    failure: BaseException | None = None
    runs: Counter[RunReason] = field(default_factory=Counter)
    polls: int = 0


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Keeps every tagged group in sync, for the life of a container.

    It remembers for which addresses it last verified each group. Runs that have not ended at the
    end of a sweep continue in the next one. The memory and the runs may be lost at any moment: a
    new container verifies every group again.

    Attributes:
        endpoint: Makes the endpoint to poll.
        polling: Carries out the polls.
        calling: Carries out the steps of the runs, and the listing.
    """

    groups: BoundGroups
    endpoint: Callable[[EndpointKey], Endpoint]
    runs: GroupRuns
    planner: RunPlanner
    polling: Executor
    calling: Executor
    clock: Clock
    reporter: Reporter[SweepResult | FailedSweep | RunBug]
    _names: PollSchedule = field(default_factory=names_schedule, init=False)
    _readers: PollSchedule = field(default_factory=readers_schedule, init=False)
    #: The runs that wait for a time, as a heap.
    _due: list[tuple[float, int, GroupRun]] = field(default_factory=list, init=False)
    _calls: dict[Future[Any], Callable[[], None]] = field(default_factory=dict, init=False)
    _numbers: "count[int]" = field(default_factory=count, init=False)
    _tag_findings: tuple[Finding, ...] = field(default=(), init=False)
    _settings_findings: tuple[Finding, ...] = field(default=(), init=False)
    _active_at: float = field(default=-inf, init=False)
    _sweep: _Sweep = field(init=False)

    def run(self, trigger: Trigger, *, remaining_seconds: float) -> SweepResult:
        """Sweep until the next sweep is about to start.

        A dry run observes every endpoint once and changes nothing.

        Raises:
            AwsCallError: The groups could not be listed. Those that were known were kept in sync.
        """
        steps = self.run_in_steps(trigger, remaining_seconds=remaining_seconds)
        return wait_for_each(steps, self.clock)

    def run_in_steps(
        self, trigger: Trigger, *, remaining_seconds: float
    ) -> Generator[float, None, SweepResult]:
        """Sweep as ``run`` does, but yield the time of each wait instead of waiting."""
        began = self.clock.now()
        self._begin(trigger, began)
        until = began + min(SWEEP_SECONDS, remaining_seconds - RESERVE_SECONDS)
        while (now := self.clock.now()) < until:
            self._active_at, next_at = now, self._advance()
            if self._is_done():
                break
            yield min(next_at, until)
        failure = self._sweep.failure
        if failure is None and not self._sweep.listed:
            failure = AwsUnavailableError("GetResources", "TimedOut", "no reply during the sweep")
        if failure is not None:
            self.reporter.report(FailedSweep(trigger, failure))
            raise failure
        result = SweepResult(
            trigger=trigger,
            bound=len(self.planner.bindings),
            findings=(
                *self._tag_findings,
                *self.planner.findings(),
                *self._settings_findings,
            ),
            runs=self._sweep.runs,
            waiting=self.planner.waiting(),
            longest_unverified=self.planner.longest_unverified(now),
            polls=self._sweep.polls,
            seconds=now - began,
        )
        self.reporter.report(result)
        return result

    def _begin(self, trigger: Trigger, now: float) -> None:
        self._sweep = _Sweep(trigger)
        if now > self._active_at + PAUSE_SECONDS:
            self._forget_runs(now)
        self._call(self.calling, self.groups.read, self._list)

    def _forget_runs(self, now: float) -> None:
        """Drop the runs and the calls of a container that was not invoked for some time."""
        for _, _, run in self._due:
            run.steps.close()
        self._due.clear()
        self._calls.clear()
        self.planner.abandon_runs()
        self._names, self._readers = names_schedule(), readers_schedule()
        self._schedule_polls(now)

    def _is_done(self) -> bool:
        """Whether nothing is left to do before the next sweep."""
        sweep = self._sweep
        if sweep.failure is not None and not self.planner.bindings:
            return True
        if not sweep.listed:
            return False
        if sweep.trigger.dry_run:
            observations = self.planner.observations
            is_observed = (it.endpoint_key in observations for it in self.planner.bindings)
            return sweep.checked and all(is_observed)
        return not self.planner.bindings and not self.planner.active

    def _advance(self) -> float:
        """Do what is due, and return the time of the next step."""
        for future in [future for future in self._calls if future.done()]:
            self._calls.pop(future)()
        now = self.clock.now()
        for schedule in (self._names, self._readers):
            for key in schedule.take(now):
                self._call(
                    self.polling,
                    self.endpoint(key).observe,
                    partial(self._observed, schedule, key),
                )
        if not self._sweep.trigger.dry_run:
            while self._due and self._due[0][0] <= now:
                _, _, run = heapq.heappop(self._due)
                self._step(run)
            self._begin_run(now)
        return self._next_at(now)

    def _next_at(self, now: float) -> float:
        if any(future.done() for future in self._calls):
            return now
        polls_at = min(self._names.next_at(), self._readers.next_at())
        run_at = self._due[0][0] if self._due else inf
        # A run that is due later, such as an audit, may be a little late.
        pause = TICK_SECONDS if self._calls else IDLE_SECONDS
        return max(now, min(polls_at, run_at, now + pause))

    def _begin_run(self, now: float) -> None:
        """Begin one run, unless another one waits for its snapshot."""
        if self.runs.rate_limiter.is_busy:
            return
        planned = self.planner.next_run(now)
        if planned is not None:
            self._step(self.runs.begin(planned))

    def _step(self, run: GroupRun) -> None:
        self._call(self.calling, run.next_step, partial(self._stepped, run))

    def _call(
        self, executor: Executor, method: Callable[[], _T], then: Callable[[Future[_T]], None]
    ) -> None:
        """Call a method in a thread, and then another one with its future in this thread."""
        future = executor.submit(method)
        self._calls[future] = partial(then, future)

    def _list(self, future: Future[tuple[tuple[Binding, ...], tuple[Finding, ...]]]) -> None:
        error = future.exception()
        if error is None:
            now, (bindings, self._tag_findings) = self.clock.now(), future.result()
            self.planner.update(bindings, now)
            self._schedule_polls(now)
            self._sweep.listed = True
            # The groups do not wait for this, because it needs a call for each of them.
            self._call(self.calling, partial(self.groups.check_settings, bindings), self._check)
        else:
            self._sweep.failure = error

    def _check(self, future: Future[tuple[Finding, ...]]) -> None:
        self._settings_findings = future.result()
        self._sweep.checked = True

    def _schedule_polls(self, now: float) -> None:
        keys = {binding.endpoint_key for binding in self.planner.bindings}
        readers = {key for key in keys if key[0] is DatabaseKind.RDS_CLUSTER_READERS}
        self._names.update(keys - readers, now)
        self._readers.update(readers, now)

    def _observed(
        self, schedule: PollSchedule, key: EndpointKey, future: Future[_Observed]
    ) -> None:
        now, error = self.clock.now(), future.exception()
        observation = future.result() if error is None else _failed(key, error, now)
        self._sweep.polls += 1
        schedule.end(key, now, failed=isinstance(observation, FailedObservation))
        self.planner.observe(key, observation)

    def _stepped(self, run: GroupRun, future: Future[float | SyncResult]) -> None:
        error = future.exception()
        if error is not None:
            self.reporter.report(RunBug(run.planned, error))
            self._end(run, None)
            return
        outcome = future.result()
        if not isinstance(outcome, SyncResult):
            heapq.heappush(self._due, (outcome, next(self._numbers), run))
            return
        run.reporter.report(outcome)
        in_sync = outcome.status in (RunStatus.IN_SYNC, RunStatus.SYNCED)
        self._end(run, outcome.run.observations[-1].addresses if in_sync else None)

    def _end(self, run: GroupRun, verified_for: frozenset[IPAddress] | None) -> None:
        self._sweep.runs[run.planned.reason] += 1
        self.planner.end_run(run.planned.binding, verified_for, self.clock.now())


def _failed(key: EndpointKey, error: BaseException, at: float) -> FailedObservation:
    _, name = key
    return FailedObservation(
        name=name,
        failure=LookupFailure.BAD_ANSWER,
        detail=f"The look-up of {name} ended with {type(error).__name__}: {error}",
        at=at,
    )
