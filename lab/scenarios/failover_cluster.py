"""Two failovers of a cluster's writer: first the RDS API leads, then the name."""

import time
from ipaddress import IPv4Address

from lab.aws import create_cluster
from lab.cluster_control_plane import ClusterControlPlane, ClusterFailover
from lab.reader import Reader, StayingClient
from lab.scenarios.base import Scenario, Stage, Writing
from lab.scenarios.outages import (
    ALLOWED,
    expect_no_longer_than_needed,
    follow,
    registering_needs,
)
from lab.scenarios.rds_cluster import control_plane_of
from lab.timeline import format_seconds

#: Seconds from the old writer's return until one source names the new writer, and the other.
_FIRST, _LAST = 1.0, 5.0
#: After so long the name alone decides (target_sync.model, SyncPolicy.confirm_seconds).
_CONFIRM_WINDOW = 6.0


def _play(stage: Stage) -> None:
    cluster = create_cluster(stage.provider, "shop", members=3)
    rds = control_plane_of(stage, cluster)
    parameters = {"DatabaseEndpoint": cluster.endpoint, "EventWatchDurationSeconds": "60"}
    with (
        stage.path(parameters, right=[stage.writer]) as path,
        path.writing(reconnects=True) as writing,
        Reader(path.connect) as reader,
    ):
        _fail_over(writing, reader, rds, "the RDS API leads", api_lag=_FIRST, dns_lag=_LAST)
        _fail_over(writing, reader, rds, "the name leads", api_lag=_LAST, dns_lag=_FIRST)


def _fail_over(
    writing: Writing,
    reader: Reader,
    rds: ClusterControlPlane,
    case: str,
    *,
    api_lag: float,
    dns_lag: float,
) -> None:
    path, stage = writing.path, writing.path.stage
    stage.progress.say(f"A reader is promoted, the old writer is back as a reader; {case}")
    with StayingClient(path.connect, IPv4Address(stage.servers.primary.host)) as client:
        failover = rds.fail_over(
            stage.servers.standbys[-1], api_lag=api_lag, dns_lag=dns_lag, wait=stage.ground.pause
        )
        told_at = min(failover.told_at, failover.flipped_at)
        needs = registering_needs(stage, failover, told_at=told_at)
        followed = follow(writing, f"cluster, {case}", failover, needs)
        expect_no_longer_than_needed(stage, followed.outage)
        path.expect_right(f"{case}: the target group is the new writer alone", [failover.new])
        stage.expect(
            f"{case}: the old writer is back, as a healthy reader",
            failover.demoted.is_ready() and failover.demoted.is_in_recovery(),
            failover.old,
        )
        stage.expect(
            f"{case}: a client that had connected to it meanwhile was cut",
            client.is_connected and client.is_cut(),
            f"{path.stage.ground.flows_cut(failover.old, since=failover.returned_at)} flows cut",
        )
    _expect_landings(stage, reader, failover, case)
    writing.expect_no_write_by(failover.demoted, since=failover.promoted_at)


def _expect_landings(stage: Stage, reader: Reader, failover: ClusterFailover, case: str) -> None:
    """New connections may reach the old writer until both sources agree, or the name alone."""
    old = IPv4Address(failover.demoted.host)
    landed = [read.at for read in reader.since(failover.promoted_at) if read.server == old]
    last = max(landed, default=failover.promoted_at)
    agreed_at = max(failover.told_at, failover.flipped_at)
    certain_at = min(agreed_at, failover.flipped_at + _CONFIRM_WINDOW)
    stage.expect(
        f"{case}: no new connection lands on the old writer {ALLOWED:g} s after that is certain",
        last <= certain_at + ALLOWED,
        f"{len(landed)} did, the last {format_seconds(last - failover.promoted_at)} after the"
        f" promotion; certain after {format_seconds(certain_at - failover.promoted_at)};"
        f" looked until {format_seconds(time.time() - failover.promoted_at)}",
    )


SCENARIO = Scenario(
    name="failover-cluster",
    shows="API and DNS tell of a cluster's new writer at different moments; the old one must go",
    servers=3,
    play=_play,
)
