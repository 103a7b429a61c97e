"""Log records (JSON) and metrics (EMF) on standard output, by Powertools.

EMF needs no permission and no endpoint: CloudWatch extracts the metrics from the log
(CloudWatch user guide, embedded metric format).
"""

import os
from collections.abc import Mapping
from typing import Protocol

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from target_sync.environment import one_of, required
from target_sync.ports import LogRecord, Reportable

_LEVELS = dict.fromkeys(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))


class Iteration(Protocol):
    """The snapshot and the plan of one iteration."""

    @property
    def snapshot(self) -> object:
        """The target group and the observation."""

    @property
    def plan(self) -> object:
        """The planned changes."""

    @property
    def waited_for(self) -> object:
        """What the run has waited for. The last one is what it waits for now."""


class PowertoolsReporter:
    """Implements ``ports.Reporter`` and ``reconcile.reconciler.RunReporter`` of this package.

    Service, namespace and level come from the ``POWERTOOLS_*`` variables of the template.

    Args:
        context: Fields of every record, for a function that serves several target groups.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
    """

    def __init__(self, context: Mapping[str, str] | None = None) -> None:
        self._context = context or {}
        # Powertools would fail at the end of the run, and not name the variable.
        required(os.environ, "POWERTOOLS_METRICS_NAMESPACE")
        one_of(os.environ, "POWERTOOLS_LOG_LEVEL", _LEVELS, "INFO")
        # With another form of the timestamp, Lambda takes every line as INFO (Lambda guide, "Using
        # structured JSON format with Python").
        self._logger = Logger(use_rfc3339=True)
        self._metrics = Metrics()

    def report(self, result: Reportable) -> None:
        """Write the records and the metrics of a run."""
        for record in result.to_log_records():
            self._write(record)

    def _write(self, record: LogRecord) -> None:
        log = getattr(self._logger, record.level)
        log(record.message, extra={**self._context, **record.fields}, exc_info=record.error)
        for unit, values in (
            (MetricUnit.Count, record.counts),
            (MetricUnit.Seconds, record.seconds),
        ):
            for name, value in values.items():
                self._metrics.add_metric(name=name, unit=unit, value=value)
        if record.counts or record.seconds:
            self._metrics.flush_metrics()

    def report_iteration(self, run: Iteration) -> None:
        """Log one iteration in detail, at level DEBUG only."""
        details = {"snapshot": run.snapshot, "plan": run.plan, "waited_for": run.waited_for}
        self._logger.debug("iteration", extra={**self._context, **details})
