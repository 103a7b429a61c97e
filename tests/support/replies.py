"""A server that replies to calls of AWS APIs with anything: correct documents and hostile ones.

A correct document is made from botocore's own description of the operation, in the protocol of
its API, so a hostile one can differ in a single respect.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

import pytest
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from lab.loopback_server import LoopbackServer, QuickHandler
from target_sync import aws

#: The bytes that the server sends, from the status line on.
Reply: TypeAlias = Callable[[OperationModel], bytes]
#: The value of a field by the field's name and its type in botocore's description.
Value: TypeAlias = Callable[[str, str], object]

_OPERATION = "X-Operation"
_DEEPEST = 9
#: The value of a field that is left out, and its content in XML.
NOT_SENT = object()
_LEFT_OUT = "left out"


class ApiServer(LoopbackServer):
    """Serves every API. It closes the connection after each reply.

    Attributes:
        reply: Makes the replies.
        asked: The names of the operations, in order.
    """

    def __init__(self) -> None:
        self.reply: Reply = correct
        self.asked: list[str] = []
        self._models: dict[str, OperationModel] = {}
        server = self

        class Handler(QuickHandler):
            def do_POST(self) -> None:  # noqa: N802 - http.server calls this name
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                model = server._models[self.headers[_OPERATION]]
                server.asked.append(model.name)
                self.wfile.write(server.reply(model))
                self.close_connection = True

            do_GET = do_POST  # noqa: N815

        super().__init__(Handler)

    def name_operation(self, **event: Any) -> None:
        """Add the name of the operation to a request, because each protocol has it elsewhere."""
        model: OperationModel = event["model"]
        key = f"{model.service_model.service_name}.{model.name}"
        self._models[key] = model
        event["params"]["headers"][_OPERATION] = key


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Serve while the block runs: clients that are made in it call the server, without pauses."""
    with pytest.MonkeyPatch.context() as patch, ApiServer() as server:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
        aws._session.cache_clear()  # noqa: SLF001 - the server needs a session of its own
        aws._session().register("before-call", server.name_operation)  # noqa: SLF001
        yield server
        aws._session.cache_clear()  # noqa: SLF001


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """Return a reply with a body."""
    lines = {"Content-Length": str(len(body)), "x-amzn-RequestId": "request-1"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Reply\r\n{head}\r\n".encode() + body


#: The values of the fields that must have a certain form.
_KNOWN: Mapping[str, object] = {
    "AvailabilityZone": "eu-west-1a",
    "CidrBlock": "10.0.0.0/16",
    "CidrIp": "10.0.0.0/16",
    "CidrIpv4": "10.0.1.11/32",
    "CidrIpv6": "fd00::/8",
    "FailedEntryCount": 0,
    "Id": "10.0.1.11",
    "Port": 5432,
    "PrivateIpAddress": "10.0.1.11",
}


def plain(name: str, type_name: str) -> object:
    """Return a harmless value. A page is the last one."""
    if name.lower().endswith(("token", "marker")):
        return ""
    values = {
        "integer": 1,
        "long": 1,
        "float": 1.5,
        "double": 1.5,
        "boolean": True,
        "timestamp": datetime(2026, 11, 22, tzinfo=UTC),
        "blob": "e30=",
    }
    return _KNOWN.get(name, values.get(type_name, "text"))


def correct(model: OperationModel) -> bytes:
    """Return a reply as documented, with harmless values."""
    return http(document(model))


def document(model: OperationModel, value: Value = plain, items: int = 1) -> bytes:
    """Return a document as documented, with these values, and lists of this many items."""
    if model.service_model.resolved_protocol in ("query", "ec2"):
        return _xml_document(model, value, items)
    tree = _tree(model.output_shape, "", value, items)
    if model.service_model.resolved_protocol == "smithy-rpc-v2-cbor":
        return cbor(tree)
    return json.dumps(tree, default=lambda it: it.timestamp()).encode()


def _tree(shape: Shape | None, name: str, value: Value, items: int, depth: int = 0) -> Any:
    if shape is None:
        return {}
    if isinstance(shape, StructureShape):
        found = {
            member.serialization.get("name", key): _tree(member, key, value, items, depth + 1)
            for key, member in shape.members.items()
            if depth < _DEEPEST
        }
    elif isinstance(shape, MapShape):
        found = {"key": _tree(shape.value, name, value, items, depth + 1)}
    elif isinstance(shape, ListShape):
        found_items = (_tree(shape.member, name, value, items, depth + 1) for _ in range(items))
        return [item for item in found_items if item is not NOT_SENT]
    else:
        return value(name, shape.type_name)
    return {key: it for key, it in found.items() if it is not NOT_SENT}


def _xml_document(model: OperationModel, value: Value, items: int) -> bytes:
    shape = model.output_shape
    inner = _content(shape, "", value, items) if shape else ""
    wrapper = shape.serialization.get("resultWrapper") if shape else None
    if wrapper:
        inner = f"<{wrapper}>{inner}</{wrapper}>"
    metadata = "<requestId>request-1</requestId>"
    if model.service_model.resolved_protocol == "query":
        metadata = "<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>"
    return f"<{model.name}Response>{inner}{metadata}</{model.name}Response>".encode()


def _content(shape: Shape, name: str, value: Value, items: int, depth: int = 0) -> str:
    """Return what is inside the element of a field."""
    if isinstance(shape, StructureShape) and depth < _DEEPEST:
        return "".join(
            _element(
                member.serialization.get("name", key),
                _content(member, key, value, items, depth + 1),
            )
            for key, member in shape.members.items()
        )
    if isinstance(shape, ListShape):
        tag = shape.member.serialization.get("name", "member")
        contents = (_content(shape.member, name, value, items, depth + 1) for _ in range(items))
        return "".join(_element(tag, content) for content in contents)
    if isinstance(shape, StructureShape | MapShape):
        return ""
    return _text(value(name, shape.type_name))


def _element(tag: str, content: str) -> str:
    return "" if content == _LEFT_OUT else f"<{tag}>{content}</{tag}>"


def _text(value: object) -> str:
    if value is NOT_SENT:
        return _LEFT_OUT
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool | list | dict):
        value = json.dumps(value)
    return "" if value is None else escape(str(value))


def cbor(value: object) -> bytes:
    """Return the value in CBOR (RFC 8949), with lengths of eight bytes."""
    if isinstance(value, Mapping):
        pairs = b"".join(cbor(key) + cbor(it) for key, it in value.items())
        return _cbor_head(5, len(value)) + pairs
    if isinstance(value, list):
        return _cbor_head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, datetime):
        return b"\xc1" + cbor(value.timestamp())
    return _cbor_scalar(value)


def _cbor_scalar(value: object) -> bytes:
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _cbor_head(0, min(value, 2**64 - 1)) if value >= 0 else _cbor_head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack("!d", value)
    text = str(value).encode()
    return _cbor_head(3, len(text)) + text


def _cbor_head(major: int, length: int) -> bytes:
    return bytes([major << 5 | 27]) + struct.pack("!Q", length)
