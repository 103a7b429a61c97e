"""A name that alternates between two addresses, without a failover and after one."""

import itertools
import time
from collections.abc import Sequence

from drill.results import format_seconds
from lab.addresses import Endpoint
from lab.aws import Database, create_database
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext

#: The number of answers. Together they last more than twice the confirm window.
_ANSWERS = 10
#: Longer than an iteration, so that at least one DNS poll sees each answer.
_ANSWER_SECONDS = 1.5
#: Longer than all answers together.
_WATCH_SECONDS = "60"
#: The confirm window (target_sync.model, SyncPolicy.confirm_seconds). A busy machine can make one
#: answer last longer; the removal is then right.
_CONFIRM_SECONDS = 6.0


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "EventWatchDurationSeconds": _WATCH_SECONDS,
    }
    first, second = context.targets
    with context.path(parameters, targets=[first]) as path, path.writing() as writing:
        context.progress.show("The name alternates between the primary and its standby")
        began_at = time.time()
        rds.emit_failover_event()
        _alternate(path, database, current=first, other=second, since=began_at)
        failed = [failure for failure in writing.writer.failures if failure.at > began_at]
        gap = writing.writer.gap(began_at).seconds
        context.expect(
            "no write fails",
            not failed,
            f"{len(failed)} failed; longest pause {format_seconds(gap)}",
        )
        context.progress.show("The primary dies; then the name alternates between both")
        failover = rds.crash(dns_lag=0.0)
        context.lab.wait_for(
            lambda: failover.new in path.observer.registered, f"{failover.new} to be registered"
        )
        _alternate(
            path, database, current=failover.new, other=failover.old, since=failover.flipped_at
        )
        writing.wait_for_writes_by(context.servers.primary)
        writing.expect_no_stray_write(failover)


def _alternate(
    path: ConnectionPath, database: Database, *, current: Endpoint, other: Endpoint, since: float
) -> None:
    """Alternate the name between two addresses, and end with the current primary's.

    The name has led to the current primary since the given time.
    """
    context, began_at = path.context, time.time()
    answers = [(current, since)]
    for target in itertools.islice(itertools.cycle((other, current)), _ANSWERS):
        answers.append((target, time.time()))
        context.lab.zone.set_address(database.endpoint, [str(target.address)])
        context.lab.pause(_ANSWER_SECONDS)
        context.lab.wait_for_queries(database.endpoint, 1)
    path.expect_targets("at the end the group is the primary alone", [current])
    left_at = path.observer.first(current, "draining", None, since=began_at)
    context.expect(f"{current} is registered all the time", left_at is None)
    removed_at = path.observer.first(other, "draining", None, since=began_at)
    stable_at = _stable_at(answers)
    observed = "never registered" if removed_at is None else format_seconds(removed_at - stable_at)
    context.expect(
        f"{other} is removed only after the name was stable for {_CONFIRM_SECONDS:.0f} s",
        removed_at is None or removed_at > stable_at,
        observed,
    )


def _stable_at(answers: Sequence[tuple[Endpoint, float]]) -> float:
    """Return when the name had led to the current primary, the last answer, for a confirm window.

    Args:
        answers: The targets in the order of the answers, with the time of each change.
    """
    current, last_began_at = answers[-1]
    return next(
        (
            began_at + _CONFIRM_SECONDS
            for (target, began_at), (_, ended_at) in itertools.pairwise(answers)
            if target == current and ended_at - began_at > _CONFIRM_SECONDS
        ),
        last_began_at + _CONFIRM_SECONDS,
    )


SCENARIO = Scenario(
    name="flapping-dns",
    shows="a name alternates between two addresses; the stack never removes the primary",
    servers=2,
    run=_run,
)
