"""What each way of keeping target groups right uses in a month. What that costs, the prices say."""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

from cost.prices import Price, TableError
from target_sync.fleet.planner import AUDIT_SECONDS, SWEEP_SECONDS, SweepCapacity

INPUTS = Path(__file__).parent / "inputs.toml"
#: The simulated sweeps, by how many target groups there are.
SWEEPS = Path(__file__).parents[1] / "docs/bench/fleet.json"
#: What one SendMessageBatch may have (SQS API reference).
_MESSAGES = 10
_MB_IN_GB = 1024
_BYTES_IN_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The numbers of ``inputs.toml``, which says what each is and where it comes from."""

    hours: float
    gb: float
    databases_per_balancer: float
    consumer_zones: float
    events: float
    run_seconds: float
    platform_log_bytes: float
    traced: float
    stack_memory_mb: float
    stack_watch_seconds: float
    stack_log_bytes: float
    stack_metrics: float
    stack_alarms: float
    stack_dashboards: float
    stack_endpoints: float
    fleet_share: float
    fleet_workers: float
    fleet_sweep_memory_mb: float
    fleet_memory_mb: float
    fleet_watch_seconds: float
    fleet_alarms: float
    fleet_metrics: float
    fleet_sweep_log_bytes: float
    fleet_run_log_bytes: float
    fleet_endpoints: float
    pollers: float
    polls: float

    @classmethod
    def load(cls) -> Self:
        """The project's own."""
        return cls(**{name: float(entry["value"]) for name, entry in read_inputs().items()})

    def having(self, given: Sequence[str]) -> Self:
        """These, with some in their place that a user gave as ``name=number``.

        Raises:
            TableError: There is no such input, or it has another number.
        """
        names = [field.name for field in fields(self)]
        changed = self
        for text in given:
            name, _, number = text.partition("=")
            if name not in names:
                raise TableError(f"--set {text}: there is no input {name!r}: {', '.join(names)}")
            changed = replace(changed, **{name: _number(text, number)})
        changed.check()
        return changed

    def check(self) -> None:
        """Refuse what would have no meaning.

        Raises:
            TableError: So it is.
        """
        if self.databases_per_balancer < 1:
            raise TableError("databases_per_balancer must be 1 or more")
        if not 0 < self.fleet_share <= 1:
            raise TableError("fleet_share must be more than 0 and at most 1")

    @property
    def minutes(self) -> float:
        """Of a month."""
        return self.hours * 60


def read_inputs() -> Mapping[str, Mapping[str, float | str]]:
    """The inputs with everything that is said of them."""
    return dict(tomllib.loads(INPUTS.read_text()))


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise TableError(f"--set {text}: must be a number, 0 or more")
    return value


@dataclass(frozen=True, slots=True)
class Use:
    """So much of something that has a price.

    Attributes:
        what: The line that it belongs to.
        price: The price's name.
        quantity: How much, in the price's own things: invocations, not millions of them.
    """

    what: str
    price: str
    quantity: float


#: What the ways are compared by.
Bill = Sequence[Use]


def total(bill: Bill, prices: Mapping[str, Price]) -> float:
    """What it costs, in US dollars."""
    return sum(prices[use.price].of(use.quantity) for use in bill)


def by_line(bill: Bill, prices: Mapping[str, Price]) -> Mapping[str, float]:
    """What each line of it costs, in US dollars, in the order of the bill."""
    lines: dict[str, float] = {}
    for use in bill:
        lines[use.what] = lines.get(use.what, 0.0) + prices[use.price].of(use.quantity)
    return lines


def balancers(inputs: Inputs, databases: int) -> Bill:
    """Load balancers: what a stack makes, and what the users of a fleet have anyway."""
    count = _balancers(inputs, databases)
    return (
        Use("load balancer, hours", "balancer_hour", count * inputs.hours),
        Use("load balancer, capacity", "balancer_capacity_hour", databases * inputs.gb),
    )


def stacks(inputs: Inputs, databases: int) -> Bill:
    """The syncing of a stack for each database, without its load balancer."""
    one = (
        *_invocations(inputs, inputs.minutes, inputs.run_seconds, inputs.stack_memory_mb),
        *_invocations(inputs, inputs.events, inputs.stack_watch_seconds, inputs.stack_memory_mb),
        Use("schedule", "scheduler_invocations", inputs.minutes),
        _logs((inputs.minutes + inputs.events) * inputs.stack_log_bytes),
        Use("metrics", "metric", inputs.stack_metrics),
        Use("alarms", "alarm", inputs.stack_alarms),
        Use("dashboard", "dashboard", inputs.stack_dashboards),
    )
    return tuple(replace(use, quantity=use.quantity * databases) for use in one)


def fleet(inputs: Inputs, databases: int, sweep_seconds: float) -> Bill:
    """One fleet for all of them, without anybody's load balancer.

    Args:
        inputs: The numbers.
        databases: How many target groups there are.
        sweep_seconds: From the start of a sweep until all that it handed out is done: as long as
            that its workers are taken for busy.
    """
    sweeps, orders = inputs.minutes, orders_a_sweep(inputs, databases)
    runs, watches = sweeps * orders, inputs.events * databases
    return (
        *_invocations(inputs, sweeps, sweep_seconds, inputs.fleet_sweep_memory_mb),
        *_invocations(
            inputs,
            runs,
            max(inputs.run_seconds, min(inputs.fleet_workers, orders) * sweep_seconds / orders),
            inputs.fleet_memory_mb,
        ),
        *_invocations(inputs, watches, inputs.fleet_watch_seconds, inputs.fleet_memory_mb),
        Use("schedule", "scheduler_invocations", sweeps),
        Use("queues", "sqs_fifo_requests", _requests(inputs, runs, sweeps, orders, sweep_seconds)),
        Use("queues", "sqs_requests", _polls(inputs) + 3 * watches),
        _logs(
            (sweeps + watches) * inputs.fleet_sweep_log_bytes
            # The mark of the audit is an order too, and none that leaves a record.
            + (runs - sweeps) * inputs.fleet_run_log_bytes
        ),
        Use("metrics", "metric", inputs.fleet_metrics),
        Use("alarms", "alarm", inputs.fleet_alarms),
    )


def orders_a_sweep(inputs: Inputs, groups: int) -> int:
    """How many orders a sweep hands out while nothing happens: audits, and the mark of them."""
    audits = math.ceil(groups * SWEEP_SECONDS / AUDIT_SECONDS)
    return min(audits, SweepCapacity.of(inputs.fleet_share).groups) + 1


def lattice(inputs: Inputs, databases: int) -> Bill:
    """VPC Lattice, as its provider pays for it: resource gateways have no price by the hour."""
    return (Use("resource gateway, traffic", "resource_gateway_gb", databases * inputs.gb),)


def lattice_network(inputs: Inputs, databases: int) -> Bill:
    """The same, each resource shared through a service network instead of by itself."""
    return (
        *lattice(inputs, databases),
        Use("resource in a network, hours", "network_resource_hour", databases * inputs.hours),
    )


def interface_consumers(inputs: Inputs, databases: int) -> Bill:
    """What consumers of stacks or of a fleet pay: an interface endpoint for each load balancer."""
    hours = _balancers(inputs, databases) * inputs.consumer_zones * inputs.hours
    return (
        Use("endpoint", "endpoint_hour", hours),
        Use("endpoint", "endpoint_gb", databases * inputs.gb),
    )


def resource_consumers(inputs: Inputs, databases: int) -> Bill:
    """What consumers pay with VPC Lattice: a resource endpoint for each database."""
    return (
        Use("endpoint", "resource_endpoint_hour", databases * inputs.hours),
        Use("endpoint", "resource_endpoint_gb", databases * inputs.gb),
    )


def endpoints(inputs: Inputs, count: float) -> Bill:
    """Interface endpoints for functions in a VPC without a NAT gateway."""
    hours = count * inputs.consumer_zones * inputs.hours
    return (Use("interface endpoints", "endpoint_hour", hours),)


def _invocations(inputs: Inputs, count: float, seconds: float, memory_mb: float) -> Iterator[Use]:
    """Functions that run so often, for so many seconds each, and what Lambda logs of them."""
    yield Use("Lambda, requests", "lambda_requests", count)
    yield Use("Lambda, time", "lambda_gb_second", count * seconds * memory_mb / _MB_IN_GB)
    yield Use("traces", "traces", count * inputs.traced)
    yield _logs(count * inputs.platform_log_bytes)


def _balancers(inputs: Inputs, databases: int) -> int:
    return math.ceil(databases / inputs.databases_per_balancer)


def _logs(size: float) -> Use:
    return Use("log", "log_gb", size / _BYTES_IN_GB)


def _requests(
    inputs: Inputs, runs: float, sweeps: float, orders: int, sweep_seconds: float
) -> float:
    """Requests to the queue of orders: sent in batches, received and deleted one by one.

    A sweep asks once a second how many wait; Lambda asks an empty queue all the time.
    """
    sends, looks = sweeps * math.ceil(orders / _MESSAGES), sweeps * math.ceil(sweep_seconds)
    return sends + looks + 2 * runs + _polls(inputs)


def _polls(inputs: Inputs) -> float:
    return inputs.minutes * inputs.pollers * inputs.polls


class Sweeps:
    """How long a sweep takes, simulated for some numbers of groups and taken as even between."""

    def __init__(self, simulated: Path = SWEEPS) -> None:
        rows = json.loads(simulated.read_text())
        self._seconds = sorted(
            (int(row["groups"]), float(row["wall_s"]))
            for row in rows
            if (row["strategy"], row["scenario"]) == ("fleet", "steady")
        )

    def seconds(self, groups: int) -> float:
        """Seconds from a sweep's start until everything that it handed out is done."""
        before = self._seconds[0]
        if groups <= before[0]:
            return before[1]
        for before, after in pairwise(self._seconds):
            if groups <= after[0]:
                part = (groups - before[0]) / (after[0] - before[0])
                return before[1] + part * (after[1] - before[1])
        raise TableError(
            f"{groups:,} databases are more than the {self._seconds[-1][0]:,} that were simulated"
        )
