"""A Lambda Runtime API for one function on this machine.

It implements the part of https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html that the
Python runtime interface client (awslambdaric) uses.
"""

import json
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.loopback_server import LoopbackServer, QuickHandler

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_FUNCTION_ARN = "arn:aws:lambda:eu-west-1:111122223333:function:sync-targets"


@dataclass(frozen=True, slots=True)
class FunctionReply:
    """What the function sent to the Runtime API.

    Attributes:
        kind: ``ready`` (waits for its first event), ``response``, ``error`` or ``init error``.
        body: The JSON document of the request.
    """

    kind: str
    body: Any = None


class RuntimeApi(LoopbackServer):
    """The server side. Use it as a context manager, then start the function against it."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[FunctionReply] = queue.SimpleQueue()
        self._polled = threading.Event()
        self._invocations = 0
        super().__init__(type("_BoundHandler", (_Handler,), {"api": self}))

    def __exit__(self, *_: object) -> None:
        self._events.put(None)
        super().__exit__()

    @property
    def address(self) -> str:
        """The value for ``AWS_LAMBDA_RUNTIME_API``."""
        return f"127.0.0.1:{self.port}"

    def wait_for_start(self, process: subprocess.Popen[bytes]) -> FunctionReply:
        """Wait until the function requests an event (``ready``) or reports an init error."""
        return self._next_reply(process)

    def invoke(self, process: subprocess.Popen[bytes], event: object) -> FunctionReply:
        """Send one event to the function and wait for its reply."""
        self._invocations += 1
        self._events.put((f"request-{self._invocations}", json.dumps(event).encode()))
        return self._next_reply(process)

    def _next_reply(self, process: subprocess.Popen[bytes]) -> FunctionReply:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            try:
                return self._replies.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if ended:
                    raise RuntimeError(
                        f"the function's process ended with {process.returncode} and sent no reply"
                    ) from None
        raise TimeoutError(f"the function sent no reply within {WAIT_SECONDS:g} s")

    def next_event(self) -> tuple[str, bytes] | None:
        """Return the next event and its request ID; None when the server closes."""
        if not self._polled.is_set():
            self._polled.set()
            self._replies.put(FunctionReply("ready"))
        return self._events.get()

    def take(self, reply: FunctionReply) -> None:
        """Keep a reply for the caller that waits for it."""
        self._replies.put(reply)


class _Handler(QuickHandler):
    api: ClassVar[RuntimeApi]

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        event = self.api.next_event()
        if event is None:
            self.close_connection = True
            return
        request_id, body = event
        deadline = int((time.time() + 600) * 1000)
        self.send_reply(
            200,
            body,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": _FUNCTION_ARN,
            },
        )

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        body = json.loads(self._body())
        self.send_reply(202, b"", {})
        kind = "init error" if self.path.endswith("/init/error") else self.path.rsplit("/", 1)[1]
        self.api.take(FunctionReply(kind, body))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks: list[bytes] = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)
