"""A small web server on this machine, in a thread.

The failover hook and the tests use it.
"""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class LoopbackServer:
    """Serves during a `with` block.

    Attributes:
        port: Its port on 127.0.0.1.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"


class QuickHandler(BaseHTTPRequestHandler):
    """Replies without delay and prints nothing."""

    protocol_version = "HTTP/1.1"
    # One write and no Nagle delay per reply: otherwise each reply takes 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Handle requests until the client has closed the connection or was killed."""
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def send_reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a complete reply."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Print nothing."""
