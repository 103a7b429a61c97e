"""A failover while the load balancer's API throttles all calls, then some, then none."""

import time

from drill.results import format_seconds
from lab.addresses import Endpoint
from lab.aws import create_database
from lab.emulator.messages import Fault
from lab.function_logs import metric_sum, run_records
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext
from lab.scenarios.outages import follow, registering_needs

_SERVICE = "elasticloadbalancing"
_DESCRIBE, _REGISTER, _DEREGISTER = "DescribeTargetHealth", "RegisterTargets", "DeregisterTargets"
#: More calls than the scenario makes.
_EVERY = 1_000_000
#: Longer than the throttle.
_WATCH_SECONDS = "120"
#: The most RegisterTargets calls after the throttle, from several runs at once.
_CALLS_ALLOWED = 5


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": _WATCH_SECONDS,
    }
    with context.path(parameters, targets=[rds.writer]) as path, path.writing() as writing:
        context.progress.show("The API throttles; the primary dies")
        for action in (_DESCRIBE, _REGISTER, _DEREGISTER):
            _throttle(context, action, _EVERY)
        old = rds.writer
        failover = rds.crash()
        _wait_for_call(context, _DESCRIBE)
        _expect_registered(path, "while DescribeTargetHealth is throttled nothing changes", {old})
        _throttle(context, _DESCRIBE, 0)
        _wait_for_call(context, _REGISTER)
        _expect_registered(path, "while RegisterTargets is throttled nothing changes", {old})
        _throttle(context, _REGISTER, 0)
        released_at, calls_before = time.time(), _calls(context, _REGISTER)
        context.lab.wait_for(
            lambda: failover.new in path.observer.registered, f"{failover.new} to be registered"
        )
        calls = _calls(context, _REGISTER) - calls_before
        _wait_for_call(context, _DEREGISTER)
        _expect_registered(
            path, "while DeregisterTargets is throttled nothing is removed", {old, failover.new}
        )
        _throttle(context, _DEREGISTER, 0)
        needs = registering_needs(context, failover, announced_at=released_at)
        outage = follow(writing, "throttled API", failover, needs).outage
        context.expect(
            f"the new address is registered by the first {_CALLS_ALLOWED} calls after the throttle",
            outage.registered_at is not None and calls <= _CALLS_ALLOWED,
            f"{calls}, {format_seconds((outage.registered_at or released_at) - released_at)}",
        )
        path.expect_targets("the stack follows the failover when the throttle ends", [failover.new])
        writing.expect_no_stray_write(failover)
        _expect_reported(context, since=failover.began_at)


def _throttle(context: ScenarioContext, action: str, times: int) -> None:
    context.lab.admin.inject(
        Fault(service=_SERVICE, action=action, error="ThrottlingException", times=times)
    )


def _wait_for_call(context: ScenarioContext, action: str) -> None:
    """Wait for a new call of an action."""
    before = _calls(context, action)
    context.lab.wait_for(lambda: _calls(context, action) > before, f"a call of {action}")


def _calls(context: ScenarioContext, action: str) -> int:
    return context.lab.admin.calls().get(f"{_SERVICE}.{action}", 0)


def _expect_registered(path: ConnectionPath, text: str, targets: set[Endpoint]) -> None:
    # A rule may be closed although the API of the load balancer throttles.
    registered = path.observer.registered | path.observer.warm.keys()
    path.context.expect(text, registered == targets, ", ".join(map(str, sorted(registered))))


def _expect_reported(context: ScenarioContext, *, since: float) -> None:
    """Expect the failures in the records of the runs and in the metric."""

    def failures() -> int:
        return sum(record.failures for record in run_records(context.provider, since=since))

    def calls() -> float:
        return metric_sum(context.provider, "CallsFailed", since=since)

    # A run writes its record at its end, an iteration after the target is healthy.
    context.lab.wait_for(lambda: failures() and calls(), "a record and a metric of the failures")
    context.expect(
        "the records of the runs contain the failures", failures(), f"{failures()} in all"
    )
    context.expect("the metric CallsFailed counts them", calls(), f"{calls():g} in all")


SCENARIO = Scenario(
    name="throttled-api",
    shows="the stack follows a failover when the throttle of the API ends, and removes nothing",
    servers=2,
    run=_run,
)
