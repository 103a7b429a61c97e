"""Evaluates all alarms once in each minute of the lab, as AWS does.

ministack evaluates an alarm only when its metric gets a value, so missing data have no effect.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import cloudwatch

from lab.emulator.alarms import Alarm, AlarmState, MetricStore
from lab.emulator.scope import Scope

_MINUTE = 60.0

_logger = logging.getLogger("lab.alarms")


class AlarmClock:
    """A thread that evaluates every alarm of every account until `stop`.

    Args:
        interval: Seconds of a minute in an alarm's period; None: 60.
        before: Called before each evaluation with a time in the past minute.
    """

    def __init__(
        self, interval: float | None, before: Callable[[float], None] = lambda _: None
    ) -> None:
        self._before = before
        self._minute = _MINUTE if interval is None else interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self) -> None:
        """Disable ministack's own evaluation and start."""
        # ministack calls it for a new alarm and for each value.
        cloudwatch._evaluate_alarm = lambda _alarm: None
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._minute):
            try:
                self._evaluate_all(time.time())
            except Exception:
                _logger.exception("the evaluation of the alarms failed; retrying")

    def _evaluate_all(self, now: float) -> None:
        self._before(now - self._minute / 2)
        for (account, region, _), record in list(cloudwatch._alarms._data.items()):
            with Scope(account, region).entered():
                self._evaluate(record, now)

    def _evaluate(self, record: dict[str, Any], now: float) -> None:
        alarm = Alarm.of({**record, "Period": record["Period"] * self._minute / _MINUTE})
        state = AlarmState(record["StateValue"])
        new = alarm.evaluate(_stored(alarm, record), state, now)
        if new is state:
            return
        reason = f"Evaluated {alarm.evaluation_periods} periods of {alarm.metric.name}"
        record |= {"StateValue": str(new), "StateReason": reason, "StateUpdatedTimestamp": int(now)}
        cloudwatch._record_history(alarm.name, str(state), str(new), reason)
        cloudwatch._dispatch_alarm_actions(record, str(state), str(new), reason)


def _stored(alarm: Alarm, record: Mapping[str, Any]) -> MetricStore:
    """Return the values of an alarm's metric."""
    dimensions = cloudwatch._dims_key(dict(alarm.metric.dimensions))
    key = (record["Namespace"], record["MetricName"], dimensions)
    store = MetricStore()
    for point in list(cloudwatch._metrics.get(key) or ()):
        store.put(alarm.metric, point["Value"], point["Timestamp"])
    return store
