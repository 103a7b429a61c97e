"""What is looked at while a failover goes on, each in a thread of its own."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from drill.decisions import OurStack
from drill.story import NameSeen, RdsNews, Seen, TargetsSeen, Tried
from lab.lookout import Lookout
from lab.records import SyncRecord
from target_sync.errors import TargetSyncError
from target_sync.model import FailedObservation, TargetGroup, TargetState
from target_sync.ports import NameResolver
from target_sync.status.facts import DescribedTarget, SslReply

#: Seconds from look to look: of what is dated by the look, and of what has dates of its own.
_DATED_BY_LOOK, _DATED, _MINUTES = 1.0, 2.0, 15.0
_T = TypeVar("_T")


class AwsView(Protocol):
    """What the watches ask of AWS."""

    def news(self, source_type: str, identifier: str, *, since: float) -> Iterable[RdsNews]:
        """RDS's events of a database since a moment."""
        ...

    def runs(self, log_group: str, *, since: float) -> Iterable[SyncRecord]:
        """The records of the sync function's runs that ended since a moment."""
        ...

    def flows(self, load_balancer_arn: str, *, since: float) -> tuple[tuple[float, int], ...]:
        """The minutes since a moment with new flows, and how many."""
        ...


class GroupView(Protocol):
    """A target group that can be looked at."""

    def describe(self) -> TargetGroup:
        """List the targets."""
        ...


class Probe(Protocol):
    """Asks a server whether it is PostgreSQL."""

    def ask(self, target: DescribedTarget) -> SslReply:
        """What it answers."""
        ...


class Watch(Lookout, Generic[_T]):
    """Collects what it sees; a look that fails is a trouble to be told, and not the end."""

    def __init__(self, name: str, interval: float) -> None:
        super().__init__(name, interval)
        self.name = name
        self._found: tuple[_T, ...] = ()
        self.trouble = ""

    @property
    def found(self) -> tuple[_T, ...]:
        """What was seen so far, in order."""
        return self._found

    def look(self) -> None:
        """Look once, now."""
        try:
            self._see()
        except (BotoCoreError, ClientError, TargetSyncError) as error:
            self.trouble = str(error)
        else:
            self.trouble = ""

    def _look(self) -> None:
        self.look()

    @abstractmethod
    def _see(self) -> None:
        """Look once; may raise."""

    def _add(self, *entries: _T) -> None:
        # A new tuple each time: the other threads read the old one undisturbed.
        self._found = (*self._found, *entries)


class NameWatch(Watch[NameSeen]):
    """The answers for a name, whenever another one comes."""

    def __init__(self, name: str, resolver: NameResolver) -> None:
        super().__init__("name", _DATED_BY_LOOK)
        self._name, self._resolver = name, resolver

    def _see(self) -> None:
        answer = self._resolver.resolve(self._name)
        if isinstance(answer, FailedObservation):
            seen = NameSeen(at=answer.at, failure=answer.detail)
        else:
            seen = NameSeen(at=answer.at, addresses=frozenset(map(str, answer.addresses)))
        last = self.found[-1] if self.found else None
        if last is None or (last.addresses, last.failure) != (seen.addresses, seen.failure):
            self._add(seen)


class GroupWatch(Watch[TargetsSeen]):
    """The states of the targets, whenever one has changed."""

    def __init__(self, group: GroupView) -> None:
        super().__init__("target group", _DATED_BY_LOOK)
        self._group = group

    def _see(self) -> None:
        group = self._group.describe()
        if not self.found or self.found[-1].group != group:
            self._add(TargetsSeen(at=time.time(), group=group))


class ListWatch(Watch[_T]):
    """What a list of AWS's has that it had not before."""

    def __init__(self, name: str, ask: Callable[[], Iterable[_T]], interval: float) -> None:
        super().__init__(name, interval)
        self._ask = ask

    def _see(self) -> None:
        self._add(*(entry for entry in dict.fromkeys(self._ask()) if entry not in self.found))


class ConnectionWatch(Watch[Tried]):
    """New connections, one after the other."""

    def __init__(self, host: str, port: int, probe: Probe) -> None:
        super().__init__("connections", _DATED_BY_LOOK)
        self._target = DescribedTarget(id=host, port=port, state=TargetState.UNKNOWN)
        self._probe = probe

    def _see(self) -> None:
        self._add(Tried(answered=self.is_answered(), at=time.time()))

    def is_answered(self) -> bool:
        """Whether PostgreSQL answers a new connection now."""
        return self._probe.ask(self._target) in (SslReply.TLS, SslReply.PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watches:
    """All of them; a None is not looked at."""

    names: NameWatch | None
    group: GroupWatch
    news: ListWatch[RdsNews] | None
    runs: ListWatch[SyncRecord]
    connections: ConnectionWatch | None
    flows: ListWatch[tuple[float, int]] | None

    @classmethod
    def of(
        cls,
        stack: OurStack,
        aws: AwsView,
        group: GroupView,
        *,
        since: float,
        names: NameWatch | None,
        connections: ConnectionWatch | None,
    ) -> "Watches":
        """What there is to look at of a stack.

        Args:
            stack: The stack.
            aws: Where it is.
            group: Its target group.
            since: What happened before is not told, in seconds since the epoch.
            names: Looks at the database's name.
            connections: Tries new connections; without it the load balancer's metric tells.
        """
        source, balancer = stack.event_source, stack.load_balancer_arn
        return cls(
            names=names,
            group=GroupWatch(group),
            news=ListWatch("events of RDS", lambda: aws.news(*source, since=since), _DATED)
            if source
            else None,
            runs=ListWatch("runs", lambda: aws.runs(stack.log_group, since=since), _DATED),
            connections=connections,
            flows=ListWatch("flows", lambda: aws.flows(balancer, since=since), _MINUTES)
            if balancer and connections is None
            else None,
        )

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look at everything once, and then on and on while the block lasts."""
        with ExitStack() as stack:
            for watch in self._all:
                watch.look()
                stack.enter_context(watch)
            yield

    def seen(self) -> Seen:
        """What was seen so far."""
        return Seen(
            names=self.names.found if self.names else (),
            targets=self.group.found,
            news=self.news.found if self.news else (),
            runs=self.runs.found,
            tries=self.connections.found if self.connections else (),
            flows=self.flows.found if self.flows else (),
        )

    @property
    def troubles(self) -> tuple[str, ...]:
        """What cannot be seen at the moment, and why."""
        return tuple(f"{watch.name}: {watch.trouble}" for watch in self._all if watch.trouble)

    @property
    def _all(self) -> Sequence[Watch[Any]]:
        found = (self.names, self.group, self.news, self.runs, self.connections, self.flows)
        return [watch for watch in found if watch is not None]
