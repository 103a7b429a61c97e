"""What a run of the lab tells: what it does now, and whether each expectation held."""

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from lab.timeline import Expectation, Timeline


@dataclass(slots=True)
class Findings:
    """What a run has to tell: the timelines, and whether each expectation held."""

    timelines: list[Timeline] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)

    def expect(self, text: str, holds: object, detail: object = "") -> None:
        """Note an expectation and what was seen."""
        self.expectations.append(Expectation(text=text, holds=bool(holds), detail=str(detail)))

    @property
    def all_hold(self) -> bool:
        """Whether every expectation held."""
        return all(expectation.holds for expectation in self.expectations)


class Progress:
    """One line for each thing that begins, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Print what begins now."""
        seconds = f"{time.monotonic() - self._start:6.1f} s"
        self._console.print(f"[dim]{seconds}[/]  {escape(text)}", soft_wrap=True)
