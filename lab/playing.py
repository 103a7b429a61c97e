"""Plays scenarios one after the other and tells of all of them in one report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from lab.faults import print_faults
from lab.findings import Findings
from lab.options import LabOptions
from lab.processes import CommandFailedError, ServerDiedError, WaitTimeoutError
from lab.report import Report, write_figure, write_html
from lab.scenarios import SCENARIOS
from lab.scenarios.base import run
from lab.stack import UnexpectedReplyError
from lab.timeline import print_expectations, print_outages

#: What ends a run of the lab without being a fault of the lab's code.
STOPPING = (ServerDiedError, CommandFailedError, WaitTimeoutError, UnexpectedReplyError, OSError)
_TITLE = "PrivateLink to PostgreSQL: scenarios"


def run_scenarios(names: Sequence[str], given: Mapping[str, Any], console: Console) -> bool:
    """Play each scenario, also after one that failed; answer whether all of them held.

    Args:
        names: The scenarios' names, or `all`.
        given: The options that were given; a scenario has its own times for the others.
        console: Where it is told.
    """
    started_at, together = time.time(), Findings()
    held: dict[str, bool] = {}
    used: dict[str, str] = {}
    for name in SCENARIOS if "all" in names else dict.fromkeys(names):
        options = LabOptions(**{**SCENARIOS[name].times, **given})
        used[name] = ", ".join(f"{option}={value}" for option, value in options.shown.items())
        findings = _play(name, options, console)
        held[name] = findings.all_hold
        together.outages += findings.outages
        together.faults += findings.faults
        together.expectations += [
            replace(entry, text=f"{name}: {entry.text}") for entry in findings.expectations
        ]
    report = together.report(_TITLE, started_at, used)
    _write(report, LabOptions(**given), console)
    for name, holds in held.items():
        console.print(f"{'[green]pass[/]' if holds else '[bold red]FAIL[/]'}  {name}")
    return all(held.values())


def _play(name: str, options: LabOptions, console: Console) -> Findings:
    findings = Findings()
    try:
        run(SCENARIOS[name], options, console, findings)
    except STOPPING as error:
        console.print(f"[bold red]{name} stopped:[/] {escape(str(error))}", soft_wrap=True)
        findings.expect("it is played to its end", holds=False, detail=error)
    print_expectations(console, findings.expectations)
    return findings


def _write(report: Report, options: LabOptions, console: Console) -> None:
    if report.outages:
        print_outages(console, report.outages)
    if report.faults:
        print_faults(console, report.faults)
    write_html(options.report, report)
    console.print(f"Report: {escape(str(options.report.resolve()))}", soft_wrap=True)
    if options.figure is not None:
        write_figure(options.figure, report.outages)
        console.print(f"Figure: {escape(str(options.figure.resolve()))}", soft_wrap=True)
