"""``python -m lab demo|run``: the demo or scenarios, with real servers and an emulated AWS."""

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
from lab.results import LAB_NOTE
from lab.scenario_runner import FAILURES, run_scenarios
from lab.scenarios import SCENARIOS

_HELP = {
    "registration_delay": "seconds from registration to the first health check (AWS: 90-180)",
    "load_balancer_delay": "seconds until a new load balancer is active (AWS: minutes)",
    "health_check_interval": "seconds between two health checks (AWS: 5)",
    "rule_delay": "seconds until a changed rule of a security group takes effect",
    "schedule_interval": "seconds of the schedule's minute",
    "dns_lag": "seconds from the promotion to the move of the name",
    "report": "the path of the HTML report",
    "figure": "the path of an SVG file with the outages",
    "built": "a copy of the project with a finished sam build",
}
_PATHS = frozenset({"report", "figure", "built"})


def main() -> int:
    """Run the demo or scenarios; the exit status is 0 only if every expectation holds."""
    names, given = _parse()
    console = Console(highlight=False)
    console.print(LAB_NOTE, soft_wrap=True)
    try:
        if names is None:
            return 0 if run_demo(LabOptions(**given), console) else 1
        return 0 if run_scenarios(names, given, console) else 1
    except FAILURES as error:
        console.print(f"[bold red]The lab stopped:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted. The lab's servers and files were removed.")
        return 130


def _parse() -> tuple[list[str] | None, Mapping[str, Any]]:
    """Return the scenarios' names (None for the demo) and the given options."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="deploy, two failovers, drift, resync, delete")
    scenarios = commands.add_parser("run", help="scenarios: kinds of databases, failovers, faults")
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
                # A missing option stays missing, because a scenario has its own defaults.
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
