"""An Aurora cluster of three: a stack for its writer, or for its readers."""

from lab.aws import Cluster, create_cluster
from lab.cluster_control_plane import ClusterControlPlane, ClusterFailover
from lab.environment import ADDRESSES
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext


def control_plane_of(context: ScenarioContext, cluster: Cluster) -> ClusterControlPlane:
    """Return an RDS that runs a cluster on the scenario's servers."""
    return ClusterControlPlane(
        cluster=cluster,
        servers=context.servers,
        zone=context.lab.zone,
        admin=context.lab.admin,
        addresses=ADDRESSES,
        wait=context.lab.pause,
    )


def _fail_over(path: ConnectionPath, control_plane: ClusterControlPlane) -> ClusterFailover:
    """Request a failover to a reader; the old writer returns as a reader."""
    context = path.context
    context.progress.show("A failover through the RDS API; the old writer becomes a reader")
    rds = context.provider.client("rds")
    rds.failover_db_cluster(DBClusterIdentifier="shop")
    context.lab.wait_for(context.lab.hook.next_request, "RDS to receive the request")
    failover = control_plane.fail_over(
        context.servers.standbys[0], dns_lag=context.lab.options.dns_lag
    )
    context.expect(
        "the old writer is back, as a healthy reader",
        failover.demoted.is_ready() and failover.demoted.is_in_recovery(),
        ADDRESSES[failover.demoted.host],
    )
    return failover


def _follow_writer(context: ScenarioContext) -> None:
    cluster = create_cluster(context.provider, "shop", members=3)
    control_plane = control_plane_of(context, cluster)
    parameters = {"DatabaseEndpoint": cluster.endpoint}
    with context.path(parameters, targets=[context.writer]) as path, path.writing() as writing:
        failover = _fail_over(path, control_plane)
        path.expect_targets("the target group is the new writer alone", [context.writer])
        writing.wait_for_writes_by(context.servers.primary)
        writing.expect_no_stray_write(failover)


def _follow_readers(context: ScenarioContext) -> None:
    cluster = create_cluster(context.provider, "shop", members=3)
    control_plane = control_plane_of(context, cluster)
    parameters = {"DatabaseEndpoint": cluster.reader_endpoint}
    with context.path(parameters, targets=context.targets[1:]) as path, path.reading() as reading:
        reading.expect_reads_by("exactly the two readers reply", context.servers.standbys)
        _fail_over(path, control_plane)
        path.expect_targets("the target group is the new readers", context.targets[1:])
        reading.expect_reads_by(
            "the new readers reply, among them the old writer", context.servers.standbys
        )


WRITER = Scenario(
    name="rds-cluster-writer",
    shows="one parameter deploys a connection path to an Aurora writer; the old one stays healthy",
    servers=3,
    run=_follow_writer,
)
READERS = Scenario(
    name="rds-cluster-readers",
    shows="one parameter deploys a connection path to all Aurora readers",
    servers=3,
    run=_follow_readers,
)
