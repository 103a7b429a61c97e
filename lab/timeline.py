"""What happened in a failover, and when: the table that the demo prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """An interval without any acknowledgement, in epoch seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


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
class Phase:
    """A part of an outage: what the client waits for, and the seconds when that begins and ends.

    Seconds count from the beginning of the failover.
    """

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What one strategy made of one failover. Moments are epoch seconds.

    Attributes:
        strategy: How the failover was followed.
        began_at: When the failover began.
        promoted_at: From when on the new primary accepted writes.
        flipped_at: When the database's name had moved.
        detected_at: When a run first saw that something had changed; None if none noted it.
        registered_at: When the new primary's address was registered; None if it was already.
        healthy_at: When the load balancer found it healthy.
        written_at: When the new primary acknowledged the first write.
        gap: The interval in which no write was acknowledged.
        needs: What the database and the set delays themselves need, in seconds, by what it is.
    """

    strategy: str
    began_at: float
    promoted_at: float
    flipped_at: float
    detected_at: float | None
    registered_at: float | None
    healthy_at: float
    written_at: float
    gap: Gap
    needs: Mapping[str, float]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What the client waited for, one after the other.

        Where the address was registered already, nobody waits for the function.
        """
        ends = [("healthy", self.healthy_at), ("first write", self.written_at)]
        if self.registered_at is not None:
            ends = [
                *([] if self.detected_at is None else [("detect", self.detected_at)]),
                ("register", self.registered_at),
                *ends,
            ]
        phases: list[Phase] = []
        for name, at in ends:
            start = phases[-1].end if phases else 0.0
            # A load balancer without a healthy target tries all: a write may come before health.
            end = max(start, min(at, self.written_at) - self.began_at)
            phases.append(Phase(name=name, start=start, end=end))
        return tuple(phases)

    @property
    def needed(self) -> float:
        """The seconds that the database and the set delays themselves need."""
        return sum(self.needs.values())

    def seconds(self, at: float | None) -> float | None:
        """Return how long after its beginning something was; None for what was not."""
        return None if at is None else at - self.began_at


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


def outage_figures(outage: Outage) -> Mapping[str, str]:
    """Return the figures of an outage by what they are; a dash for what did not happen."""
    moments = {
        "promoted": outage.promoted_at,
        "name moved": outage.flipped_at,
        "detected": outage.detected_at,
        "registered": outage.registered_at,
        "healthy": outage.healthy_at,
        "first write": outage.written_at,
    }
    return {
        **{name: _figure(outage.seconds(at)) for name, at in moments.items()},
        "no write for": format_seconds(outage.gap.seconds),
        "needed": format_seconds(outage.needed),
    }


def _figure(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)


def print_outages(console: Console, outages: Sequence[Outage]) -> None:
    """Print the figures of outages, a line for each."""
    for outage in outages:
        figures = ", ".join(f"{name} {value}" for name, value in outage_figures(outage).items())
        console.print(f"[bold]{escape(outage.strategy)}[/]: {figures}", soft_wrap=True)


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
