"""Handler of ReviewConnectionsFunction: accepts and rejects connection requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from target_sync.connections.build import reviewer
from target_sync.connections.triggers import parse_trigger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, _context: "LambdaContext") -> Mapping[str, object]:
    """Review every pending connection request, and return the result document.

    Raises:
        TargetSyncError: Something failed. Lambda then retries, and the Errors alarm goes off.
    """
    return reviewer().run(parse_trigger(event)).to_document()
