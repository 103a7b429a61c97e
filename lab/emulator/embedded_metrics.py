"""CloudWatch metrics from a function's log in the embedded metric format.

Source: CloudWatch user guide, "Specification: Embedded metric format".
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.services import cloudwatch, lambda_svc

from lab.emulator.scope import Scope


def install() -> None:
    """Read the metrics in every function's log."""
    lambda_svc._emit_lambda_logs = _storing_metrics(lambda_svc._emit_lambda_logs)


def _storing_metrics(emit: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(
        func: Mapping[str, Any], request_id: str, log_text: str, *args: Any, **kwargs: Any
    ) -> Any:
        config = func.get("config") or func
        with Scope.of_arn(config["FunctionArn"]).entered():
            for document in _documents(log_text):
                _store(document)
        return emit(func, request_id, log_text, *args, **kwargs)

    return wrapped


def _documents(log_text: str) -> Iterator[Mapping[str, Any]]:
    """Return the lines of a log that contain metrics."""
    for line in log_text.splitlines():
        if '"_aws"' not in line:
            continue
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, Mapping) and "CloudWatchMetrics" in document.get("_aws", {}):
            yield document


def _store(document: Mapping[str, Any]) -> None:
    at = document["_aws"].get("Timestamp", time.time() * 1000) / 1000
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                cloudwatch._store_datum(
                    directive["Namespace"],
                    metric["Name"],
                    dimensions,
                    at,
                    metric.get("Unit", "None"),
                    None,
                    value if isinstance(value, list) else [value],
                    None,
                    None,
                )
