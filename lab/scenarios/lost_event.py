"""Two failovers of which no event tells: by the schedule alone, and with vigilance."""

from collections.abc import Mapping

from lab.aws import create_database
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import Scenario, Stage, Writing
from lab.scenarios.outages import ALLOWED, follow, registering_needs
from lab.timeline import format_seconds

_POLL_SECONDS = 5
#: The schedule's minute is real: the loop that polls until the next run knows it.
_TIMES: Mapping[str, float] = {"schedule_interval": 60.0}


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {"DatabaseEndpoint": database.endpoint}
    with stage.path(parameters, right=[rds.writer]) as path, path.writing() as writing:
        # Right after a look of the schedule: then the next one is as far as can be.
        stage.ground.wait_for_queries(database.endpoint, 1)
        interval = stage.ground.options.schedule_interval
        _fail_over(writing, rds, "lost event, schedule", at_most=interval)
        rds.rebuild_standbys()
        stage.deploy({**parameters, "DnsPollIntervalSeconds": str(_POLL_SECONDS)})
        path.expect_right("right after the update", [rds.writer])
        # A second query shows that the run of the schedule keeps its vigil.
        stage.ground.wait_for_queries(database.endpoint, 2)
        _fail_over(writing, rds, f"lost event, vigilance {_POLL_SECONDS} s", at_most=_POLL_SECONDS)


def _fail_over(writing: Writing, rds: RdsControlPlane, strategy: str, *, at_most: float) -> None:
    path, stage = writing.path, writing.path.stage
    stage.progress.say(f"The primary dies, and no event tells ({strategy})")
    demoted = stage.servers.primary
    demoted.kill()
    failover = rds.fail_over(
        dns_lag=stage.ground.options.dns_lag,
        prefixed=True,
        wait=stage.ground.pause,
        tells=False,
    )
    needs = registering_needs(stage, failover, told_at=failover.flipped_at)
    outage = follow(writing, strategy, failover, needs, records=False).outage
    noticed = (outage.registered_at or failover.flipped_at) - failover.flipped_at
    stage.expect(
        f"{strategy}: the new address is registered within {at_most + ALLOWED:g} s",
        outage.registered_at is not None and noticed <= at_most + ALLOWED,
        f"{format_seconds(noticed)} after the name moved",
    )
    path.expect_right(f"{strategy}: the target group is the new address alone", [failover.new])
    writing.expect_no_write_by(demoted, since=failover.promoted_at)


SCENARIO = Scenario(
    name="lost-event",
    shows="no event tells of a failover: the schedule notices, with vigilance within seconds",
    servers=2,
    play=_play,
    times=_TIMES,
)
