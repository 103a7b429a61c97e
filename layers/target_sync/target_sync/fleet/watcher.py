"""Runs a watch: list the groups once; observe, send work items and wait in a loop; report."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from target_sync.errors import AwsUnavailableError
from target_sync.fleet.checkpoints import SigningKey, read_checkpoint
from target_sync.fleet.groups import BoundGroups
from target_sync.fleet.model import ListedGroup, WorkReason
from target_sync.fleet.planner import endpoint_keys
from target_sync.fleet.ports import (
    DatabaseEvent,
    DatabaseEventsPort,
    NameLookupsPort,
    WorkQueuePort,
)
from target_sync.fleet.result import WatchResult
from target_sync.fleet.work_items import SyncWorkItem
from target_sync.model import DatabaseKind, IPAddress, Observation
from target_sync.ports import Clock, Reporter

#: Seconds at the end of a function's time that are reserved for the last calls and the report.
RESERVE_SECONDS = 15.0
#: The time between two iterations, and how long one call to SQS waits for further events.
ITERATION_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Observes the databases of recent RDS events.

    An event supplies no address and proves no change: it only says which endpoints to observe. A
    lost event costs time and nothing else, because the sweep observes every endpoint.

    Attributes:
        key: The signing key of checkpoints.
        watch_seconds: How long a database is observed after its last event.
        epoch: Returns the time in seconds since the epoch.
    """

    groups: BoundGroups
    lookups: NameLookupsPort
    queue: WorkQueuePort
    events: DatabaseEventsPort
    key: SigningKey
    watch_seconds: float
    clock: Clock
    epoch: Callable[[], float]
    reporter: Reporter[WatchResult]

    def run(self, events: Sequence[DatabaseEvent], *, remaining_seconds: float) -> WatchResult:
        """Watch until no database is left to watch, or the time is up.

        The watch receives further events from the queue and deletes them at its end. SQS delivers
        them again if the watch does not get that far.

        Raises:
            AwsCallError: The groups could not be listed, or a call failed permanently.
        """
        began = self.clock.now()
        deadline = began + remaining_seconds - RESERVE_SECONDS
        groups = self._groups_by_database() if any(event.identifier for event in events) else {}
        watch = _Watch(groups)
        watch.add_events(events, began + self.watch_seconds)
        while watch.databases(self.clock.now()) and self.clock.now() < deadline:
            self._iterate(watch)
            self._pause(watch, deadline)
        self._delete_events(watch)
        now = self.clock.now()
        result = WatchResult(
            events=watch.events,
            unreadable=watch.unreadable,
            databases=len(watch.until),
            work_items=watch.sent_count.total(),
            still_watched=len(watch.databases(now)),
            failures=watch.failures,
            last_failure=watch.last_failure,
            seconds=now - began,
        )
        self.reporter.report(result)
        return result

    def _groups_by_database(self) -> Mapping[str, Sequence[ListedGroup]]:
        """Return the groups of each instance or cluster. Only the sweep reports findings."""
        listed, _ = self.groups.read()
        groups = defaultdict[str, list[ListedGroup]](list)
        for group in listed:
            if group.binding.kind is DatabaseKind.RDS_INSTANCE or group.binding.kind.is_cluster:
                groups[group.binding.identifier].append(group)
        return groups

    def _iterate(self, watch: "_Watch") -> None:
        """Observe the watched databases, and send the groups whose addresses changed."""
        groups = watch.groups(self.clock.now())
        observations = self.lookups.look_up(endpoint_keys(groups))
        changed = dict[str, frozenset[IPAddress]]()
        work_items = list[SyncWorkItem]()
        for group in groups:
            observation = observations[group.binding.endpoint_key]
            if isinstance(observation, Observation) and self._needs_work(group, observation, watch):
                changed[group.binding.arn] = observation.addresses
                work_items.append(
                    SyncWorkItem(
                        group.binding, watch.checkpoint(group), WorkReason.ADDRESSES_CHANGED
                    )
                )
        if not work_items:
            return
        try:
            self.queue.send(work_items, self.epoch())
        except AwsUnavailableError as error:
            # The next iteration sends the same work items, and the queue drops equal ones.
            watch.add_failure(error)
        else:
            watch.add_sent(changed)

    def _needs_work(self, group: ListedGroup, observation: Observation, watch: "_Watch") -> bool:
        """Return whether the addresses differ from those last sent, or from the checkpoint."""
        sent = watch.sent.get(group.binding.arn)
        if sent is not None:
            return sent != observation.addresses
        checkpoint = read_checkpoint(group.checkpoint, group.binding, self.key)
        return checkpoint is None or not checkpoint.matches(observation.addresses)

    def _pause(self, watch: "_Watch", deadline: float) -> None:
        """Wait for the next iteration, and receive further events meanwhile.

        If the time left is too short to watch a new database for the full duration, the events stay
        in the queue for the next watch.
        """
        due = self.clock.now() + ITERATION_SECONDS
        while (now := self.clock.now()) < due:
            if now + self.watch_seconds > deadline:
                self.clock.sleep_until(due)
                continue
            try:
                events = self.events.receive(ITERATION_SECONDS)
            except AwsUnavailableError as error:
                watch.add_failure(error)
                self.clock.sleep_until(due)
            else:
                watch.add_events(events, self.clock.now() + self.watch_seconds)

    def _delete_events(self, watch: "_Watch") -> None:
        try:
            self.events.delete(watch.received)
        except AwsUnavailableError as error:
            # SQS delivers them again, and the next watch observes their databases.
            watch.add_failure(error)


@dataclass(slots=True)
class _Watch:
    """The state of one watch.

    Attributes:
        until: Until when each database is watched.
        sent: The addresses for which a group was last sent to the workers.
        sent_count: How often each group was sent.
        events: How many events there were, with those of the trigger.
        unreadable: How many of them had no database.
        failures: How many calls failed and did not stop the watch.
    """

    groups_of: Mapping[str, Sequence[ListedGroup]]
    until: dict[str, float] = field(default_factory=dict)
    sent: dict[str, frozenset[IPAddress]] = field(default_factory=dict)
    sent_count: Counter[str] = field(default_factory=Counter)
    received: list[DatabaseEvent] = field(default_factory=list)
    events: int = 0
    unreadable: int = 0
    failures: int = 0
    last_failure: str = ""

    def add_events(self, events: Sequence[DatabaseEvent], until: float) -> None:
        """Watch the databases of these events until then; prolong those already watched."""
        self.events += len(events)
        self.unreadable += sum(not event.identifier for event in events)
        self.received += (event for event in events if event.handle)
        known = (event.identifier for event in events if event.identifier in self.groups_of)
        self.until |= dict.fromkeys(known, until)

    def databases(self, now: float) -> Sequence[str]:
        """Return the databases that are still watched."""
        return [database for database, until in self.until.items() if now < until]

    def groups(self, now: float) -> Sequence[ListedGroup]:
        """Return the groups of the databases that are still watched."""
        return [group for database in self.databases(now) for group in self.groups_of[database]]

    def checkpoint(self, group: ListedGroup) -> str:
        """Return the checkpoint for the group's next work item.

        After the first work item a worker may have written a newer one than was listed. Then this
        is an invalid text, and another one each time, because the queue drops equal work items.
        """
        count = self.sent_count[group.binding.arn]
        return f"outdated {count}" if count else group.checkpoint

    def add_sent(self, changed: Mapping[str, frozenset[IPAddress]]) -> None:
        """Note the groups that were sent, and the addresses that they were sent for."""
        self.sent |= changed
        self.sent_count.update(changed.keys())

    def add_failure(self, error: AwsUnavailableError) -> None:
        """Note a failed call that may succeed in the next iteration."""
        self.failures += 1
        self.last_failure = str(error)
