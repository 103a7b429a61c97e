"""Two failovers of a cluster's writer: the RDS API changes first, then the name changes first.

The other members are not registered in the one scenario, and warm in the other one, which has AWS's
times.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from drill.results import format_seconds
from lab.aws import create_cluster
from lab.cluster_control_plane import ClusterControlPlane, ClusterFailover
from lab.reader import PersistentClient, Reader
from lab.scenarios import failover_watch
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext, Writing
from lab.scenarios.outages import (
    ATTEMPTS_ALLOWED,
    expect_prompt,
    follow,
    opening_needs,
    registering_needs,
)
from lab.scenarios.rds_cluster import control_plane_of

#: Seconds from the old writer's return until the first and the second source name the new writer.
_FIRST, _LAST = 1.0, 5.0
#: After this many seconds the name alone decides (target_sync.model, SyncPolicy.confirm_seconds).
_CONFIRM_WINDOW = 6.0


def _run(context: ScenarioContext) -> None:
    _fail_over_twice(context, {"EventWatchDurationSeconds": "60", "StandbyTargets": "none"})


def _run_warm(context: ScenarioContext) -> None:
    _fail_over_twice(
        context,
        {
            "EventWatchDurationSeconds": failover_watch.EVENT_WATCH_DURATION_SECONDS,
            "StandbyTargets": "warm",
        },
    )


def _fail_over_twice(context: ScenarioContext, given: Mapping[str, str]) -> None:
    cluster = create_cluster(context.provider, "shop", members=3)
    rds = control_plane_of(context, cluster)
    parameters = {"DatabaseEndpoint": cluster.endpoint, **given}
    is_warm = given["StandbyTargets"] == "warm"
    with (
        context.path(parameters, targets=[context.writer]) as path,
        path.writing(reconnects=True) as writing,
        Reader(path.connect) as reader,
    ):
        if is_warm:
            _expect_others_warm(path, "the other members are warm")
        for case, api_lag, dns_lag in (
            ("the API changes first", _FIRST, _LAST),
            ("the name changes first", _LAST, _FIRST),
        ):
            context.progress.show(f"A reader is promoted, the old writer is a reader; {case}")
            failover = _fail_over(
                writing,
                rds,
                case=case,
                lags=(api_lag, dns_lag),
                needs=opening_needs if is_warm else registering_needs,
            )
            _expect_removal(writing, reader, failover, case, cluster.endpoint)
            writing.expect_no_stray_write(failover)
            if is_warm:
                _expect_others_warm(path, f"{case}: the old writer is warm instead")


def _expect_others_warm(path: ConnectionPath, text: str) -> None:
    path.expect_warm(text, [t for t in path.context.targets if t != path.context.writer])


def _fail_over(
    writing: Writing,
    rds: ClusterControlPlane,
    *,
    case: str,
    lags: tuple[float, float],
    needs: Callable[..., Mapping[str, float]],
) -> ClusterFailover:
    path, context = writing.path, writing.path.context
    with PersistentClient(path.connect, IPv4Address(context.servers.primary.host)) as client:
        api_lag, dns_lag = lags
        failover = rds.fail_over(context.servers.standbys[-1], api_lag=api_lag, dns_lag=dns_lag)
        announced_at = min(failover.announced_at, failover.flipped_at)
        needed = needs(context, failover, announced_at=announced_at)
        strategy = f"{'warm ' if needs is opening_needs else ''}cluster, {case}"
        outage = follow(writing, strategy, failover, needed).outage
        expect_prompt(
            context,
            f"{case}: the new writer is a target",
            rds.cluster.endpoint,
            since=announced_at,
            until=outage.registered_at,
        )
        path.expect_targets(f"{case}: the target group is the new writer alone", [failover.new])
        context.expect(
            f"{case}: the old writer is back, as a healthy reader",
            failover.demoted.is_ready() and failover.demoted.is_in_recovery(),
            failover.old,
        )
        # A closed rule does not cut it: the target becomes unhealthy two health checks later.
        context.lab.wait_for(
            lambda: client.is_connected and client.is_cut(), "a client of the old writer to be cut"
        )
        cuts = context.lab.flow_cuts(failover.old, since=failover.returned_at)
        context.expect(
            f"{case}: the connection of a client to the old writer was cut",
            cuts,
            f"{len(cuts)} flows, {format_seconds(cuts[-1] - failover.flipped_at)} after the name"
            " moved"
            if cuts
            else "none",
        )
    return failover


def _expect_removal(
    writing: Writing, reader: Reader, failover: ClusterFailover, case: str, name: str
) -> None:
    """Expect the removal of the old writer once both sources agree, or the name is confirmed."""
    path, context = writing.path, writing.path.context
    agreed_at = max(failover.announced_at, failover.flipped_at)
    certain_at = min(agreed_at, failover.flipped_at + _CONFIRM_WINDOW)
    removed_at = path.observer.first(failover.old, "draining", None, since=failover.began_at)
    expect_prompt(
        context, f"{case}: the old writer is removed", name, since=certain_at, until=removed_at
    )
    old = IPv4Address(failover.demoted.host)
    late = [read for read in reader.since(removed_at or 0.0) if read.server == old]
    context.expect(
        f"{case}: at most {ATTEMPTS_ALLOWED} new connections reach the old writer after that",
        len(late) <= ATTEMPTS_ALLOWED,
        f"{len(late)} did",
    )


SCENARIO = Scenario(
    name="failover-cluster",
    shows="the API and DNS name a cluster's new writer at different times; the stack removes the"
    " old one",
    servers=3,
    run=_run,
)
WARM = Scenario(
    name="failover-warm-cluster",
    shows="every member is a warm target: a failover opens the new writer and closes the old one,"
    " which is alive",
    servers=3,
    run=_run_warm,
    times=failover_watch.TIMES,
)
