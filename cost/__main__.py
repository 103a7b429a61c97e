"""``python -m cost``: the monthly cost, with the project's prices and numbers or yours."""

import argparse
import sys
from pathlib import Path

from cost.model import Inputs
from cost.page import DATABASES, to_markdown
from cost.prices import TableError, load_prices, override

PAGE = Path(__file__).parents[1] / "docs/cost.md"


def main() -> None:
    """Write the page; with any option, print it instead."""
    given = _parser().parse_args()
    try:
        prices = load_prices()
        if given.prices:
            prices = override(prices, given.prices)
        inputs = Inputs.load().override(given.set)
        page = to_markdown(prices, inputs, given.databases or DATABASES)
    except TableError as error:
        sys.exit(f"cost: {error}")
    if len(sys.argv) > 1:
        sys.stdout.write(page)
    else:
        PAGE.write_text(page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cost", description=__doc__)
    parser.add_argument(
        "--prices", type=Path, metavar="FILE", help="your prices, in the format of cost/prices.toml"
    )
    parser.add_argument(
        "--databases",
        type=_count,
        action="append",
        metavar="NUMBER",
        help="a number of databases; may be given several times",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a number of cost/inputs.toml; may be given several times",
    )
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
