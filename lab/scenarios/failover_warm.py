"""The first failover of an RDS instance with warm targets, and AWS's times."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.addresses import Endpoint
from lab.aws import Database, create_database
from lab.emulator.messages import NetworkInterface
from lab.rds_control_plane import Failover
from lab.scenarios import failover_watch
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext
from lab.scenarios.outages import expect_prompt, follow, opening_needs

#: The address of another database. By zone and address it comes before the standby.
_FOREIGN = Endpoint.parse("10.0.2.11:5432")
_HOST = "127.0.0.1"


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": failover_watch.EVENT_WATCH_DURATION_SECONDS,
        "StandbyTargets": "warm",
    }
    primary, standby = context.targets
    with (
        _foreign_database(context, database) as foreign,
        context.path(parameters, targets=[primary]) as path,
    ):
        _expect_proof(context, path.outputs)
        path.expect_warm("the standby and another database's address are warm", [standby, _FOREIGN])
        with path.writing(reconnects=True) as writing:
            context.progress.show("The primary dies; RDS emits events and fails over")
            failover = rds.crash()
            needs = opening_needs(context, failover, announced_at=failover.flipped_at)
            outage = follow(writing, "warm, 1st failover", failover, needs).outage
            expect_prompt(
                context,
                "the rule of the new address is open",
                database.endpoint,
                since=failover.flipped_at,
                until=outage.registered_at,
            )
            _expect_no_registration(path, failover)
            path.expect_targets("only the new address gets traffic", [failover.new])
            path.expect_warm("the former address is warm instead", [primary, _FOREIGN])
            writing.expect_no_stray_write(failover)
        connections = foreign.connections()
        context.expect(
            "nothing connected to the other database",
            not connections and not context.lab.flows_opened(_FOREIGN),
            f"{connections} connections, health checks included",
        )


def _expect_proof(context: ScenarioContext, outputs: Mapping[str, str]) -> None:
    context.expect(
        "the deployment proved that closed targets get no traffic",
        outputs["SwitchVerified"] == "yes",
        f"{outputs['SwitchVerified']}; healthy {outputs['SecondsToHealthyOnceOpened']} s after the"
        " rule was opened",
    )


def _expect_no_registration(path: ConnectionPath, failover: Failover) -> None:
    registering_at = path.observer.first(failover.new, "initial", since=failover.began_at)
    path.context.expect(
        "the failover waits for no registration",
        registering_at is None,
        f"{failover.new} was warm before",
    )


@dataclass(frozen=True, slots=True)
class _ForeignDatabase:
    """A server that never replies, so that all connections wait until they are counted."""

    server: socket.socket

    def connections(self) -> int:
        """Return the number of connections since the start."""
        count = 0
        self.server.setblocking(False)  # noqa: FBT003 - positional in the standard library
        while True:
            try:
                self.server.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def _foreign_database(context: ScenarioContext, database: Database) -> Iterator[_ForeignDatabase]:
    """Run another RDS instance with the same security group in the standby's subnet."""
    rds = context.provider.client("rds")
    (described,) = rds.describe_db_instances(DBInstanceIdentifier=database.identifier)[
        "DBInstances"
    ]
    groups = tuple(group["VpcSecurityGroupId"] for group in described["VpcSecurityGroups"])
    context.lab.admin.put_network_interface(
        NetworkInterface(
            address=str(_FOREIGN.address),
            subnet_id=database.subnet_ids[1],
            security_group_ids=groups,
            description="RDSNetworkInterface",
            requester="amazon-rds",
        )
    )
    with socket.create_server((_HOST, 0), backlog=socket.SOMAXCONN) as server:
        there = Endpoint(IPv4Address(_HOST), server.getsockname()[1])
        context.lab.ports.add(_FOREIGN, there)
        yield _ForeignDatabase(server)


SCENARIO = Scenario(
    name="failover-warm",
    shows="the standby's address is registered in advance and closed: the first failover opens it,"
    " and waits for no registration",
    servers=2,
    run=_run,
    times=failover_watch.TIMES,
)
