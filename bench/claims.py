"""The claims of a benchmark about its figures."""

from collections.abc import Iterable
from dataclasses import dataclass

from cost.markdown import table_row


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the measured value, and whether the claim holds."""

    text: str
    measured: str
    holds: bool


def claim_rows(claims: Iterable[Claim]) -> str:
    """Return the rows of a table of claims, as Markdown."""
    return "\n".join(
        table_row(claim.text, claim.measured, "holds" if claim.holds else "does not hold")
        for claim in claims
    )
