"""The pollers of a drill. Each observes one thing in a thread of its own."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from drill.aws import Aws
from drill.decisions import DrilledStack
from drill.failover import (
    ConnectionAttempt,
    DatabaseEvent,
    GroupObservation,
    NameObservation,
    Observations,
    RulesObservation,
)
from drill.polling import PollingThread
from drill.run_records import RunRecord
from target_sync.errors import TargetSyncError
from target_sync.model import FailedObservation, TargetState
from target_sync.ports import NameResolver, OutboundRulesPort
from target_sync.status.facts import DescribedTarget, SslReply
from target_sync.status.sources.postgres import PostgresProbe
from target_sync.targets.target_group import ElbTargetGroup

#: Seconds between polls: of things without a time of their own, of things with one, of minutes.
_FAST, _SLOW, _MINUTES = 1.0, 2.0, 15.0
_T = TypeVar("_T")


class Poller(PollingThread, Generic[_T]):
    """Collects observations. A failed poll is a problem to report and does not end the drill."""

    def __init__(self, name: str, interval: float) -> None:
        super().__init__(name, interval)
        self.name = name
        self._collected: tuple[_T, ...] = ()
        self.problem = ""

    @property
    def collected(self) -> tuple[_T, ...]:
        """The observations until now, in order."""
        return self._collected

    def poll(self) -> None:
        """Poll once, now."""
        try:
            self._observe()
        except (BotoCoreError, ClientError, TargetSyncError) as error:
            self.problem = str(error)
        else:
            self.problem = ""

    def _poll(self) -> None:
        self.poll()

    @abstractmethod
    def _observe(self) -> None:
        """Observe once; may raise."""

    def _add(self, *entries: _T) -> None:
        # Always a new tuple, because other threads read the old one.
        self._collected = (*self._collected, *entries)


class NamePoller(Poller[NameObservation]):
    """Collects the DNS answers for a name that differ from the one before."""

    def __init__(self, name: str, resolver: NameResolver) -> None:
        super().__init__("name", _FAST)
        self._name, self._resolver = name, resolver

    def _observe(self) -> None:
        answer = self._resolver.resolve(self._name)
        if isinstance(answer, FailedObservation):
            new = NameObservation(at=answer.at, failure=answer.detail)
        else:
            new = NameObservation(at=answer.at, addresses=frozenset(map(str, answer.addresses)))
        last = self.collected[-1] if self.collected else None
        if last is None or (last.addresses, last.failure) != (new.addresses, new.failure):
            self._add(new)


class GroupPoller(Poller[GroupObservation]):
    """Collects the states of the target group that differ from the one before."""

    def __init__(self, group: ElbTargetGroup) -> None:
        super().__init__("target group", _FAST)
        self._group = group

    def _observe(self) -> None:
        group = self._group.describe()
        if not self.collected or self.collected[-1].group != group:
            self._add(GroupObservation(at=time.time(), group=group))


class RulesPoller(Poller[RulesObservation]):
    """Collects the open targets whenever they differ from those before."""

    def __init__(self, rules: OutboundRulesPort) -> None:
        super().__init__("outbound rules", _FAST)
        self._rules = rules

    def _observe(self) -> None:
        found = frozenset(map(str, self._rules.describe().open))
        if not self.collected or self.collected[-1].open != found:
            self._add(RulesObservation(at=time.time(), open=found))


class ListPoller(Poller[_T]):
    """Collects the new entries of a list."""

    def __init__(self, name: str, read: Callable[[], Iterable[_T]], interval: float) -> None:
        super().__init__(name, interval)
        self._read = read

    def _observe(self) -> None:
        self._add(*(entry for entry in dict.fromkeys(self._read()) if entry not in self.collected))


class ConnectionPoller(Poller[ConnectionAttempt]):
    """Tries new connections, one after the other."""

    def __init__(self, host: str, port: int, probe: PostgresProbe) -> None:
        super().__init__("connections", _FAST)
        self._target = DescribedTarget(id=host, port=port, state=TargetState.UNKNOWN)
        self._probe = probe

    def _observe(self) -> None:
        self._add(ConnectionAttempt(succeeded=self.connects(), at=time.time()))

    def connects(self) -> bool:
        """Return whether PostgreSQL replies to a new connection now."""
        return self._probe.ask(self._target) in (SslReply.TLS, SslReply.PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pollers:
    """All pollers; None for a thing that is not polled."""

    names: NamePoller | None
    group: GroupPoller
    rules: RulesPoller | None
    events: ListPoller[DatabaseEvent] | None
    runs: ListPoller[RunRecord]
    connections: ConnectionPoller | None
    flows: ListPoller[tuple[float, int]] | None

    @classmethod
    def of(
        cls,
        stack: DrilledStack,
        aws: Aws,
        group: ElbTargetGroup,
        *,
        port: int,
        since: float,
        names: NamePoller | None,
        connections: ConnectionPoller | None,
    ) -> "Pollers":
        """Return the pollers of a stack.

        Args:
            stack: The stack.
            aws: Reads from its account.
            group: Its target group.
            port: The port of its targets.
            since: Events and runs before this time are left out, in epoch seconds.
            names: Polls the database's name.
            connections: Tries new connections; None polls the load balancer's metric instead.
        """
        source, balancer = stack.event_source, stack.load_balancer_arn
        return cls(
            names=names,
            group=GroupPoller(group),
            rules=RulesPoller(aws.outbound_rules(stack.rules_group, port))
            if stack.rules_group
            else None,
            events=ListPoller("RDS events", lambda: aws.events(*source, since=since), _SLOW)
            if source
            else None,
            runs=ListPoller("runs", lambda: aws.runs(stack.log_group, since=since), _SLOW),
            connections=connections,
            flows=ListPoller("flows", lambda: aws.flows(balancer, since=since), _MINUTES)
            if balancer and connections is None
            else None,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Poll everything once, then keep polling until the end of the block."""
        with ExitStack() as stack:
            for poller in self._all:
                poller.poll()
                stack.enter_context(poller)
            yield

    def observations(self) -> Observations:
        """Return all observations until now."""
        return Observations(
            names=self.names.collected if self.names else (),
            groups=self.group.collected,
            rules=self.rules.collected if self.rules else (),
            events=self.events.collected if self.events else (),
            runs=self.runs.collected,
            attempts=self.connections.collected if self.connections else (),
            flows=self.flows.collected if self.flows else (),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """The pollers whose last poll failed, each with the error."""
        return tuple(f"{poller.name}: {poller.problem}" for poller in self._all if poller.problem)

    @property
    def _all(self) -> Sequence[Poller[Any]]:
        pollers = (
            *(self.names, self.group, self.rules, self.events),
            *(self.runs, self.connections, self.flows),
        )
        return [poller for poller in pollers if poller is not None]
