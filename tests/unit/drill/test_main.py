"""The options of a drill, and what the command makes of them."""

import logging
import runpy
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from drill import __main__ as command
from drill.pollers import ConnectionPoller, NamePoller
from drill.run import DEFAULT_LIMIT, DEFAULT_REPORT, Exit, Options
from target_sync.endpoints.dns import NameServer
from target_sync.status.facts import DescribedTarget, SslReply
from tests.template.pages import ROOT


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logger = logging.getLogger("botocore")
    level = logger.level
    yield
    logger.setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class FollowedDrill:
    def run(self) -> Exit:
        return Exit.FOLLOWED


class Command:
    """The command, with a drill that only keeps what it is made of.

    Attributes:
        made: The arguments of the drill.
        name_servers: Those of the resolver.
        probed: The addresses to which the probe connected.
        reachable: Whether PostgreSQL replies there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.made: dict[str, Any] = {}
        self.name_servers: Sequence[NameServer] = ()
        self.probed: list[str] = []
        self.reachable = True
        monkeypatch.setattr(command, "Drill", self._drill)
        monkeypatch.setattr(command, "DnsResolver", self._resolver)
        monkeypatch.setattr(command, "PostgresProbe", lambda: self)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    def run(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["drill", *arguments])
        return command.main()

    def _drill(self, **made: object) -> "FollowedDrill":
        self.made = made
        return FollowedDrill()

    def _resolver(self, *, name_servers: Sequence[NameServer], **_: object) -> None:
        self.name_servers = name_servers

    def ask(self, target: DescribedTarget) -> SslReply:
        self.probed.append(str(target))
        return SslReply.TLS if self.reachable else SslReply.NO_CONNECTION


@pytest.fixture
def drilled(monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(monkeypatch)


def test_a_drill_has_these_options_by_default(drilled: Command) -> None:
    assert drilled.run("--stack", "orders") == Exit.FOLLOWED

    assert drilled.made["options"] == Options(
        stack="orders", observe=False, yes=None, limit=DEFAULT_LIMIT, report=DEFAULT_REPORT
    )
    assert drilled.made["aws"].rds_url == "https://rds.eu-west-1.amazonaws.com"
    assert isinstance(drilled.made["name_poller"]("orders.example"), NamePoller)
    assert drilled.name_servers == ()
    # A shell lets its background jobs ignore Ctrl-C.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


def test_a_drill_has_the_given_options(drilled: Command) -> None:
    drilled.run(
        *("--stack", "orders", "--region", "eu-central-1", "--observe", "--yes", "orders-db"),
        *("--limit", "2.5", "--report", "x.html"),
        *("--resolver", "10.0.0.2", "--resolver", "10.0.0.3:5353"),
    )

    assert drilled.made["options"] == Options(
        stack="orders", observe=True, yes="orders-db", limit=2.5, report=Path("x.html")
    )
    assert drilled.made["aws"].rds_url == "https://rds.eu-central-1.amazonaws.com"
    assert drilled.name_servers == [NameServer("10.0.0.2", 53), NameServer("10.0.0.3", 5353)]


@pytest.mark.parametrize(
    ("given", "name", "reachable", "polls"),
    [
        (["--connect", "localhost:15432"], "nlb.example", False, "localhost:15432"),
        ([], "nlb.example", True, "nlb.example:5432"),
        # From outside the VPC the drill cannot reach the load balancer.
        ([], "nlb.example", False, None),
        ([], "", True, None),
    ],
)
def test_polls_the_given_address_or_a_reachable_load_balancer(
    drilled: Command, given: list[str], name: str, reachable: bool, polls: str | None
) -> None:
    drilled.run("--stack", "orders", *given)
    drilled.reachable = reachable
    poller: ConnectionPoller | None = drilled.made["connection_poller"](name, 5432)

    assert (poller is not None) == (polls is not None)
    if poller is not None:
        poller.poll()
        assert drilled.probed[-1] == polls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: --stack"),
        (["--stack", ""], "name the stack: make drill STACK="),
        (["--stack", "x", "--connect", "localhost"], "must be HOST:PORT, not 'localhost'"),
        (["--stack", "x", "--connect", ":5432"], "must be HOST:PORT"),
        (["--stack", "x", "--connect", "localhost:db"], "must be HOST:PORT"),
        (["--stack", "x", "--limit", "0"], "must be a number of seconds above 0, not '0'"),
        (["--stack", "x", "--limit", "inf"], "must be a number of seconds above 0"),
    ],
)
def test_rejects_an_invalid_option_and_names_it(
    drilled: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        drilled.run(*arguments)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not drilled.made


def test_refuses_without_a_region(
    drilled: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert drilled.run("--stack", "orders") == Exit.REFUSED

    assert "You must specify a region. Nothing was changed." in capsys.readouterr().out
    assert not drilled.made


def test_the_command_explains_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["drill", "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "drill/__main__.py"), run_name="__main__")

    assert ended.value.code == 0
    assert "usage: python -m drill" in capsys.readouterr().out
