"""How often an API said slow down to a client."""

from collections.abc import Mapping
from typing import Any

from target_sync.aws import THROTTLED_CODES


class Throttlings:
    """Counts the replies to a client that say slow down, those to botocore's own retries too.

    Who only sees how a call ended would not know of those that a retry made good.

    Args:
        client: Of any API.
    """

    def __init__(self, client: Any) -> None:
        self._count = 0
        client.meta.events.register("response-received", self._received)

    def count(self) -> int:
        """How many there have been."""
        return self._count

    def _received(self, parsed_response: Mapping[str, Any] | None = None, **_: object) -> None:
        """Take in one reply; None if there was none (botocore, ``Endpoint._get_response``)."""
        code = (parsed_response or {}).get("Error", {}).get("Code")
        self._count += code in THROTTLED_CODES
