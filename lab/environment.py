"""The lab's environment: DNS, AWS and a database, started and connected with each other."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from lab import postgres
from lab.addresses import AddressPlan, Endpoint, Ports, free_port
from lab.aws import SUBNETS, Account, Database
from lab.dns_server import Zone, query_count
from lab.emulator.client import EmulatorAdmin
from lab.options import LabOptions
from lab.postgres import PostgresSet
from lab.processes import Server, Supervisor, accepts_connections
from lab.rds_control_plane import FailoverHook, RdsControlPlane
from lab.writer import Connection

PROVIDER = "111111111111"
CONSUMER = "222222222222"
STRANGER = "333333333333"

_HOST = "127.0.0.1"
_DATABASE_PORT = 5432
_REPOSITORY = Path(__file__).parents[1]
#: The servers' addresses in the VPC, by their loopback host.
ADDRESSES: Mapping[str, Endpoint] = {
    host: Endpoint(IPv4Address(address), _DATABASE_PORT)
    for host, address in zip(postgres.HOSTS, ("10.0.1.11", "10.0.2.12", "10.0.1.13"), strict=True)
}
#: Their addresses in the company's own network, behind Direct Connect or a VPN.
ON_PREMISES: Mapping[str, Endpoint] = {
    host: Endpoint(IPv4Address(f"192.168.7.{number}"), _DATABASE_PORT)
    for number, host in enumerate(postgres.HOSTS, start=11)
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running DNS server and a running AWS emulator, without a database.

    Attributes:
        supervisor: Supervises the servers.
        options: The lab's times.
        zone: The records of the DNS server.
        hook: Receives the failovers that the RDS API requests.
        admin: The emulator's admin API.
        dns_port: The port of the DNS server.
    """

    supervisor: Supervisor
    options: LabOptions
    zone: Zone
    hook: FailoverHook
    admin: EmulatorAdmin
    dns_port: int

    @classmethod
    @contextmanager
    def start(
        cls, supervisor: Supervisor, options: LabOptions, plan: AddressPlan
    ) -> Iterator["Lab"]:
        """Start the DNS server and the emulator.

        Args:
            supervisor: Supervises them.
            options: The lab's times.
            plan: The servers behind the addresses of the VPC.
        """
        folder = supervisor.work_dir
        plan.save(_plan_file(supervisor))
        zone = Zone(folder / "zone.json")
        dns_port = _start_dns(supervisor)
        with FailoverHook() as hook:
            yield cls(
                supervisor=supervisor,
                options=options,
                zone=zone,
                hook=hook,
                admin=_start_emulator(supervisor, options, hook, dns_port),
                dns_port=dns_port,
            )

    @property
    def provider(self) -> Account:
        """The company's own account."""
        return self.account(PROVIDER)

    @property
    def resolver(self) -> str:
        """The lab's DNS server as ``address:port``."""
        return f"{_HOST}:{self.dns_port}"

    @property
    def ports(self) -> Ports:
        """The ports of the servers' addresses."""
        return Ports(_plan_file(self.supervisor))

    def account(self, number: str) -> Account:
        """Return an account of the lab's AWS."""
        return Account(number, self.admin.url)

    def rds_for(self, database: Database, servers: PostgresSet) -> RdsControlPlane:
        """Return an RDS that runs an instance on these servers."""
        return RdsControlPlane(
            database=database,
            servers=servers,
            zone=self.zone,
            admin=self.admin,
            ports=self.ports,
            addresses=ADDRESSES,
            zones=dict(zip(postgres.HOSTS, SUBNETS.values(), strict=False)),
            dns_lag=self.options.dns_lag,
            wait=self.pause,
        )

    def start_data_plane(
        self, target_group_arn: str, endpoint_id: str, password: str
    ) -> Callable[[], Connection]:
        """Start the load balancer's data plane; return a function that connects through it."""
        port = free_port(_HOST)
        folder = self.supervisor.work_dir
        _start_module(
            self.supervisor,
            "NLB data plane",
            "lab.dataplane",
            {
                "emulator": self.admin.url,
                "address-plan": _plan_file(self.supervisor),
                "listen": f"{_HOST}:{port}",
                "target-group-arn": target_group_arn,
                "endpoint-id": endpoint_id,
                "log": folder / "dataplane.log",
            },
            ready=partial(accepts_connections, _HOST, port),
        )
        return partial(postgres.connect, _HOST, port, password)

    def flow_cuts(self, target: Endpoint, *, since: float) -> Sequence[float]:
        """Return when the data plane cut flows to a target, in epoch seconds."""
        return [
            event["at"] for event in self._flow_events("flow_cut", target) if event["at"] >= since
        ]

    def flows_opened(self, target: Endpoint) -> int:
        """Return how many flows the data plane has opened to a target."""
        return len(self._flow_events("flow_opened", target))

    def _flow_events(self, name: str, target: Endpoint) -> Sequence[Mapping[str, Any]]:
        lines = (self.supervisor.work_dir / "dataplane.log").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return [
            event
            for event in events
            if event["event"] == name
            and (event["address"], event["port"]) == (str(target.address), target.port)
        ]

    def wait_for(self, condition: Callable[[], _T | None], what: str) -> _T:
        """Wait for a condition and return its first true value.

        Raises:
            ServerDiedError: A server died.
            WaitTimeoutError: The condition stayed false.
        """
        return self.supervisor.wait_until(condition, what=what, timeout=self.options.wait_seconds)

    def queries(self, name: str, *, since: float = 0.0, until: float = math.inf) -> int:
        """Return how many queries for a name the DNS server has received in a period."""
        return query_count(self.supervisor.work_dir / "queries.log", name, since, until)

    def wait_for_queries(self, name: str, number: int) -> None:
        """Wait until the DNS server has received this number of new queries for a name."""
        enough = self.queries(name) + number
        self.wait_for(lambda: self.queries(name) >= enough, f"{number} new queries for {name}")

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, and stop if a server dies.

        Raises:
            ServerDiedError: A server died.
        """
        end = time.monotonic() + seconds
        self.supervisor.wait_until(
            lambda: time.monotonic() >= end, what="time to pass", timeout=seconds + 60
        )


def address_plan(servers: PostgresSet) -> AddressPlan:
    """Return a plan with an address in the VPC and one on premises for each server."""
    return AddressPlan(
        {
            network[server.host]: Endpoint(IPv4Address(server.host), server.port)
            for network in (ADDRESSES, ON_PREMISES)
            for server in servers.servers
        }
    )


def _plan_file(supervisor: Supervisor) -> Path:
    return supervisor.work_dir / "addresses.json"


def _start_dns(supervisor: Supervisor) -> int:
    port = free_port(_HOST)
    folder = supervisor.work_dir
    _start_module(
        supervisor,
        "DNS server",
        "lab.dns_server",
        {
            "host": _HOST,
            "port": port,
            "zone": folder / "zone.json",
            "query-log": folder / "queries.log",
        },
        ready=partial(accepts_connections, _HOST, port),
    )
    return port


def _start_emulator(
    supervisor: Supervisor, options: LabOptions, hook: FailoverHook, dns_port: int
) -> EmulatorAdmin:
    port = free_port(_HOST)
    folder = supervisor.work_dir / "emulator"
    folder.mkdir()
    admin = EmulatorAdmin(f"http://{_HOST}:{port}")
    _start_module(
        supervisor,
        "AWS emulator",
        "lab.emulator",
        {
            "port": port,
            "address-plan": _plan_file(supervisor),
            "work-dir": folder,
            "registration-delay": options.registration_delay,
            "load-balancer-delay": options.load_balancer_delay,
            "health-check-interval": options.health_check_interval,
            "rule-delay": options.rule_delay,
            "schedule-interval": options.schedule_interval,
            "rds-failover-hook": hook.url,
            "resolver": f"{_HOST}:{dns_port}",
        },
        ready=admin.is_ready,
    )
    return admin


def _start_module(
    supervisor: Supervisor,
    name: str,
    module: str,
    options: Mapping[str, Any],
    *,
    ready: Callable[[], bool],
) -> Server:
    """Start one of the lab's own servers in the repository's folder."""
    arguments = [f"--{option}={value}" for option, value in options.items()]
    return supervisor.start(
        name, [sys.executable, "-m", module, *arguments], ready=ready, cwd=_REPOSITORY
    )
