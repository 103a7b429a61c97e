"""Which database an RDS event names. Nothing else in an event counts, and nothing is believed."""

import json
from collections.abc import Mapping


def identifier_of(body: str) -> str:
    """The identifier of the instance or cluster that an event of EventBridge names.

    Args:
        body: A message as the queue has it. It may be anything.

    Returns:
        The identifier as it stands in endpoints' names; empty if this is no event of RDS.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(event, Mapping) or event.get("source") != "aws.rds":
        return ""
    detail = event.get("detail")
    name = detail.get("SourceIdentifier") if isinstance(detail, Mapping) else None
    # Some events have "rds:" before it.
    return name.rpartition(":")[2].strip().lower() if isinstance(name, str) else ""
