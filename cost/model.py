"""The monthly use of each way to keep target groups in sync. The prices turn it into costs."""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from cost.prices import Price, TableError
from target_sync.fleet.planner import AUDIT_SECONDS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA
from target_sync.fleet.sweeper import SWEEP_SECONDS

INPUTS = Path(__file__).parent / "inputs.toml"
_MINUTE = 60
_MB_IN_GB = 1024
_BYTES_IN_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The numbers of ``inputs.toml``, which describes each and gives its origin."""

    hours: float
    gb: float
    databases_per_balancer: float
    consumer_zones: float
    events: float
    run_seconds: float
    platform_log_bytes: float
    traced: float
    stack_memory_mb: float
    stack_poll_seconds: float
    stack_watch_seconds: float
    stack_log_bytes: float
    stack_metrics: float
    stack_alarms: float
    stack_dashboards: float
    stack_endpoints: float
    fleet_share: float
    fleet_memory_mb: float
    fleet_alarms: float
    fleet_metrics: float
    fleet_sweep_log_bytes: float
    fleet_run_log_bytes: float
    fleet_endpoints: float

    @classmethod
    def load(cls) -> Self:
        """Return the project's own inputs."""
        return cls(**{name: float(entry["value"]) for name, entry in read_inputs().items()})

    def override(self, given: Sequence[str]) -> Self:
        """Return these inputs with the values that a user gave as ``name=number``.

        Raises:
            TableError: An input does not exist, or its value is not valid.
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
        """Check the values.

        Raises:
            TableError: A value is out of its range.
        """
        if self.databases_per_balancer < 1:
            raise TableError("databases_per_balancer must be 1 or more")
        if not 0 < self.fleet_share <= 1:
            raise TableError("fleet_share must be more than 0 and at most 1")

    @property
    def minutes(self) -> float:
        """The minutes of a month."""
        return self.hours * 60


def read_inputs() -> Mapping[str, Mapping[str, float | str]]:
    """Return the inputs with their descriptions."""
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
    """A quantity of something with a price.

    Attributes:
        what: The line of the bill.
        price: The name of the price.
        quantity: The quantity in single items: invocations, not millions of invocations.
    """

    what: str
    price: str
    quantity: float


#: The uses of one way.
Bill = Sequence[Use]


def total(bill: Bill, prices: Mapping[str, Price]) -> float:
    """Return the cost of a bill in US dollars."""
    return sum(prices[use.price].of(use.quantity) for use in bill)


def by_line(bill: Bill, prices: Mapping[str, Price]) -> Mapping[str, float]:
    """Return the cost of each line in US dollars, in the order of the bill."""
    lines: dict[str, float] = {}
    for use in bill:
        lines[use.what] = lines.get(use.what, 0.0) + prices[use.price].of(use.quantity)
    return lines


def balancers(inputs: Inputs, databases: int) -> Bill:
    """Return the use of load balancers: those of a stack, or the existing ones of a fleet."""
    count = _balancers(inputs, databases)
    return (
        Use("load balancer, hours", "balancer_hour", count * inputs.hours),
        Use("load balancer, capacity", "balancer_capacity_hour", databases * inputs.gb),
    )


def stacks(inputs: Inputs, databases: int) -> Bill:
    """Return the use of one stack for each database, without load balancers."""
    poll = inputs.stack_poll_seconds
    # A scheduled run polls until the next one starts.
    waiting = math.ceil(_MINUTE / poll) * poll if poll else 0.0
    one = (
        *_invocations(inputs, inputs.minutes, inputs.run_seconds + waiting, inputs.stack_memory_mb),
        *_invocations(inputs, inputs.events, inputs.stack_watch_seconds, inputs.stack_memory_mb),
        Use("schedule", "scheduler_invocations", inputs.minutes),
        _logs((inputs.minutes + inputs.events) * inputs.stack_log_bytes),
        Use("metrics", "metric", inputs.stack_metrics),
        Use("alarms", "alarm", inputs.stack_alarms),
        Use("dashboard", "dashboard", inputs.stack_dashboards),
    )
    return tuple(replace(use, quantity=use.quantity * databases) for use in one)


def fleet(inputs: Inputs, databases: int) -> Bill:
    """Return the use of one fleet for all databases, without load balancers."""
    sweeps, runs = inputs.minutes, inputs.minutes * audits_per_sweep(inputs, databases)
    return (
        *_invocations(inputs, sweeps, SWEEP_SECONDS, inputs.fleet_memory_mb),
        Use("schedule", "scheduler_invocations", sweeps),
        _logs(sweeps * inputs.fleet_sweep_log_bytes + runs * inputs.fleet_run_log_bytes),
        Use("metrics", "metric", inputs.fleet_metrics),
        Use("alarms", "alarm", inputs.fleet_alarms),
    )


def audits_per_sweep(inputs: Inputs, groups: int) -> float:
    """Return the number of audits of a steady sweep, each of which describes a group once."""
    most = ACCOUNT_QUOTA.part(inputs.fleet_share).refill * _MINUTE
    return min(groups * _MINUTE / AUDIT_SECONDS, most)


def lattice(inputs: Inputs, databases: int) -> Bill:
    """Return the provider's use of VPC Lattice. Resource gateways have no hourly price."""
    return (Use("resource gateway, traffic", "resource_gateway_gb", databases * inputs.gb),)


def lattice_network(inputs: Inputs, databases: int) -> Bill:
    """Return the same with each resource shared through a service network."""
    return (
        *lattice(inputs, databases),
        Use("resource in a network, hours", "network_resource_hour", databases * inputs.hours),
    )


def interface_consumers(inputs: Inputs, databases: int) -> Bill:
    """Return the use of the consumers: an interface endpoint for each load balancer."""
    hours = _balancers(inputs, databases) * inputs.consumer_zones * inputs.hours
    return (
        Use("endpoint", "endpoint_hour", hours),
        Use("endpoint", "endpoint_gb", databases * inputs.gb),
    )


def resource_consumers(inputs: Inputs, databases: int) -> Bill:
    """Return the use of consumers with VPC Lattice: one resource endpoint per database."""
    return (
        Use("endpoint", "resource_endpoint_hour", databases * inputs.hours),
        Use("endpoint", "resource_endpoint_gb", databases * inputs.gb),
    )


def endpoints(inputs: Inputs, count: float) -> Bill:
    """Return the use of interface endpoints for functions in a VPC without a NAT gateway."""
    hours = count * inputs.consumer_zones * inputs.hours
    return (Use("interface endpoints", "endpoint_hour", hours),)


def _invocations(inputs: Inputs, count: float, seconds: float, memory_mb: float) -> Iterator[Use]:
    """Yield the use of ``count`` invocations of ``seconds`` each, with Lambda's own log."""
    yield Use("Lambda, requests", "lambda_requests", count)
    yield Use("Lambda, time", "lambda_gb_second", count * seconds * memory_mb / _MB_IN_GB)
    yield Use("traces", "traces", count * inputs.traced)
    yield _logs(count * inputs.platform_log_bytes)


def _balancers(inputs: Inputs, databases: int) -> int:
    return math.ceil(databases / inputs.databases_per_balancer)


def _logs(size: float) -> Use:
    return Use("log", "log_gb", size / _BYTES_IN_GB)
