"""A failover of an RDS instance without warm targets and, except for one, with AWS's times."""

from collections.abc import Mapping

from drill.results import format_seconds
from lab.aws import create_database
from lab.scenarios.base import Scenario, ScenarioContext
from lab.scenarios.outages import expect_prompt, follow, registering_needs

#: Others measured a registration of 90 to 180 s on AWS.
TIMES: Mapping[str, float] = {
    "registration_delay": 90.0,
    "health_check_interval": 5.0,
    "schedule_interval": 60.0,
    "dns_lag": 5.0,
}
#: The template's default.
EVENT_WATCH_DURATION_SECONDS = "300"


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": EVENT_WATCH_DURATION_SECONDS,
        "StandbyTargets": "none",
    }
    with (
        context.path(parameters, targets=[rds.writer]) as path,
        path.writing(reconnects=True) as writing,
    ):
        context.progress.show("The primary dies; RDS emits events and fails over")
        failover = rds.crash()
        lead = failover.flipped_at - min(failover.events.values())
        context.expect("an event comes before the name moves", lead > 0, format_seconds(lead))
        needs = registering_needs(context, failover, announced_at=failover.flipped_at)
        followed = follow(writing, "no warm targets", failover, needs)
        expect_prompt(
            context,
            "the new address is registered",
            database.endpoint,
            since=failover.flipped_at,
            until=followed.outage.registered_at,
        )
        event_id = followed.record.event_id if followed.record else None
        context.expect("the run of an event followed the failover", event_id, event_id or "none")
        path.expect_targets("the target group is the new address alone", [failover.new])
        writing.expect_no_stray_write(failover)


SCENARIO = Scenario(
    name="failover-watch",
    shows="an event triggers a watch, which polls the name and registers the new address",
    servers=2,
    run=_run,
    times=TIMES,
)
