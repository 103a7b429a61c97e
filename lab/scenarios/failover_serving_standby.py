"""Two failovers of an RDS instance whose former address stays registered."""

from lab.aws import create_database
from lab.rds_control_plane import Failover, RdsControlPlane
from lab.scenarios import failover_watch
from lab.scenarios.base import ConnectionPath, Scenario, Stage, Writing
from lab.scenarios.outages import (
    expect_no_longer_than_needed,
    follow,
    registering_needs,
    standby_needs,
)


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": failover_watch.EVENT_WATCH_DURATION_SECONDS,
        "StandbyTargets": "serving",
    }
    with (
        stage.path(parameters, right=[rds.writer]) as path,
        path.writing(reconnects=True) as writing,
    ):
        stage.progress.say("The primary dies; the first failover has to register the new address")
        first = _fail_over(writing, rds)
        needs = registering_needs(stage, first, told_at=first.flipped_at)
        followed = follow(writing, "warm standby, 1st failover", first, needs)
        expect_no_longer_than_needed(stage, followed.outage)
        _expect_kept(path, "the former address stays registered", first)
        stage.progress.say("RDS builds a new standby; its port is closed")
        rds.rebuild_standbys()
        stage.ground.pause(2 * stage.ground.options.health_check_interval)
        _expect_kept(path, "the load balancer holds the standby unhealthy", first)
        stage.progress.say("The primary dies; the failover goes back to the kept address")
        second = _fail_over(writing, rds)
        followed = follow(
            writing, "warm standby, 2nd failover", second, standby_needs(stage, second)
        )
        expect_no_longer_than_needed(stage, followed.outage)
        stage.expect(
            "nothing had to be registered",
            followed.outage.registered_at is None,
            f"{second.new} was in the group already",
        )
        _expect_kept(path, "the former address stays registered again", second)


def _fail_over(writing: Writing, rds: RdsControlPlane) -> Failover:
    stage = writing.path.stage
    demoted = stage.servers.primary
    demoted.kill()
    failover = rds.fail_over(
        dns_lag=stage.ground.options.dns_lag, prefixed=True, wait=stage.ground.pause
    )
    writing.expect_no_write_by(demoted, since=failover.promoted_at)
    return failover


def _expect_kept(path: ConnectionPath, text: str, failover: Failover) -> None:
    path.expect_right(text, [failover.new], standby=[failover.old])


SCENARIO = Scenario(
    name="failover-serving-standby",
    shows="a kept address needs no registration: two health checks after its promotion it serves",
    servers=2,
    play=_play,
    times=failover_watch.TIMES,
)
