"""The results of a run of the lab, as data and as tables: also outages and faults."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from drill.results import Gap, Results, format_seconds

#: The first line of every run's output, and a paragraph of every report.
LAB_NOTE = (
    "This is the lab: PostgreSQL servers and an emulated AWS on this machine. Its times are"
    " compressed and were not measured on AWS."
)
#: The columns of the table of faults, after the first one.
FAULT_COLUMNS = ("fault", "broken check", "remedy", "alarms")
_NONE = "none"
_WIDTH = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of an outage, in seconds after the start of the failover."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.name} {format_seconds(self.seconds)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The outage of one failover with one strategy. Times are epoch seconds.

    Attributes:
        strategy: How the stack follows the failover.
        began_at: When the failover began.
        promoted_at: When the new primary began to accept writes.
        flipped_at: When the database's name had moved.
        detected_at: When a run first detected a change; None if no run recorded it.
        registered_at: When the new primary's address became a serving target; None if it already
            was one.
        healthy_at: When the new target was healthy.
        written_at: When the new primary acknowledged its first write.
        gap: The interval without an acknowledged write.
        needs: The seconds that the database and the configured delays need, by name.
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
        """The phases that the client waited for, in order.

        If the address was registered before, the client does not wait for the function.
        """
        ends = [("healthy", self.healthy_at), ("first write", self.written_at)]
        if self.registered_at is not None:
            ends = [
                *([] if self.detected_at is None else [("detect", self.detected_at)]),
                ("open", self.registered_at),
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
        """The sum of `needs`."""
        return sum(self.needs.values())

    def seconds(self, at: float | None) -> float | None:
        """Return the seconds from the start of the failover to a time; None for None."""
        return None if at is None else at - self.began_at


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """What the status and the alarms reported while a fault lasted.

    Attributes:
        name: The fault.
        check: The IDs of the broken status checks; without one the summary of the status.
        expected_words: Words that the remedy must contain.
        remedy: The remedy in the status.
        alarms: The alarms in ALARM state, without the stack's name.
        as_expected: Whether the check, the remedy and the alarms belong to the fault.
    """

    name: str
    check: str
    expected_words: str
    remedy: str
    alarms: tuple[str, ...]
    as_expected: bool

    @property
    def alarm_names(self) -> Sequence[str]:
        """The alarms, or the word "none"."""
        return self.alarms or (_NONE,)


@dataclass(slots=True)
class LabResults(Results):
    """The results of a run of the lab."""

    outages: list[Outage] = field(default_factory=list)
    faults: list[FaultResult] = field(default_factory=list)


class Progress:
    """Prints a line for each step, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def show(self, text: str) -> None:
        """Print the step that begins now."""
        seconds = f"{time.monotonic() - self._start:6.1f} s"
        self._console.print(f"[dim]{seconds}[/]  {escape(text)}", soft_wrap=True)


def outage_figures(outage: Outage) -> Mapping[str, str]:
    """Return the figures of an outage by name; a dash for a moment that did not happen."""
    moments = {
        "promoted": outage.promoted_at,
        "name moved": outage.flipped_at,
        "detected": outage.detected_at,
        "open": outage.registered_at,
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


def print_faults(console: Console, faults: Sequence[FaultResult]) -> None:
    """Print a table of faults. An expected remedy is shortened to its expected words."""
    table = Table(title=f"{len(faults)} faults", title_justify="left", title_style="bold")
    table.add_column("")
    for name in FAULT_COLUMNS:
        # Names do not wrap, so that a reader can copy them.
        table.add_column(name, no_wrap=name in FAULT_COLUMNS[1::2])
    for fault in faults:
        status = "[green]pass[/]" if fault.as_expected else "[bold red]FAIL[/]"
        alarms = "\n".join(fault.alarm_names)
        remedy = fault.expected_words if fault.as_expected else fault.remedy
        table.add_row(status, *map(escape, (fault.name, fault.check, remedy, alarms)))
    # Without a terminal rich assumes 80 columns.
    table.width = None if console.is_terminal else _WIDTH
    console.print(table, soft_wrap=not console.is_terminal)
