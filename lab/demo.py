"""The demo, from deployment to deletion: two failovers, drift, and a manual resync."""

import math
import time
from contextlib import ExitStack

from rich.console import Console
from rich.markup import escape

from drill.results import Moment, Timeline, format_seconds, print_expectations, print_timeline
from drill.run_records import RunRecord
from lab.addresses import Endpoint
from lab.aws import Consumer
from lab.environment import CONSUMER, STRANGER, InstanceLab
from lab.function_logs import run_records
from lab.leftovers import leftovers
from lab.observer import TargetObserver
from lab.options import LabOptions
from lab.processes import Supervisor
from lab.rds_control_plane import Failover
from lab.report import write_report
from lab.results import LabResults, Progress
from lab.stack import Project, Stack
from lab.writer import Writer, create_table, written_rows

_STACK_NAME = "orders-privatelink"
_TITLE = "PrivateLink to PostgreSQL through two failovers"
#: The number of rows before the first failover.
_FIRST_ROWS = 50
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
    progress = Progress(console)
    with Supervisor() as supervisor:
        project = Project(supervisor, built=options.built)
        progress.show("sam build; starting PostgreSQL (with a synchronous standby), DNS, local AWS")
        building = project.start_build()
        with InstanceLab.start_all(supervisor, options) as lab:
            building.result()
            _run(lab, Stack(project, lab.provider, _STACK_NAME), results, progress)
    progress.show("The lab's servers and files were removed")
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
    return results.all_hold


def _run(lab: InstanceLab, stack: Stack, results: LabResults, progress: Progress) -> None:
    before = leftovers(lab.provider.client)
    progress.show("sam deploy of the template, with IAM enforced")
    stack.deploy(
        {
            "DatabaseEndpoint": lab.database.endpoint,
            "VpcId": lab.database.vpc_id,
            "SubnetIds": ",".join(lab.database.subnet_ids),
            "Resolvers": lab.resolver,
            "AllowedPrincipals": f"arn:aws:iam::{CONSUMER}:root",
            "EventWatchDurationSeconds": str(_EVENT_WATCH_SECONDS + math.ceil(lab.options.dns_lag)),
            # A run that polls lasts a real minute, which the lab's schedule compresses.
            "DnsPollIntervalSeconds": "0",
        }
    )
    outputs = stack.outputs()
    consumer = Consumer(lab.account(CONSUMER))
    endpoint_id = _connect(lab, consumer, outputs["EndpointServiceName"], results, progress)
    with ExitStack() as running:
        observer = running.enter_context(TargetObserver(lab.admin, outputs["TargetGroupArn"]))
        connect = lab.start_data_plane(
            outputs["TargetGroupArn"], endpoint_id, lab.pair.primary.password
        )
        progress.show("Waiting for the first run of the schedule")
        lab.wait_for(
            lambda: observer.states == {lab.rds.writer: "healthy"}, "the first target to be healthy"
        )
        create_table(lab.pair.primary.connect())
        writer = running.enter_context(Writer(connect))
        progress.show("A client writes numbered rows through the connection path, without pause")
        lab.wait_for(lambda: len(writer.acknowledgements) > _FIRST_ROWS, "the first rows")
        steps = _DemoSteps(lab, stack, observer=observer, writer=writer, results=results)
        progress.show("Failover 1: the primary is killed")
        steps.first_failover()
        progress.show("Failover 2: through the RDS API; the old primary stays alive")
        steps.second_failover()
        progress.show("Drift: a person deregisters the target; the schedule repairs it")
        steps.drift_repaired_by_the_schedule()
        progress.show("Drift again: a person repairs it with sam remote invoke")
        steps.drift_repaired_manually()
        writer.stop()
        steps.check_rows()
    progress.show("The consumer disconnects; sam delete")
    consumer.disconnect(endpoint_id)
    stack.delete()
    remaining = leftovers(lab.provider.client)
    new = sorted(set(remaining) - set(before))
    results.expect("sam delete leaves nothing behind", not new, ", ".join(new) or "nothing left")


def _connect(
    lab: InstanceLab, consumer: Consumer, service_name: str, results: LabResults, progress: Progress
) -> str:
    progress.show("A consumer in another account creates its interface endpoint")
    refused = Consumer(lab.account(STRANGER)).is_refused(service_name)
    results.expect("an account that is not allowed cannot connect", refused, STRANGER)
    endpoint_id = consumer.connect(service_name)
    state = consumer.state(endpoint_id)
    results.expect("the allowed account's endpoint is available", state == "available", state)
    return endpoint_id


class _DemoSteps:
    """The steps of the demo while the client writes, each with its expectations."""

    def __init__(
        self,
        lab: InstanceLab,
        stack: Stack,
        *,
        observer: TargetObserver,
        writer: Writer,
        results: LabResults,
    ) -> None:
        self._lab = lab
        self._stack = stack
        self._observer = observer
        self._writer = writer
        self._results = results
        self._demoted_at: dict[str, float] = {}
        self._began_at = time.time()
        self._emitted = 0

    def first_failover(self) -> None:
        """The primary crashes; RDS promotes the standby and emits plain events."""
        old = self._lab.pair.primary
        old.kill()
        failover = self._fail_over(prefixed=False)
        self._follow("Failover 1: the primary crashes", "primary killed", failover)
        self._lab.rds.rebuild_standbys()

    def second_failover(self) -> None:
        """A person fails over through the RDS API; the old primary keeps accepting connections."""
        rds = self._lab.provider.client("rds")
        demoted = self._lab.pair.primary
        rds.reboot_db_instance(
            DBInstanceIdentifier=self._lab.database.identifier, ForceFailover=True
        )
        self._lab.wait_for(self._lab.hook.next_request, "RDS to receive the request")
        failover = self._fail_over(prefixed=True)
        self._follow("Failover 2: the old primary stays alive", "failover requested", failover)
        self._results.expect(
            "failover 2: the demoted server still accepts connections",
            demoted.is_ready(),
            demoted.host,
        )
        cut = self._lab.flows_cut(failover.old, since=failover.began_at)
        self._results.expect(
            "failover 2: the client's flow to the demoted server was cut", cut, f"{cut} cut"
        )

    def drift_repaired_by_the_schedule(self) -> None:
        """A person deregisters the target while no event watch runs."""
        self._lab.wait_for(self._all_watches_ended, "the runs of events to end")
        cause = self._deregister()
        record = self._lab.wait_for(
            lambda: self._registering_run(self._lab.rds.writer, since=cause),
            "the schedule's repair",
        )
        self._results.expect(
            "drift 1: a run of the schedule repairs it",
            record.trigger == "schedule",
            record.trigger,
        )
        self._report_repair("Drift 1: repaired by the schedule", cause)

    def drift_repaired_manually(self) -> None:
        """A person deregisters the target and resyncs, without the compressed schedule."""
        with self._stack.schedule_switched_off():
            cause = self._deregister()
            # SAM would time out before the target is healthy with AWS's times.
            result = self._stack.resync({"dry_run": False, "wait_for_healthy": False})
        self._results.expect(
            "the manual resync returns what it did",
            result["status"] == "synced" and result["registered"],
            result["summary"],
        )
        target = self._lab.rds.writer
        self._lab.wait_for(
            lambda: self._observer.first(target, "healthy", since=cause), f"{target} to be healthy"
        )
        self._report_repair("Drift 2: manual resync", cause)

    def check_rows(self) -> None:
        """Every acknowledged row exists, and no demoted server acknowledged a row."""
        with self._lab.pair.primary.connect() as connection:
            missing = self._writer.acknowledged - written_rows(connection)
        self._results.expect(
            "every acknowledged row is present",
            not missing,
            f"{len(self._writer.acknowledged)} acknowledged, {len(missing)} missing",
        )
        strays = [
            row.number
            for row in self._writer.acknowledgements
            if row.at > self._demoted_at.get(str(row.server), math.inf)
        ]
        self._results.expect(
            "no row was acknowledged by a demoted server", not strays, f"{len(strays)} strays"
        )

    def _fail_over(self, *, prefixed: bool) -> Failover:
        self._demoted_at.pop(self._lab.pair.standby.host, None)
        demoted = self._lab.pair.primary.host
        failover = self._lab.rds.fail_over(
            dns_lag=self._lab.options.dns_lag, prefixed=prefixed, wait=self._lab.pause
        )
        self._demoted_at[demoted] = failover.promoted_at
        self._emitted += len(failover.events)
        return failover

    def _follow(self, title: str, cause: str, failover: Failover) -> None:
        """Wait until the stack has followed the failover, and add the timeline."""
        lab, observer, writer = self._lab, self._observer, self._writer
        row = lab.wait_for(
            lambda: writer.first_after(failover.flipped_at, lab.primary_host),
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
        registered = observer.first(failover.new, "initial", "healthy", since=since)
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
        self._results.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name=cause, at=since, note=str(failover.old)),
                moments=tuple(moments),
                write_gap=gap,
            )
        )
        fewest = observer.fewest_registered(since, until)
        number = len(self._results.timelines)
        self._results.expect(
            f"failover {number}: the target group is the new address alone",
            observer.registered == {failover.new},
            ", ".join(map(str, sorted(observer.registered))),
        )
        self._results.expect(
            f"failover {number}: it was never without a registered target",
            fewest,
            f"at least {fewest}",
        )

    def _registering_run(self, target: Endpoint, *, since: float) -> RunRecord | None:
        """Return the record of the run that registered a target; None before that run has ended."""
        records = run_records(self._lab.provider, since=since)
        return next((r for r in records if str(target) in r.registered), None)

    def _all_watches_ended(self) -> bool:
        """Return whether each event until now has the record of its run."""
        records = run_records(self._lab.provider, since=self._began_at)
        return len([r for r in records if r.trigger == "rds_event"]) >= self._emitted

    def _deregister(self) -> float:
        elbv2 = self._lab.provider.client("elbv2")
        target = self._lab.rds.writer
        began_at = time.time()
        elbv2.deregister_targets(
            TargetGroupArn=self._stack.outputs()["TargetGroupArn"],
            Targets=[{"Id": str(target.address), "Port": target.port}],
        )
        self._lab.wait_for(
            lambda: self._observer.first(target, "draining", None, since=began_at),
            f"{target} to leave",
        )
        return began_at

    def _report_repair(self, title: str, cause: float) -> None:
        target = self._lab.rds.writer
        row = self._lab.wait_for(
            lambda: self._writer.first_after(
                self._observer.first(target, "healthy", since=cause) or math.inf
            ),
            "the client to write again",
        )
        registered = self._observer.first(target, "initial", "healthy", since=cause)
        healthy = self._observer.first(target, "healthy", since=cause)
        self._results.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name="deregistered manually", at=cause, note=str(target)),
                moments=(
                    *_moment("registered", registered),
                    *_moment("healthy", healthy),
                    Moment(name="first write through", at=row.at, note=f"row {row.number}"),
                ),
                write_gap=self._writer.gap(cause, row.at + 0.001),
            )
        )
        self._results.expect(
            f"{title.partition(':')[0].lower()}: the target is registered and healthy again",
            self._observer.states == {target: "healthy"},
            target,
        )


def _moment(name: str, at: float | None, note: str = "") -> tuple[Moment, ...]:
    return () if at is None else (Moment(name=name, at=at, note=note),)
