"""Collects every fact about the connection path in parallel, and makes the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar

from target_sync.environment import is_address
from target_sync.model import (
    DatabaseKind,
    FailedObservation,
    Observation,
    StandbyCheck,
    TargetState,
)
from target_sync.ports import Endpoint, OutboundRulesPort, Reporter, Standbys
from target_sync.status.facts import (
    Database,
    Deployment,
    DescribedTarget,
    Facts,
    FactUnavailableError,
    FunctionNetwork,
    GroupDetails,
    Listener,
    LoadBalancer,
    SecurityGroup,
    Skipped,
    SslReply,
    database_groups,
    require,
    require_load_balancer,
)
from target_sync.status.ports import (
    DatabasePort,
    LoadBalancersPort,
    MetricsPort,
    NetworksPort,
    ProbePort,
    QueuesPort,
    ScalingPort,
    SchedulePort,
    ServicePort,
)
from target_sync.status.queries import ParallelQueries, Query
from target_sync.status.report import StatusReport, make_report
from target_sync.status.settings import StatusSettings

#: After this time a fact is unknown.
SECONDS = 18.0
#: Each probe may take some seconds.
_MAX_PROBES = 3
_ELB, _EC2, _CLOUDWATCH = "elasticloadbalancing", "ec2", "cloudwatch"
_NO_DATABASE = "No AWS API describes this kind of database."
_NO_ENDPOINT = "An Auto Scaling group has no endpoint."
_NO_SERVICE = "With ExistingTargetGroupArn the stack has no endpoint service."
_NO_SWITCH = "Only the load balancer of a stack that reconciles its targets has the switch."
_NO_SYNC = "An Auto Scaling group registers its instances itself: there is no sync function."
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCollector:
    """Reads the facts of one stack, and makes the report. It changes nothing.

    Attributes:
        endpoint: Observes the database; None for an Auto Scaling group.
        database: Describes the database; None for a kind that no API describes.
        standbys: Recognizes the standby's addresses; None unless its target stays registered.
        outbound_rules: The rules that open the targets; None if the stack has no switch.
        service: The endpoint service; None if the stack has none.
        metrics: The metrics of the sync function; None if there is no such function.
        schedule: The schedule of the sync function; None if there is no such function.
        probe: Connects to the targets; None for a function outside the VPC.
        now: A monotonic clock in seconds.
        wall_clock: Returns seconds since the epoch.
        seconds: The time for all facts.
    """

    settings: StatusSettings
    endpoint: Endpoint | None
    database: DatabasePort | None
    standbys: Standbys | None
    balancers: LoadBalancersPort
    networks: NetworksPort
    scaling: ScalingPort
    outbound_rules: OutboundRulesPort | None
    service: ServicePort | None
    metrics: MetricsPort | None
    schedule: SchedulePort | None
    queues: QueuesPort
    probe: ProbePort | None
    reporter: Reporter[StatusReport]
    now: Callable[[], float]
    wall_clock: Callable[[], float]
    seconds: float = SECONDS

    def run(self) -> StatusReport:
        """Collect the facts, make the report and log it."""
        status_report = make_report(self.facts(), self.settings.deployment)
        self.reporter.report(status_report)
        return status_report

    def facts(self) -> Facts:
        """Read every fact in parallel."""
        start = ParallelQueries(self.now, self.seconds).start
        deployment, elb = self._deployment, self.balancers
        group_arn = deployment.target_group_arn
        service = partial(_present, self.service, _NO_SERVICE)
        metrics = partial(_present, self.metrics, _NO_SYNC)

        observation = start("the database's addresses", "rds", self._observe)
        database = start(
            "the database",
            "ec2" if deployment.kind is DatabaseKind.EC2_INSTANCE else "rds",
            lambda: _present(self.database, _NO_DATABASE).database(),
        )
        targets = start("the targets", _ELB, lambda: elb.targets(group_arn))
        group = start("the target group", _ELB, lambda: elb.group(group_arn))
        of_balancer = partial(self._of_balancer, group)
        balancer = start("the load balancer", _ELB, lambda: of_balancer(elb.load_balancer))
        listeners = start("the listeners", _ELB, lambda: of_balancer(elb.listeners))
        queries: dict[str, Query[Any]] = {
            "observation": observation,
            "database": database,
            "attached": start("the Auto Scaling group", "autoscaling", self._attached),
            "targets": targets,
            "standbys": start(
                "the owners of the other addresses",
                _EC2,
                lambda: self._standbys(observation, targets),
            ),
            "probes": start("the targets' replies", _ELB, lambda: self._probes(targets)),
            "group": group,
            "group_attributes": start(
                "the attributes of the target group", _ELB, lambda: elb.group_attributes(group_arn)
            ),
            "listeners": listeners,
            "listener_attributes": start(
                "the attributes of the listener", _ELB, lambda: self._listener_attributes(listeners)
            ),
            "load_balancer": balancer,
            "load_balancer_attributes": start(
                "the attributes of the load balancer",
                _ELB,
                lambda: of_balancer(elb.load_balancer_attributes),
            ),
            "subnets": start(
                "the subnets",
                _EC2,
                lambda: self.networks.subnets(require_load_balancer(balancer.fact()).vpc_id),
            ),
            "security_groups": start(
                "the security groups", _EC2, lambda: self._security_groups(balancer, database)
            ),
            "outbound_rules": start(
                "the outbound rules",
                _EC2,
                lambda: _present(self.outbound_rules, _NO_SWITCH).describe(),
            ),
            "service": start("the endpoint service", _EC2, lambda: service().service()),
            "principals": start("the allowed principals", _EC2, lambda: service().principals()),
            "connections": start("the endpoint connections", _EC2, lambda: service().connections()),
            "function_network": start("the function's network", _EC2, self._function_network),
            "recent_runs": start("the newest runs", _CLOUDWATCH, lambda: metrics().recent_runs()),
            "changes": start("the newest change", _CLOUDWATCH, lambda: metrics().changes()),
            "schedule_enabled": start(
                "the schedule", "scheduler", lambda: _present(self.schedule, _NO_SYNC).is_enabled()
            ),
            "failed_runs": start(
                "the failed runs", "sqs", lambda: self.queues.messages(deployment.failed_runs_queue)
            ),
            "undelivered_events": start(
                "the undelivered events",
                "sqs",
                lambda: self.queues.messages(deployment.undelivered_events_queue),
            ),
        }
        now = self.wall_clock()
        return Facts(now=now, **{name: query.fact() for name, query in queries.items()})

    @property
    def _deployment(self) -> Deployment:
        return self.settings.deployment

    def _observe(self) -> Observation | FailedObservation:
        return _present(self.endpoint, _NO_ENDPOINT).observe()

    def _of_balancer(
        self, group: "Query[GroupDetails | None]", read: Callable[[str], _T | None]
    ) -> _T | None:
        """Read from the stack's load balancer, or from the first one of an existing group."""
        if self.settings.load_balancer_arn:
            return read(self.settings.load_balancer_arn)
        found = require(group.fact())
        arns = found.load_balancer_arns if found else ()
        return read(arns[0]) if arns else None

    def _listener_attributes(
        self, listeners: "Query[tuple[Listener, ...] | None]"
    ) -> Mapping[str, str] | None:
        for listener in require(listeners.fact()) or ():
            if self._deployment.target_group_arn in listener.target_group_arns:
                return self.balancers.listener_attributes(listener.arn)
        return None

    def _security_groups(
        self, balancer: "Query[LoadBalancer | None]", database: "Query[Database | None]"
    ) -> Mapping[str, SecurityGroup]:
        own = require_load_balancer(balancer.fact()).security_groups
        ids = {*own, *database_groups(database.fact(), self._deployment)}
        return self.networks.security_groups(ids) if ids else {}

    def _standbys(
        self,
        observation: "Query[Observation | FailedObservation]",
        targets: "Query[tuple[DescribedTarget, ...] | None]",
    ) -> StandbyCheck:
        """Check only the registered addresses outside the observation."""
        if self.standbys is None:
            raise _skip("The standby's target does not stay registered.")
        observed = require(observation.fact())
        desired = observed.addresses if isinstance(observed, Observation) else frozenset()
        registered = {
            ip_address(t.id)
            for t in require(targets.fact()) or ()
            if t.is_registered and is_address(t.id)
        }
        outside = frozenset(registered - desired)
        return self.standbys.check(outside) if outside else StandbyCheck()

    def _probes(
        self, targets: "Query[tuple[DescribedTarget, ...] | None]"
    ) -> Mapping[str, SslReply]:
        """Connect to the healthy targets. The check `target-health` covers the others."""
        if self.probe is None:
            raise _skip("The function is outside the VPC. Set FunctionSubnetIds to enable this.")
        healthy = [t for t in require(targets.fact()) or () if t.state is TargetState.HEALTHY]
        if not healthy:
            raise _skip("No target is healthy.")
        return {str(target): self.probe.ask(target) for target in healthy[:_MAX_PROBES]}

    def _attached(self) -> bool | None:
        group = self._deployment.scaling_group
        if not group:
            raise _skip("There is no Auto Scaling group.")
        arns = self.scaling.attached_target_groups(group)
        return None if arns is None else self._deployment.target_group_arn in arns

    def _function_network(self) -> FunctionNetwork:
        if not self.settings.function_subnets:
            raise _skip("The function is outside every VPC and reaches AWS directly.")
        return self.networks.of_function(self.settings.function_subnets)


def _present(part: _T | None, reason: str) -> _T:
    if part is None:
        raise _skip(reason)
    return part


def _skip(reason: str) -> FactUnavailableError:
    return FactUnavailableError(Skipped(reason))
