"""``python -m drill --stack NAME``: fail the database over and observe how the stack follows."""

import argparse
import logging
import math
import signal
import sys
import time
from functools import partial
from pathlib import Path

import boto3.session
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.markup import escape

from drill.aws import Aws
from drill.pollers import ConnectionPoller, NamePoller
from drill.run import DEFAULT_LIMIT, DEFAULT_REPORT, Drill, Exit, Options
from target_sync.endpoints.dns import DnsResolver, NameServer
from target_sync.status.sources.postgres import PostgresProbe

_DNS_PORT = 53


def main() -> int:
    """Run a drill; the exit status is 0 only if the stack followed the failover."""
    given = parser().parse_args()
    # A shell lets its background jobs ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    # A botocore warning about a retry would disturb the output.
    logging.getLogger("botocore").setLevel(logging.ERROR)
    try:
        aws = Aws(boto3.session.Session(region_name=given.region))
    except BotoCoreError as error:
        console.print(f"[bold red]Refused:[/] {escape(str(error))} Nothing was changed.")
        return Exit.REFUSED
    resolver = DnsResolver(now=time.time, name_servers=given.resolver or ())
    drill = Drill(
        options=Options(
            stack=given.stack,
            observe=given.observe,
            yes=given.yes,
            limit=given.limit,
            report=given.report,
        ),
        aws=aws,
        console=console,
        ask=input,
        name_poller=partial(NamePoller, resolver=resolver),
        connection_poller=partial(_connection_poller, given.connect),
    )
    return drill.run()


def _connection_poller(
    given: tuple[str, int] | None, name: str, port: int
) -> ConnectionPoller | None:
    """Return a poller of the given address, or else of the load balancer if it can be reached."""
    probe = PostgresProbe()
    if given is not None:
        return ConnectionPoller(*given, probe)
    poller = ConnectionPoller(name, port, probe)
    return poller if name and poller.connects() else None


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    made.add_argument("--stack", required=True, type=_not_empty, help="the stack's name")
    made.add_argument("--region", help="its Region; default: as in your AWS settings")
    made.add_argument(
        "--observe", action="store_true", help="wait for a failover and do not start one"
    )
    made.add_argument(
        "--yes", metavar="NAME", help="the database's name; confirms without a question"
    )
    made.add_argument(
        "--connect",
        type=_host_and_port,
        metavar="HOST:PORT",
        help="the address of new connections; default: the load balancer, if it can be reached",
    )
    made.add_argument(
        "--resolver",
        type=_name_server,
        action="append",
        metavar="ADDRESS[:PORT]",
        help="a DNS server instead of the system's",
    )
    made.add_argument(
        "--limit",
        type=_seconds,
        default=DEFAULT_LIMIT,
        metavar="SECONDS",
        help="seconds until the new target must be healthy; default: %(default)g",
    )
    made.add_argument(
        "--report",
        type=Path,
        default=DEFAULT_REPORT,
        metavar="FILE",
        help="the path of the HTML report; default: %(default)s",
    )
    return made


def _not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("name the stack: make drill STACK=…")
    return text


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, not {text!r}")
    return host, int(port)


def _name_server(text: str) -> NameServer:
    address, _, port = text.partition(":")
    return NameServer(address, int(port or _DNS_PORT))


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
