"""The HTTP server that CloudFormation provides for the responses of custom resources."""

from typing import NamedTuple

from lab.loopback_server import LoopbackServer, QuickHandler


class Upload(NamedTuple):
    """One uploaded response."""

    path: str
    content_type: str
    body: bytes


class UploadServer(LoopbackServer):
    """Receives responses.

    Attributes:
        uploads: The received responses.

    Args:
        statuses: The HTTP statuses of the first replies. Every later status is 200.
    """

    def __init__(self, *statuses: int) -> None:
        self.uploads: list[Upload] = []
        uploads, remaining = self.uploads, list(statuses)

        class Handler(QuickHandler):
            def do_PUT(self) -> None:  # noqa: N802 - http.server calls this name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                uploads.append(Upload(self.path, self.headers.get("Content-Type", ""), body))
                self.send_reply(remaining.pop(0) if remaining else 200, b"", {})

        super().__init__(Handler)
