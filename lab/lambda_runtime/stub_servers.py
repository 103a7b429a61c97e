"""Stubs of AWS and DNS for a run of the function. They record the requests."""

import socket
import ssl
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs

import botocore
import dns.flags
import dns.message
import dns.rrset
from werkzeug.serving import make_ssl_devcert

from lab.loopback_server import LoopbackServer, QuickHandler

#: The certificate authorities that botocore trusts.
AUTHORITIES = Path(botocore.__file__).with_name("cacert.pem")


class StubAws(LoopbackServer):
    """APIs over TLS.

    Attributes:
        replies: The server closes a connection after this number of replies.
        certificate: The file of its certificate.
    """

    def __init__(self, handler: type["StubHandler"], replies: int = 10) -> None:
        super().__init__(type("_BoundHandler", (handler,), {"stub": self}))
        self.replies = replies
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        certificate, key = make_ssl_devcert(str(folder / "localhost"), host="localhost")
        self.certificate = Path(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        # An SDK that trusts this server loads as many authorities as one that calls AWS.
        self._bundle = folder / "authorities.pem"
        self._bundle.write_text(AUTHORITIES.read_text() + self.certificate.read_text())

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which an AWS SDK calls this server, and trusts it."""
        return {
            "AWS_ENDPOINT_URL": f"https://localhost:{self.port}",
            "AWS_CA_BUNDLE": str(self._bundle),
        }


class StubElbV2(StubAws):
    """The three target calls of the ELBv2 query API over one group; targets are healthy.

    The EC2 query API has an outbound rule for each of them.

    Attributes:
        targets: Address and port of each registered target.
        calls: The requested actions, in order.
    """

    def __init__(self, replies: int = 10) -> None:
        self.targets: set[tuple[str, int]] = set()
        self.calls: list[str] = []
        super().__init__(_ElbV2Handler, replies)

    def result(self, form: dict[str, str]) -> str:
        """Return the result element for a request."""
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
        return healthy(sorted(self.targets))


def healthy(targets: Iterable[tuple[str, int]]) -> str:
    """Return the result of DescribeTargetHealth with these targets, all healthy."""
    members = "".join(
        f"<member><Target><Id>{address}</Id><Port>{port}</Port></Target>"
        "<TargetHealth><State>healthy</State></TargetHealth></member>"
        for address, port in targets
    )
    return f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"


def _open_rules(targets: Iterable[tuple[str, int]]) -> bytes:
    items = "".join(
        f"<item><isEgress>true</isEgress><ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort>"
        f"<toPort>{port}</toPort><cidrIpv4>{address}/32</cidrIpv4>"
        "<description>postgres-privatelink: open</description></item>"
        for address, port in targets
    )
    return (
        '<DescribeSecurityGroupRulesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<securityGroupRuleSet>{items}</securityGroupRuleSet></DescribeSecurityGroupRulesResponse>"
    ).encode()


def elb_reply(action: str, result: str) -> bytes:
    """Return a reply of the ELBv2 API."""
    return (
        f'<{action}Response xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">'
        f"<{action}Result>{result}</{action}Result>"
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


class StubHandler(QuickHandler):
    """Replies to each POST of one connection with a document."""

    stub: ClassVar[Any]
    replies = 0

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """Reply to a request."""
        kind, body = self.reply(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.replies += 1
        last = self.replies == self.stub.replies
        self.send_reply(
            200, body, {"Content-Type": kind, "Connection": "close" if last else "keep-alive"}
        )

    def reply(self, text: str) -> tuple[str, bytes]:
        """Return the media type and the document for a request."""
        raise NotImplementedError


def form_of(text: str) -> dict[str, str]:
    """Return the fields of a request of the query protocol."""
    return {name: values[0] for name, values in parse_qs(text).items()}


class _ElbV2Handler(StubHandler):
    def reply(self, text: str) -> tuple[str, bytes]:
        form = form_of(text)
        if form["Action"] == "DescribeSecurityGroupRules":
            return "text/xml", _open_rules(self.stub.targets)
        return "text/xml", elb_reply(form["Action"], self.stub.result(form))


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
