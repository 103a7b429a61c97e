"""The parts that all scenarios share: their context, the connection path, and its clients."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeAlias

from rich.console import Console

from lab import postgres
from lab.addresses import Endpoint
from lab.aws import Account, Consumer
from lab.cluster_control_plane import ClusterFailover
from lab.environment import ADDRESSES, Lab, address_plan
from lab.leftovers import leftovers
from lab.observer import TargetObserver, registered
from lab.options import LabOptions
from lab.postgres import PostgresServer, PostgresSet
from lab.processes import Supervisor
from lab.rds_control_plane import Failover
from lab.reader import Reader
from lab.results import LabResults, Progress
from lab.stack import ApiStack, Project, Stack
from lab.writer import Connection, Writer, create_table, written_rows

#: The account of dbt's multi-tenant platform, the template's default principal.
DBT = "346425330055"
#: Parameters that shorten runs, because the lab compresses the schedule's minute. A run that polls
#: DNS lasts a real minute.
_COMPRESSED: Mapping[str, str] = {"EventWatchDurationSeconds": "12", "DnsPollIntervalSeconds": "0"}
#: The number of rows that shows a working connection path.
_SOME_ROWS = 30
#: The number of reads from each target that shows which targets receive connections.
_ROUNDS = 3
_STACK_NAME = "orders-privatelink"
_DENIED = "DeniedByTheLab"
#: Both have the addresses and the times of the failover.
FailoverTimes: TypeAlias = Failover | ClusterFailover
#: Seconds between two rows; a new connection for each row costs more CPU time.
_INTERVAL, _RECONNECT_INTERVAL = 0.01, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario, from the deployment of a stack to its deletion.

    Attributes:
        name: Its name on the command line.
        shows: What it shows, in one sentence.
        servers: The number of PostgreSQL servers; the first one is the primary.
        run: Runs it.
        with_sam: Whether it uses the SAM CLI, as a user does. The others create the same stack with
            CloudFormation's API, because the SAM CLI needs most of the CPU time.
        times: Its own defaults for the options of the lab.
    """

    name: str
    shows: str
    servers: int
    run: Callable[["ScenarioContext"], None]
    with_sam: bool = False
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioContext:
    """The running lab, its PostgreSQL servers, and the results of a scenario."""

    lab: Lab
    servers: PostgresSet
    stack: Stack
    results: LabResults
    progress: Progress

    @property
    def provider(self) -> Account:
        """The company's own account."""
        return self.lab.provider

    @property
    def targets(self) -> tuple[Endpoint, ...]:
        """The servers' addresses in the VPC, the primary first."""
        return tuple(ADDRESSES[server.host] for server in self.servers.servers)

    @property
    def writer(self) -> Endpoint:
        """The primary's address in the VPC."""
        return ADDRESSES[self.servers.primary.host]

    def server_at(self, target: Endpoint) -> PostgresServer:
        """Return the server with an address of the VPC."""
        (server,) = [s for s in self.servers.servers if ADDRESSES[s.host] == target]
        return server

    def expect(self, text: str, holds: object, detail: object = "") -> None:
        """Add an expectation and what was observed."""
        self.results.expect(text, holds, detail)

    def deploy(self, parameters: Mapping[str, str]) -> Mapping[str, str]:
        """Create or update the stack; return the outputs."""
        given = " ".join(f"{key}={value}" for key, value in parameters.items())
        self.progress.show(f"Deployment with {given}")
        self.stack.deploy({**_COMPRESSED, **parameters})
        return self.stack.outputs()

    @contextmanager
    def path(
        self, parameters: Mapping[str, str], *, targets: Collection[Endpoint], consumer: str = DBT
    ) -> Iterator["ConnectionPath"]:
        """Deploy the stack and connect a consumer; delete the stack at the end of the block.

        The consumer stays connected during the deletion.

        Args:
            parameters: The parameters of the stack; the event watch is short by default.
            targets: The expected targets: registered after the deployment, then healthy.
            consumer: The account that connects.
        """
        before = self.resources()
        outputs = self.deploy(parameters)
        registered_targets = self.registered_in(outputs["TargetGroupArn"])
        self.expect(
            "the expected targets are registered when the deployment is complete",
            registered_targets == set(targets),
            _names(registered_targets) or "none",
        )
        with self.connected(outputs, consumer) as path:
            path.expect_targets("they become healthy", targets)
            yield path
        self.progress.show("Deletion, with the consumer still connected")
        self.stack.delete()
        self.expect_no_new_resources("the deletion leaves nothing behind", before)

    @contextmanager
    def connected(self, outputs: Mapping[str, str], account: str) -> Iterator["ConnectionPath"]:
        """Connect a consumer to the deployed stack, and observe the targets in the block."""
        group, consumer = outputs["TargetGroupArn"], Consumer(self.lab.account(account))
        with TargetObserver(self.lab.admin, group) as observer:
            endpoint_id = consumer.connect(outputs["EndpointServiceName"])
            yield ConnectionPath(
                context=self,
                outputs=outputs,
                observer=observer,
                connect=self.lab.start_data_plane(
                    group, endpoint_id, self.servers.primary.password
                ),
                consumer=consumer,
                endpoint_id=endpoint_id,
            )

    def registered_in(self, target_group_arn: str) -> set[Endpoint]:
        """Return the serving targets of a group, healthy or not."""
        return registered(self.lab.admin.data_plane()).get(target_group_arn, set())

    def expect_resources(self, text: str, before: Sequence[str]) -> None:
        """Expect exactly the resources that existed before the stack."""
        difference = sorted(set(self.resources()) ^ set(before))
        self.expect(text, not difference, ", ".join(difference) or "same")

    def expect_no_new_resources(self, text: str, before: Sequence[str]) -> None:
        """Expect only resources that existed before the stack."""
        new = sorted(set(self.resources()) - set(before))
        self.expect(text, not new, ", ".join(new) or "nothing left")

    @contextmanager
    def denied(self, function: str, *actions: str) -> Iterator[None]:
        """Deny actions to a function's role, as a boundary or an organization may."""
        iam, aws_lambda = self.provider.client("iam"), self.provider.client("lambda")
        name = self.stack.resource(function)
        configuration = aws_lambda.get_function_configuration(FunctionName=name)
        role = configuration["Role"].rpartition("/")[2]
        statement = {"Effect": "Deny", "Action": actions, "Resource": "*"}
        iam.put_role_policy(
            RoleName=role,
            PolicyName=_DENIED,
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        yield
        iam.delete_role_policy(RoleName=role, PolicyName=_DENIED)

    def resources(self) -> Sequence[str]:
        """Return the resources in the provider's account, of the kinds that the stack creates."""
        return leftovers(self.provider.client)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPath:
    """A deployed connection path with a consumer."""

    context: ScenarioContext
    outputs: Mapping[str, str]
    observer: TargetObserver
    connect: Callable[[], Connection]
    consumer: Consumer
    endpoint_id: str

    @property
    def connection_state(self) -> str:
        """The state of the endpoint in the consumer's account, in lower case."""
        return self.consumer.state(self.endpoint_id)

    def expect_targets(
        self, text: str, targets: Collection[Endpoint], *, standby: Collection[Endpoint] = ()
    ) -> None:
        """Wait until the group has exactly these targets, and add an expectation.

        Args:
            text: The expectation.
            targets: The healthy targets.
            standby: The unhealthy targets of standbys.

        Raises:
            WaitTimeoutError: The group has other targets.
        """
        expected = dict.fromkeys(targets, "healthy") | dict.fromkeys(standby, "unhealthy")
        names = _names(targets) or "no target"
        if standby:
            names += f"; standby: {_names(standby)}"
        self.context.lab.wait_for(lambda: self.observer.states == expected, f"{names}, healthy")
        self.context.expect(text, holds=True, detail=names)

    def expect_warm(self, text: str, targets: Collection[Endpoint]) -> None:
        """Wait until exactly these targets are warm and unhealthy, and add an expectation.

        Raises:
            WaitTimeoutError: Other targets are warm.
        """
        expected = dict.fromkeys(targets, "unhealthy")
        names = _names(targets) or "none"
        self.context.lab.wait_for(lambda: self.observer.warm == expected, f"{names}, warm")
        self.context.expect(text, holds=True, detail=names)

    @contextmanager
    def writing(self, *, reconnects: bool = False) -> Iterator["Writing"]:
        """Let a client write through the connection path; check its rows at the end of the block.

        Args:
            reconnects: Whether the client opens a connection for each row.
        """
        context = self.context
        with context.servers.primary.connect() as connection:
            create_table(connection)
        context.progress.show("A client writes numbered rows through the connection path")
        interval = _RECONNECT_INTERVAL if reconnects else _INTERVAL
        with Writer(self.connect, interval=interval, reconnects=reconnects) as writer:
            writing = Writing(path=self, writer=writer)
            writing.wait_for_writes_by(context.servers.primary)
            yield writing
            writer.stop()
        with context.servers.primary.connect() as connection:
            missing = writer.acknowledged - written_rows(connection)
        context.expect(
            "every acknowledged row is present",
            not missing,
            f"{len(writer.acknowledged)} acknowledged, {len(missing)} missing",
        )

    @contextmanager
    def reading(self) -> Iterator["Reading"]:
        """Let a client read through the connection path."""
        self.context.progress.show("A client reads, on a new connection each time")
        with Reader(self.connect) as reader:
            yield Reading(path=self, reader=reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A client that writes, and its expectations."""

    path: ConnectionPath
    writer: Writer

    def wait_for_writes_by(self, server: PostgresServer) -> None:
        """Wait until a server has acknowledged some new writes."""
        now, address = time.time(), IPv4Address(server.host)

        def enough() -> bool:
            rows = self.writer.acknowledgements
            return sum(row.at > now and row.server == address for row in rows) >= _SOME_ROWS

        self.path.context.lab.wait_for(enough, f"writes by PostgreSQL {server.name}")

    def expect_no_stray_write(self, failover: FailoverTimes) -> None:
        """Expect that the demoted server acknowledged no row after the promotion."""
        demoted = IPv4Address(self.path.context.server_at(failover.old).host)
        strays = [
            row.number
            for row in self.writer.acknowledgements
            if row.at > failover.promoted_at and row.server == demoted
        ]
        self.path.context.expect(
            f"the old writer ({failover.old}) gets no write",
            not strays,
            f"{len(strays)} strays",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A client that reads, and its expectations."""

    path: ConnectionPath
    reader: Reader

    def expect_reads_by(self, text: str, servers: Collection[PostgresServer]) -> None:
        """Wait until exactly these servers reply to reads, and add an expectation.

        The load balancer gives new flows to its targets in turn, so the newest reads cover all of
        them. A target that has just left may reply on a flow that began before.

        Raises:
            WaitTimeoutError: Another server replies too, or one of these does not.
        """
        now = time.time()
        expected = {IPv4Address(server.host) for server in servers}
        enough = _ROUNDS * (len(expected) + 1)

        def only_these() -> bool:
            newest = self.reader.since(now)[-enough:]
            return len(newest) == enough and {read.server for read in newest} == expected

        self.path.context.lab.wait_for(
            only_these, f"reads by {', '.join(server.name for server in servers)} alone"
        )
        names = ", ".join(str(ADDRESSES[str(server)]) for server in sorted(expected))
        self.path.context.expect(text, holds=True, detail=names)


def _names(targets: Collection[Endpoint]) -> str:
    return ", ".join(map(str, sorted(targets)))


def run_scenario(
    scenario: Scenario, options: LabOptions, console: Console, results: LabResults
) -> None:
    """Run a scenario and add its results.

    Raises:
        ServerDiedError: A server of the lab ended by itself.
        CommandFailedError: SAM or PostgreSQL failed.
        WaitTimeoutError: A condition stayed false.
    """
    progress = Progress(console)
    console.rule(f"[bold]{scenario.name}[/]: {scenario.shows}", align="left")
    with Supervisor() as supervisor:
        project = Project(supervisor, built=options.built)
        progress.show("sam build; starting PostgreSQL, DNS and the local AWS")
        building = project.start_build()
        servers = PostgresSet.create(supervisor, postgres.HOSTS[: scenario.servers])
        with Lab.start(supervisor, options, address_plan(servers)) as lab:
            building.result()
            manage = Stack if scenario.with_sam else ApiStack
            scenario.run(
                ScenarioContext(
                    lab=lab,
                    servers=servers,
                    stack=manage(project, lab.provider, _STACK_NAME),
                    results=results,
                    progress=progress,
                )
            )
    progress.show("The lab's servers and files were removed")
