"""RDS clusters (Aurora and Multi-AZ DB clusters): endpoints, members and the writer.

Source: RDS API reference (CreateDBCluster, FailoverDBCluster, CreateDBClusterEndpoint) and the
Aurora user guide, "Aurora endpoint connections", for the form of the endpoints.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, new_uuid
from ministack.services import rds as service

from lab.emulator.errors import ApiError, Handler, after_success, rendering_errors
from lab.emulator.messages import ClusterStatus
from lab.emulator.rds import endpoint_name, error, request_failover
from lab.emulator.scope import Scope, find_anywhere
from lab.emulator.wire import element, elements

_custom_endpoints = AccountRegionScopedDict()


def install(*, failover_hook: str | None) -> None:
    """Change ministack's clusters to those of AWS.

    Args:
        failover_hook: A URL that gets `{"db_cluster_identifier": …,
            "target_db_instance_identifier": …}` for a failover. None: the writer
            changes at once.
    """
    # Endpoints never change; ministack would set the address of a container.
    service._sync_cluster_endpoints = lambda _cluster: None
    service.reset = _resetting(service.reset)
    actions = service._ACTION_MAP
    actions["CreateDBCluster"] = after_success(actions["CreateDBCluster"], _created)
    if failover_hook is not None:
        actions["FailoverDBCluster"] = _failing_over(actions["FailoverDBCluster"], failover_hook)
    for name, handler in (
        ("CreateDBClusterEndpoint", _create_endpoint),
        ("DescribeDBClusterEndpoints", _describe_endpoint),
    ):
        actions[name] = rendering_errors(handler, error)


def set_status(new: ClusterStatus) -> None:
    """Set the status in DescribeDBClusters.

    Raises:
        ApiError: `DBClusterNotFoundFault`; `DBInstanceNotFound` for a writer that is no member.
    """
    found = find_anywhere(service._clusters, new.identifier)
    if found is None:
        raise _not_found(new.identifier)
    _, cluster = found
    if new.writer is not None:
        members = cluster["DBClusterMembers"]
        if new.writer not in [m["DBInstanceIdentifier"] for m in members]:
            raise ApiError("DBInstanceNotFound", f"{new.writer} is no member of the cluster.")
        for member in members:
            member["IsClusterWriter"] = member["DBInstanceIdentifier"] == new.writer
    cluster["Status"] = new.status


def _not_found(identifier: str) -> ApiError:
    return ApiError("DBClusterNotFoundFault", f"DBCluster {identifier} not found.")


def _resetting(reset: Callable[[], None]) -> Callable[[], None]:
    def handler() -> None:
        _custom_endpoints.clear()
        reset()

    return handler


def _created(params: Mapping[str, Any], _original: Any) -> Any:
    identifier = service._p(params, "DBClusterIdentifier")
    cluster = service._clusters[identifier]
    cluster["Endpoint"] = endpoint_name(identifier, "cluster-")
    cluster["ReaderEndpoint"] = endpoint_name(identifier, "cluster-ro-")
    group = service._subnet_groups.get(cluster["DBSubnetGroup"])
    if group is not None:
        zones = {subnet["SubnetAvailabilityZone"]["Name"] for subnet in group["Subnets"]}
        cluster["AvailabilityZones"] = sorted(zones)
    return _response("CreateDBCluster", f"<DBCluster>{service._cluster_xml(cluster)}</DBCluster>")


def _failing_over(fail_over: Handler, hook: str) -> Handler:
    """Request the failover from the lab. ministack checks the call and changes the writer."""

    def handler(params: Mapping[str, Any]) -> Any:
        cluster = service._clusters.get(service._p(params, "DBClusterIdentifier"))
        before = [] if cluster is None else [dict(m) for m in cluster["DBClusterMembers"]]
        response = fail_over(params)
        if response[0] != 200 or cluster is None:
            return response
        (target,) = [m for m in cluster["DBClusterMembers"] if m["IsClusterWriter"]]
        cluster["DBClusterMembers"] = before
        cluster["Status"] = "failing-over"
        request_failover(
            hook,
            {
                "db_cluster_identifier": cluster["DBClusterIdentifier"],
                "target_db_instance_identifier": target["DBInstanceIdentifier"],
            },
        )
        return service._failover_db_cluster_response(cluster)

    return handler


def _create_endpoint(params: Mapping[str, Any]) -> Any:
    identifier = service._p(params, "DBClusterEndpointIdentifier")
    cluster = _cluster(service._p(params, "DBClusterIdentifier"))
    scope = Scope.current()
    arn = f"arn:aws:rds:{scope.region}:{scope.account}:cluster-endpoint:{identifier}"
    _custom_endpoints[identifier] = endpoint = {
        "DBClusterEndpointIdentifier": identifier,
        "DBClusterIdentifier": cluster["DBClusterIdentifier"],
        "DBClusterEndpointResourceIdentifier": f"cluster-endpoint-{new_uuid()[:8].upper()}",
        "Endpoint": endpoint_name(identifier, "cluster-custom-"),
        "Status": "available",
        "EndpointType": "CUSTOM",
        "CustomEndpointType": service._p(params, "EndpointType") or "ANY",
        "DBClusterEndpointArn": arn,
    }
    return _response("CreateDBClusterEndpoint", elements(endpoint, item="member"))


def _describe_endpoint(params: Mapping[str, Any]) -> Any:
    """Return one custom endpoint; nothing in the lab lists the others."""
    name = service._p(params, "DBClusterEndpointIdentifier")
    if name not in _custom_endpoints:
        raise ApiError("DBClusterEndpointNotFoundFault", f"The endpoint {name} does not exist.")
    body = element("DBClusterEndpointList", _custom_endpoints[name], item="member")
    return _response(
        "DescribeDBClusterEndpoints", f"<DBClusterEndpoints>{body}</DBClusterEndpoints>"
    )


def _cluster(identifier: str) -> Mapping[str, Any]:
    cluster: Mapping[str, Any] | None = service._clusters.get(identifier)
    if cluster is None:
        raise _not_found(identifier)
    return cluster


def _response(action: str, body: str) -> Any:
    return service._xml(200, f"{action}Response", f"<{action}Result>{body}</{action}Result>")
