"""The evaluation of CloudWatch alarms, as AWS documents it.

ministack evaluates all values of a metric's name at once, without dimensions, periods and missing
data. Source: CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch
alarms treat missing data" (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
alarms-and-missing-data.html).
"""

import operator
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

#: AWS reads more datapoints than it evaluates, for late and missing ones. AWS does not document the
#: number for every period; its examples with 3 evaluation periods read 5.
_MORE_DATAPOINTS = 2

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Sum": sum,
}


class AlarmState(StrEnum):
    """The states of an alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """How an alarm treats missing data."""

    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"
    IGNORE = "ignore"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Metric:
    """The identity of a metric: namespace, name and dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


@dataclass(slots=True)
class MetricStore:
    """The values of metrics, each with its time in seconds."""

    _values: dict[Metric, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def put(self, metric: Metric, value: float, at: float) -> None:
        """Store one value."""
        insort(self._values[metric], (at, value))

    def between(self, metric: Metric, start: float, end: float) -> list[float]:
        """Return the values from `start` to before `end`."""
        values = self._values[metric]
        first, last = (bisect_left(values, (moment,)) for moment in (start, end))
        return [value for _, value in values[first:last]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm on one metric. Periods are seconds."""

    name: str
    metric: Metric
    statistic: str
    period: float
    evaluation_periods: int
    datapoints_to_alarm: int
    comparison: str
    threshold: float
    missing: Missing = Missing.MISSING

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Self:
        """Return the alarm of a resource's properties, or of a record of DescribeAlarms.

        Raises:
            KeyError: It uses metric math, or a value that the lab does not know.
        """
        periods = int(properties["EvaluationPeriods"])
        return cls(
            name=properties["AlarmName"],
            metric=Metric(
                properties["Namespace"],
                properties["MetricName"],
                frozenset((d["Name"], d["Value"]) for d in properties.get("Dimensions", ())),
            ),
            statistic=properties["Statistic"],
            period=float(properties["Period"]),
            evaluation_periods=periods,
            datapoints_to_alarm=int(properties.get("DatapointsToAlarm") or periods),
            comparison=properties["ComparisonOperator"],
            threshold=float(properties["Threshold"]),
            missing=Missing(properties.get("TreatMissingData") or "missing"),
        )

    def evaluate(self, store: MetricStore, state: AlarmState, now: float) -> AlarmState:
        """Return the state after an evaluation at the end of the newest period."""
        count = self.evaluation_periods + _MORE_DATAPOINTS
        starts = [now - self.period * n for n in range(count, 0, -1)]
        datapoints = [
            self._datapoint(store.between(self.metric, start, start + self.period))
            for start in starts
        ]
        return self.state_from(datapoints, state)

    def state_from(self, datapoints: Iterable[bool | None], state: AlarmState) -> AlarmState:
        """Return the state for datapoints.

        Args:
            datapoints: The evaluation range, oldest first: whether each datapoint breaches the
                threshold, or None if it is missing.
            state: The state before.
        """
        real = [datapoint for datapoint in datapoints if datapoint is not None]
        if len(real) >= self.evaluation_periods:
            return self._of(sum(real[-self.evaluation_periods :]))
        filled = self.evaluation_periods - len(real)
        match self.missing:
            case Missing.BREACHING:
                return self._of(sum(real) + filled)
            case Missing.NOT_BREACHING:
                return self._of(sum(real))
            case Missing.IGNORE:
                return AlarmState.OK if False in real else state
            case Missing.MISSING if not real:
                return AlarmState.INSUFFICIENT_DATA
        return AlarmState.ALARM if all(real) else AlarmState.OK

    def _of(self, breaching: int) -> AlarmState:
        return AlarmState.ALARM if breaching >= self.datapoints_to_alarm else AlarmState.OK

    def _datapoint(self, values: Sequence[float]) -> bool | None:
        if not values:
            return None
        statistic = _STATISTICS[self.statistic](values)
        return _COMPARISONS[self.comparison](statistic, self.threshold)
