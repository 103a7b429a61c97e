"""RDS events on EventBridge and in DescribeEvents, in the form that AWS documents.

Source: EventBridge reference, "Amazon RDS events", and the samples of the RDS and Aurora user
guides. AWS does not document the ARN in the event of a blue/green deployment; here it is
the ARN of the deployment.
"""

import json
import time
from datetime import UTC, datetime

from ministack.core.responses import new_uuid
from ministack.services import eventbridge
from ministack.services import rds as service

from lab.emulator.errors import ApiError
from lab.emulator.messages import RdsEvent, RdsSource
from lab.emulator.scope import Scope, find_anywhere

_DETAIL_TYPES = {
    RdsSource.INSTANCE: "RDS DB Instance Event",
    RdsSource.CLUSTER: "RDS DB Cluster Event",
    RdsSource.PROXY: "RDS DB Proxy Event",
    RdsSource.BLUE_GREEN: "RDS Blue Green Deployment Event",
}
_STORES = {
    RdsSource.INSTANCE: (service._instances, "DBInstanceArn"),
    RdsSource.CLUSTER: (service._clusters, "DBClusterArn"),
    RdsSource.PROXY: (service._db_proxies, "DBProxyArn"),
}
#: `SourceType` in DescribeEvents, which differs from the event bus.
_LISTED_TYPES = {
    RdsSource.INSTANCE: "db-instance",
    RdsSource.CLUSTER: "db-cluster",
    RdsSource.PROXY: "db-proxy",
    RdsSource.BLUE_GREEN: "blue-green-deployment",
}
_MISSING = {
    RdsSource.INSTANCE: ("DBInstanceNotFound", "DBInstance"),
    RdsSource.CLUSTER: ("DBClusterNotFoundFault", "DBCluster"),
    RdsSource.PROXY: ("DBProxyNotFoundFault", "DBProxy"),
}


def emit(event: RdsEvent) -> None:
    """Put an event on the event bus of the database's account, and into DescribeEvents.

    Raises:
        ApiError: The database does not exist; the code is RDS's.
    """
    scope, arn = _find(event)
    name = event.identifier.partition("/")[0]
    detail = {
        "EventCategories": list(event.categories),
        "SourceType": str(event.source),
        "SourceArn": arn,
        "Date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "Message": event.message,
        "SourceIdentifier": f"rds:{name}" if event.prefixed else name,
        "EventID": event.event_id,
    }
    entry = {
        "Source": "aws.rds",
        "DetailType": _DETAIL_TYPES[event.source],
        "Detail": json.dumps(detail),
        "Resources": [arn],
    }
    with scope.entered():
        service._events[new_uuid()] = {
            "SourceIdentifier": name,
            "SourceType": _LISTED_TYPES[event.source],
            "SourceArn": arn,
            "Message": event.message,
            "Date": time.time(),
            "EventCategories": list(event.categories),
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _find(event: RdsEvent) -> tuple[Scope, str]:
    """Return the scope of the database and the ARN for its event."""
    if event.source is RdsSource.BLUE_GREEN:
        deployment, _, database = event.identifier.partition("/")
        scope = _find_database(database)
        return scope, f"arn:aws:rds:{scope.region}:{scope.account}:deployment:{deployment}"
    store, arn = _STORES[event.source]
    found = find_anywhere(store, event.identifier)
    if found is None:
        code, kind = _MISSING[event.source]
        raise ApiError(code, f"{kind} {event.identifier} not found.")
    scope, record = found
    return scope, str(record[arn])


def _find_database(identifier: str) -> Scope:
    for store, _ in _STORES.values():
        if found := find_anywhere(store, identifier):
            return found[0]
    raise ApiError("DBInstanceNotFound", f"DBInstance {identifier} not found.")
