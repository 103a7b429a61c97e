"""Two failovers without events: found by the schedule alone, and by the default's DNS polls."""

from collections.abc import Mapping

from lab.aws import Database, create_database
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import Scenario, ScenarioContext, Writing
from lab.scenarios.outages import FollowedFailover, expect_prompt, follow, opening_needs

_POLL_SECONDS = 5
#: A real minute, because a run polls until the next run is due.
_TIMES: Mapping[str, float] = {"schedule_interval": 60.0}


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {"DatabaseEndpoint": database.endpoint}
    with context.path(parameters, targets=[rds.writer]) as path, path.writing() as writing:
        # Wait for a run of the schedule, so that the next one is as late as possible.
        context.lab.wait_for_queries(database.endpoint, 1)
        strategy = "lost event, schedule"
        followed = _fail_over(writing, rds, database, strategy, records=True)
        trigger = followed.record.trigger if followed.record else "none"
        context.expect(
            f"{strategy}: a run of the schedule opens the new address",
            trigger == "schedule",
            trigger,
        )
        rds.rebuild_standbys()
        context.deploy({**parameters, "DnsPollIntervalSeconds": str(_POLL_SECONDS)})
        path.expect_targets("right after the update", [rds.writer])
        # The second query shows that a run of the schedule polls.
        context.lab.wait_for_queries(database.endpoint, 2)
        # Without a schedule no other run can register the new address.
        with context.stack.schedule_switched_off():
            strategy = f"lost event, DNS poll each {_POLL_SECONDS} s"
            _fail_over(writing, rds, database, strategy, records=False)


def _fail_over(
    writing: Writing, rds: RdsControlPlane, database: Database, strategy: str, *, records: bool
) -> FollowedFailover:
    path, context = writing.path, writing.path.context
    context.progress.show(f"The primary dies, without an event ({strategy})")
    failover = rds.crash(emits_events=False)
    needs = opening_needs(context, failover, announced_at=failover.flipped_at)
    followed = follow(writing, strategy, failover, needs, records=records)
    expect_prompt(
        context,
        f"{strategy}: the new address is a target",
        database.endpoint,
        since=failover.flipped_at,
        until=followed.outage.registered_at,
    )
    path.expect_targets(f"{strategy}: the target group is the new address alone", [failover.new])
    writing.expect_no_stray_write(failover)
    return followed


SCENARIO = Scenario(
    name="lost-event",
    shows="without an event the schedule finds a failover, and DNS polls find it within seconds",
    servers=2,
    run=_run,
    times=_TIMES,
)
