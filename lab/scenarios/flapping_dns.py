"""A name that alternates between two addresses, without a failover and after one."""

import itertools
import time

from lab.addresses import Endpoint
from lab.aws import Database, create_database
from lab.scenarios.base import ConnectionPath, Scenario, Stage
from lab.scenarios.outages import ALLOWED
from lab.timeline import format_seconds

#: So many answers: twice the confirm window and more.
_ANSWERS = 10
#: Longer than from look to look: what comes and goes between two of them is no evidence at all.
_ANSWER_SECONDS = 1.5
#: Outlives them.
_WATCH_SECONDS = "60"


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": _WATCH_SECONDS,
    }
    right, other = stage.targets
    with stage.path(parameters, right=[right]) as path, path.writing() as writing:
        stage.progress.say("The name alternates between the primary and its standby")
        began_at = time.time()
        rds.tell_of_failover()
        _flap(path, database, right=right, other=other)
        gap = writing.writer.gap(began_at).seconds
        stage.expect("writes go on all the time", gap <= ALLOWED, format_seconds(gap))
        stage.progress.say("The primary dies; then the name alternates between both")
        demoted = stage.servers.primary
        demoted.kill()
        failover = rds.fail_over(dns_lag=0.0, prefixed=True, wait=stage.ground.pause)
        stage.ground.wait_for(
            lambda: failover.new in path.observer.registered, f"{failover.new} to be registered"
        )
        _flap(path, database, right=failover.new, other=failover.old)
        writing.wait_for_writes_by(stage.servers.primary)
        writing.expect_no_write_by(demoted, since=failover.promoted_at)


def _flap(path: ConnectionPath, database: Database, *, right: Endpoint, other: Endpoint) -> None:
    """Let the name alternate, then settle on the address that is right all the time."""
    stage, began_at = path.stage, time.time()
    for answer in itertools.islice(itertools.cycle((other, right)), _ANSWERS):
        stage.ground.zone.set_address(database.endpoint, [str(answer.address)])
        stage.ground.pause(_ANSWER_SECONDS)
        stage.ground.wait_for_queries(database.endpoint, 1)
    stage.ground.zone.set_address(database.endpoint, [str(right.address)])
    settled_at = time.time()
    path.expect_right("the end is exact", [right])
    left_at = path.observer.first(right, "draining", None, since=began_at)
    stage.expect(f"{right} is registered all the time", left_at is None)
    removed_at = path.observer.first(other, "draining", None, since=began_at)
    stage.expect(
        f"{other} is removed only once the name has settled",
        removed_at is None or removed_at > settled_at,
        "never registered" if removed_at is None else format_seconds(removed_at - settled_at),
    )


SCENARIO = Scenario(
    name="flapping-dns",
    shows="a name alternates between two addresses and back: nothing right is removed",
    servers=2,
    play=_play,
)
