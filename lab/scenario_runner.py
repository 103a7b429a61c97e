"""Runs scenarios one after the other, and writes one report of all."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from drill.results import print_expectations
from lab.options import LabOptions
from lab.processes import CommandFailedError, ServerDiedError, WaitTimeoutError
from lab.report import write_figure, write_report
from lab.results import LabResults, print_faults, print_outages
from lab.scenarios import SCENARIOS
from lab.scenarios.base import run_scenario
from lab.stack import UnexpectedReplyError

#: The errors that end a run of the lab and are no errors in its code.
FAILURES = (ServerDiedError, CommandFailedError, WaitTimeoutError, UnexpectedReplyError, OSError)
_TITLE = "PrivateLink to PostgreSQL, scenarios"


def run_scenarios(names: Sequence[str], given: Mapping[str, Any], console: Console) -> bool:
    """Run scenarios, also after a failed one; return whether all expectations hold.

    Args:
        names: The scenarios' names, or `all`.
        given: The given options; a scenario has its own defaults for the others.
        console: The output.
    """
    started_at, all_results = time.time(), LabResults()
    passed: dict[str, bool] = {}
    used: dict[str, str] = {}
    for name in SCENARIOS if "all" in names else dict.fromkeys(names):
        options = LabOptions(**{**SCENARIOS[name].times, **given})
        used[name] = ", ".join(f"{option}={value}" for option, value in options.shown.items())
        results = _run(name, options, console)
        passed[name] = results.all_hold
        all_results.outages += results.outages
        all_results.faults += results.faults
        all_results.expectations += [
            replace(entry, text=f"{name}: {entry.text}") for entry in results.expectations
        ]
    _write(all_results, started_at, used, LabOptions(**given), console)
    for name, holds in passed.items():
        console.print(f"{'[green]pass[/]' if holds else '[bold red]FAIL[/]'}  {name}")
    return all(passed.values())


def _run(name: str, options: LabOptions, console: Console) -> LabResults:
    results = LabResults()
    try:
        run_scenario(SCENARIOS[name], options, console, results)
    except FAILURES as error:
        console.print(f"[bold red]{name} stopped:[/] {escape(str(error))}", soft_wrap=True)
        results.expect("the scenario runs to its end", holds=False, detail=error)
    print_expectations(console, results.expectations)
    return results


def _write(
    results: LabResults,
    started_at: float,
    used: Mapping[str, str],
    options: LabOptions,
    console: Console,
) -> None:
    if results.outages:
        print_outages(console, results.outages)
    if results.faults:
        print_faults(console, results.faults)
    write_report(options.report, _TITLE, started_at, results, used)
    console.print(f"Report: {escape(str(options.report.resolve()))}", soft_wrap=True)
    if options.figure is not None:
        write_figure(options.figure, results.outages)
        console.print(f"Figure: {escape(str(options.figure.resolve()))}", soft_wrap=True)
