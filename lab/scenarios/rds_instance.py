"""A Multi-AZ RDS instance: one parameter, one failover, and the dashboard."""

from lab.aws import create_database
from lab.dashboard import check_dashboard
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {"DatabaseEndpoint": database.endpoint}
    with context.path(parameters, targets=[rds.writer]) as path, path.writing() as writing:
        context.progress.show("The primary dies; RDS fails over")
        failover = rds.crash()
        path.expect_targets("the target group follows the failover", [failover.new])
        writing.wait_for_writes_by(context.servers.primary)
        writing.expect_no_stray_write(failover)
        check_dashboard(context, failover.new)


SCENARIO = Scenario(
    name="rds-instance",
    shows="one parameter deploys a connection path to a Multi-AZ instance; it follows a failover,"
    " and the dashboard shows it",
    servers=2,
    run=_run,
    with_sam=True,
)
