"""The metrics of AWS's services: Lambda, Network Load Balancers and queues.

Sources: Lambda developer guide, "Types of metrics for Lambda functions"; Network Load Balancer
guide, "CloudWatch metrics for your Network Load Balancer"; SQS developer guide, "Available
CloudWatch metrics for Amazon SQS". Dimensions with a zone are missing. Flows are not counted,
because the data plane is another process.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import alb, cloudwatch, lambda_svc, sqs

from lab.emulator.alarms import Metric
from lab.emulator.errors import ApiError
from lab.emulator.load_balancers import full_name, group_full_name, is_network
from lab.emulator.scope import Scope
from lab.emulator.target_group import TargetState
from lab.emulator.target_groups import TargetGroups

_HOSTS = {"HealthyHostCount": TargetState.HEALTHY, "UnHealthyHostCount": TargetState.UNHEALTHY}


def install() -> None:
    """Count each run of a function, also retries, and each throttle.

    ministack counts requests. It misses failures of asynchronous runs and counts throttles twice.
    """
    lambda_svc._emit_lambda_metrics = lambda *_, **__: None
    lambda_svc._execute_function_dispatch = _counting_runs(lambda_svc._execute_function_dispatch)
    lambda_svc._acquire_execution_slot = _counting_throttles(lambda_svc._acquire_execution_slot)


def _counting_runs(execute: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(func: Any, config: Mapping[str, Any], *args: Any) -> Any:
        result = execute(func, config, *args)
        _count(config, "Invocations", 1)
        _count(config, "Errors", 1 if result.get("error") else 0)
        _count(config, "Throttles", 0)
        return result

    return wrapped


def _counting_throttles(acquire: Callable[..., Any]) -> Callable[..., Any]:
    """Count a throttle, which is no invocation."""

    def wrapped(func: Any, config: Mapping[str, Any]) -> Any:
        slot, limit = acquire(func, config)
        if slot is None:
            _count(config, "Throttles", 1)
        return slot, limit

    return wrapped


def _count(config: Mapping[str, Any], name: str, value: int) -> None:
    with Scope.of_arn(config["FunctionArn"]).entered():
        dimensions = {"FunctionName": config["FunctionName"]}
        cloudwatch.record_metric("AWS/Lambda", name, value, "Count", dimensions)


class ServiceMetrics:
    """The metrics of load balancers and queues, once a minute."""

    def __init__(self, groups: TargetGroups) -> None:
        self._groups = groups

    def write(self, at: float) -> None:
        """Store the current values for a time in epoch seconds."""
        self._write_hosts(at)
        _write_messages(at)

    def _write_hosts(self, at: float) -> None:
        """Write the hosts of each group with a listener and a registered target."""
        for (account, region, _), listener in list(alb._listeners._data.items()):
            scope = Scope(account, region)
            balancer = alb._lbs.get_scoped(account, region, listener["LoadBalancerArn"])
            if balancer is None or not is_network(balancer):
                continue
            for action in listener["DefaultActions"]:
                group_arn = str(action.get("TargetGroupArn"))
                states = self._states(group_arn)
                dimensions = {
                    ("LoadBalancer", full_name(balancer)),
                    ("TargetGroup", group_full_name(group_arn)),
                }
                for name, state in _HOSTS.items() if states else ():
                    metric = Metric("AWS/NetworkELB", name, frozenset(dimensions))
                    _store(scope, metric, states.count(state), at)

    def _states(self, group_arn: str) -> list[TargetState]:
        try:
            targets = self._groups.get(group_arn).describe()
        except ApiError:  # the group was deleted
            return []
        return [target.state for target in targets if target.state is not TargetState.DRAINING]


def _write_messages(at: float) -> None:
    for (account, region, url), queue in list(sqs._queues._data.items()):
        sqs._refresh_counts(queue)
        name = frozenset({("QueueName", str(url).rpartition("/")[2])})
        scope = Scope(account, region)
        count = int(queue["attributes"]["ApproximateNumberOfMessages"])
        _store(scope, Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", name), count, at)


def _store(scope: Scope, metric: Metric, count: int, at: float) -> None:
    with scope.entered():
        cloudwatch._store_datum(
            metric.namespace,
            metric.name,
            dict(metric.dimensions),
            at,
            unit="Count",
            value=count,
            values=None,
            counts=None,
            stat_values=None,
        )
