"""The costs use the numbers of the templates."""

from typing import Any

import pytest

from cost.model import Inputs
from tests.template.pages import ROOT
from tests.template.stack import SITUATIONS, TEMPLATE, Resolver, load

OURS = Inputs.load()
STACK = Resolver()
FLEET = Resolver(path=ROOT / "fleet.yaml")
IN_VPC = Resolver(SITUATIONS["function in the VPC"])


def default(name: str, resolver: Resolver) -> float:
    """Return the default of a parameter."""
    return float(load(resolver.path)["Parameters"][name]["Default"])


def memory(function: str, resolver: Resolver) -> Any:
    """Return the memory of a function in MB."""
    return resolver.of_type("AWS::Lambda::Function")[function]["MemorySize"]


def test_the_costs_of_a_stack_use_the_numbers_of_its_template() -> None:
    assert STACK.path == TEMPLATE
    assert memory("ReconcileTargetsFunction", STACK) == OURS.stack_memory_mb
    assert default("DnsPollIntervalSeconds", STACK) == OURS.stack_poll_seconds
    assert default("EventWatchDurationSeconds", STACK) == OURS.stack_watch_seconds
    assert len(STACK.of_type("AWS::CloudWatch::Alarm")) == OURS.stack_alarms
    assert len(STACK.of_type("AWS::CloudWatch::Dashboard")) == OURS.stack_dashboards
    assert len(IN_VPC.of_type("AWS::EC2::VPCEndpoint")) == OURS.stack_endpoints


def test_the_costs_of_a_fleet_use_the_numbers_of_its_template() -> None:
    assert memory("FleetSweepFunction", FLEET) == OURS.fleet_memory_mb
    assert default("ApiShare", FLEET) == OURS.fleet_share
    assert len(FLEET.of_type("AWS::CloudWatch::Alarm")) == OURS.fleet_alarms
    assert not FLEET.of_type("AWS::CloudWatch::Dashboard")
    assert not FLEET.of_type("AWS::EC2::VPCEndpoint")


@pytest.mark.parametrize("resolver", [STACK, FLEET], ids=["stack", "fleet"])
def test_both_templates_start_a_run_every_minute(resolver: Resolver) -> None:
    (schedule,) = resolver.of_type("AWS::Scheduler::Schedule").values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
