"""The page with the costs, as Markdown. `make cost` writes all of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cost.markdown import table
from cost.model import (
    Bill,
    Inputs,
    Sweeps,
    balancers,
    by_line,
    endpoints,
    fleet,
    interface_consumers,
    items_per_sweep,
    lattice,
    lattice_network,
    read_inputs,
    resource_consumers,
    stacks,
    total,
)
from cost.prices import Price

DATABASES = (1, 10, 100, 1_000)


def to_markdown(
    prices: Mapping[str, Price], inputs: Inputs, sweeps: Sweeps, databases: Sequence[int]
) -> str:
    """Return the page.

    Args:
        prices: The prices.
        inputs: The numbers.
        sweeps: The durations of sweeps.
        databases: The numbers of databases, one column each.

    Raises:
        TableError: A number of databases exceeds the largest simulation.
    """

    def many(bill: Callable[[int], Bill]) -> list[Bill]:
        return [bill(number) for number in databases]

    head = ("USD a month, by number of databases", *(f"{number:,}" for number in databases))
    made = many(lambda n: balancers(inputs, n))
    single = many(lambda n: stacks(inputs, n))
    together = many(lambda n: fleet(inputs, n, sweeps.seconds(n)))
    ways = {
        "a stack each": _joined(single, made),
        "a fleet, and a load balancer each": _joined(together, made),
        "VPC Lattice, a resource endpoint each": many(lambda n: lattice(inputs, n)),
        "VPC Lattice, in a service network": many(lambda n: lattice_network(inputs, n)),
    }
    syncing = {"a stack each": single, "a fleet": together}
    consumers = {
        "an interface endpoint for each load balancer (stack, fleet)": many(
            lambda n: interface_consumers(inputs, n)
        ),
        "a resource endpoint for each database (VPC Lattice)": many(
            lambda n: resource_consumers(inputs, n)
        ),
    }
    private = {
        "endpoints for each stack": many(lambda n: endpoints(inputs, n * inputs.stack_endpoints)),
        "endpoints for the fleet": many(lambda _: endpoints(inputs, inputs.fleet_endpoints)),
    }
    return _PAGE.format(
        regions=_listed(price.region for price in prices.values()),
        dates=_listed(price.date.isoformat() for price in prices.values()),
        ways=table(head, _totals(ways, prices)),
        syncing=table(head, _totals(syncing, prices)),
        consumers=table(head, _totals(consumers, prices)),
        private=table(head, _totals(private, prices)),
        stack_lines=table(head, _lines(ways["a stack each"], prices)),
        fleet_lines=table(head, _lines(together, prices)),
        simulated=table(
            ("fleet, by number of databases", *head[1:]),
            [
                ("seconds of a sweep", *(f"{sweeps.seconds(n):.2f}" for n in databases)),
                ("work items of a sweep", *(f"{items_per_sweep(inputs, n):,}" for n in databases)),
            ],
        ),
        inputs=table(("name", "value", "unit", "origin", "source or reason"), _inputs(inputs)),
        prices=table(("name", "USD", "for", "Region", "date", "source"), _prices(prices)),
        notes="\n".join(f"- `{name}`: {p.note}." for name, p in prices.items() if p.note),
    )


def _joined(ones: Sequence[Bill], others: Sequence[Bill]) -> list[Bill]:
    return [(*one, *other) for one, other in zip(ones, others, strict=True)]


def _totals(
    rows: Mapping[str, Sequence[Bill]], prices: Mapping[str, Price]
) -> Iterator[Sequence[str]]:
    for name, bills in rows.items():
        yield (name, *(f"{total(bill, prices):,.2f}" for bill in bills))


def _lines(bills: Sequence[Bill], prices: Mapping[str, Price]) -> Iterator[Sequence[str]]:
    found = [by_line(bill, prices) for bill in bills]
    for line in found[0]:
        yield (line, *(f"{lines[line]:,.2f}" for lines in found))
    yield ("**together**", *(f"{total(bill, prices):,.2f}" for bill in bills))


def _inputs(inputs: Inputs) -> Iterator[Sequence[str]]:
    for name, entry in read_inputs().items():
        value = getattr(inputs, name)
        own = value == entry["value"]
        origin, reason = (str(entry["origin"]), str(entry["reason"])) if own else ("given", "")
        yield f"`{name}`", f"{value:,g}", str(entry["unit"]), origin, reason


def _prices(prices: Mapping[str, Price]) -> Iterator[Sequence[str]]:
    for name, price in prices.items():
        usd = f"{price.usd:.10f}".rstrip("0").rstrip(".")
        yield f"`{name}`", usd, price.unit, price.region, price.date.isoformat(), price.source


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


_PAGE = """# What it costs

Made by `make cost` from the prices and numbers below: list prices of {regions}, collected on
{dates}, without free tiers. **Nothing here is from a bill.** The tables mark assumed numbers. You
can replace each price and each number:

```sh
printf '[balancer_hour]\\nusd = 0.0252\\n' > mine.toml
make cost COST_OPTIONS="--prices mine.toml --databases 40 --set gb=500 --set run_seconds=0.4"
```

With options, the command prints the page; without, it writes this page.

## Summary

The provider of the databases pays:

{ways}

A part of this keeps the target groups in sync. The load balancers of a fleet exist already, made by
other tools, so the fleet adds only this part:

{syncing}

The consumers (the vendors) pay:

{consumers}

With the prices and numbers of this project:

- Metrics, alarms and the dashboard are most of the cost of a stack without its load balancer. A
  fleet has them once.
- A load balancer costs more than everything that keeps its targets in sync. Several databases can
  share one, each with its own listener: `--set databases_per_balancer=10`.
- VPC Lattice with resource endpoints costs least: it has no load balancer, and nothing to keep in
  sync. The consumers must accept it; dbt's documentation asks for an endpoint service. Some of its
  prices are [uncertain](#the-prices).

## Line by line

A stack for each database:

{stack_lines}

One fleet, without the load balancers:

{fleet_lines}

The Lambda time of the fleet is an upper bound. It takes the longest simulated sweep, keeps every
worker busy until the last work item is done, and puts one work item in each batch.

Functions in a VPC without a NAT gateway need interface endpoints. Functions outside a VPC, which
suffice for every RDS name, need none. Stacks in one VPC can share them:

{private}

## The numbers

{inputs}

From [the benchmark](bench/fleet.md), which simulates 1, 10, 100, 1,000 and 5,000 groups; values in
between are interpolated:

{simulated}

## The prices

{prices}

{notes}

## What is not in it

- Traffic between Availability Zones: 0.01 USD a GB in each direction. With one target in one zone,
  some traffic always crosses zones.
- Cheaper tiers and free tiers. The page therefore overestimates the cost of one database and of
  1,000.
- Log storage, the notifications of a failover, and status reports: less than a cent per database.
- Calls to ELB, EC2, RDS and the tagging API, events of AWS services and the endpoint service cost
  nothing.
"""
