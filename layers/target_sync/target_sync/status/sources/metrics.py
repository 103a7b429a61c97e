"""Reads the metrics of the sync function from CloudWatch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from target_sync.aws import AwsApi
from target_sync.status.facts import FollowedChange, FollowedChanges, RecentRuns

_CLOUDWATCH = AwsApi("monitoring")
RECENT_SECONDS = 900.0
#: CloudWatch keeps points of one minute for 15 days (CloudWatch user guide, *Metrics retention*).
DAYS = 14
_PERIOD = 60
_COUNTS = ("SyncSucceeded", "SyncFailed", "SyncVetoed", "SyncUnfinished", "TargetsDeregistered")
#: The runs that succeeded, but did not leave the group in sync.
_OUT_OF_SYNC = ("SyncVetoed", "SyncUnfinished")
_SECONDS = {
    "SecondsToDetect": "to_detect",
    "SecondsToRegister": "to_register",
    "SecondsToHealthy": "to_healthy",
}
#: One page holds the newest point of each metric, and no older point is needed.
_MAX_POINTS = 500

#: No count and no number of seconds is higher.
_HIGHEST = 1e12

#: The points of one metric by time, newest first.
_Points = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class CloudWatchMetrics:
    """Implements ``target_sync.status.ports.MetricsPort``.

    Attributes:
        client: Untyped, because the project has no stubs for CloudWatch.
        service: The value of the dimension `service`: the stack's name.
        now: Returns seconds since the epoch.
    """

    client: Any
    namespace: str
    service: str
    now: Callable[[], float]

    def recent_runs(self) -> RecentRuns:
        """Return the newest runs."""
        points = self._points(_COUNTS, "Sum", RECENT_SECONDS)
        succeeded = points["SyncSucceeded"]
        in_sync = {
            at: count - sum(points[name].get(at, 0.0) for name in _OUT_OF_SYNC)
            for at, count in succeeded.items()
        }
        return RecentRuns(
            succeeded_at=_newest(succeeded),
            in_sync_at=_newest(in_sync),
            failures=_total(points["SyncFailed"]),
            vetoes=_total(points["SyncVetoed"]),
            deregistrations=_total(points["TargetsDeregistered"]),
            seconds=RECENT_SECONDS,
        )

    def changes(self) -> FollowedChanges:
        """Return the newest change. The values of one run are points of the same minute."""
        points = self._points(tuple(_SECONDS), "Maximum", DAYS * 86400.0)
        times = [at for found in points.values() for at in found]
        if not times:
            return FollowedChanges(None, DAYS)
        newest = max(times)
        values = {name: points[metric].get(newest) for metric, name in _SECONDS.items()}
        return FollowedChanges(FollowedChange(at=newest, **values), DAYS)

    def _points(self, names: Sequence[str], statistic: str, seconds: float) -> dict[str, _Points]:
        end = self.now()
        queries = [self._query(number, name, statistic) for number, name in enumerate(names)]

        def read() -> dict[str, _Points]:
            reply = self.client.get_metric_data(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(end - seconds, UTC),
                EndTime=datetime.fromtimestamp(end + _PERIOD, UTC),
                ScanBy="TimestampDescending",
                MaxDatapoints=_MAX_POINTS,
            )
            found = {
                names[int(result["Id"][1:])]: {
                    at.timestamp(): _number(value)
                    for at, value in zip(result["Timestamps"], result["Values"], strict=True)
                }
                for result in reply["MetricDataResults"]
            }
            return {name: found[name] for name in names}

        return _CLOUDWATCH.call("GetMetricData", read)

    def _query(self, number: int, name: str, statistic: str) -> Mapping[str, Any]:
        return {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": self.namespace,
                    "MetricName": name,
                    "Dimensions": [{"Name": "service", "Value": self.service}],
                },
                "Period": _PERIOD,
                "Stat": statistic,
            },
        }


def _newest(points: _Points) -> float | None:
    """Return when the newest run ended that a metric counts; None if it counts none."""
    # A point stands for the minute after its time.
    return max((at + _PERIOD for at, count in points.items() if count > 0), default=None)


def _number(value: float) -> float:
    """Return a value, which must be one that the function may have counted or measured."""
    if not 0 <= value <= _HIGHEST:
        raise ValueError(f"{value!r} is no count and no duration")
    return value


def _total(points: _Points) -> int:
    return round(sum(points.values()))
