"""Invokes Lambda functions."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.config import Config

from target_sync.aws import CLIENT_CONFIG, AwsApi
from target_sync.provisioning.ports import FunctionError

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient

#: The longest run: five minutes for the proof of the switch, and the sync after it.
LONGEST_RUN_SECONDS = 400
#: The reply comes at the end of the run, and a second attempt would start a second run. The
#: connection is idle until then, so it needs keepalives (Lambda API reference, Invoke).
INVOKE_CONFIG = CLIENT_CONFIG.merge(
    Config(
        read_timeout=LONGEST_RUN_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )
)
_LAMBDA = AwsApi("lambda")


class LambdaFunctions:
    """Implements ``target_sync.provisioning.ports.FunctionPort``."""

    def __init__(self, client: "LambdaClient") -> None:
        self._client = client

    @_LAMBDA.reads("Invoke")
    def invoke(
        self, name: str, payload: Mapping[str, object]
    ) -> Mapping[str, object] | FunctionError:
        """Run a function, and return its document or the error that it raised.

        A reply that is no JSON object is an ``AwsCallError`` too.
        """
        reply = self._client.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        text = reply["Payload"].read()
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, Mapping):
            raise TypeError(f"{name} returned {text[:200]!r}")
        if reply.get("FunctionError"):
            return FunctionError(
                str(document.get("errorType", "Unknown")), str(document.get("errorMessage", ""))
            )
        return document
