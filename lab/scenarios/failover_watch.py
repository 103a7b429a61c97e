"""A failover of an RDS instance with the stack's default settings and, but for one, AWS's times."""

from collections.abc import Mapping

from lab.aws import create_database
from lab.scenarios.base import Scenario, Stage
from lab.scenarios.outages import expect_no_longer_than_needed, follow, registering_needs
from lab.timeline import format_seconds

#: The registration takes 90 to 180 s on AWS, as others saw it.
TIMES: Mapping[str, float] = {
    "registration_delay": 90.0,
    "health_check_interval": 5.0,
    "schedule_interval": 60.0,
    "dns_lag": 5.0,
}
#: The template's default.
EVENT_WATCH_DURATION_SECONDS = "300"


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": EVENT_WATCH_DURATION_SECONDS,
    }
    with (
        stage.path(parameters, right=[rds.writer]) as path,
        path.writing(reconnects=True) as writing,
    ):
        stage.progress.say("The primary dies; RDS tells, promotes the standby and moves the name")
        demoted = stage.servers.primary
        demoted.kill()
        failover = rds.fail_over(
            dns_lag=stage.ground.options.dns_lag, prefixed=True, wait=stage.ground.pause
        )
        lead = failover.flipped_at - min(failover.events.values())
        stage.expect("an event comes before the name moves", lead > 0, format_seconds(lead))
        needs = registering_needs(stage, failover, told_at=failover.flipped_at)
        followed = follow(writing, "watch (default)", failover, needs)
        expect_no_longer_than_needed(stage, followed.outage)
        event_id = followed.record.event_id if followed.record else None
        stage.expect("it was an event's run that followed", event_id, event_id or "none")
        path.expect_right("the target group is the new address alone", [failover.new])
        writing.expect_no_write_by(demoted, since=failover.promoted_at)


SCENARIO = Scenario(
    name="failover-watch",
    shows="an event sets off a watch, which follows the name; the new address is registered",
    servers=2,
    play=_play,
    times=TIMES,
)
