"""What the small web servers of the benchmarks have in common."""

import contextlib
from http.server import BaseHTTPRequestHandler


class QuickHandler(BaseHTTPRequestHandler):
    """Answers without delay, and prints nothing."""

    protocol_version = "HTTP/1.1"
    # One write and no Nagle delay per answer: otherwise each costs some 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Until the other side is gone: in the end its process is killed."""
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
