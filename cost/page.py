"""The page with the costs, as Markdown. `make cost` writes all of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import StrictUndefined, Template

from cost.markdown import table
from cost.model import (
    Bill,
    Inputs,
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
from cost.prices import Price

_TEXT = Path(__file__).with_name("page.md.j2").read_text()
_PAGE: Template = Template(_TEXT, undefined=StrictUndefined, keep_trailing_newline=True)
DATABASES = (1, 10, 100, 1_000)


def to_markdown(prices: Mapping[str, Price], inputs: Inputs, databases: Sequence[int]) -> str:
    """Return the page.

    Args:
        prices: The prices.
        inputs: The numbers.
        databases: The numbers of databases, one column each.
    """

    def many(bill: Callable[[int], Bill]) -> list[Bill]:
        return [bill(number) for number in databases]

    head = ("USD a month, by number of databases", *(f"{number:,}" for number in databases))
    made = many(lambda n: balancers(inputs, n))
    single = many(lambda n: stacks(inputs, n))
    together = many(lambda n: fleet(inputs, n))
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
    return _PAGE.render(
        regions=_listed(price.region for price in prices.values()),
        dates=_listed(price.date.isoformat() for price in prices.values()),
        ways=table(head, _totals(ways, prices)),
        syncing=table(head, _totals(syncing, prices)),
        consumers=table(head, _totals(consumers, prices)),
        private=table(head, _totals(private, prices)),
        stack_lines=table(head, _lines(ways["a stack each"], prices)),
        fleet_lines=table(head, _lines(together, prices)),
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
