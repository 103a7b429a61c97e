"""A failover while an API throttles all calls, then some, then none.

The one API registers targets, the other one opens and closes warm targets.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from drill.results import format_seconds
from lab.addresses import Endpoint
from lab.aws import create_database
from lab.emulator.messages import Fault
from lab.function_logs import metric_sum, run_records
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext
from lab.scenarios.outages import follow, opening_needs, registering_needs

#: More calls than the scenario makes.
_EVERY = 1_000_000
#: Longer than the throttle.
_WATCH_SECONDS = "120"
#: The most calls that add the new target after the throttle, from several runs at once.
_CALLS_ALLOWED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Api:
    """The calls of one API.

    Attributes:
        service: As in IAM.
        error: Its error code for too many calls.
        describe: Describes the targets or their rules.
        add: Lets a target get traffic.
        remove: Takes the traffic from a target.
        standby_targets: `StandbyTargets` of the stack.
        needs: What the failover needs.
    """

    service: str
    error: str
    describe: str
    add: str
    remove: str
    standby_targets: str
    needs: Callable[..., Mapping[str, float]]


_LOAD_BALANCING = _Api(
    service="elasticloadbalancing",
    error="ThrottlingException",
    describe="DescribeTargetHealth",
    add="RegisterTargets",
    remove="DeregisterTargets",
    standby_targets="none",
    needs=registering_needs,
)
_RULES = _Api(
    service="ec2",
    error="RequestLimitExceeded",
    describe="DescribeSecurityGroupRules",
    add="AuthorizeSecurityGroupEgress",
    remove="RevokeSecurityGroupEgress",
    standby_targets="warm",
    needs=opening_needs,
)


def _run(context: ScenarioContext, api: _Api) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": _WATCH_SECONDS,
        "StandbyTargets": api.standby_targets,
    }
    with context.path(parameters, targets=[rds.writer]) as path, path.writing() as writing:
        if api is _RULES:
            path.expect_warm("the standby is warm", [context.targets[1]])
        context.progress.show("The API throttles; the primary dies")
        throttle = _Throttle(path, api)
        for action in (api.describe, api.add, api.remove):
            throttle.begin(action, _EVERY)
        old = rds.writer
        failover = rds.crash()
        throttle.expect(api.describe, "nothing changes", {old})
        throttle.expect(api.add, "nothing changes", {old})
        released_at, calls_before = time.time(), throttle.calls(api.add)
        context.lab.wait_for(
            lambda: failover.new in path.observer.registered, f"{failover.new} to be a target"
        )
        calls = throttle.calls(api.add) - calls_before
        throttle.expect(api.remove, "nothing is removed", {old, failover.new})
        needs = api.needs(context, failover, announced_at=released_at)
        outage = follow(writing, f"throttled {api.service}", failover, needs).outage
        context.expect(
            f"the new address is a target by the first {_CALLS_ALLOWED} calls after the throttle",
            outage.registered_at is not None and calls <= _CALLS_ALLOWED,
            f"{calls}, {format_seconds((outage.registered_at or released_at) - released_at)}",
        )
        path.expect_targets("the stack follows the failover when the throttle ends", [failover.new])
        writing.expect_no_stray_write(failover)
        _expect_reported(context, since=failover.began_at)


@dataclass(frozen=True, slots=True)
class _Throttle:
    """Throttles the calls of an API."""

    path: ConnectionPath
    api: _Api

    def begin(self, action: str, times: int) -> None:
        """Throttle the next calls of an action; 0 ends it."""
        self.path.context.lab.admin.inject(
            Fault(service=self.api.service, action=action, error=self.api.error, times=times)
        )

    def expect(self, action: str, text: str, targets: set[Endpoint]) -> None:
        """Wait for a throttled call, expect these targets, and end the throttle of the action."""
        context, before = self.path.context, self.calls(action)
        context.lab.wait_for(lambda: self.calls(action) > before, f"a call of {action}")
        found = self.path.observer.registered
        if self.api is _LOAD_BALANCING:
            # The rule is closed before the API throttles the deregistration.
            found |= self.path.observer.warm.keys()
        context.expect(
            f"while {action} is throttled {text}",
            found == targets,
            ", ".join(map(str, sorted(found))),
        )
        self.begin(action, 0)

    def calls(self, action: str) -> int:
        """Return the number of calls of an action."""
        return self.path.context.lab.admin.calls().get(f"{self.api.service}.{action}", 0)


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
    run=partial(_run, api=_LOAD_BALANCING),
)
RULES = Scenario(
    name="throttled-rules",
    shows="the same with warm targets, while the API of the outbound rules throttles",
    servers=2,
    run=partial(_run, api=_RULES),
)
