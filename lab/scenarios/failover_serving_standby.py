"""Two failovers of an RDS instance whose former address stays registered."""

from lab.aws import create_database
from lab.rds_control_plane import Failover, RdsControlPlane
from lab.scenarios import failover_watch
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext, Writing
from lab.scenarios.outages import expect_prompt, follow, registering_needs, standby_needs


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": failover_watch.EVENT_WATCH_DURATION_SECONDS,
        "StandbyTargets": "serving",
    }
    with (
        context.path(parameters, targets=[rds.writer]) as path,
        path.writing(reconnects=True) as writing,
    ):
        context.progress.show("The primary dies; the stack has to register the new address")
        first = _fail_over(writing, rds)
        needs = registering_needs(context, first, announced_at=first.flipped_at)
        outage = follow(writing, "serving standby, 1st failover", first, needs).outage
        expect_prompt(
            context,
            "1st failover: the new address is registered",
            database.endpoint,
            since=first.flipped_at,
            until=outage.registered_at,
        )
        _expect_both(path, "the former address stays registered", first)
        context.progress.show("RDS builds a new standby; its port is closed")
        rds.rebuild_standbys()
        context.lab.pause(2 * context.lab.options.health_check_interval)
        _expect_both(path, "the standby stays unhealthy", first)
        context.progress.show("The primary dies; the database moves to the registered standby")
        second = _fail_over(writing, rds)
        needs = standby_needs(context, second)
        outage = follow(writing, "serving standby, 2nd failover", second, needs).outage
        context.expect(
            "the stack registers nothing in the 2nd failover",
            outage.registered_at is None,
            f"{second.new} was registered before",
        )
        _expect_both(path, "the former address stays registered again", second)


def _fail_over(writing: Writing, rds: RdsControlPlane) -> Failover:
    failover = rds.crash()
    writing.expect_no_stray_write(failover)
    return failover


def _expect_both(path: ConnectionPath, text: str, failover: Failover) -> None:
    path.expect_targets(text, [failover.new], standby=[failover.old])


SCENARIO = Scenario(
    name="failover-serving-standby",
    shows="a serving standby needs no registration: it is healthy two health checks after its"
    " promotion",
    servers=2,
    run=_run,
    times=failover_watch.TIMES,
)
