"""The two servers that a run of the function talks to, counting what they are asked."""

import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs

import dns.flags
import dns.message
import dns.rrset

from lab.loopback_server import LoopbackServer


class StubElbV2(LoopbackServer):
    """The three target calls of the ELBv2 query API over one group; targets are healthy.

    Attributes:
        targets: Address and port of each registered target.
        calls: The actions asked for, in order.
    """

    def __init__(self) -> None:
        self.targets: set[tuple[str, int]] = set()
        self.calls: list[str] = []
        super().__init__(type("_BoundHandler", (_ElbV2Handler,), {"stub": self}))

    def answer(self, form: dict[str, str]) -> str:
        """The result element for a request."""
        action = form["Action"]
        self.calls.append(action)
        named = {
            (form[f"Targets.member.{number}.Id"], int(form[f"Targets.member.{number}.Port"]))
            for number in range(1, 4)
            if f"Targets.member.{number}.Id" in form
        }
        if action == "RegisterTargets":
            self.targets |= named
        elif action == "DeregisterTargets":
            self.targets -= named
        members = "".join(
            f"<member><Target><Id>{address}</Id><Port>{port}</Port></Target>"
            "<TargetHealth><State>healthy</State></TargetHealth></member>"
            for address, port in sorted(self.targets)
        )
        return f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"


class _ElbV2Handler(BaseHTTPRequestHandler):
    stub: ClassVar[StubElbV2]
    protocol_version = "HTTP/1.1"
    # One write and no Nagle delay per answer: otherwise each costs some 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(text).items()}
        action = form["Action"]
        body = (
            f'<{action}Response xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">'
            f"<{action}Result>{self.stub.answer(form)}</{action}Result>"
            f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the calls are kept."""


class StubDns:
    """A DNS server with one address for every name, TTL 5 s as on RDS."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.queries: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def resolver(self) -> str:
        """The value for ``RESOLVERS``."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if not packet:
                return
            query = dns.message.from_wire(packet)
            name = query.question[0].name
            self.queries.append(str(name))
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.AA
            reply.answer.append(dns.rrset.from_text(name, 5, "IN", "A", self.address))
            self._socket.sendto(reply.to_wire(), client)
