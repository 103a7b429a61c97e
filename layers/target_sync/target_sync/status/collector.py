"""Gathers every fact about the road, all at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol, TypeVar

from target_sync.model import (
    FailedObservation,
    IPAddress,
    Observation,
    StandbyCheck,
    TargetState,
)
from target_sync.ports import Endpoint, Standbys
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Facts,
    FunctionNetwork,
    GroupDetails,
    Listener,
    LoadBalancer,
    SecurityGroup,
    Skipped,
    SslReply,
)
from target_sync.status.ports import (
    LoadBalancersPort,
    MetricsPort,
    NetworksPort,
    ProbePort,
    QueuesPort,
    ScalingPort,
    SchedulePort,
    SecurityGroupsPort,
    ServicePort,
)
from target_sync.status.queries import NoQueryError, ParallelQueries, Query
from target_sync.status.report import StatusReport, make_report
from target_sync.status.settings import StatusSettings

#: Within so many seconds every answer is there, or its step is unknown.
SECONDS = 18.0
_ELB, _EC2 = "elasticloadbalancing", "ec2"
#: Each may take some seconds.
_MOST_PROBES = 3
_NO_SYNC = "An Auto Scaling group registers its instances itself: there is no sync function."
_T = TypeVar("_T")


class StatusReporter(Protocol):
    """Where the result of a look goes, beside the caller."""

    def report(self, status_report: StatusReport) -> None:
        """Write the one record of this look."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCollector:
    """Looks at the road of one stack. It changes nothing.

    Attributes:
        settings: What the stack is.
        endpoint: How the database is observed; None for an Auto Scaling group.
        standbys: Whose an address is; None unless a standby's target is kept.
        service: The endpoint service; None if the stack has none.
        schedule: The sync function's; None if there is no such function.
        probe: Connects to the targets; None for a function outside the VPC.
        reporter: Where the result goes, beside the caller.
        now: Seconds of a monotonic clock.
        wall_clock: Seconds since the epoch.
        seconds: How long it may take.
    """

    settings: StatusSettings
    endpoint: Endpoint | None
    standbys: Standbys | None
    balancers: LoadBalancersPort
    security_groups: SecurityGroupsPort
    networks: NetworksPort
    scaling: ScalingPort
    service: ServicePort | None
    metrics: MetricsPort
    schedule: SchedulePort | None
    queues: QueuesPort
    probe: ProbePort | None
    reporter: StatusReporter
    now: Callable[[], float]
    wall_clock: Callable[[], float]
    seconds: float = SECONDS

    def run(self) -> StatusReport:
        """Look at everything, judge it, and write the record of it."""
        status_report = make_report(self.facts(), self.settings.deployment)
        self.reporter.report(status_report)
        return status_report

    def facts(self) -> Facts:
        """Look at everything."""
        queries = ParallelQueries(self.now, self.seconds)
        group_arn = self._deployment.target_group_arn
        balancers, queues = self.balancers, self.queues

        observation = queries.ask("where the database is", "rds", self._observe)
        targets = queries.ask("the targets", _ELB, lambda: balancers.targets(group_arn))
        group = queries.ask("the target group", _ELB, lambda: balancers.group(group_arn))
        group_attributes = queries.ask(
            "the attributes of the target group",
            _ELB,
            lambda: balancers.group_attributes(group_arn),
        )
        balancer = queries.ask(
            "the load balancer", _ELB, lambda: self._of_balancer(group, balancers.load_balancer)
        )
        balancer_attributes = queries.ask(
            "the attributes of the load balancer",
            _ELB,
            lambda: self._of_balancer(group, balancers.load_balancer_attributes),
        )
        listeners = queries.ask(
            "the listeners", _ELB, lambda: self._of_balancer(group, balancers.listeners)
        )
        listener_attributes = queries.ask(
            "the attributes of the listener",
            _ELB,
            lambda: self._listener_attributes(listeners),
        )
        subnets = queries.ask(
            "the subnets", _EC2, lambda: self.networks.subnets(_present(balancer).vpc_id)
        )
        security_groups = queries.ask(
            "the security groups", _EC2, lambda: self._security_groups(balancer)
        )
        standbys = queries.ask(
            "whose the other addresses are", _EC2, lambda: self._standbys(observation, targets)
        )
        probes = queries.ask("what the targets answer", _ELB, lambda: self._probes(targets))
        attached = queries.ask("the Auto Scaling group", "autoscaling", self._attached)
        service = queries.ask("the endpoint service", _EC2, lambda: self._service().service())
        principals = queries.ask(
            "the allowed principals", _EC2, lambda: self._service().principals()
        )
        connections = queries.ask(
            "the endpoint connections", _EC2, lambda: self._service().connections()
        )
        network = queries.ask("the function's network", _EC2, self._function_network)
        runs = queries.ask("the newest runs", "cloudwatch", lambda: self._metrics().recent_runs())
        changes = queries.ask("the newest change", "cloudwatch", lambda: self._metrics().changes())
        schedule = queries.ask("the schedule", "scheduler", self._schedule_enabled)
        failed = queries.ask(
            "the failed runs", "sqs", lambda: queues.messages(self.settings.failed_runs_queue)
        )
        undelivered = queries.ask(
            "the undelivered events",
            "sqs",
            lambda: queues.messages(self.settings.undelivered_events_queue),
        )
        return Facts(
            now=self.wall_clock(),
            observation=observation.fact(),
            attached=attached.fact(),
            targets=targets.fact(),
            standbys=standbys.fact(),
            probes=probes.fact(),
            group=group.fact(),
            group_attributes=group_attributes.fact(),
            listeners=listeners.fact(),
            listener_attributes=listener_attributes.fact(),
            load_balancer=balancer.fact(),
            load_balancer_attributes=balancer_attributes.fact(),
            subnets=subnets.fact(),
            security_groups=security_groups.fact(),
            service=service.fact(),
            principals=principals.fact(),
            connections=connections.fact(),
            function_network=network.fact(),
            recent_runs=runs.fact(),
            changes=changes.fact(),
            schedule_enabled=schedule.fact(),
            failed_runs=failed.fact(),
            undelivered_events=undelivered.fact(),
        )

    @property
    def _deployment(self) -> Deployment:
        return self.settings.deployment

    def _observe(self) -> Observation | FailedObservation:
        if self.endpoint is None:
            raise _skip("An Auto Scaling group has no endpoint to look up.")
        return self.endpoint.observe()

    def _of_balancer(
        self, group: "Query[GroupDetails | None]", ask: Callable[[str], _T | None]
    ) -> _T | None:
        """Ask about the stack's own load balancer, or the one that uses somebody else's group."""
        if self.settings.load_balancer_arn:
            return ask(self.settings.load_balancer_arn)
        found = group.needed()
        arns = found.load_balancer_arns if found else ()
        return ask(arns[0]) if arns else None

    def _listener_attributes(
        self, listeners: "Query[tuple[Listener, ...] | None]"
    ) -> Mapping[str, str] | None:
        group_arn = self._deployment.target_group_arn
        for listener in listeners.needed() or ():
            if group_arn in listener.target_group_arns:
                return self.balancers.listener_attributes(listener.arn)
        return None

    def _security_groups(
        self, balancer: "Query[LoadBalancer | None]"
    ) -> Mapping[str, SecurityGroup]:
        ids = {*_present(balancer).security_groups, *self._deployment.database_security_groups}
        return self.security_groups.rules(ids) if ids else {}

    def _standbys(
        self,
        observation: "Query[Observation | FailedObservation]",
        targets: "Query[tuple[DescribedTarget, ...] | None]",
    ) -> StandbyCheck:
        """Ask only about targets that are there and that the answer does not explain."""
        if self.standbys is None:
            raise _skip("No standby's target is kept.")
        seen = observation.needed()
        known: frozenset[IPAddress] = (
            seen.addresses if isinstance(seen, Observation) else frozenset()
        )
        registered = {ip_address(t.id) for t in targets.needed() or () if t.is_registered}
        outside = frozenset(registered - known)
        return self.standbys.check(outside) if outside else StandbyCheck()

    def _probes(
        self, targets: "Query[tuple[DescribedTarget, ...] | None]"
    ) -> Mapping[str, SslReply]:
        """Connect to the healthy targets. An unhealthy one has a step of its own."""
        if self.probe is None:
            raise _skip("The function is outside the VPC; FunctionSubnetIds would put it there.")
        well = [t for t in targets.needed() or () if t.state is TargetState.HEALTHY]
        if not well:
            raise _skip("No target is healthy.")
        return {str(target): self.probe.ask(target) for target in well[:_MOST_PROBES]}

    def _attached(self) -> bool | None:
        if not self.settings.scaling_group:
            raise _skip("There is no Auto Scaling group.")
        arns = self.scaling.attached_target_groups(self.settings.scaling_group)
        return None if arns is None else self._deployment.target_group_arn in arns

    def _service(self) -> ServicePort:
        if self.service is None:
            raise _skip("With ExistingTargetGroupArn the stack has no endpoint service.")
        return self.service

    def _function_network(self) -> FunctionNetwork:
        if not self.settings.function_subnets:
            raise _skip("The function is outside every VPC and reaches AWS directly.")
        return self.networks.of_function(self.settings.function_subnets)

    def _metrics(self) -> MetricsPort:
        if self.schedule is None:
            raise _skip(_NO_SYNC)
        return self.metrics

    def _schedule_enabled(self) -> bool | None:
        if self.schedule is None:
            raise _skip(_NO_SYNC)
        return self.schedule.is_enabled()


def _skip(why: str) -> NoQueryError:
    return NoQueryError(Skipped(why))


def _present(balancer: "Query[LoadBalancer | None]") -> LoadBalancer:
    found = balancer.needed()
    if found is None:
        raise _skip("There is no load balancer to look at.")
    return found
