"""Tables in Markdown, for the pages of the costs and of the benchmarks."""

from collections.abc import Iterable


def table_row(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table with its head."""
    columns = list(head)
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(table_row(*line) for line in lines)
