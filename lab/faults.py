"""Faults of a road, and what was seen while each of them lasted: a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_NONE = "none"
_WIDTH = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFault:
    """A fault that was injected.

    Attributes:
        name: What was broken.
        step: The step that the status named, or what it said instead.
        words: What the remedy has to say.
        remedy: What the status told to do.
        alarms: The alarms that rang, without the stack's name.
        as_expected: Whether that is what belongs to the fault.
    """

    name: str
    step: str
    words: str
    remedy: str
    alarms: tuple[str, ...]
    as_expected: bool

    @property
    def told_alarms(self) -> Sequence[str]:
        """The alarms that rang, or a word for none."""
        return self.alarms or (_NONE,)


#: The columns of the table behind the first, which has the verdict.
HEADS = ("fault", "step named broken", "remedy", "alarms")


def print_faults(console: Console, faults: Sequence[SeenFault]) -> None:
    """Print the faults, a row for each. Of the right remedy only what matters."""
    table = Table(title=f"{len(faults)} faults", title_justify="left", title_style="bold")
    table.add_column("")
    for head in HEADS:
        # Names are to be copied; sentences may fold.
        table.add_column(head, no_wrap=head in HEADS[1::2])
    for fault in faults:
        mark = "[green]pass[/]" if fault.as_expected else "[bold red]FAIL[/]"
        alarms = "\n".join(fault.told_alarms)
        remedy = fault.words if fault.as_expected else fault.remedy
        table.add_row(mark, *map(escape, (fault.name, fault.step, remedy, alarms)))
    # A file has no width, for which rich takes 80 columns.
    table.width = None if console.is_terminal else _WIDTH
    console.print(table, soft_wrap=not console.is_terminal)
