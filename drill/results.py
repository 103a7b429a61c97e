"""The results of a failover, as data and as tables: timelines and expectations."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """An interval without an acknowledged write, in epoch seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened.

    Attributes:
        name: Its name ("DNS flipped"), the same in every timeline.
        at: Its time, in epoch seconds.
        note: Details.
    """

    name: str
    at: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The moments of one failover or repair, counted from its cause.

    Attributes:
        title: Its title ("Failover 1: the primary crashes").
        cause: The first moment; second 0.
        moments: The other moments, in any order.
        write_gap: The interval without an acknowledged write; None if no client writes.
    """

    title: str
    cause: Moment
    moments: tuple[Moment, ...]
    write_gap: Gap | None = None

    @property
    def ordered(self) -> tuple[Moment, ...]:
        """All moments by time. The cause comes before moments of the same time."""
        return tuple(sorted((self.cause, *self.moments), key=lambda moment: moment.at))

    def seconds(self, at: float) -> float:
        """Return the seconds from the cause to a time; negative for an earlier time."""
        return at - self.cause.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A statement that must be true.

    Attributes:
        text: The statement ("every acknowledged row is present").
        holds: Whether it is true.
        detail: What was observed.
    """

    text: str
    holds: bool
    detail: str = ""


@dataclass(slots=True)
class Results:
    """The timelines and expectations of a run."""

    timelines: list[Timeline] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)

    def expect(self, text: str, holds: object, detail: object = "") -> None:
        """Add an expectation and what was observed."""
        self.expectations.append(Expectation(text=text, holds=bool(holds), detail=str(detail)))

    @property
    def all_hold(self) -> bool:
        """Whether every expectation holds."""
        return all(expectation.holds for expectation in self.expectations)


def format_seconds(seconds: float) -> str:
    """Return seconds as text, to the hundredth."""
    return f"{seconds:.2f} s"


def summary(expectations: Sequence[Expectation]) -> str:
    """Return one sentence: whether all expectations hold."""
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
    """Print a table of the expectations: which hold, and which do not."""
    table = Table(title=summary(expectations), title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("expectation")
    table.add_column("observed", style="dim")
    for expectation in expectations:
        status = "[green]pass[/]" if expectation.holds else "[bold red]FAIL[/]"
        table.add_row(status, escape(expectation.text), escape(expectation.detail))
    console.print(table)
