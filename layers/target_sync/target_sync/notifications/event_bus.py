"""The default event bus of the account and Region."""

import json
from typing import Any

from target_sync.aws import Failures
from target_sync.errors import NotificationError
from target_sync.notifications.messages import SOURCE, BusEvent

_FAILURES = Failures(service="events", other=NotificationError, unavailable=NotificationError)


class EventBus:
    """Puts events on the bus.

    Args:
        client: A client of EventBridge.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def put(self, event: BusEvent) -> None:
        """Put an event on the bus.

        Raises:
            NotificationError: It may not be there. The call may also succeed and its answer name
                an entry that failed (EventBridge API reference, PutEvents).
        """
        entry = {
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": json.dumps(event.detail),
            "Resources": [event.resource],
        }
        answer = _FAILURES.call("PutEvents", self._client.put_events, Entries=[entry])
        if answer.get("FailedEntryCount"):
            (failed,) = answer["Entries"]
            code, message = failed.get("ErrorCode", "Unknown"), failed.get("ErrorMessage", "")
            raise NotificationError("PutEvents", code, message)
