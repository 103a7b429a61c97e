"""``python -m lab demo|run``: the main job, or one kind of database, against real parts."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lab.demo import run_demo
from lab.options import LabOptions
from lab.processes import CommandFailedError, ServerDiedError, WaitTimeoutError
from lab.scenarios import SCENARIOS
from lab.scenarios.base import run
from lab.stack import UnexpectedReplyError

_EXPECTED = (ServerDiedError, CommandFailedError, WaitTimeoutError, UnexpectedReplyError)
_HELP = {
    "registration_delay": "seconds from a registration to the first health check (AWS: 90-180)",
    "health_check_interval": "seconds between two health checks (AWS: 5)",
    "schedule_interval": "seconds that stand for the schedule's minute",
    "dns_lag": "seconds from the promotion to the moved name",
    "report": "where the HTML report goes",
}


def main() -> int:
    """Run what was asked for; the exit status is 0 only if every expectation held."""
    names, options = _parse()
    console = Console(highlight=False)
    try:
        if names is None:
            return 0 if run_demo(options, console) else 1
        return _run_scenarios(names, options, console)
    except (*_EXPECTED, OSError) as error:
        console.print(f"[bold red]The lab stopped:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; every server and file of the lab is gone.")
        return 130


def _run_scenarios(names: Sequence[str], options: LabOptions, console: Console) -> int:
    """Play each scenario, also after one that failed, and say at the end which held."""
    held: dict[str, bool] = {}
    for name in SCENARIOS if "all" in names else dict.fromkeys(names):
        try:
            held[name] = run(SCENARIOS[name], options, console)
        except (*_EXPECTED, OSError) as error:
            console.print(f"[bold red]{name} stopped:[/] {escape(str(error))}", soft_wrap=True)
            held[name] = False
    for name, holds in held.items():
        console.print(f"{'[green]pass[/]' if holds else '[bold red]FAIL[/]'}  {name}")
    return 0 if all(held.values()) else 1


def _parse() -> tuple[list[str] | None, LabOptions]:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="deploy, two failovers, drift, resync, delete")
    scenarios = commands.add_parser("run", help="one scenario for each kind of database")
    scenarios.add_argument(
        "names",
        nargs="+",
        choices=[*SCENARIOS, "all"],
        metavar="name",
        help=f"{', '.join(SCENARIOS)}; or all",
    )
    for option in fields(LabOptions):
        for command in (demo, scenarios) if option.name != "report" else (demo,):
            command.add_argument(
                f"--{option.name.replace('_', '-')}",
                type=Path if option.name == "report" else _seconds,
                default=option.default,
                help=f"{_HELP[option.name]}; default: %(default)s",
            )
    values = vars(parser.parse_args())
    values.pop("command")
    return values.pop("names", None), LabOptions(**values)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 on, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
