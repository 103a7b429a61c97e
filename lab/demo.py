"""The demo, from deployment to deletion: two failovers, drift, and a manual resync."""

import math
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from rich.console import Console
from rich.markup import escape

from drill.results import Moment, Timeline, format_seconds, print_expectations, print_timeline
from drill.run_records import RunRecord
from lab.addresses import Endpoint
from lab.aws import Consumer, Database, create_database
from lab.environment import ADDRESSES, CONSUMER, STRANGER
from lab.function_logs import run_records
from lab.options import LabOptions
from lab.rds_control_plane import Failover, RdsControlPlane
from lab.report import write_report
from lab.results import LabResults
from lab.scenarios.base import Scenario, ScenarioContext, Writing, run_scenario

_TITLE = "PrivateLink to PostgreSQL through two failovers"
#: Shortens the runs of the events after a failover.
_EVENT_WATCH_SECONDS = 10


def run_demo(options: LabOptions, console: Console) -> bool:
    """Run the demo, print the timelines and write the report; return whether all expectations hold.

    Raises:
        ServerDiedError: A server of the lab ended by itself.
        CommandFailedError: SAM or PostgreSQL failed.
        WaitTimeoutError: A condition stayed false.
    """
    started_at = time.time()
    results = LabResults()
    run_scenario(_DEMO, options, console, results)
    for timeline in results.timelines:
        console.print()
        print_timeline(console, timeline)
    console.print()
    print_expectations(console, results.expectations)
    write_report(options.report, _TITLE, started_at, results, options.shown)
    console.print(f"Report: {escape(str(options.report.resolve()))}", soft_wrap=True)
    for timeline in results.timelines:
        if timeline.write_gap is not None:
            seconds = format_seconds(timeline.write_gap.seconds)
            console.print(f"{escape(timeline.title)}: writes were interrupted for {seconds}")
    console.print(
        "Before each failover the new primary was a warm target. With StandbyTargets=none the load"
        f" balancer would have had to register it first: {options.registration_delay:g} s with the"
        " times of this run, 90 to 180 s on AWS as others measured.",
        soft_wrap=True,
    )
    return results.all_hold


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    before, show = context.resources(), context.progress.show
    show("sam deploy of the template, with IAM enforced")
    watch_seconds = _EVENT_WATCH_SECONDS + math.ceil(context.lab.options.dns_lag)
    outputs = context.deploy(
        {
            "DatabaseEndpoint": database.endpoint,
            "VpcId": database.vpc_id,
            "SubnetIds": ",".join(database.subnet_ids),
            "Resolvers": context.lab.resolver,
            "AllowedPrincipals": f"arn:aws:iam::{CONSUMER}:root",
            "EventWatchDurationSeconds": str(watch_seconds),
        }
    )
    show("A consumer in another account creates its interface endpoint")
    stranger = Consumer(context.lab.account(STRANGER))
    refused = stranger.is_refused(outputs["EndpointServiceName"])
    context.expect("an account that is not allowed cannot connect", refused, STRANGER)
    with context.connected(outputs, CONSUMER) as path:
        state = path.connection_state
        context.expect("the allowed account's endpoint is available", state == "available", state)
        show("Waiting for the first run of the schedule")
        context.lab.wait_for(
            lambda: path.observer.states == {rds.writer: "healthy"},
            "the first target to be healthy",
        )
        with path.writing() as writing:
            steps = _DemoSteps(context, writing, rds, database)
            steps.expect_warm_standby()
            show("Failover 1: the primary is killed")
            steps.first_failover()
            steps.expect_warm_standby()
            show("Failover 2: through the RDS API; the old primary stays alive")
            steps.second_failover()
            show("Drift: a person deregisters the target; the schedule repairs it")
            steps.drift_repaired_by_the_schedule()
            show("Drift again: a person repairs it with sam remote invoke")
            steps.drift_repaired_manually()
        steps.expect_no_stray_rows()
    show("The consumer disconnects; sam delete")
    path.consumer.disconnect(path.endpoint_id)
    context.stack.delete()
    context.expect_no_new_resources("sam delete leaves nothing behind", before)


_DEMO = Scenario(
    name="demo",
    shows="two failovers, drift and a manual resync, from deployment to deletion",
    servers=2,
    run=_run,
    with_sam=True,
)


@dataclass(slots=True)
class _DemoSteps:
    """The steps of the demo while the client writes, each with its expectations."""

    context: ScenarioContext
    writing: Writing
    rds: RdsControlPlane
    database: Database
    _demoted_at: dict[IPv4Address, float] = field(default_factory=dict, init=False)
    _began_at: float = field(default_factory=time.time, init=False)
    _emitted: int = field(default=0, init=False)

    def first_failover(self) -> None:
        """The primary crashes; RDS promotes the standby and emits plain events."""
        old = self.context.servers.primary
        old.kill()
        failover = self._fail_over(prefixed=False)
        self._follow("Failover 1: the primary crashes", "primary killed", failover)
        self.rds.rebuild_standbys()

    def second_failover(self) -> None:
        """A person fails over through the RDS API; the old primary keeps accepting connections."""
        demoted = self.context.servers.primary
        self.context.provider.client("rds").reboot_db_instance(
            DBInstanceIdentifier=self.database.identifier, ForceFailover=True
        )
        self.context.lab.wait_for(self.context.lab.hook.next_request, "RDS to receive the request")
        failover = self._fail_over(prefixed=True)
        self._follow("Failover 2: the old primary stays alive", "failover requested", failover)
        self.context.expect(
            "failover 2: the demoted server still accepts connections",
            demoted.is_ready(),
            demoted.host,
        )
        # A closed rule does not cut it: the target becomes unhealthy two health checks later.
        cuts = self.context.lab.wait_for(
            lambda: self.context.lab.flow_cuts(failover.old, since=failover.began_at),
            f"a flow to {failover.old} to be cut",
        )
        self.context.expect(
            "failover 2: the client's flow to the demoted server was cut", cuts, f"{len(cuts)} cut"
        )

    def drift_repaired_by_the_schedule(self) -> None:
        """A person deregisters the target while no event watch runs."""
        self.context.lab.wait_for(self._all_watches_ended, "the runs of events to end")
        cause = self._deregister()
        record = self.context.lab.wait_for(
            lambda: self._registering_run(self.rds.writer, since=cause),
            "the schedule's repair",
        )
        self.context.expect(
            "drift 1: a run of the schedule repairs it",
            record.trigger == "schedule",
            record.trigger,
        )
        self._report_repair("Drift 1: repaired by the schedule", cause)

    def drift_repaired_manually(self) -> None:
        """A person deregisters the target and resyncs, without the compressed schedule."""
        with self.context.stack.schedule_switched_off():
            cause = self._deregister()
            # SAM would time out before the target is healthy with AWS's times.
            result = self.context.stack.resync({"dry_run": False, "wait_for_healthy": False})
        self.context.expect(
            "the manual resync returns what it did",
            result["status"] == "synced" and result["registered"],
            result["summary"],
        )
        target = self.rds.writer
        self.context.lab.wait_for(
            lambda: self.writing.path.observer.first(target, "healthy", since=cause),
            f"{target} to be healthy",
        )
        self._report_repair("Drift 2: manual resync", cause)

    def expect_no_stray_rows(self) -> None:
        """No demoted server acknowledged a row."""
        strays = [
            row.number
            for row in self.writing.writer.acknowledgements
            if row.at > self._demoted_at.get(row.server, math.inf)
        ]
        self.context.expect(
            "no row was acknowledged by a demoted server", not strays, f"{len(strays)} strays"
        )

    def expect_warm_standby(self) -> None:
        """Wait until the standby's address is a warm target, before the next failover."""
        number = len(self.context.results.timelines) + 1
        self.writing.path.expect_warm(
            f"failover {number}: the new address is a warm target before it",
            [ADDRESSES[self.context.servers.standbys[0].host]],
        )

    def _fail_over(self, *, prefixed: bool) -> Failover:
        promoted, demoted = self.context.servers.standbys[0], self.context.servers.primary
        self._demoted_at.pop(IPv4Address(promoted.host), None)
        failover = self.rds.fail_over(prefixed=prefixed)
        self._demoted_at[IPv4Address(demoted.host)] = failover.promoted_at
        self._emitted += len(failover.events)
        return failover

    def _follow(self, title: str, cause: str, failover: Failover) -> None:
        """Wait until the stack has followed the failover, and add the timeline."""
        lab, server = self.context.lab, IPv4Address(self.context.servers.primary.host)
        observer, writer = self.writing.path.observer, self.writing.writer
        row = lab.wait_for(
            lambda: writer.first_after(failover.flipped_at, server),
            f"the client to write to {failover.new}",
        )
        lab.wait_for(
            lambda: observer.states == {failover.new: "healthy"},
            f"the target group to be {failover.new} alone",
        )
        since = failover.began_at
        record = lab.wait_for(
            lambda: self._registering_run(failover.new, since=since), "the record of its run"
        )
        registered = observer.joined(failover.new, since=since)
        healthy = observer.first(failover.new, "healthy", since=since)
        gone = observer.first(failover.old, "draining", None, since=since)
        until = time.time()
        moments = [
            Moment(name="standby promoted", at=failover.promoted_at),
            Moment(name="DNS flipped", at=failover.flipped_at, note=f"{failover.new.address}"),
            Moment(name="first write through", at=row.at, note=f"row {row.number}"),
            *(Moment(name=event_id, at=at) for event_id, at in failover.events.items()),
            *_moment("healthy", healthy),
            *_moment("old target gone", gone, str(failover.old)),
        ]
        if registered and record.detected_at:
            by = f"by the run of {record.event_id or record.trigger}"
            moments += [
                Moment(name="detected", at=record.detected_at, note=by),
                Moment(name="registered", at=registered, note=str(failover.new)),
            ]
        gap = writer.gap(since, until)
        self.context.results.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name=cause, at=since, note=str(failover.old)),
                moments=tuple(moments),
                write_gap=gap,
            )
        )
        fewest = observer.fewest_registered(since, until)
        number = len(self.context.results.timelines)
        self.context.expect(
            f"failover {number}: the target group is the new address alone",
            observer.registered == {failover.new},
            ", ".join(map(str, sorted(observer.registered))),
        )
        self.context.expect(
            f"failover {number}: it was never without a registered target",
            fewest,
            f"at least {fewest}",
        )

    def _registering_run(self, target: Endpoint, *, since: float) -> RunRecord | None:
        """Return the record of the run that registered a target; None before that run has ended."""
        records = run_records(self.context.provider, since=since)
        return next((r for r in records if str(target) in r.registered), None)

    def _all_watches_ended(self) -> bool:
        """Return whether each event until now has the record of its run."""
        records = run_records(self.context.provider, since=self._began_at)
        return len([r for r in records if r.trigger == "rds_event"]) >= self._emitted

    def _deregister(self) -> float:
        elbv2 = self.context.provider.client("elbv2")
        target = self.rds.writer
        began_at = time.time()
        elbv2.deregister_targets(
            TargetGroupArn=self.writing.path.outputs["TargetGroupArn"],
            Targets=[{"Id": str(target.address), "Port": target.port}],
        )
        self.context.lab.wait_for(
            lambda: self.writing.path.observer.first(target, "draining", None, since=began_at),
            f"{target} to leave",
        )
        return began_at

    def _report_repair(self, title: str, cause: float) -> None:
        target = self.rds.writer
        row = self.context.lab.wait_for(
            lambda: self.writing.writer.first_after(
                self.writing.path.observer.first(target, "healthy", since=cause) or math.inf
            ),
            "the client to write again",
        )
        registered = self.writing.path.observer.first(target, "initial", "healthy", since=cause)
        healthy = self.writing.path.observer.first(target, "healthy", since=cause)
        self.context.results.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name="deregistered manually", at=cause, note=str(target)),
                moments=(
                    *_moment("registered", registered),
                    *_moment("healthy", healthy),
                    Moment(name="first write through", at=row.at, note=f"row {row.number}"),
                ),
                write_gap=self.writing.writer.gap(cause, row.at + 0.001),
            )
        )
        self.context.expect(
            f"{title.partition(':')[0].lower()}: the target is registered and healthy again",
            self.writing.path.observer.states == {target: "healthy"},
            target,
        )


def _moment(name: str, at: float | None, note: str = "") -> tuple[Moment, ...]:
    return () if at is None else (Moment(name=name, at=at, note=note),)
