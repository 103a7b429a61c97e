"""A failover while the load balancer's API throttles every call, then some, then none."""

import time

from lab.addresses import Endpoint
from lab.aws import create_database
from lab.emulator.messages import Fault
from lab.records import metric_sum, sync_records
from lab.scenarios.base import ConnectionPath, Scenario, Stage
from lab.scenarios.outages import ALLOWED, follow, registering_needs
from lab.timeline import format_seconds

_SERVICE = "elasticloadbalancing"
_DESCRIBE, _REGISTER, _DEREGISTER = "DescribeTargetHealth", "RegisterTargets", "DeregisterTargets"
#: More calls than are made.
_EVERY = 1_000_000
#: Outlives the throttle.
_WATCH_SECONDS = "120"
#: The longest pause after failures in a row (target_sync.reconcile.loop), and the pauses before
#: the client's own two retries.
_PAUSES = 4.0 + 1.0 + 2.0


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": _WATCH_SECONDS,
    }
    with stage.path(parameters, right=[rds.writer]) as path, path.writing() as writing:
        stage.progress.say("The API throttles; the primary dies")
        for action in (_DESCRIBE, _REGISTER, _DEREGISTER):
            _throttle(stage, action, _EVERY)
        demoted, old = stage.servers.primary, rds.writer
        demoted.kill()
        failover = rds.fail_over(
            dns_lag=stage.ground.options.dns_lag, prefixed=True, wait=stage.ground.pause
        )
        _wait_for_call(stage, _DESCRIBE)
        _expect_registered(path, "while DescribeTargetHealth is throttled nothing changes", {old})
        _throttle(stage, _DESCRIBE, 0)
        _wait_for_call(stage, _REGISTER)
        _expect_registered(path, "while RegisterTargets is throttled nothing changes", {old})
        _throttle(stage, _REGISTER, 0)
        released_at = time.time()
        _wait_for_call(stage, _DEREGISTER)
        _expect_registered(
            path, "while DeregisterTargets is throttled nothing is removed", {old, failover.new}
        )
        _throttle(stage, _DEREGISTER, 0)
        needs = registering_needs(stage, failover, told_at=released_at)
        outage = follow(writing, "throttled API", failover, needs).outage
        late = (outage.registered_at or released_at) - released_at
        stage.expect(
            f"the new address is registered within {_PAUSES + ALLOWED:g} s of the throttle's end",
            late <= _PAUSES + ALLOWED,
            format_seconds(late),
        )
        path.expect_right("the failover is followed when the throttle ends", [failover.new])
        writing.expect_no_write_by(demoted, since=failover.promoted_at)
        _expect_told(stage, since=failover.began_at)


def _throttle(stage: Stage, action: str, times: int) -> None:
    stage.ground.admin.inject(
        Fault(service=_SERVICE, action=action, error="ThrottlingException", times=times)
    )


def _wait_for_call(stage: Stage, action: str) -> None:
    """Wait until the function has called an action from now on, and was throttled."""
    name = f"{_SERVICE}.{action}"
    before = stage.ground.admin.calls().get(name, 0)
    stage.ground.wait_for(
        lambda: stage.ground.admin.calls().get(name, 0) > before, f"a call of {action}"
    )


def _expect_registered(path: ConnectionPath, text: str, targets: set[Endpoint]) -> None:
    registered = path.stage.registered_in(path.outputs["TargetGroupArn"])
    path.stage.expect(text, registered == targets, ", ".join(map(str, sorted(registered))))


def _expect_told(stage: Stage, *, since: float) -> None:
    """The records and the metric tell of the failures, also those that a run outlived."""

    def failures() -> int:
        return sum(record.failures for record in sync_records(stage.provider, since=since))

    def calls() -> float:
        return metric_sum(stage.provider, "CallsFailed", since=since)

    # The run that outlived them writes its record when it ends, a look after all is healthy.
    stage.ground.wait_for(lambda: failures() and calls(), "a record and a metric of the failures")
    stage.expect("the records of the runs tell of the failures", failures(), f"{failures()} in all")
    stage.expect("so does the metric CallsFailed", calls(), f"{calls():g} in all")


SCENARIO = Scenario(
    name="throttled-api",
    shows="a failover is followed when the throttle of the API ends; nothing is removed meanwhile",
    servers=2,
    play=_play,
)
