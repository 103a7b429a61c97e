"""A Multi-AZ RDS instance: one parameter, one failover, and a look at the dashboard."""

from lab.aws import create_database
from lab.dashboard import check_dashboard
from lab.scenarios.base import Scenario, Stage


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {"DatabaseEndpoint": database.endpoint}
    with stage.path(parameters, right=[rds.writer]) as path, path.writing() as writing:
        stage.progress.say("The primary dies; RDS fails over")
        demoted = stage.servers.primary
        demoted.kill()
        failover = rds.fail_over(
            dns_lag=stage.ground.options.dns_lag, prefixed=True, wait=stage.ground.pause
        )
        path.expect_right("the target group follows the failover", [failover.new])
        writing.wait_for_writes_by(stage.servers.primary)
        writing.expect_no_write_by(demoted, since=failover.promoted_at)
        check_dashboard(stage, failover.new)


SCENARIO = Scenario(
    name="rds-instance",
    shows="one parameter deploys the road to a Multi-AZ instance; it follows a failover, and the"
    " dashboard shows it",
    servers=2,
    play=_play,
)
