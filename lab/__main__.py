"""``python -m lab demo|run``: the main job, or scenarios, against real parts."""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from lab.demo import run_demo
from lab.options import LabOptions
from lab.playing import STOPPING, run_scenarios
from lab.scenarios import SCENARIOS

_HELP = {
    "registration_delay": "seconds from a registration to the first health check (AWS: 90-180)",
    "health_check_interval": "seconds between two health checks (AWS: 5)",
    "schedule_interval": "seconds that stand for the schedule's minute",
    "dns_lag": "seconds from the promotion to the moved name",
    "report": "where the HTML report goes",
    "figure": "where the outages are drawn once more, as an SVG file",
    "built": "a copy of the project in which sam build has run, to spare the lab its own",
}
_PATHS = frozenset({"report", "figure", "built"})


def main() -> int:
    """Run what was asked for; the exit status is 0 only if every expectation held."""
    names, given = _parse()
    console = Console(highlight=False)
    try:
        if names is None:
            return 0 if run_demo(LabOptions(**given), console) else 1
        return 0 if run_scenarios(names, given, console) else 1
    except STOPPING as error:
        console.print(f"[bold red]The lab stopped:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; every server and file of the lab is gone.")
        return 130


def _parse() -> tuple[list[str] | None, Mapping[str, Any]]:
    """Return the scenarios' names, None for the demo, and the options that were given."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="deploy, two failovers, drift, resync, delete")
    scenarios = commands.add_parser("run", help="scenarios: kinds of database, failovers")
    scenarios.add_argument(
        "names",
        nargs="+",
        choices=[*SCENARIOS, "all"],
        metavar="name",
        help=f"{', '.join(SCENARIOS)}; or all",
    )
    for option in fields(LabOptions):
        for command in (demo, scenarios) if option.name != "figure" else (scenarios,):
            command.add_argument(
                f"--{option.name.replace('_', '-')}",
                type=Path if option.name in _PATHS else _seconds,
                # What is not given is not there: a scenario may have times of its own.
                default=argparse.SUPPRESS,
                help=f"{_HELP[option.name]}; default: {option.default}",
            )
    values = vars(parser.parse_args())
    values.pop("command")
    return values.pop("names", None), values


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 on, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
