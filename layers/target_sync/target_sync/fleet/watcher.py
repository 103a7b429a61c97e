"""The only sequencing of a watch: list; ask, send, wait, and again; report."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from target_sync.errors import AwsUnavailableError
from target_sync.fleet.bound_groups import BoundGroups
from target_sync.fleet.checkpoints import SigningKey, read_checkpoint
from target_sync.fleet.model import ListedGroup, WorkReason
from target_sync.fleet.planner import questions
from target_sync.fleet.ports import DatabaseEvent, DatabaseEventsPort, NamesPort, WorkQueuePort
from target_sync.fleet.result import WatchResult
from target_sync.fleet.work_items import SyncWorkItem
from target_sync.model import DatabaseKind, IPAddress, Observation
from target_sync.ports import Clock, Reporter

#: Seconds kept back at the end of a function's time: the last calls, and the report.
RESERVE_SECONDS = 15.0
#: From look to look. For so long SQS is asked to wait for further events.
ITERATION_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Asks the names of databases of which RDS has just told something.

    An event supplies no address and proves no change: it only says which names to ask. One that
    is lost costs time and nothing else, because the sweep asks every name.

    Attributes:
        key: What the records are sealed with.
        watch_seconds: For how long a name is asked after the last event that names it.
        epoch: The time in seconds since the epoch.
    """

    groups: BoundGroups
    names: NamesPort
    queue: WorkQueuePort
    events: DatabaseEventsPort
    key: SigningKey
    watch_seconds: float
    clock: Clock
    epoch: Callable[[], float]
    reporter: Reporter[WatchResult]

    def run(self, events: Sequence[DatabaseEvent], *, remaining_seconds: float) -> WatchResult:
        """Watch until there is nothing left to watch, or the time is up.

        Args:
            events: What came first. What comes later is taken from the queue, and forgotten there
                when the watch is over: if it never is, those events come again.
            remaining_seconds: The time that the function has left.

        Raises:
            AwsCallError: The groups could not be listed, or a call will never succeed.
        """
        began = self.clock.now()
        ends = began + remaining_seconds - RESERVE_SECONDS
        watch = _Watch(self._followers() if any(event.identifier for event in events) else {})
        watch.absorb(events, began + self.watch_seconds)
        while watch.databases(self.clock.now()) and self.clock.now() < ends:
            self._look(watch)
            self._pause(watch, ends)
        self._forget(watch)
        now = self.clock.now()
        result = WatchResult(
            events=watch.events,
            unreadable=watch.unreadable,
            databases=len(watch.until),
            orders=watch.orders,
            left=len(watch.databases(now)),
            failures=watch.failures,
            last_failure=watch.last_failure,
            seconds=now - began,
        )
        self.reporter.report(result)
        return result

    def _followers(self) -> Mapping[str, Sequence[ListedGroup]]:
        """The groups that follow each instance or cluster. What is wrong, the sweep tells."""
        listed, _ = self.groups.read()
        followers = defaultdict[str, list[ListedGroup]](list)
        for item in listed:
            if item.binding.kind is DatabaseKind.RDS_INSTANCE or item.binding.kind.is_cluster:
                followers[item.binding.identifier].append(item)
        return followers

    def _look(self, watch: "_Watch") -> None:
        """Ask what is watched, and order work on the groups whose answer is another one."""
        groups = watch.groups(self.clock.now())
        answers = self.names.ask(questions(groups))
        news = dict[str, frozenset[IPAddress]]()
        orders = list[SyncWorkItem]()
        for item in groups:
            answer = answers[item.binding.question]
            if isinstance(answer, Observation) and self._is_news(item, answer, watch):
                news[item.binding.arn] = answer.addresses
                orders.append(
                    SyncWorkItem(item.binding, watch.record(item), WorkReason.ANSWER_CHANGED)
                )
        if not orders:
            return
        try:
            self.queue.send(orders, self.epoch())
        except AwsUnavailableError as error:
            # Nobody was told, so the next look sends the same orders, and equal ones are one.
            watch.failed(error)
        else:
            watch.notify(news)

    def _is_news(self, item: ListedGroup, answer: Observation, watch: "_Watch") -> bool:
        """Whether nobody has verified the group for this answer, or was told to."""
        told = watch.told.get(item.binding.arn)
        if told is not None:
            return told != answer.addresses
        record = read_checkpoint(item.record, item.binding, self.key)
        return record is None or not record.is_of(answer.addresses)

    def _pause(self, watch: "_Watch", ends: float) -> None:
        """Wait for the next look, and take up the events that come meanwhile.

        When there is no time left to watch a new name to the end, events are left to the next
        watch: taken here, they would be out of its sight.
        """
        due = self.clock.now() + ITERATION_SECONDS
        while (now := self.clock.now()) < due:
            if now + self.watch_seconds > ends:
                self.clock.sleep_until(due)
                continue
            try:
                events = self.events.receive(ITERATION_SECONDS)
            except AwsUnavailableError as error:
                watch.failed(error)
                self.clock.sleep_until(due)
            else:
                watch.absorb(events, self.clock.now() + self.watch_seconds)

    def _forget(self, watch: "_Watch") -> None:
        try:
            self.events.forget(watch.taken)
        except AwsUnavailableError as error:
            # They come again, and are watched again.
            watch.failed(error)


@dataclass(slots=True)
class _Watch:
    """What one watch knows.

    Attributes:
        followers: The groups of each database.
        until: Until when each database is asked that somebody follows.
        told: For which answer the last order on a group was sent.
        times: How often that was.
        taken: The events that were taken from the queue.
        events: How many there were, with those that Lambda brought.
        unreadable: How many of these named no database.
        failures: How many calls failed and were outlived.
        last_failure: What the last of them said.
    """

    followers: Mapping[str, Sequence[ListedGroup]]
    until: dict[str, float] = field(default_factory=dict)
    told: dict[str, frozenset[IPAddress]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    taken: list[DatabaseEvent] = field(default_factory=list)
    events: int = 0
    unreadable: int = 0
    failures: int = 0
    last_failure: str = ""

    @property
    def orders(self) -> int:
        """How many orders were sent."""
        return self.times.total()

    def absorb(self, events: Sequence[DatabaseEvent], until: float) -> None:
        """Ask what these name until then; an event about a watched database prolongs its watch."""
        self.events += len(events)
        self.unreadable += sum(not event.identifier for event in events)
        self.taken += (event for event in events if event.handle)
        named = (event.identifier for event in events if event.identifier in self.followers)
        self.until |= dict.fromkeys(named, until)

    def databases(self, now: float) -> Sequence[str]:
        """What is still watched."""
        return [database for database, until in self.until.items() if now < until]

    def groups(self, now: float) -> Sequence[ListedGroup]:
        """The groups of what is still watched."""
        return [item for database in self.databases(now) for item in self.followers[database]]

    def record(self, item: ListedGroup) -> str:
        """The record that the next order on a group tells.

        After the first order a worker may have written another one than was listed. Then it is
        none that can be read, and another text each time: equal orders of a minute are one.
        """
        times = self.times[item.binding.arn]
        return f"outdated {times}" if times else item.record

    def notify(self, news: Mapping[str, frozenset[IPAddress]]) -> None:
        """Orders were sent on these groups, because of these answers."""
        self.told |= news
        self.times.update(news.keys())

    def failed(self, error: AwsUnavailableError) -> None:
        """A call failed that may succeed the next time."""
        self.failures += 1
        self.last_failure = str(error)
