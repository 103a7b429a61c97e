"""What a benchmark claims of its figures."""

from collections.abc import Iterable
from dataclasses import dataclass

from cost.markdown import table_row


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed, what was measured, and whether that is so."""

    text: str
    measured: str
    holds: bool


def claim_rows(claims: Iterable[Claim]) -> str:
    """The rows of a table of claims, as Markdown."""
    return "\n".join(
        table_row(claim.text, claim.measured, "holds" if claim.holds else "does not hold")
        for claim in claims
    )
