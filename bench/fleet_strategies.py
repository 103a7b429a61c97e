"""Two ways to keep many target groups right: the fleet's, and describing each every minute."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

from bench.fleet_world import LIMITS, PLACE, PORT, Client, FleetWorld, arn_of, name_of
from target_sync.core.convergence import Convergence, Status
from target_sync.core.fleet.bindings import read_listing
from target_sync.core.fleet.budget import DEFAULT_SHARE, Budget, Call
from target_sync.core.fleet.model import AUDIT_TAG, RECORD_TAG, Binding, Cause, Listed, Question
from target_sync.core.fleet.record import Key, Mark, write_mark, write_record
from target_sync.core.fleet.sweep import SWEEP_SECONDS, Room, Work, decide, newest_mark, questions
from target_sync.core.model import IPAddress, Observation, Target, TargetGroup
from target_sync.core.result import SyncResult
from target_sync.errors import TargetGroupUnavailableError
from target_sync.synchronizer import Synchronizer
from target_sync.triggers import Trigger, TriggerKind

#: More would have less than one call each of half of the smallest bucket. The sweep itself makes
#: no call to ELB: a worker leaves its mark.
WORKERS = 10
#: Between two looks at the names of databases that an event has named.
WATCH_SECONDS = 5.0
#: For so long after its event.
_WATCHED_FOR = 300.0
_FUNCTION_SECONDS = 600.0
#: As many connections as botocore's pool has.
_NAIVE_THREADS = 10
_KEY = Key(b"the key of the benchmark")
_TRIGGER = Trigger(kind=TriggerKind.SCHEDULE, wait_for_healthy=False)
_T = TypeVar("_T")


@dataclass(slots=True)
class _Silence:
    """Nobody reads the reports."""

    def looked(self, convergence: Convergence) -> None:
        """Nothing."""

    def report(self, result: SyncResult) -> None:
        """Nothing."""


@dataclass(slots=True)
class Caller:
    """A worker, or the sweep: a client, and its part of the fleet's share."""

    world: FleetWorld
    client: Client
    budget: Budget

    def call(self, call: Call, deed: Callable[[], _T]) -> _T:
        """Wait for the turn, make the call, and learn from how it went."""
        self.budget, at = self.budget.take(call, self.world.clock.now())
        self.world.clock.sleep_until(at)
        before = self.client.throttlings
        try:
            return self.client.call(call, deed)
        finally:
            now = self.world.clock.now()
            slow = self.client.throttlings > before
            learn = self.budget.throttled if slow else self.budget.succeeded
            self.budget = learn(call, now)

    def tag(self, arn: str, key: str, value: str) -> None:
        """Write a tag."""
        self.call(Call.MUTATING, lambda: self.world.tags[arn].__setitem__(key, value))


@dataclass(slots=True)
class _PacedGroup:
    """Implements ``target_sync.core.ports.TargetGroupPort``."""

    arn: str
    caller: Caller

    def describe(self) -> TargetGroup:
        group = self.caller.world.groups[self.arn]
        return self.caller.call(Call.DESCRIBE, group.describe)

    def register(self, targets: Sequence[Target]) -> None:
        group = self.caller.world.groups[self.arn]
        self.caller.call(Call.REGISTRATION, lambda: group.register(targets))
        self.caller.world.note(self.arn)

    def deregister(self, targets: Sequence[Target]) -> None:
        group = self.caller.world.groups[self.arn]
        self.caller.call(Call.REGISTRATION, lambda: group.deregister(targets))
        self.caller.world.note(self.arn)


@dataclass(slots=True)
class _Name:
    """Implements ``target_sync.core.ports.Endpoint``."""

    world: FleetWorld
    name: str

    def observe(self) -> Observation:
        (answer,) = self.world.answers([self.name])
        return answer


@dataclass(slots=True)
class Fleet:
    """The shipped decisions and the shipped loop. What feeds them here is the next slice's.

    Attributes:
        with_events: Whether RDS events name the databases that are about to fail over.
        failed: How many groups' runs failed.
        busy_for: The longest time from the start of a sweep until all its work was done.
        audited_at: When each group was last verified.
    """

    world: FleetWorld
    seed: int
    with_events: bool = True
    share: float = DEFAULT_SHARE
    failed: int = 0
    busy_for: float = 0.0
    audited_at: dict[str, float] = field(default_factory=dict)
    _gaps: list[float] = field(default_factory=lambda: [0.0])
    _queue: dict[str, Work] = field(default_factory=dict)
    _handed_at: dict[str, float] = field(default_factory=dict)
    _marks: list[Mark] = field(default_factory=list)
    _in_hand: set[str] = field(default_factory=set)
    _swept_at: float = 0.0
    _over: bool = False

    def begin(self) -> None:
        """Have every group verified, with a record that says so."""
        listed, _ = read_listing(self.world.tagged(), PLACE, LIMITS, self.world.facts)
        for item in listed:
            addresses = self.world.address(item.binding.endpoint)
            text = write_record(item.binding, addresses, _KEY)
            self.world.tags[item.binding.arn][RECORD_TAG] = text

    def actors(self, until: float) -> list[Callable[[], None]]:
        """The sweep and the workers; they are over at a moment, when their work is done."""
        workers = [partial(self._works, number) for number in range(1, WORKERS + 1)]
        return [lambda: self._sweeps(until), *workers]

    def once(self) -> list[Callable[[], None]]:
        """One worker, which works on every group once."""
        listed, _ = read_listing(self.world.tagged(), PLACE, LIMITS, self.world.facts)
        self._hand_out([Work(item.binding, Cause.UNVERIFIED) for item in listed])
        self._over = True
        return [partial(self._works, 1)]

    @property
    def unverified(self) -> Sequence[float]:
        """For how long groups were not verified, up to now too."""
        now = self.world.clock.now()
        return [*self._gaps, *(now - self.audited_at.get(arn, 0.0) for arn in self.world.tags)]

    def _caller(self, number: int) -> Caller:
        now = self.world.clock.now()
        client = Client(self.world.elb, Random(f"{self.seed}/{number}"))  # noqa: S311 - a model
        return Caller(self.world, client, Budget.of(now, share=self.share, workers=WORKERS))

    def _sweeps(self, until: float) -> None:
        clock = self.world.clock
        due = clock.now()
        while due < until:
            clock.sleep_until(due)
            listed = self._sweep(due)
            due += SWEEP_SECONDS
            self._watch(listed, due)
        self._over = True
        clock.wake()

    def _sweep(self, due: float) -> Sequence[Listed]:
        world, began = self.world, time.process_time()
        self._swept_at = due
        listed, _ = read_listing(world.listing(), PLACE, LIMITS, world.facts)
        now = world.clock.now()
        result = decide(
            listed,
            self._answers(listed),
            key=_KEY,
            mark=newest_mark(listed, _KEY, now),
            room=Room.of(self.share),
            now=due,
        )
        # Deciding takes the time that it really takes.
        world.clock.sleep_until(world.clock.now() + time.process_time() - began)
        if result.mark is not None:
            self._marks.append(result.mark)
        self._hand_out(result.work)
        return listed

    def _watch(self, listed: Sequence[Listed], until: float) -> None:
        """Until the next sweep, ask the names again of which an event has come: DNS alone."""
        clock, handed = self.world.clock, set[tuple[str, frozenset[IPAddress]]]()
        if not (self.with_events and self.world.flips):
            return
        while clock.now() + WATCH_SECONDS < until:
            clock.sleep_until(clock.now() + WATCH_SECONDS)
            watched = [item for item in listed if self._is_watched(item.binding)]
            if not watched:
                continue
            now, answers = clock.now(), self._answers(watched)
            # With the mark at this moment nothing is audited.
            mark = Mark(watched[0].binding.arn, now)
            room = Room.of(self.share)
            result = decide(watched, answers, key=_KEY, mark=mark, room=room, now=now)
            # The records are as old as the listing: what was handed out since is not again.
            for work in result.work:
                question = (work.binding.kind, work.binding.endpoint)
                told = (work.binding.arn, answers[question].addresses)
                if told not in handed:
                    handed.add(told)
                    self._hand_out([work])

    def _is_watched(self, binding: Binding) -> bool:
        flip = self.world.flips.get(self.world.numbers[binding.arn])
        return flip is not None and flip.event <= self.world.clock.now() < flip.event + _WATCHED_FOR

    def _answers(self, listed: Sequence[Listed]) -> dict[Question, Observation]:
        asked = questions(listed)
        return dict(zip(asked, self.world.answers([name for _, name in asked]), strict=True))

    def _hand_out(self, works: Sequence[Work]) -> None:
        """Each group stands in the queue once, and never while somebody works on it."""
        for work in works:
            arn = work.binding.arn
            if arn not in self._in_hand:
                if arn not in self._queue:
                    self._handed_at[arn] = self._swept_at
                self._queue[arn] = work
        self.world.clock.wake()

    def _works(self, number: int) -> None:
        caller = self._caller(number)
        while True:
            if self._marks:
                mark = self._marks.pop()
                caller.tag(mark.arn, AUDIT_TAG, write_mark(mark, _KEY))
            elif self._queue:
                self._work(caller, self._next())
            elif self._over:
                return
            else:
                self.world.clock.park()

    def _next(self) -> Work:
        """Failovers first, each kind in its order."""
        urgency = list(Cause).index
        arn = min(self._queue, key=lambda arn: urgency(self._queue[arn].cause))
        return self._queue.pop(arn)

    def _work(self, caller: Caller, work: Work) -> None:
        arn, clock = work.binding.arn, self.world.clock
        self._in_hand.add(arn)
        try:
            self._converge(caller, work.binding)
        except TargetGroupUnavailableError:
            self.failed += 1
        finally:
            self._in_hand.discard(arn)
        self.busy_for = max(self.busy_for, clock.now() - self._handed_at[arn])
        self._gaps.append(clock.now() - self.audited_at.get(arn, 0.0))
        self.audited_at[arn] = clock.now()

    def _converge(self, caller: Caller, binding: Binding) -> None:
        result = Synchronizer(
            endpoint=_Name(self.world, binding.endpoint),
            target_group=_PacedGroup(binding.arn, caller),
            policy=binding.policy,
            clock=self.world.clock,
            reporter=_Silence(),
            watch_seconds=0.0,
        ).run(_TRIGGER, remaining_seconds=_FUNCTION_SECONDS, age_seconds=0.0)
        if result.status not in {Status.IN_SYNC, Status.SYNCED}:
            return
        addresses = result.convergence.observations[-1].addresses
        record = write_record(binding, addresses, _KEY)
        if record != self.world.tags[binding.arn].get(RECORD_TAG):
            caller.tag(binding.arn, RECORD_TAG, record)


@dataclass(slots=True)
class Naive:
    """Describes each group every minute and mends what differs, with one client for ten threads."""

    world: FleetWorld
    seed: int
    failed: int = 0
    busy_for: float = 0.0
    _left: list[int] = field(default_factory=list)
    _swept: float = -1.0

    def actors(self, until: float) -> list[Callable[[], None]]:
        """The threads. The first fills what all of them work off."""
        client = Client(self.world.elb, Random(f"{self.seed}/naive"))  # noqa: S311 - a model
        return [lambda: self._thread(client, until) for _ in range(_NAIVE_THREADS)]

    def _thread(self, client: Client, until: float) -> None:
        clock, due = self.world.clock, self.world.clock.now()
        while due < until:
            clock.sleep_until(due)
            if not self._left and self._swept < due:
                self._left, self._swept = list(range(self.world.size)), due
            while self._left:
                self._mend(client, self._left.pop())
            self.busy_for = max(self.busy_for, clock.now() - due)
            due += SWEEP_SECONDS

    def _mend(self, client: Client, number: int) -> None:
        arn = arn_of(number)
        group = self.world.groups[arn]
        try:
            registered = client.call(Call.DESCRIBE, group.describe).registered
            (answer,) = self.world.answers([name_of(number)])
            wanted = {Target(address, PORT) for address in answer.addresses}
            for deed, targets in (
                (group.register, wanted - registered),
                (group.deregister, registered - wanted),
            ):
                if targets:
                    client.call(Call.REGISTRATION, lambda d=deed, t=targets: d(list(t)))  # type: ignore[misc]
                    self.world.note(arn)
        except TargetGroupUnavailableError:
            self.failed += 1
