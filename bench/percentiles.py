"""Percentiles of times."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of a set of seconds, by the nearest rank, and the mean, to the millisecond."""

    p50: float
    p90: float
    p99: float
    max: float
    mean: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Percentiles":
        """Return the percentiles of at least one value."""
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(share * len(ordered)) - 1], 3)

        return cls(rank(0.5), rank(0.9), rank(0.99), rank(1.0), round(fmean(ordered), 3))
