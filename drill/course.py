"""The course of a drill: look, ask, fail over, watch, tell. What it may touch, `decisions` says."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from drill import decisions
from drill.decisions import FailoverCall, OurStack, Resource
from drill.story import RDS_EVENT, NameSeen, Story
from drill.watches import AwsView, ConnectionWatch, GroupView, NameWatch, Watches
from lab.findings import Findings
from lab.report import write_html
from lab.timeline import Moment, format_seconds, print_expectations, print_timeline
from target_sync.errors import RejectedInputError, TargetSyncError
from target_sync.model import DatabaseKind

#: How long the rest may take once the new target is healthy: the record of the run, the removal
#: of the old target; and a metric of CloudWatch, which comes minutes late.
_REST_SECONDS, _METRIC_SECONDS = 60.0, 240.0
_TICK = 0.2
#: Unless told otherwise: seconds that the stack has to follow, and where the report goes.
DEFAULT_LIMIT, DEFAULT_REPORT = 900.0, Path("drill-report.html")
_TITLE = "Failover drill"
_GOES_ON = (
    "The failover goes on in AWS and cannot be taken back; the stack follows it without the drill."
)
#: From here on a clock is worth a word.
_CLOCK_SECONDS = 2.0
_PACKAGES = ("boto3", "dnspython", "rich")


class Exit(IntEnum):
    """How a drill ends, as its exit status."""

    FOLLOWED = 0
    NOT_FOLLOWED = 1
    REFUSED = 2
    ABORTED = 130


class Aws(AwsView, Protocol):
    """The user's AWS."""

    @property
    def rds_url(self) -> str:
        """Where the one call that changes anything would go."""
        ...

    @property
    def clock_ahead(self) -> float | None:
        """How far its clock is ahead of this machine's, in seconds; None if not known."""
        ...

    def stack(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Resource]]:
        """A stack, and its resources."""
        ...

    def status(self, function: str) -> Mapping[str, Any]:
        """What the stack's own status function answers."""
        ...

    def instance(self, identifier: str) -> Mapping[str, Any] | None:
        """An RDS instance."""
        ...

    def cluster(self, identifier: str) -> Mapping[str, Any] | None:
        """An RDS cluster."""
        ...

    def fail_over(self, call: FailoverCall) -> None:
        """Make the one call that changes anything."""
        ...

    def target_group(self, arn: str) -> GroupView:
        """A target group."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a drill was told.

    Attributes:
        stack: The stack's name.
        observe: Whether it waits for a failover that somebody else sets off.
        yes: The database's name, if nobody is to be asked.
        limit: Seconds that the stack has to follow, from the cause on.
        report: Where the HTML report goes.
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
        options: What it was told.
        aws: The user's AWS.
        console: Where it tells.
        ask: Asks a person; raises `EOFError` if there is none.
        name_watch: Makes the watch of a name.
        connection_watch: Makes the watch of new connections, from the load balancer's name and
            port; None for nothing to connect to.
    """

    options: Options
    aws: Aws
    console: Console
    ask: Callable[[str], str]
    name_watch: Callable[[str], NameWatch]
    connection_watch: Callable[[str, int], ConnectionWatch | None]
    _began_at: float = field(default_factory=time.time)
    _asked: bool = False
    _told: set[str] = field(default_factory=set)

    def run(self) -> Exit:
        """Go through with it, or refuse, or be aborted; tell which."""
        try:
            return self._run()
        except RejectedInputError as error:
            self._say(f"[bold red]Refused:[/] {escape(str(error))}")
            self._say("Nothing was touched.")
            return Exit.REFUSED
        except (BotoCoreError, ClientError, TargetSyncError) as error:
            self._say(f"[bold red]AWS did not let the drill go on:[/] {escape(str(error))}")
            self._say("Nothing was touched.")
            return Exit.REFUSED
        except KeyboardInterrupt:
            self._say(self._aborted)
            return Exit.ABORTED

    def _run(self) -> Exit:
        if not self.options.report.resolve().parent.is_dir():
            raise RejectedInputError(f"there is no folder for the report {self.options.report}.")
        stack = decisions.our_stack(*self.aws.stack(self.options.stack))
        call = None if self.options.observe else self._call_for(stack)
        self._check_status(stack)
        self._introduce(stack, call)
        watches = self._watches(stack)
        if call is not None:
            self._confirm(call)
        # Somebody may have changed something while a person was being asked.
        if call is not None and self._call_for(stack) != call:
            raise RejectedInputError("the database has changed meanwhile: look again.")
        with watches.looking():
            story = self._look_first(stack, watches)
            return self._follow(stack, call, story, watches)

    def _call_for(self, stack: OurStack) -> FailoverCall:
        decisions.refuse_unless_rds_can(stack)
        identifier = stack.subject.identifier
        if stack.kind is DatabaseKind.RDS_INSTANCE:
            return decisions.instance_failover(stack, self.aws.instance(identifier))
        return decisions.cluster_failover(stack, self.aws.cluster(identifier))

    def _check_status(self, stack: OurStack) -> None:
        try:
            decisions.refuse_unless_healthy(self.aws.status(stack.status_function))
        except RejectedInputError as error:
            if not self.options.observe:
                raise
            self._say(f"[yellow]Note:[/] {escape(str(error))}")

    def _introduce(self, stack: OurStack, call: FailoverCall | None) -> None:
        told = {
            "Stack": f"{stack.name}, account {stack.account}, {stack.region}",
            "Database": f"{stack.subject.endpoint} ({stack.kind})",
        }
        if call is not None:
            told |= {"Call": f"{call} at {self.aws.rds_url}", "Outage": call.outage}
        for name, value in told.items():
            self._say(f"[bold]{name:<9}[/] {escape(value)}")
        for warning in call.warnings if call else ():
            self._say(f"[yellow]Note:[/] {escape(warning)}")
        ahead = self.aws.clock_ahead
        if ahead is not None and abs(ahead) > _CLOCK_SECONDS:
            self._say(
                f"[yellow]Note:[/] AWS's clock is about {ahead:+.0f} s from this machine's. Moments"
                " told by AWS stand that far from those seen from here."
            )

    def _confirm(self, call: FailoverCall) -> None:
        typed = self.options.yes
        if typed is None:
            self._say("Every connection to the database will be cut. Ctrl-C aborts, at every step.")
            try:
                typed = self.ask(f"Type the database's name, {call.database}, to fail it over: ")
            except EOFError:
                raise RejectedInputError(
                    "there is nobody to ask: give --yes with the name of the database."
                ) from None
        decisions.refuse_unless_named(typed.strip(), call)

    def _watches(self, stack: OurStack) -> Watches:
        group = self.aws.target_group(stack.target_group_arn)
        port = min((target.port for target in group.describe().registered), default=0)
        # The readers' name leads to one reader after the other, which is no failover.
        by_name = stack.kind is not DatabaseKind.RDS_CLUSTER_READERS
        return Watches.of(
            stack,
            self.aws,
            group,
            since=self._began_at,
            names=self.name_watch(stack.subject.endpoint) if by_name else None,
            connections=self.connection_watch(stack.load_balancer_name, port),
        )

    def _look_first(self, stack: OurStack, watches: Watches) -> Story:
        seen = watches.seen()
        if not seen.targets or not seen.targets[0].healthy:
            troubles = "; ".join(watches.troubles)
            raise RejectedInputError(
                f"no target can be seen to be healthy before it begins. {troubles}"
            )
        group = seen.targets[0]
        name = seen.names[0] if seen.names else NameSeen(at=group.at, failure="not looked at")
        targets = ", ".join(f"{entry.target} {entry.state}" for entry in group.group.targets)
        answer = ", ".join(sorted(name.addresses)) or name.failure
        self._say(f"[bold]Before[/]    targets: {escape(targets)}; name: {escape(answer)}")
        return Story(
            asked=None,
            before=group,
            name_before=name.addresses,
            keeps_standby=stack.keeps_standby,
            connects=watches.connections is not None,
            counts_flows=watches.flows is not None,
            hears_events=watches.news is not None,
        )

    def _follow(
        self, stack: OurStack, call: FailoverCall | None, story: Story, watches: Watches
    ) -> Exit:
        """Set it off or wait for it, tell what is seen, and write the report."""
        aborted = False
        if call is not None:
            asked = Moment(name="failover asked for", at=time.time(), note=str(call))
            story = replace(story, asked=asked)
        try:
            if call is None:
                self._say("Waiting for a failover that somebody else sets off. Ctrl-C ends it.")
            else:
                self._fail_over(call)
            self._wait(story, watches)
        except KeyboardInterrupt:
            aborted = True
            self._say(self._aborted)
        story = story.with_seen(watches.seen())
        findings = Findings(expectations=list(story.expectations))
        if aborted:
            findings.expectations = [entry for entry in findings.expectations if entry.holds]
            findings.expect("it was watched to its end", holds=False, detail="aborted")
        self._conclude(stack, call, story, watches, findings)
        if aborted:
            return Exit.ABORTED
        return Exit.FOLLOWED if findings.all_hold else Exit.NOT_FOLLOWED

    def _fail_over(self, call: FailoverCall) -> None:
        """Make the call.

        Raises:
            ClientError: AWS answered that it does not do it.
        """
        self._asked = True
        try:
            self.aws.fail_over(call)
        except ClientError:
            self._asked = False
            raise
        except BotoCoreError as error:
            self._say(f"[yellow]No answer to the call:[/] {escape(str(error))}. It may have come.")

    @property
    def _aborted(self) -> str:
        return "\nAborted. " + (_GOES_ON if self._asked else "Nothing was touched.")

    def _wait(self, story: Story, watches: Watches) -> None:
        """Tell what is new until there is nothing left to wait for, or the time is up."""
        while True:
            story = story.with_seen(watches.seen())
            self._tell(story, watches)
            if story.is_complete or time.time() > self._deadline(story):
                return
            time.sleep(_TICK)

    def _deadline(self, story: Story) -> float:
        if story.cause is None:
            return math.inf
        if story.healthy_at is None:
            return story.cause.at + self.options.limit
        return story.healthy_at + (_METRIC_SECONDS if story.counts_flows else _REST_SECONDS)

    def _tell(self, story: Story, watches: Watches) -> None:
        """Print each moment and each trouble once."""
        timeline = story.timeline(_TITLE)
        for moment in timeline.ordered if timeline else ():
            after = format_seconds(timeline.seconds(moment.at)) if timeline else ""
            # A moment may be told more exactly later: the timeline at the end has that.
            self._say_once(
                f"{moment.name} {moment.note if moment.name == RDS_EVENT else ''}",
                f"{after:>9}  {escape(moment.name)}  [dim]{escape(moment.note)}[/]",
            )
        for trouble in watches.troubles:
            self._say_once(trouble, f"[yellow]Not seen:[/] {escape(trouble)}")

    def _conclude(
        self,
        stack: OurStack,
        call: FailoverCall | None,
        story: Story,
        watches: Watches,
        findings: Findings,
    ) -> None:
        """Print what was found, and write the report."""
        timeline = story.timeline(_TITLE)
        if timeline is None:
            return  # nothing has happened
        findings.timelines.append(timeline)
        print_timeline(self.console, timeline)
        print_expectations(self.console, findings.expectations)
        unseen = [*story.unseen, *watches.troubles]
        for entry in unseen:
            self._say(f"[yellow]Not seen:[/] {escape(entry)}")
        told = {
            "stack": f"{stack.name}, account {stack.account}, {stack.region}",
            "database": f"{stack.subject.endpoint} ({stack.kind})",
            "set off by": "somebody else (--observe)" if call is None else str(call),
            "not seen": "; ".join(unseen) or "nothing",
        }
        title = f"Failover drill of {stack.name}"
        report = self.options.report
        write_html(report, findings.report(title, self._began_at, told, _PACKAGES))
        self._say(f"Report: {escape(str(report.resolve()))}")

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._say(text)

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)
