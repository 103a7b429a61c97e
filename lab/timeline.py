"""What happened in a failover, and when: the table that the demo prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab.writer import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened.

    Attributes:
        name: What ("DNS flipped"). The same word for the same thing in every timeline.
        at: When, in epoch seconds.
        note: Anything worth knowing about it.
    """

    name: str
    at: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The moments of one failover or repair, counted from its cause.

    Attributes:
        title: "Failover 1: the primary crashes".
        cause: What set it off; second 0.
        moments: What followed, in any order.
        write_gap: The interval in which no write was acknowledged; None when that was not
            looked at.
    """

    title: str
    cause: Moment
    moments: tuple[Moment, ...]
    write_gap: Gap | None = None

    @property
    def ordered(self) -> tuple[Moment, ...]:
        """The cause and what followed, by time; at the same time, the cause comes first."""
        return tuple(sorted((self.cause, *self.moments), key=lambda moment: moment.at))

    def seconds(self, at: float) -> float:
        """Return how long after the cause something was; negative when before."""
        return at - self.cause.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Something that must be true of the run.

    Attributes:
        text: What must be true ("every acknowledged row is present").
        holds: Whether it is.
        detail: What was seen.
    """

    text: str
    holds: bool
    detail: str = ""


def format_seconds(seconds: float) -> str:
    """Return seconds as the lab shows them everywhere, to the hundredth."""
    return f"{seconds:.2f} s"


def verdict(expectations: Sequence[Expectation]) -> str:
    """Say in one sentence whether all expectations hold."""
    failed = sum(not expectation.holds for expectation in expectations)
    if failed:
        return f"{failed} of {len(expectations)} expectations FAILED"
    return f"{len(expectations)} of {len(expectations)} expectations hold"


def print_timeline(console: Console, timeline: Timeline) -> None:
    """Print a timeline as a table."""
    table = Table(title=escape(timeline.title), title_justify="left", title_style="bold")
    table.add_column("what")
    table.add_column("after", justify="right")
    table.add_column("note", style="dim")
    for moment in timeline.ordered:
        after = format_seconds(timeline.seconds(moment.at))
        table.add_row(escape(moment.name), after, escape(moment.note))
    if timeline.write_gap is not None:
        table.add_section()
        table.add_row("writes interrupted for", format_seconds(timeline.write_gap.seconds), "")
    console.print(table)


def print_expectations(console: Console, expectations: Sequence[Expectation]) -> None:
    """Print which expectations hold and which do not."""
    table = Table(title=verdict(expectations), title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("expectation")
    table.add_column("seen", style="dim")
    for expectation in expectations:
        mark = "[green]pass[/]" if expectation.holds else "[bold red]FAIL[/]"
        table.add_row(mark, escape(expectation.text), escape(expectation.detail))
    console.print(table)
