"""The page with the costs, as Markdown. Everything on it is written by `make cost`."""

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
    lattice,
    lattice_network,
    orders_a_sweep,
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
    """The page.

    Args:
        prices: What everything costs.
        inputs: What it is computed from.
        sweeps: How long a sweep takes.
        databases: For how many databases.

    Raises:
        TableError: There are more of them than were simulated.
    """

    def many(bill: Callable[[int], Bill]) -> list[Bill]:
        return [bill(number) for number in databases]

    head = ("USD a month, for so many databases", *(f"{number:,}" for number in databases))
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
            ("of the fleet, for so many databases", *head[1:]),
            [
                ("seconds of a sweep", *(f"{sweeps.seconds(n):.2f}" for n in databases)),
                ("orders of a sweep", *(f"{orders_a_sweep(inputs, n):,}" for n in databases)),
            ],
        ),
        inputs=table(("name", "value", "of", "origin", "where, or why"), _inputs(inputs)),
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
        origin, why = (str(entry["origin"]), str(entry["why"])) if own else ("given", "")
        yield f"`{name}`", f"{value:,g}", str(entry["unit"]), origin, why


def _prices(prices: Mapping[str, Price]) -> Iterator[Sequence[str]]:
    for name, price in prices.items():
        usd = f"{price.usd:.10f}".rstrip("0").rstrip(".")
        yield f"`{name}`", usd, price.unit, price.region, price.date.isoformat(), price.source


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


_PAGE = """# What it costs

Made by `make cost` from the tables of prices and of numbers that stand below: list prices of
{regions}, collected on {dates}, without free tiers. **Nothing here is from a bill.** A number
that nobody measured says so, and each price and each number can be yours:

```sh
printf '[balancer_hour]\\nusd = 0.0252\\n' > mine.toml
make cost COST_OPTIONS="--prices mine.toml --databases 40 --set gb=500 --set run_seconds=0.4"
```

With options it prints the page; without, it writes this one.

## In a word

What the provider of the databases pays:

{ways}

Keeping the target groups right is a part of it. The load balancers of a fleet are the users' own,
made by other tools, so this is all that the fleet itself adds:

{syncing}

What the consumers pay, which is a vendor's own matter:

{consumers}

With the prices and numbers of this project:

- The metrics, alarms and dashboard of a stack are most of what its syncing costs. A fleet has its
  own once.
- A load balancer costs more than everything that keeps it right. Several databases may share one,
  each with a listener of its own: `--set databases_per_balancer=10`.
- VPC Lattice with resource endpoints has no load balancer and nothing to keep in sync, and costs
  least, if the consumers accept it; dbt's documentation asks for an endpoint service. Some of its
  prices are [uncertain](#the-prices).

## Line by line

A stack for each database:

{stack_lines}

One fleet, without the load balancers:

{fleet_lines}

The fleet's Lambda time is an upper bound: of the longest simulated sweep, with every worker busy
from its beginning until its last order is done, waiting for its share of the calls included, and
each order alone in its batch.

Functions in a VPC that has no NAT gateway need interface endpoints. Without a VPC, which is right
for every RDS name, there are none. Stacks in one VPC can share theirs:

{private}

## The numbers

{inputs}

From [the benchmark](bench/fleet.md), where 1, 10, 100, 1,000 and 5,000 groups were simulated, and
even in between:

{simulated}

## The prices

{prices}

{notes}

## What is not in it

- Traffic between Availability Zones: 0.01 USD a GB in each direction. With one target in one zone
  some of it always crosses.
- Further tiers, which are cheaper, and free tiers; so 1,000 databases are somewhat overestimated,
  and one is.
- Keeping the log, the messages and events of a failover, a person's looks at the status: less than
  a cent for a database.
- Calls to ELB, EC2, RDS and the tagging API, events of AWS's services and the endpoint service
  itself cost nothing.
"""
