"""What it costs: the tables, the arithmetic by small cases, and the page that is made of both."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cost.__main__ import PAGE, main
from cost.model import (
    Bill,
    Inputs,
    audits_per_sweep,
    balancers,
    by_line,
    endpoints,
    fleet,
    interface_consumers,
    lattice,
    lattice_network,
    read_inputs,
    resource_consumers,
    stacks,
    total,
)
from cost.page import DATABASES, to_markdown
from cost.prices import TableError, load_prices, override

PRICES = load_prices()
OURS = Inputs.load()
#: An hour of a month, and numbers that can be counted by hand.
SMALL = replace(
    OURS,
    hours=1,
    gb=3,
    events=2,
    run_seconds=0.5,
    platform_log_bytes=100,
    traced=1,
    stack_memory_mb=512,
    stack_poll_seconds=0,
    stack_watch_seconds=10,
    stack_log_bytes=1_000,
    stack_metrics=4,
    stack_alarms=5,
    stack_dashboards=1,
    fleet_share=0.5,
    fleet_memory_mb=512,
    fleet_alarms=7,
    fleet_metrics=6,
    fleet_sweep_log_bytes=200,
    fleet_run_log_bytes=50,
)


def quantities(bill: Bill) -> Mapping[str, float]:
    """How much of each thing that has a price."""
    found: dict[str, float] = {}
    for use in bill:
        found[use.price] = found.get(use.price, 0) + use.quantity
    return found


# --- The page -----------------------------------------------------------------------------------


def test_the_page_is_what_the_script_writes() -> None:
    page = to_markdown(PRICES, OURS, DATABASES)
    assert page == PAGE.read_text(), (
        "run `make cost`: prices, numbers or the benchmark have changed"
    )


def test_the_conclusions_of_the_page_follow_from_its_numbers() -> None:
    lines = by_line(stacks(OURS, 1), PRICES)
    syncing = total(stacks(OURS, 1), PRICES)
    assert lines["metrics"] + lines["alarms"] + lines["dashboard"] > syncing / 2
    assert total(balancers(OURS, 1), PRICES) > syncing
    for databases in DATABASES:
        made = balancers(OURS, databases)
        others = [
            [*stacks(OURS, databases), *made],
            [*fleet(OURS, databases), *made],
            lattice_network(OURS, databases),
        ]
        assert total(lattice(OURS, databases), PRICES) < min(total(b, PRICES) for b in others)


def test_every_price_has_a_region_a_date_and_a_source() -> None:
    for price in PRICES.values():
        assert price.usd > 0
        assert price.region == "us-east-1"
        assert price.date.year == 2026
        assert price.source.startswith("https://aws.amazon.com/")


def test_every_number_has_an_origin_and_a_reason() -> None:
    origins = {"measured", "template", "documented", "assumed"}
    for name, entry in read_inputs().items():
        assert entry.keys() == {"value", "unit", "origin", "reason"}, name
        assert entry["origin"] in origins, name


# --- The arithmetic -----------------------------------------------------------------------------


def test_a_price_is_for_the_items_of_its_unit() -> None:
    assert PRICES["lambda_requests"].of(3_000_000) == pytest.approx(0.60)
    assert PRICES["alarm"].of(3) == pytest.approx(0.30)


def test_a_stack_runs_each_minute_and_after_each_event() -> None:
    assert quantities(stacks(SMALL, 1)) == pytest.approx(
        {
            "lambda_requests": 60 + 2,
            # Half a gigabyte for half a second, 60 times; and for 10 seconds, twice.
            "lambda_gb_second": 60 * 0.25 + 2 * 5,
            "traces": 62,
            "scheduler_invocations": 60,
            "log_gb": 62 * 1_100 / 1e9,
            "metric": 4,
            "alarm": 5,
            "dashboard": 1,
        }
    )


@pytest.mark.parametrize(("interval", "polls"), [(1, 60), (5, 12), (29, 3), (30, 2)])
def test_a_run_that_polls_waits_until_the_next_one_starts(interval: int, polls: int) -> None:
    polling = quantities(stacks(replace(SMALL, stack_poll_seconds=interval), 1))
    seconds = 60 * (0.5 + polls * interval) + 2 * 10
    assert polling["lambda_gb_second"] == pytest.approx(seconds / 2)
    once = quantities(stacks(SMALL, 1))
    assert {**polling, "lambda_gb_second": once["lambda_gb_second"]} == once


def test_the_cost_of_stacks_grows_with_their_number() -> None:
    assert total(stacks(SMALL, 7), PRICES) == pytest.approx(7 * total(stacks(SMALL, 1), PRICES))


def test_a_fleet_sweeps_each_minute_and_audits_each_group_in_15() -> None:
    # 30 groups: 2 audits in each of 60 sweeps, which last 55 s at half a gigabyte.
    found = quantities(fleet(SMALL, 30))
    assert found == pytest.approx(
        {
            "lambda_requests": 60,
            "lambda_gb_second": 60 * 55 / 2,
            "traces": 60,
            "scheduler_invocations": 60,
            "log_gb": (60 * 100 + 60 * 200 + 120 * 50) / 1e9,
            "metric": 6,
            "alarm": 7,
        }
    )


@pytest.mark.parametrize(
    ("groups", "audits"), [(15, 1.0), (30, 2.0), (4_500, 300.0), (5_000, 300.0)]
)
def test_a_sweep_audits_a_fifteenth_of_the_groups_within_its_share(
    groups: int, audits: float
) -> None:
    assert audits_per_sweep(OURS, groups) == pytest.approx(audits)


def test_databases_can_share_load_balancers_and_endpoints() -> None:
    shared = replace(SMALL, databases_per_balancer=10, consumer_zones=2)
    assert quantities(balancers(SMALL, 25)) == {"balancer_hour": 25, "balancer_capacity_hour": 75}
    assert quantities(balancers(shared, 25)) == {"balancer_hour": 3, "balancer_capacity_hour": 75}
    assert quantities(interface_consumers(shared, 25)) == {"endpoint_hour": 6, "endpoint_gb": 75}


def test_vpc_lattice_costs_its_traffic_and_in_a_network_each_resource_by_the_hour() -> None:
    assert quantities(lattice(SMALL, 5)) == {"resource_gateway_gb": 15}
    assert quantities(lattice_network(SMALL, 5)) == {
        "resource_gateway_gb": 15,
        "network_resource_hour": 5,
    }
    assert quantities(resource_consumers(SMALL, 5)) == {
        "resource_endpoint_hour": 5,
        "resource_endpoint_gb": 15,
    }


def test_functions_in_a_vpc_have_an_endpoint_in_each_zone() -> None:
    assert quantities(endpoints(replace(SMALL, consumer_zones=3), 4)) == {"endpoint_hour": 12}


# --- Tables and numbers of a user's -------------------------------------------------------------


def given(tmp_path: Path, text: str) -> Path:
    """A table of the user's."""
    table = tmp_path / "mine.toml"
    table.write_text(text)
    return table


def test_a_price_of_the_user_replaces_ours_and_names_its_table(tmp_path: Path) -> None:
    table = given(tmp_path, "[alarm]\nusd = 7\nregion = 'eu-west-1'\n[resource_gateway_gb]\nusd=1")
    prices = override(PRICES, table)
    assert prices["alarm"] == replace(PRICES["alarm"], usd=7, region="eu-west-1", source=str(table))
    assert prices["resource_gateway_gb"].note == ""
    assert prices["metric"] == PRICES["metric"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[alarm", "is not valid TOML"),
        ("[alarms]\nusd = 1", "there is no price 'alarms': lambda_gb_second, "),
        ("alarm = 0.1", r"alarm must be a table: \[alarm\] with usd = … below it"),
        ("[alarm]\nusd = '1'", r"\[alarm\] usd must be a number, 0 or more, not '1'"),
        ("[alarm]\nusd = -1", "usd must be a number, 0 or more, not -1"),
        ("[alarm]\nusd = inf", "usd must be a number, 0 or more, not inf"),
        ("[alarm]\nusd = nan", "usd must be a number, 0 or more, not nan"),
        ("[alarm]\nusd = true", "usd must be a number, 0 or more, not True"),
        ("[alarm]\nper = 0", "per must be a whole number above 0, not 0"),
        ("[alarm]\nper = 1.5", "per must be a whole number above 0, not 1.5"),
        ("[alarm]\nprice = 1", "has an unknown key 'price': usd, per, date, unit"),
        ("[alarm]\nregion = 1", "region must be a text, not 1"),
        ("[alarm]\ndate = '2026'", "date must be a day such as 2026-11-22, not '2026'"),
        ("[alarm]\nunit = 'hour'", "unit must be 'alarm and month', or left out"),
    ],
)
def test_rejects_an_invalid_table_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=rf"mine\.toml: .*{message}"):
        override(PRICES, given(tmp_path, text))


def test_rejects_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read: No such file"):
        override(PRICES, tmp_path / "mine.toml")


def test_our_own_table_must_be_complete(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"\[alarm\] has no date, region, source, unit"):
        load_prices(given(tmp_path, "[alarm]\nusd = 1"))


def test_a_number_of_the_user_replaces_ours() -> None:
    assert OURS.override(["gb=500", "hours=720"]) == replace(OURS, gb=500, hours=720)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gigabytes=5", "there is no input 'gigabytes': hours, gb, "),
        ("gb", "must be a number, 0 or more"),
        ("gb=much", "must be a number, 0 or more"),
        ("gb=-1", "must be a number, 0 or more"),
        ("gb=inf", "must be a number, 0 or more"),
        ("databases_per_balancer=0.5", "must be 1 or more"),
        ("fleet_share=0", "must be more than 0 and at most 1"),
        ("fleet_share=1.5", "must be more than 0 and at most 1"),
    ],
)
def test_rejects_an_invalid_number(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        OURS.override([text])


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command would write the page."""
    path = tmp_path / "cost.md"
    monkeypatch.setattr("cost.__main__.PAGE", path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", *arguments])
    main()


def test_without_options_it_writes_the_page(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch)
    assert page.read_text() == PAGE.read_text()
    assert not capsys.readouterr().out


def test_with_options_it_prints_the_page_and_writes_none(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = given(tmp_path, "[balancer_hour]\nusd = 1")
    run(monkeypatch, "--prices", str(table), "--databases", "40", "--set", "hours=100")
    printed = capsys.readouterr().out
    assert not page.exists()
    assert "| USD a month, by number of databases | 40 |" in printed
    assert "| load balancer, hours | 4,000.00 |" in printed
    assert "| `balancer_hour` | 1 | hour of a Network Load Balancer | us-east-1 |" in printed
    assert f"| {table} |" in printed
    assert "| `hours` | 100 | hours of a month | given |  |" in printed


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "gb=x"], "cost: --set gb=x: must be a number"),
    ],
)
def test_exits_with_the_reason_for_invalid_arguments(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, *arguments)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "²"])
def test_a_number_of_databases_is_whole_and_above_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--databases", number)
    assert "must be a whole number above 0" in capsys.readouterr().err
