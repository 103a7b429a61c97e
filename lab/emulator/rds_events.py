"""RDS events on EventBridge and in DescribeEvents, in the form that AWS documents.

Source: EventBridge reference, "Amazon RDS events", and the samples of the RDS and Aurora user
guides.
"""

import json
import time
from datetime import UTC, datetime

from ministack.core.responses import new_uuid
from ministack.services import eventbridge
from ministack.services import rds as service

from lab.emulator.errors import ApiError
from lab.emulator.messages import RdsEvent, RdsSource
from lab.emulator.scope import find_anywhere

#: The type on the event bus, the type in DescribeEvents, the store and its key for the ARN, and the
#: code and the name of a missing database.
_SOURCES = {
    RdsSource.INSTANCE: (
        "RDS DB Instance Event",
        "db-instance",
        (service._instances, "DBInstanceArn"),
        ("DBInstanceNotFound", "DBInstance"),
    ),
    RdsSource.CLUSTER: (
        "RDS DB Cluster Event",
        "db-cluster",
        (service._clusters, "DBClusterArn"),
        ("DBClusterNotFoundFault", "DBCluster"),
    ),
}


def emit(event: RdsEvent) -> None:
    """Put an event on the event bus of the database's account, and into DescribeEvents.

    Raises:
        ApiError: The database does not exist; the code is RDS's.
    """
    detail_type, listed_type, (store, arn_key), (code, kind) = _SOURCES[event.source]
    name = event.identifier
    found = find_anywhere(store, name)
    if found is None:
        raise ApiError(code, f"{kind} {name} not found.")
    scope, arn = found[0], str(found[1][arn_key])
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
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": [arn],
    }
    with scope.entered():
        service._events[new_uuid()] = {
            "SourceIdentifier": name,
            "SourceType": listed_type,
            "SourceArn": arn,
            "Message": event.message,
            "Date": time.time(),
            "EventCategories": list(event.categories),
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
