"""The steps of a drill: check, confirm, fail over, observe, report.

`drill.decisions` decides which database the drill may fail over.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from drill import decisions
from drill.aws import Aws
from drill.decisions import DrilledStack, FailoverCall
from drill.failover import RDS_EVENT, NameObservation, ObservedFailover
from drill.pollers import ConnectionPoller, NamePoller, Pollers
from drill.report import Report, package_versions, write_html
from drill.results import Moment, Results, format_seconds, print_expectations, print_timeline
from target_sync.errors import RejectedInputError, TargetSyncError
from target_sync.model import DatabaseKind

#: How long the drill waits for the remaining moments once the new target is healthy, in seconds:
#: for the record of the run and the removal of the old target; for a metric, which is minutes late.
_REST_SECONDS, _METRIC_SECONDS = 60.0, 240.0
_TICK = 0.2
DEFAULT_LIMIT, DEFAULT_REPORT = 900.0, Path("drill-report.html")
_TITLE = "Failover drill"
_CONTINUES = (
    "The failover continues in AWS and cannot be taken back. The stack follows it without the"
    " drill."
)
#: The drill reports a larger difference between the clocks, in seconds.
_CLOCK_SECONDS = 2.0
_PACKAGES = ("boto3", "dnspython", "rich")


class Exit(IntEnum):
    """The exit status of a drill."""

    FOLLOWED = 0
    NOT_FOLLOWED = 1
    REFUSED = 2
    ABORTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a drill.

    Attributes:
        stack: The stack's name.
        observe: Whether the drill waits for a failover that it does not start.
        yes: The database's name, to confirm without a question.
        limit: Seconds from the cause until the new target must be healthy.
        report: The path of the HTML report.
    """

    stack: str
    observe: bool = False
    yes: str | None = None
    limit: float = DEFAULT_LIMIT
    report: Path = DEFAULT_REPORT


@dataclass(slots=True, kw_only=True)
class Drill:
    """One drill.

    Attributes:
        options: Its options.
        aws: The user's AWS account.
        console: Its output.
        ask: Asks the user; raises `EOFError` without standard input.
        name_poller: Makes the poller of a name.
        connection_poller: Makes the poller of new connections from the load balancer's name and
            port; None if it cannot be reached.
    """

    options: Options
    aws: Aws
    console: Console
    ask: Callable[[str], str]
    name_poller: Callable[[str], NamePoller]
    connection_poller: Callable[[str, int], ConnectionPoller | None]
    _began_at: float = field(default_factory=time.time)
    _call_made: bool = False
    _printed: set[str] = field(default_factory=set)

    def run(self) -> Exit:
        """Run the drill and return its exit status."""
        try:
            return self._run()
        except RejectedInputError as error:
            self._print(f"[bold red]Refused:[/] {escape(str(error))}")
            self._print("Nothing was changed.")
            return Exit.REFUSED
        except (BotoCoreError, ClientError, TargetSyncError) as error:
            self._print(f"[bold red]A call to AWS failed:[/] {escape(str(error))}")
            self._print("Nothing was changed.")
            return Exit.REFUSED
        except KeyboardInterrupt:
            self._print(self._aborted)
            return Exit.ABORTED

    def _run(self) -> Exit:
        if not self.options.report.resolve().parent.is_dir():
            raise RejectedInputError(f"there is no folder for the report {self.options.report}.")
        stack = decisions.recognise_stack(*self.aws.stack(self.options.stack))
        call = None if self.options.observe else self._call_for(stack)
        self._check_status(stack)
        self._introduce(stack, call)
        pollers = self._pollers(stack)
        if call is not None:
            self._confirm(call)
        # The database may have changed during the question.
        if call is not None and self._call_for(stack) != call:
            raise RejectedInputError("the database has changed since the first check: try again.")
        with pollers.running():
            return self._observe(stack, call, self._before(stack, pollers), pollers)

    def _call_for(self, stack: DrilledStack) -> FailoverCall:
        decisions.check_kind(stack)
        identifier = stack.database.identifier
        if stack.kind is DatabaseKind.RDS_INSTANCE:
            return decisions.instance_failover(stack, self.aws.instance(identifier))
        return decisions.cluster_failover(stack, self.aws.cluster(identifier))

    def _check_status(self, stack: DrilledStack) -> None:
        try:
            decisions.check_status(self.aws.status(stack.status_function))
        except RejectedInputError as error:
            if not self.options.observe:
                raise
            self._print(f"[yellow]Note:[/] {escape(str(error))}")

    def _introduce(self, stack: DrilledStack, call: FailoverCall | None) -> None:
        lines = {
            "Stack": f"{stack.name}, account {stack.account}, {stack.region}",
            "Database": f"{stack.database.endpoint} ({stack.kind})",
        }
        if call is not None:
            lines |= {"Call": f"{call} at {self.aws.rds_url}", "Outage": call.outage}
        for name, value in lines.items():
            self._print(f"[bold]{name:<9}[/] {escape(value)}")
        for warning in call.warnings if call else ():
            self._print(f"[yellow]Note:[/] {escape(warning)}")
        ahead = self.aws.clock_ahead
        if ahead is not None and abs(ahead) > _CLOCK_SECONDS:
            self._print(
                f"[yellow]Note:[/] AWS's clock is about {ahead:+.0f} s from this machine's. Times"
                " from AWS and times observed from here differ by that."
            )

    def _confirm(self, call: FailoverCall) -> None:
        typed = self.options.yes
        if typed is None:
            self._print("RDS will cut every connection to the database. Ctrl-C aborts at any step.")
            try:
                typed = self.ask(f"Type the database's name, {call.database}, to fail it over: ")
            except EOFError:
                raise RejectedInputError(
                    "there is no input to confirm with: give --yes with the name of the database."
                ) from None
        decisions.check_confirmation(typed.strip(), call)

    def _pollers(self, stack: DrilledStack) -> Pollers:
        group = self.aws.target_group(stack.target_group_arn)
        port = min((target.port for target in group.describe().registered), default=0)
        # The reader endpoint resolves to one reader after the other, which is no failover.
        by_name = stack.kind is not DatabaseKind.RDS_CLUSTER_READERS
        return Pollers.of(
            stack,
            self.aws,
            group,
            port=port,
            since=self._began_at,
            names=self.name_poller(stack.database.endpoint) if by_name else None,
            connections=self.connection_poller(stack.load_balancer_name, port),
        )

    def _before(self, stack: DrilledStack, pollers: Pollers) -> ObservedFailover:
        """Print the state before the failover and return the failover without observations.

        Raises:
            RejectedInputError: No target is healthy.
        """
        observations = pollers.observations()
        if not observations.groups or not observations.groups[0].healthy:
            problems = "; ".join(pollers.problems)
            raise RejectedInputError(f"no target is healthy before the failover. {problems}")
        group = observations.groups[0]
        name = (
            observations.names[0]
            if observations.names
            else NameObservation(at=group.at, failure="not polled")
        )
        targets = ", ".join(f"{entry.target} {entry.state}" for entry in group.group.targets)
        addresses = ", ".join(sorted(name.addresses)) or name.failure
        self._print(f"[bold]Before[/]    targets: {escape(targets)}; name: {escape(addresses)}")
        return ObservedFailover(
            call=None,
            before=group,
            addresses_before=name.addresses,
            standby_targets=stack.standby_targets,
            connects=pollers.connections is not None,
            counts_flows=pollers.flows is not None,
            expects_events=pollers.events is not None,
        )

    def _observe(
        self,
        stack: DrilledStack,
        call: FailoverCall | None,
        failover: ObservedFailover,
        pollers: Pollers,
    ) -> Exit:
        """Start the failover or wait for it, print the observations, and write the report."""
        aborted = False
        if call is not None:
            moment = Moment(name="failover requested", at=time.time(), note=str(call))
            failover = replace(failover, call=moment)
        try:
            if call is None:
                self._print("Waiting for a failover. The drill does not start it. Ctrl-C aborts.")
            else:
                self._fail_over(call)
            self._wait(failover, pollers)
        except KeyboardInterrupt:
            aborted = True
            self._print(self._aborted)
        failover = failover.with_observations(pollers.observations())
        results = Results(expectations=list(failover.expectations))
        if aborted:
            results.expectations = [entry for entry in results.expectations if entry.holds]
            results.expect("the drill observed the whole failover", holds=False, detail="aborted")
        self._conclude(stack, call, failover, pollers, results)
        if aborted:
            return Exit.ABORTED
        return Exit.FOLLOWED if results.all_hold else Exit.NOT_FOLLOWED

    def _fail_over(self, call: FailoverCall) -> None:
        """Make the call.

        Raises:
            ClientError: AWS rejected it.
        """
        self._call_made = True
        try:
            self.aws.fail_over(call)
        except ClientError:
            self._call_made = False
            raise
        except BotoCoreError as error:
            self._print(
                f"[yellow]No reply to the call:[/] {escape(str(error))}. AWS may have received it."
            )

    @property
    def _aborted(self) -> str:
        return "\nAborted. " + (_CONTINUES if self._call_made else "Nothing was changed.")

    def _wait(self, failover: ObservedFailover, pollers: Pollers) -> None:
        """Print new moments until the observations are complete or the time is up."""
        while True:
            failover = failover.with_observations(pollers.observations())
            self._print_new(failover, pollers)
            if failover.is_complete or time.time() > self._deadline(failover):
                return
            time.sleep(_TICK)

    def _deadline(self, failover: ObservedFailover) -> float:
        if failover.cause is None:
            return math.inf
        if failover.healthy_at is None:
            return failover.cause.at + self.options.limit
        return failover.healthy_at + (_METRIC_SECONDS if failover.counts_flows else _REST_SECONDS)

    def _print_new(self, failover: ObservedFailover, pollers: Pollers) -> None:
        """Print each moment and each problem once."""
        timeline = failover.timeline(_TITLE)
        for moment in timeline.ordered if timeline else ():
            after = format_seconds(timeline.seconds(moment.at)) if timeline else ""
            # The final timeline may have a more exact time for the same moment.
            self._print_once(
                f"{moment.name} {moment.note if moment.name == RDS_EVENT else ''}",
                f"{after:>9}  {escape(moment.name)}  [dim]{escape(moment.note)}[/]",
            )
        for problem in pollers.problems:
            self._print_once(problem, f"[yellow]Not observed:[/] {escape(problem)}")

    def _conclude(
        self,
        stack: DrilledStack,
        call: FailoverCall | None,
        failover: ObservedFailover,
        pollers: Pollers,
        results: Results,
    ) -> None:
        """Print the results and write the report; nothing if no failover began."""
        timeline = failover.timeline(_TITLE)
        if timeline is None:
            return
        results.timelines.append(timeline)
        print_timeline(self.console, timeline)
        print_expectations(self.console, results.expectations)
        missing = [*failover.missing, *pollers.problems]
        for entry in missing:
            self._print(f"[yellow]Not observed:[/] {escape(entry)}")
        report = Report(
            title=f"Failover drill of {stack.name}",
            started_at=self._began_at,
            results=results,
            options={
                "stack": f"{stack.name}, account {stack.account}, {stack.region}",
                "database": f"{stack.database.endpoint} ({stack.kind})",
                "started by": "not by the drill (--observe)" if call is None else str(call),
                "not observed": "; ".join(missing) or "nothing",
            },
            versions=package_versions(_PACKAGES),
        )
        write_html(self.options.report, report)
        self._print(f"Report: {escape(str(self.options.report.resolve()))}")

    def _print_once(self, key: str, text: str) -> None:
        if key not in self._printed:
            self._printed.add(key)
            self._print(text)

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)
