"""The answer to CloudFormation: an upload to a URL that it signed.

Source: CloudFormation user guide, "Custom resource response objects". The signature covers an
empty content type, so the upload must have none.
"""

import urllib.error
import urllib.request

from target_sync.errors import CustomResourceResponseError
from target_sync.ports import Clock

#: Seconds for one try.
TRY_SECONDS = 4.0
#: Seconds before the second try; each further pause is twice as long.
FIRST_PAUSE_SECONDS = 0.5
_SERVER_ERROR = 500


class ResponseUrl:
    """Implements ``target_sync.provisioning.manager.AnswerPort``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put(self, url: str, body: bytes, deadline: float) -> None:
        """Put the answer there, again and again until the deadline if need be.

        Raises:
            CustomResourceAnswerError: It was refused, or nobody took it in time. The URL is a
                credential and not part of the message.
        """
        pause = FIRST_PAUSE_SECONDS
        while (problem := _try(url, body)) is not None:
            again_at = self._clock.now() + pause
            if again_at + TRY_SECONDS > deadline:
                raise CustomResourceResponseError(
                    f"CloudFormation did not take the answer in time: {problem}. The stack waits"
                    " until its own time-out; then continue or delete it"
                )
            self._clock.sleep_until(again_at)
            pause *= 2


def _try(url: str, body: bytes) -> str | None:
    """Upload once; what went wrong if another try may help."""
    if not url.startswith(("https://", "http://")):
        raise CustomResourceResponseError("the ResponseURL is no HTTP URL")
    # The scheme is checked above: no file is ever opened.
    request = urllib.request.Request(  # noqa: S310
        url, data=body, method="PUT", headers={"Content-Type": ""}
    )
    try:
        with urllib.request.urlopen(request, timeout=TRY_SECONDS):  # noqa: S310 - see above
            return None
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < _SERVER_ERROR:
            raise CustomResourceResponseError(
                f"CloudFormation refused the answer with HTTP status {error.code}"
            ) from error
        return f"HTTP status {error.code}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
