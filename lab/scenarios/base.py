"""What every scenario has in common: the stage it is played on, and the road it deploys."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from rich.console import Console

from lab import postgres
from lab.addresses import Endpoint
from lab.aws import Account, Consumer
from lab.findings import Findings, Progress
from lab.leftovers import leftovers
from lab.observer import TargetObserver, registered
from lab.options import LabOptions
from lab.postgres import PostgresServer, PostgresSet
from lab.processes import Supervisor
from lab.reader import Reader
from lab.site import ADDRESSES, Ground, address_plan
from lab.stack import Project, Stack
from lab.writer import Connection, Writer, create_table, written_rows

#: The account of dbt's multi-tenant platform, which the template allows unless told otherwise.
DBT = "346425330055"
#: Keeps the runs that events set off short; AWS's own value is 300.
EVENT_WATCH_DURATION_SECONDS = "12"
#: As many rows show that a road carries writes, and not only one that slipped through.
_SOME_ROWS = 30
#: How often each target would be met, at least, before it is said that no other answers.
_ROUNDS = 3
_STACK_NAME = "orders-privatelink"
#: Seconds between two rows. Each new connection costs two hashed passwords.
_INTERVAL, _RECONNECT_INTERVAL = 0.01, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that happens to a database, from its deployment to its deletion.

    Attributes:
        name: What it is called by, the kind of database for most.
        shows: What it shows, in one sentence.
        servers: How many PostgreSQL servers it has; the first writes, the others replicate.
        play: Does it.
        times: The lab's times that it is about, unless told otherwise; the others are compressed.
    """

    name: str
    shows: str
    servers: int
    play: Callable[["Stage"], None]
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """DNS, AWS and PostgreSQL servers, up and running, and where expectations are noted."""

    ground: Ground
    servers: PostgresSet
    project: Project
    findings: Findings
    progress: Progress

    @property
    def provider(self) -> Account:
        """The company's own account."""
        return self.ground.provider

    @property
    def targets(self) -> tuple[Endpoint, ...]:
        """Where the servers are in the VPC, the primary first."""
        return tuple(ADDRESSES[server.host] for server in self.servers.servers)

    @property
    def writer(self) -> Endpoint:
        """Where the primary is in the VPC."""
        return ADDRESSES[self.servers.primary.host]

    @property
    def stack(self) -> Stack:
        """The stack that the scenario deploys."""
        return Stack(self.project, self.provider, _STACK_NAME)

    def server_at(self, target: Endpoint) -> PostgresServer:
        """The server that is at an address of the VPC."""
        (server,) = [s for s in self.servers.servers if ADDRESSES[s.host] == target]
        return server

    def expect(self, text: str, holds: object, detail: object = "") -> None:
        """Note an expectation and what was seen."""
        self.findings.expect(text, holds, detail)

    def deploy(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """``sam deploy``; return the outputs."""
        given = " ".join(f"{key}={value}" for key, value in parameters.items())
        self.progress.say(f"sam deploy --parameter-overrides {given}")
        self.stack.deploy({"EventWatchDurationSeconds": EVENT_WATCH_DURATION_SECONDS, **parameters})
        return self.stack.outputs()

    @contextmanager
    def path(
        self,
        parameters: Mapping[str, str],
        *,
        right: Collection[Endpoint],
        consumer: str = DBT,
    ) -> Iterator["ConnectionPath"]:
        """Deploy the road, connect a consumer; at the end delete it with the consumer connected.

        Args:
            parameters: What a person would give; a watch is shortened unless they say how long.
            right: The targets that are right; they must be registered when the deployment is
                complete, and healthy soon after.
            consumer: The account that connects.
        """
        before = self.left()
        outputs = self.deploy(parameters)
        there = self.registered_in(outputs["TargetGroupArn"])
        self.expect(
            "the right targets are registered when the deployment is complete",
            there == set(right),
            ", ".join(map(str, sorted(there))) or "none",
        )
        with TargetObserver(self.ground.admin, outputs["TargetGroupArn"]) as observer:
            endpoint_id = Consumer(self.ground.account(consumer)).connect(
                outputs["EndpointServiceName"]
            )
            connect = self.ground.start_data_plane(
                outputs["TargetGroupArn"], endpoint_id, self.servers.primary.password
            )
            path = ConnectionPath(
                stage=self,
                outputs=outputs,
                observer=observer,
                connect=connect,
                consumer=Consumer(self.ground.account(consumer)),
                endpoint_id=endpoint_id,
            )
            path.expect_right("they become healthy", right)
            yield path
        self.progress.say("sam delete, with the consumer still connected")
        self.stack.delete()
        new = sorted(set(self.left()) - set(before))
        self.expect("sam delete leaves nothing behind", not new, ", ".join(new) or "nothing left")

    def registered_in(self, target_group_arn: str) -> set[Endpoint]:
        """The targets that are registered, by their addresses, whatever their health."""
        return registered(self.ground.admin.data_plane()).get(target_group_arn, set())

    def left(self) -> Sequence[str]:
        """What is in the provider's account of the kinds that the stack makes."""
        return leftovers(self.provider.session(), endpoint_url=self.ground.admin.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPath:
    """A deployed road with a consumer on it."""

    stage: Stage
    outputs: Mapping[str, str]
    observer: TargetObserver
    connect: Callable[[], Connection]
    consumer: Consumer
    endpoint_id: str

    @property
    def connection_state(self) -> str:
        """The state of the consumer's endpoint as the consumer sees it, in lower case."""
        return self.consumer.state(self.endpoint_id)

    def expect_right(
        self, text: str, right: Collection[Endpoint], *, standby: Collection[Endpoint] = ()
    ) -> None:
        """Wait until the targets are these, and no other; note it.

        Args:
            text: What it shows.
            right: The healthy ones.
            standby: Those that are kept, unhealthy.

        Raises:
            WaitTimeoutError: They did not become so.
        """
        wanted = dict.fromkeys(right, "healthy") | dict.fromkeys(standby, "unhealthy")
        names = ", ".join(str(target) for target in sorted(right)) or "no target"
        if standby:
            names += f"; kept: {', '.join(map(str, sorted(standby)))}"
        self.stage.ground.wait_for(lambda: self.observer.states == wanted, f"{names}, healthy")
        self.stage.expect(text, holds=True, detail=names)

    @contextmanager
    def writing(self, *, reconnects: bool = False) -> Iterator["Writing"]:
        """Let a client write through the road; at the end look for its rows.

        Args:
            reconnects: Whether it opens a connection for each row, so that it shows where new
                connections go; else it writes more, on one connection as long as that lasts.
        """
        stage = self.stage
        with stage.servers.primary.connect() as connection:
            create_table(connection)
        stage.progress.say("A client writes numbered rows through the road")
        interval = _RECONNECT_INTERVAL if reconnects else _INTERVAL
        with Writer(self.connect, interval=interval, reconnects=reconnects) as writer:
            writing = Writing(path=self, writer=writer)
            writing.wait_for_writes_by(stage.servers.primary)
            yield writing
            writer.stop()
        with stage.servers.primary.connect() as connection:
            missing = writer.acknowledged - written_rows(connection)
        stage.expect(
            "every acknowledged row is present",
            not missing,
            f"{len(writer.acknowledged)} acknowledged, {len(missing)} missing",
        )

    @contextmanager
    def reading(self) -> Iterator["Reading"]:
        """Let a client read through the road."""
        self.stage.progress.say("A client reads through the road, each time on a new connection")
        with Reader(self.connect) as reader:
            yield Reading(path=self, reader=reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A client that writes, and what it must meet."""

    path: ConnectionPath
    writer: Writer

    def wait_for_writes_by(self, server: PostgresServer) -> None:
        """Wait until a server has acknowledged some writes from now on."""
        now, address = time.time(), IPv4Address(server.host)

        def some() -> bool:
            rows = self.writer.acknowledgements
            return sum(row.at > now and row.server == address for row in rows) >= _SOME_ROWS

        self.path.stage.ground.wait_for(some, f"writes by PostgreSQL {server.name}")

    def expect_no_write_by(self, server: PostgresServer, *, since: float) -> None:
        """Note whether a server acknowledged a row after a moment: a demoted one must not."""
        strays = [
            row.number
            for row in self.writer.acknowledgements
            if row.at > since and row.server == IPv4Address(server.host)
        ]
        self.path.stage.expect(
            f"the old writer ({ADDRESSES[server.host]}) gets no write",
            not strays,
            f"{len(strays)} strays",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A client that reads, and whom it must meet."""

    path: ConnectionPath
    reader: Reader

    def expect_reads_by(self, text: str, servers: Collection[PostgresServer]) -> None:
        """Wait until each of these servers, and no other, answers reads; note it.

        The load balancer gives its targets new flows in turn, so another target would be met in
        so many reads. One that has just left may answer a flow that began before.

        Raises:
            WaitTimeoutError: Another server goes on answering, or one of these does not.
        """
        now = time.time()
        wanted = {IPv4Address(server.host) for server in servers}
        enough = _ROUNDS * (len(wanted) + 1)

        def is_only_they() -> bool:
            newest = self.reader.since(now)[-enough:]
            return len(newest) == enough and {read.server for read in newest} == wanted

        self.path.stage.ground.wait_for(
            is_only_they, f"reads by {', '.join(server.name for server in servers)} alone"
        )
        # By their place in the VPC, as a person would name them.
        names = ", ".join(str(ADDRESSES[str(server)]) for server in sorted(wanted))
        self.path.stage.expect(text, holds=True, detail=names)


def run(scenario: Scenario, options: LabOptions, console: Console, findings: Findings) -> None:
    """Play a scenario and note what was found.

    Raises:
        ServerDiedError: A server of the lab ended by itself.
        CommandFailedError: SAM or PostgreSQL failed.
        WaitTimeoutError: Something that had to happen did not.
    """
    progress = Progress(console)
    console.rule(f"[bold]{scenario.name}[/]: {scenario.shows}", align="left")
    with Supervisor() as supervisor:
        project = Project(supervisor, built=options.built)
        building = project.start_build()
        servers = PostgresSet.create(supervisor, postgres.HOSTS[: scenario.servers])
        with Ground.prepared(supervisor, options, address_plan(servers)) as ground:
            building.result()
            scenario.play(
                Stage(
                    ground=ground,
                    servers=servers,
                    project=project,
                    findings=findings,
                    progress=progress,
                )
            )
