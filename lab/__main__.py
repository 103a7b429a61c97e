"""``python -m lab demo``: the main job on this machine, against real parts."""

import argparse
import math
import sys
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lab.demo import run_demo
from lab.options import LabOptions
from lab.processes import CommandFailedError, ServerDiedError, WaitTimeoutError
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
    options = _parse()
    console = Console(highlight=False)
    try:
        return 0 if run_demo(options, console) else 1
    except (*_EXPECTED, OSError) as error:
        console.print(f"[bold red]The lab stopped:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; every server and file of the lab is gone.")
        return 130


def _parse() -> LabOptions:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="deploy, two failovers, drift, resync, delete")
    for option in fields(LabOptions):
        demo.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=Path if option.name == "report" else _seconds,
            default=option.default,
            help=f"{_HELP[option.name]}; default: %(default)s",
        )
    values = vars(parser.parse_args())
    values.pop("command")
    return LabOptions(**values)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 on, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
