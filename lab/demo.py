"""The main job from end to end: deploy, connect, two failovers, drift, resync, delete."""

import math
import time
from contextlib import ExitStack

from rich.console import Console
from rich.markup import escape

from lab.addresses import Endpoint
from lab.aws import Consumer
from lab.findings import Findings, Progress
from lab.leftovers import leftovers
from lab.observer import TargetObserver
from lab.options import LabOptions
from lab.processes import Supervisor
from lab.rds_control_plane import Failover
from lab.records import SyncRecord, sync_records
from lab.report import write_html
from lab.site import CONSUMER, STRANGER, Site
from lab.stack import Project, Stack
from lab.timeline import (
    Moment,
    Timeline,
    format_seconds,
    print_expectations,
    print_timeline,
)
from lab.writer import Writer, create_table, written_rows

_STACK_NAME = "orders-privatelink"
_TITLE = "PrivateLink to PostgreSQL: the road through two failovers"
#: Rows to write before anything happens to the road.
_FIRST_ROWS = 50
#: Settles the runs of the events that come after everything works again.
_WATCH_SECONDS = 10


def run_demo(options: LabOptions, console: Console) -> bool:
    """Do everything, print the timelines, write the report; answer whether everything held.

    Raises:
        ServerDiedError: A server of the lab ended by itself.
        CommandFailedError: SAM or PostgreSQL failed.
        WaitTimeoutError: Something that had to happen did not.
    """
    started_at = time.time()
    findings = Findings()
    progress = Progress(console)
    with Supervisor() as supervisor:
        project = Project(supervisor, built=options.built)
        progress.say("sam build; starting PostgreSQL (with a synchronous standby), DNS, local AWS")
        building = project.start_build()
        with Site.started(supervisor, options) as site:
            building.result()
            _whole_life(site, Stack(project, site.provider, _STACK_NAME), findings, progress)
    progress.say("Every server and file of the lab is gone")
    for timeline in findings.timelines:
        console.print()
        print_timeline(console, timeline)
    console.print()
    print_expectations(console, findings.expectations)
    write_html(options.report, findings.report(_TITLE, started_at, options.shown))
    console.print(f"Report: {escape(str(options.report.resolve()))}", soft_wrap=True)
    for timeline in findings.timelines:
        if timeline.write_gap is not None:
            seconds = format_seconds(timeline.write_gap.seconds)
            console.print(f"{escape(timeline.title)}: writes were interrupted for {seconds}")
    return findings.all_hold


def _whole_life(site: Site, stack: Stack, findings: Findings, progress: Progress) -> None:
    before = leftovers(site.provider.session(), endpoint_url=site.admin.url)
    progress.say("sam deploy of our own template, with IAM enforced")
    stack.deploy(
        {
            "DatabaseEndpoint": site.database.endpoint,
            "VpcId": site.database.vpc_id,
            "SubnetIds": ",".join(site.database.subnet_ids),
            "Resolvers": site.resolver,
            "AllowedPrincipals": f"arn:aws:iam::{CONSUMER}:root",
            "EventWatchDurationSeconds": str(_WATCH_SECONDS + math.ceil(site.options.dns_lag)),
        },
    )
    outputs = stack.outputs()
    consumer = Consumer(site.account(CONSUMER))
    endpoint_id = _connect(site, consumer, outputs["EndpointServiceName"], findings, progress)
    with ExitStack() as running:
        observer = running.enter_context(TargetObserver(site.admin, outputs["TargetGroupArn"]))
        connect = site.start_data_plane(
            outputs["TargetGroupArn"], endpoint_id, site.pair.primary.password
        )
        progress.say("Waiting for the first sync by the schedule")
        site.wait_for(
            lambda: observer.states == {site.rds.writer: "healthy"},
            "the first target to be healthy",
        )
        create_table(site.pair.primary.connect())
        writer = running.enter_context(Writer(connect))
        progress.say("A client writes numbered rows through the road, without pause")
        site.wait_for(lambda: len(writer.acknowledgements) > _FIRST_ROWS, "the first rows")
        acts = _Acts(site, stack, observer=observer, writer=writer, findings=findings)
        progress.say("Failover 1: the primary is killed")
        acts.first_failover()
        progress.say("Failover 2: asked for by the RDS API; the old primary stays alive")
        acts.second_failover()
        progress.say("Drift: somebody deregisters the target; the schedule repairs it")
        acts.drift_repaired_by_the_schedule()
        progress.say("Drift again; a person repairs it with sam remote invoke")
        acts.drift_repaired_by_hand()
        writer.stop()
        acts.check_rows()
    progress.say("The consumer disconnects; sam delete")
    consumer.disconnect(endpoint_id)
    stack.delete()
    left = leftovers(site.provider.session(), endpoint_url=site.admin.url)
    new = sorted(set(left) - set(before))
    findings.expect("sam delete leaves nothing behind", not new, ", ".join(new) or "nothing left")


def _connect(
    site: Site, consumer: Consumer, service_name: str, findings: Findings, progress: Progress
) -> str:
    progress.say("A consumer in another account creates its interface endpoint")
    refused = Consumer(site.account(STRANGER)).is_refused(service_name)
    findings.expect("an account that is not allowed cannot connect", refused, STRANGER)
    endpoint_id = consumer.connect(service_name)
    state = consumer.state(endpoint_id)
    findings.expect("the allowed account's endpoint is available", state == "available", state)
    return endpoint_id


class _Acts:
    """What happens to the road while the client writes, each with its expectations."""

    def __init__(
        self,
        site: Site,
        stack: Stack,
        *,
        observer: TargetObserver,
        writer: Writer,
        findings: Findings,
    ) -> None:
        self._site = site
        self._stack = stack
        self._observer = observer
        self._writer = writer
        self._findings = findings
        self._demoted_at: dict[str, float] = {}
        self._began_at = time.time()
        self._emitted = 0

    def first_failover(self) -> None:
        """The primary crashes; RDS notices, promotes, and tells with plain event names."""
        old = self._site.pair.primary
        old.kill()
        failover = self._fail_over(prefixed=False)
        self._follow("Failover 1: the primary crashes", "primary killed", failover)
        self._site.rds.rebuild_standbys()

    def second_failover(self) -> None:
        """A person asks for it by the RDS API; the old primary goes on accepting connections."""
        rds = self._site.provider.session().client("rds", endpoint_url=self._site.admin.url)
        demoted = self._site.pair.primary
        rds.reboot_db_instance(
            DBInstanceIdentifier=self._site.database.identifier, ForceFailover=True
        )
        self._site.wait_for(self._site.hook.asked, "RDS to be asked for the failover")
        failover = self._fail_over(prefixed=True)
        self._follow("Failover 2: the old primary stays alive", "failover asked for", failover)
        self._findings.expect(
            "failover 2: the demoted server still accepts connections",
            demoted.is_ready(),
            demoted.host,
        )
        cut = self._site.flows_cut(failover.old, since=failover.began_at)
        self._findings.expect(
            "failover 2: the client's flow to the demoted server was cut", cut, f"{cut} cut"
        )

    def drift_repaired_by_the_schedule(self) -> None:
        """Somebody deregisters the target by hand, when nobody is watching any more."""
        self._site.wait_for(self._every_watch_has_ended, "the runs that events set off to end")
        cause = self._deregister_by_hand()
        record = self._site.wait_for(
            lambda: self._registering_run(self._site.rds.writer, since=cause),
            "the schedule's repair",
        )
        self._findings.expect(
            "drift 1: it was the schedule that repaired it",
            record.trigger == "schedule",
            record.trigger,
        )
        self._tell_of_repair("Drift 1: repaired by the schedule", cause)

    def drift_repaired_by_hand(self) -> None:
        """Somebody does it again; a person resyncs. The compressed schedule would be sooner."""
        with self._stack.schedule_switched_off():
            cause = self._deregister_by_hand()
            # Without waiting for health: with AWS's times SAM would give up before that.
            answer = self._stack.resync({"dry_run": False, "wait_for_healthy": False})
        self._findings.expect(
            "the resync by hand answers what it did",
            answer["status"] == "synced" and answer["registered"],
            answer["summary"],
        )
        target = self._site.rds.writer
        self._site.wait_for(
            lambda: self._observer.first(target, "healthy", since=cause), f"{target} to be healthy"
        )
        self._tell_of_repair("Drift 2: resync by hand", cause)

    def check_rows(self) -> None:
        """Every acknowledged row is there, and no demoted server acknowledged one."""
        with self._site.pair.primary.connect() as connection:
            missing = self._writer.acknowledged - written_rows(connection)
        self._findings.expect(
            "every acknowledged row is present",
            not missing,
            f"{len(self._writer.acknowledged)} acknowledged, {len(missing)} missing",
        )
        strays = [
            row.number
            for row in self._writer.acknowledgements
            if row.at > self._demoted_at.get(str(row.server), math.inf)
        ]
        self._findings.expect(
            "no row was acknowledged by a demoted server", not strays, f"{len(strays)} strays"
        )

    def _fail_over(self, *, prefixed: bool) -> Failover:
        self._demoted_at.pop(self._site.pair.standby.host, None)
        demoted = self._site.pair.primary.host
        failover = self._site.rds.fail_over(
            dns_lag=self._site.options.dns_lag, prefixed=prefixed, wait=self._site.pause
        )
        self._demoted_at[demoted] = failover.promoted_at
        self._emitted += len(failover.events)
        return failover

    def _follow(self, title: str, cause: str, failover: Failover) -> None:
        """Wait until the road is right again, and tell what happened when."""
        site, observer, writer = self._site, self._observer, self._writer
        row = site.wait_for(
            lambda: writer.first_after(failover.flipped_at, site.primary_host),
            f"the client to write to {failover.new}",
        )
        site.wait_for(
            lambda: observer.states == {failover.new: "healthy"},
            f"the target group to be {failover.new} alone",
        )
        since = failover.began_at
        record = site.wait_for(
            lambda: self._registering_run(failover.new, since=since), "the function's record of it"
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
            *_seen("healthy", healthy),
            *_seen("old target gone", gone, str(failover.old)),
        ]
        if registered and record.detected_at:
            by = f"by the run of {record.event_id or record.trigger}"
            moments += [
                Moment(name="detected", at=record.detected_at, note=by),
                Moment(name="registered", at=registered, note=str(failover.new)),
            ]
        gap = writer.gap(since, until)
        self._findings.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name=cause, at=since, note=str(failover.old)),
                moments=tuple(moments),
                write_gap=gap,
            )
        )
        fewest = observer.fewest_registered(since, until)
        number = len(self._findings.timelines)
        self._findings.expect(
            f"failover {number}: the target group is the new address alone",
            observer.registered == {failover.new},
            ", ".join(map(str, sorted(observer.registered))),
        )
        self._findings.expect(
            f"failover {number}: it was never without a registered target",
            fewest,
            f"at least {fewest}",
        )

    def _registering_run(self, target: Endpoint, *, since: float) -> SyncRecord | None:
        """The record of the run that registered a target, once that run has ended."""
        records = sync_records(self._site.provider, since=since)
        return next((r for r in records if str(target) in r.registered), None)

    def _every_watch_has_ended(self) -> bool:
        """Whether every event so far has its record: its run is over."""
        records = sync_records(self._site.provider, since=self._began_at)
        return len([r for r in records if r.trigger == "rds_event"]) >= self._emitted

    def _deregister_by_hand(self) -> float:
        elbv2 = self._site.provider.session().client("elbv2", endpoint_url=self._site.admin.url)
        target = self._site.rds.writer
        began_at = time.time()
        elbv2.deregister_targets(
            TargetGroupArn=self._stack.outputs()["TargetGroupArn"],
            Targets=[{"Id": str(target.address), "Port": target.port}],
        )
        self._site.wait_for(
            lambda: self._observer.first(target, "draining", None, since=began_at),
            f"{target} to leave",
        )
        return began_at

    def _tell_of_repair(self, title: str, cause: float) -> None:
        target = self._site.rds.writer
        row = self._site.wait_for(
            lambda: self._writer.first_after(
                self._observer.first(target, "healthy", since=cause) or math.inf
            ),
            "the client to write again",
        )
        registered = self._observer.first(target, "initial", "healthy", since=cause)
        healthy = self._observer.first(target, "healthy", since=cause)
        self._findings.timelines.append(
            Timeline(
                title=title,
                cause=Moment(name="deregistered by hand", at=cause, note=str(target)),
                moments=(
                    *_seen("registered", registered),
                    *_seen("healthy", healthy),
                    Moment(name="first write through", at=row.at, note=f"row {row.number}"),
                ),
                write_gap=self._writer.gap(cause, row.at + 0.001),
            )
        )
        self._findings.expect(
            f"{title.partition(':')[0].lower()}: the target is registered and healthy again",
            self._observer.states == {target: "healthy"},
            target,
        )


def _seen(name: str, at: float | None, note: str = "") -> tuple[Moment, ...]:
    return () if at is None else (Moment(name=name, at=at, note=note),)
