"""Sends a response to CloudFormation: an upload to a presigned URL.

Source: CloudFormation user guide, "Custom resource response objects". The signature covers an
empty content type, so the upload must have none.
"""

import http.client
import urllib.error
import urllib.request

from target_sync.errors import CustomResourceResponseError
from target_sync.ports import Clock

#: Seconds for one attempt.
ATTEMPT_SECONDS = 4.0
#: Seconds before the second attempt. Each later pause is twice as long.
FIRST_PAUSE_SECONDS = 0.5
_SERVER_ERROR = 500
#: A time-out, and throttling.
_RETRYABLE_STATUSES = frozenset({408, 429})


class ResponseUrl:
    """Implements ``target_sync.provisioning.ports.ResponsePort``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put(self, url: str, body: bytes, deadline: float) -> None:
        """Upload a response, with retries until the deadline.

        Raises:
            CustomResourceResponseError: CloudFormation did not accept the response. The message
                does not contain the URL, which is a credential.
        """
        pause = FIRST_PAUSE_SECONDS
        while (problem := _try_upload(url, body)) is not None:
            next_at = self._clock.now() + pause
            if next_at + ATTEMPT_SECONDS > deadline:
                raise CustomResourceResponseError(
                    f"CloudFormation did not accept the response in time: {problem}. The stack"
                    " waits until its own time-out; then continue or delete it"
                )
            self._clock.sleep_until(next_at)
            pause *= 2


def _try_upload(url: str, body: bytes) -> str | None:
    """Upload once; return the problem if a retry may help."""
    if not url.startswith(("https://", "http://")):
        raise CustomResourceResponseError("the ResponseURL is not an HTTP URL")
    # The check above excludes the file scheme.
    request = urllib.request.Request(  # noqa: S310
        url, data=body, method="PUT", headers={"Content-Type": ""}
    )
    try:
        with urllib.request.urlopen(request, timeout=ATTEMPT_SECONDS):  # noqa: S310 - see above
            return None
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < _SERVER_ERROR and error.code not in _RETRYABLE_STATUSES:
            raise CustomResourceResponseError(
                f"CloudFormation rejected the response with HTTP status {error.code}"
            ) from error
        return f"HTTP status {error.code}"
    # The text of these may have the URL.
    except (http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    except OSError as error:
        return f"{type(error).__name__}: {error}"
