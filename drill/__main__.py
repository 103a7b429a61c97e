"""``python -m drill --stack NAME``: fail the database over, watch the stack follow, tell it all."""

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
from drill.course import DEFAULT_LIMIT, DEFAULT_REPORT, Drill, Exit, Options
from drill.watches import ConnectionWatch, NameWatch
from target_sync.endpoints.dns import DnsResolver, NameServer
from target_sync.status.sources.postgres import PostgresProbe

_DNS_PORT = 53


def main() -> int:
    """Drill; the exit status is 0 only if the failover was followed."""
    given = _parse()
    # Also where a shell has started it in the background, which ignores Ctrl-C there.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    # A botocore warning about a retry would cut through the course of events.
    logging.getLogger("botocore").setLevel(logging.ERROR)
    try:
        aws = Aws(boto3.session.Session(region_name=given.region))
    except BotoCoreError as error:
        console.print(f"[bold red]Refused:[/] {escape(str(error))} Nothing was touched.")
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
        name_watch=partial(NameWatch, resolver=resolver),
        connection_watch=partial(_connection_watch, given.connect),
    )
    return drill.run()


def _connection_watch(
    given: tuple[str, int] | None, name: str, port: int
) -> ConnectionWatch | None:
    """What is connected to: what was given, or else the load balancer if it can be reached."""
    probe = PostgresProbe()
    if given is not None:
        return ConnectionWatch(*given, probe)
    watch = ConnectionWatch(name, port, probe)
    return watch if name and watch.is_answered() else None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("--stack", required=True, type=_some, help="the stack's name")
    parser.add_argument("--region", help="its Region; default: that of your AWS settings")
    parser.add_argument(
        "--observe", action="store_true", help="wait for a failover that somebody else sets off"
    )
    parser.add_argument(
        "--yes", metavar="NAME", help="the database's name, which else is to be typed"
    )
    parser.add_argument(
        "--connect",
        type=_host_and_port,
        metavar="HOST:PORT",
        help="where a consumer connects; default: the load balancer, if it can be reached",
    )
    parser.add_argument(
        "--resolver",
        type=_name_server,
        action="append",
        metavar="ADDRESS[:PORT]",
        help="a DNS server to ask instead of the system's",
    )
    parser.add_argument(
        "--limit",
        type=_seconds,
        default=DEFAULT_LIMIT,
        help="seconds to follow in; default: %(default)g",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=DEFAULT_REPORT,
        help="where the HTML report goes; default: %(default)s",
    )
    return parser.parse_args()


def _some(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("say which stack: make drill STACK=…")
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
