"""Lambda functions behind their API."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.config import Config

from target_sync.aws import CLIENT_CONFIG, AwsApi
from target_sync.errors import AwsCallError
from target_sync.provisioning.progress import FunctionError

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient

#: The reply comes when the run is over, and another try would be another run.
INVOKE_CONFIG = CLIENT_CONFIG.merge(
    Config(read_timeout=100, retries={"mode": "standard", "total_max_attempts": 1})
)
_LAMBDA = AwsApi("lambda")


class LambdaFunctions:
    """Implements ``target_sync.provisioning.progress.FunctionPort``."""

    def __init__(self, client: "LambdaClient") -> None:
        self._client = client

    def invoke(
        self, name: str, payload: Mapping[str, object]
    ) -> Mapping[str, object] | FunctionError:
        """Run a function and wait for its answer, or for the error that it raised.

        Raises:
            AwsCallError: It could not be run, or its answer is no JSON object.
        """
        reply = _LAMBDA.call(
            "Invoke", self._client.invoke, FunctionName=name, Payload=json.dumps(payload).encode()
        )
        text = reply["Payload"].read()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, Mapping):
            raise AwsCallError("Invoke", "BadAnswer", f"{name} answered {text[:200]!r}")
        if reply.get("FunctionError"):
            return FunctionError(
                str(answer.get("errorType", "Unknown")), str(answer.get("errorMessage", ""))
            )
        return answer
