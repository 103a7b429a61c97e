"""The price of waiting runs. The prices themselves are in ``cost/prices.toml``."""

from dataclasses import dataclass

from cost.model import Inputs
from cost.prices import load_prices

_TABLE = load_prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of Lambda in USD, and the memory of the function.

    Attributes:
        gb_second: Price of one GB of memory for one second, arm64, first tier.
        million_requests: Price of a million invocations.
        memory_mb: Memory of the function (template.yaml).
    """

    gb_second: float = _TABLE["lambda_gb_second"].usd
    million_requests: float = _TABLE["lambda_requests"].usd
    memory_mb: float = Inputs.load().stack_memory_mb

    SOURCE = (
        "us-east-1, arm64, without free tier, collected in November 2026 from AWS documentation and"
        " copies of its price pages, not from a bill"
    )

    def of_waiting(self, seconds: float) -> float:
        """Return the price of a function that waits for these seconds."""
        return seconds * self.memory_mb / 1024 * self.gb_second

    def of_requests(self, runs: int) -> float:
        """Return the price of these invocations."""
        return runs / 1_000_000 * self.million_requests
