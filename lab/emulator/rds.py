"""RDS instances and proxies: endpoints as on AWS, Multi-AZ, and failovers by the lab.

ministack starts no database; the lab's PostgreSQL servers are the instances.
"""

import hashlib
import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import rds as service

from lab.emulator.errors import ApiError, Handler, after_success, rendering_errors
from lab.emulator.messages import RdsStatus, loopback_opener
from lab.emulator.scope import Scope, find_anywhere
from lab.emulator.wire import element

_HOOK_TIMEOUT = 30.0
_logger = logging.getLogger("lab.rds")


def install(*, failover_hook: str | None) -> None:
    """Add Multi-AZ instances to ministack's RDS.

    Args:
        failover_hook: A URL that gets `{"db_instance_identifier": …}` for a failover; see also
            `rds_clusters`.
    """
    service._instance_xml = _with_standby_zone(service._instance_xml)
    actions = service._ACTION_MAP
    actions["CreateDBInstance"] = after_success(actions["CreateDBInstance"], _created)
    actions["CreateDBProxy"] = after_success(actions["CreateDBProxy"], _created_proxy)
    actions["RebootDBInstance"] = rendering_errors(
        _rebooting(actions["RebootDBInstance"], failover_hook), error
    )


def set_status(new: RdsStatus) -> None:
    """Set the status in DescribeDBInstances. A new zone swaps with the standby's.

    Raises:
        ApiError: `DBInstanceNotFound`.
    """
    found = find_anywhere(service._instances, new.identifier)
    if found is None:
        raise ApiError("DBInstanceNotFound", f"DBInstance {new.identifier} not found.")
    _, instance = found
    instance["DBInstanceStatus"] = new.status
    before = instance["AvailabilityZone"]
    if new.availability_zone not in (None, before):
        instance["AvailabilityZone"] = new.availability_zone
        if instance.get("MultiAZ"):
            instance["SecondaryAvailabilityZone"] = before


def error(code: str, message: str) -> Any:
    """Return an error response of RDS."""
    return service._error(code, message, 404 if "NotFound" in code else 400)


def endpoint_name(name: str, kind: str = "") -> str:
    """Return an endpoint in the form of AWS, with a label for the account and Region.

    Args:
        name: The first label: the identifier.
        kind: The prefix of the second label, for example `cluster-ro-`.
    """
    scope = Scope.current()
    label = hashlib.sha256(f"{scope.account}/{scope.region}".encode()).hexdigest()[:12]
    return f"{name}.{kind}{label}.{scope.region}.rds.amazonaws.com"


def _single(action: str, instance: Mapping[str, Any]) -> Any:
    return service._single_instance_response(f"{action}Response", f"{action}Result", instance)


def _with_standby_zone(
    render: Callable[[Mapping[str, Any]], str],
) -> Callable[[Mapping[str, Any]], str]:
    def wrapped(instance: Mapping[str, Any]) -> str:
        zone = element("SecondaryAvailabilityZone", instance["SecondaryAvailabilityZone"] or None)
        return render(instance).replace("<MultiAZ>", f"{zone}<MultiAZ>", 1)

    return wrapped


def _created(params: Mapping[str, Any], _response: Any) -> Any:
    identifier = service._p(params, "DBInstanceIdentifier")
    instance = service._instances[identifier]
    instance["Endpoint"]["Address"] = endpoint_name(identifier)
    cluster = service._clusters.get(service._p(params, "DBClusterIdentifier"))
    if cluster is not None:
        _inherit(instance, cluster)
    instance["DBInstanceStatus"] = "available"
    zone, standby = _zones(service._p(params, "AvailabilityZone"))
    instance["AvailabilityZone"] = zone
    if service._p(params, "MultiAZ").lower() == "true":
        instance["MultiAZ"] = True
        instance["SecondaryAvailabilityZone"] = standby
    return _single("CreateDBInstance", instance)


def _inherit(instance: dict[str, Any], cluster: Mapping[str, Any]) -> None:
    """Give a member the network and the port of its cluster."""
    instance["VpcSecurityGroups"] = list(cluster["VpcSecurityGroups"])
    instance["Endpoint"]["Port"] = cluster["Port"]
    group = service._subnet_groups.get(cluster["DBSubnetGroup"])
    if group is not None:
        instance["DBSubnetGroup"] = group


def _created_proxy(params: Mapping[str, Any], response: Any) -> Any:
    name = service._p(params, "DBProxyName")
    proxy = service._db_proxies[name]
    old, new = proxy["Endpoint"], endpoint_name(name, "proxy-")
    for endpoint in service._db_proxy_endpoints.values():
        if endpoint["Endpoint"] == old:
            endpoint["Endpoint"] = new
    proxy["Endpoint"] = new
    # Further endpoints of the proxy use this suffix.
    proxy["_EndpointSuffix"] = endpoint_name("", "").split(".")[1]
    status, headers, body = response
    return status, headers, body.replace(old.encode(), new.encode())


def _zones(given: str) -> tuple[str, str]:
    region = Scope.current().region
    first, second = f"{region}a", f"{region}b"
    return (second, first) if given == second else (given or first, second)


def _rebooting(reboot: Handler, failover_hook: str | None) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        if service._p(params, "ForceFailover").lower() != "true":
            return reboot(params)
        identifier = service._p(params, "DBInstanceIdentifier")
        instance = service._instances.get(identifier)
        if instance is None:
            raise ApiError("DBInstanceNotFound", f"DBInstance {identifier} not found.")
        if not instance.get("MultiAZ"):
            raise ApiError(
                "InvalidParameterCombination",
                "Cannot specify ForceFailover when the instance is not configured for MultiAZ.",
            )
        if instance["DBInstanceStatus"] != "available":
            raise ApiError(
                "InvalidDBInstanceState",
                f"DB instance {identifier} is {instance['DBInstanceStatus']}, not available.",
            )
        instance["DBInstanceStatus"] = "rebooting"
        if failover_hook is not None:
            request_failover(failover_hook, {"db_instance_identifier": identifier})
        return _single("RebootDBInstance", instance)

    return handler


def request_failover(hook: str, request: Mapping[str, str]) -> None:
    """Send a request for a failover to the lab, without waiting for it."""
    threading.Thread(
        target=_call_hook, args=(hook, request), name="failover-hook", daemon=True
    ).start()


def _call_hook(url: str, values: Mapping[str, str]) -> None:
    body = json.dumps(values).encode()
    request = urllib.request.Request(  # noqa: S310 (the lab's own option)
        url, data=body, headers={"Content-Type": "application/json"}
    )
    try:
        loopback_opener().open(request, timeout=_HOOK_TIMEOUT).close()
    except OSError:
        _logger.exception("the failover hook %s did not reply; no failover takes place", url)
