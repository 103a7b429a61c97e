"""An Aurora cluster of three: its writer followed, or its readers."""

from lab.aws import Cluster, create_cluster
from lab.cluster_control_plane import ClusterControlPlane, ClusterFailover
from lab.scenarios.base import ConnectionPath, Scenario, Stage
from lab.site import ADDRESSES


def control_plane_of(stage: Stage, cluster: Cluster) -> ClusterControlPlane:
    """Let RDS run a cluster on the stage's servers."""
    return ClusterControlPlane(
        cluster=cluster,
        servers=stage.servers,
        zone=stage.ground.zone,
        admin=stage.ground.admin,
        addresses=ADDRESSES,
    )


def _fail_over(path: ConnectionPath, control_plane: ClusterControlPlane) -> ClusterFailover:
    """A person asks for a failover to a reader; the old writer comes back as a reader."""
    stage = path.stage
    stage.progress.say("A failover is asked for by the RDS API; the old writer becomes a reader")
    rds = stage.provider.session().client("rds", endpoint_url=stage.ground.admin.url)
    rds.failover_db_cluster(DBClusterIdentifier="shop")
    stage.ground.wait_for(stage.ground.hook.asked, "RDS to be asked for the failover")
    failover = control_plane.fail_over(
        stage.servers.standbys[0], dns_lag=stage.ground.options.dns_lag, wait=stage.ground.pause
    )
    stage.expect(
        "the old writer is back, as a healthy reader",
        failover.demoted.is_ready() and failover.demoted.is_in_recovery(),
        ADDRESSES[failover.demoted.host],
    )
    return failover


def _follow_writer(stage: Stage) -> None:
    cluster = create_cluster(stage.provider, "shop", members=3)
    control_plane = control_plane_of(stage, cluster)
    parameters = {"DatabaseEndpoint": cluster.endpoint}
    with stage.path(parameters, right=[stage.writer]) as path, path.writing() as writing:
        failover = _fail_over(path, control_plane)
        path.expect_right("the target group is the new writer alone", [stage.writer])
        writing.wait_for_writes_by(stage.servers.primary)
        writing.expect_no_write_by(failover.demoted, since=failover.promoted_at)


def _follow_readers(stage: Stage) -> None:
    cluster = create_cluster(stage.provider, "shop", members=3)
    control_plane = control_plane_of(stage, cluster)
    parameters = {"DatabaseEndpoint": cluster.reader_endpoint}
    with stage.path(parameters, right=stage.targets[1:]) as path, path.reading() as reading:
        reading.expect_reads_by("both readers, and only they, answer", stage.servers.standbys)
        _fail_over(path, control_plane)
        path.expect_right("the target group is the new readers", stage.targets[1:])
        reading.expect_reads_by(
            "the new readers, the old writer among them, answer", stage.servers.standbys
        )


WRITER = Scenario(
    name="rds-cluster-writer",
    shows="one parameter deploys the road to an Aurora writer; the old writer stays, healthy",
    servers=3,
    play=_follow_writer,
)
READERS = Scenario(
    name="rds-cluster-readers",
    shows="one parameter deploys the road to all Aurora readers, whoever they are",
    servers=3,
    play=_follow_readers,
)
