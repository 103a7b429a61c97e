"""Replies that no AWS API should send, and some that it may send."""

import json
from collections.abc import Mapping
from itertools import count

from botocore.model import OperationModel

from tests.support.replies import NOT_SENT, Reply, Value, cbor, correct, document, http, plain

_HTML = b"<!DOCTYPE html><html><head><title>Sign in<body>Please <b>sign in</p>"
_XHTML = b"<html><head><title>Sign in</title></head><body><p>Please sign in</p></body></html>"
_numbers = count(1)


def _error(status: int, code: str | None, message: str | None = "no") -> Reply:
    """Return an error as the API documents it."""

    def reply(model: OperationModel) -> bytes:
        protocol = model.service_model.resolved_protocol
        if protocol == "smithy-rpc-v2-cbor":
            return http(cbor({"__type": code, "message": message}), status)
        if protocol not in ("query", "ec2"):
            return http(json.dumps({"__type": code, "message": message}).encode(), status)
        text = f"<Error><Code>{code or ''}</Code><Message>{message or ''}</Message></Error>"
        if protocol == "ec2":
            text = f"<Response><Errors>{text}</Errors><RequestID>1</RequestID></Response>"
        else:
            text = f"<ErrorResponse>{text}<RequestId>1</RequestId></ErrorResponse>"
        return http(text.encode(), status)

    return reply


def _body(body: bytes, status: int = 200, **headers: str) -> Reply:
    return lambda _: http(body, status, **headers)


def _bytes(raw: bytes) -> Reply:
    return lambda _: raw


def _values(value: Value, items: int = 1) -> Reply:
    return lambda model: http(document(model, value, items))


def _other_protocol(model: OperationModel) -> bytes:
    xml = model.service_model.resolved_protocol in ("query", "ec2")
    return http(b'{"NextToken": "1", "items": []}' if xml else b"<Reply><Items/></Reply>")


def _truncated(model: OperationModel) -> bytes:
    body = document(model)
    return http(body[: len(body) // 2])


def _every(type_names: str, instead: object) -> Reply:
    """Return documents in which every field of these types has this value."""

    def value(name: str, type_name: str) -> object:
        return instead if type_name in type_names.split() else plain(name, type_name)

    return _values(value)


def _paged(token: "object") -> Reply:
    def value(name: str, type_name: str) -> object:
        is_token = name.lower().endswith(("token", "marker"))
        return (token() if callable(token) else token) if is_token else plain(name, type_name)

    return _values(value)


_NUMBERS = "integer long float double"

#: The replies that no call may take for a success.
UNUSABLE: Mapping[str, Reply] = {
    "empty": _body(b""),
    "only spaces": _body(b"  \r\n"),
    "HTML": _body(_HTML, Content_Type="text/html"),
    "XHTML": _body(_XHTML, Content_Type="text/html"),
    "plain text": _body(b"OK", Content_Type="text/plain"),
    "truncated": _truncated,
    "another protocol": _other_protocol,
    "JSON null": _body(b"null"),
    "JSON list": _body(b"[]"),
    "JSON number": _body(b"1e999"),
    "JSON text": _body(b'"text"'),
    "deep JSON": _body(b"[" * 100_000),
    "deep XML": _body(b"<a>" * 10_000 + b"</a>" * 10_000),
    "XML entities": _body(
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><a>&b;</a>'
    ),
    "not UTF-8": _body(b"\xff\xfe\x00<\x00a\xc3\x28"),
    "NUL bytes": _body(b"\x00" * 64),
    "huge length in CBOR": _body(b"\xbf\x7b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "not compressed": _body(b"plain", Content_Encoding="gzip"),
    "compressed to nothing": _body(b"\x1f\x8b\x08", Content_Encoding="gzip"),
    "not chunked": _bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "shorter than announced": _bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<a/>"),
    "closed connection": _bytes(b""),
    "not HTTP": _bytes(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "no status": _bytes(b"HTTP/1.1 abc\r\n\r\n"),
    "no content": _bytes(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "too many headers": _bytes(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
    "redirect 301": _body(b"", 301, Location="http://127.0.0.1:9/"),
    "redirect 302": _body(_HTML, 302, Location="/elsewhere"),
    "redirect 303": _body(_XHTML, 303, Location="/elsewhere"),
    "redirect 307": _body(b"", 307, Location="http://[broken"),
    "redirect 308 without a place": _body(b"", 308),
    "not modified": _bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "400 empty": _body(b"", 400),
    "400 HTML": _body(_HTML, 400),
    "403 XHTML": _body(_XHTML, 403),
    "404 JSON list": _body(b"[]", 404),
    "407 of a proxy": _body(_HTML, 407),
    "413 JSON number": _body(b"1", 413),
    "429 empty": _body(b"", 429),
    "429 with a code": _error(429, "TooManyRequestsException"),
    "500 empty": _body(b"", 500),
    "500 HTML": _body(_HTML, 500),
    "500 with a code": _error(500, "ValidationError"),
    "503 JSON null": _body(b"null", 503),
    "error of an unknown code": _error(400, "Tea.Pot"),
    "error without a code": _error(400, None),
    "error without a message": _error(400, "Tea.Pot", None),
    "status 999": _body(b"", 999),
}

#: The replies with the documented fields, whose values are odd. Some calls need none of them.
ODD: Mapping[str, Reply] = {
    "documented": correct,
    "error with status 200": _error(200, "Throttling"),
    "no fields": _values(lambda *_: NOT_SENT, items=0),
    "null fields": _values(lambda *_: None),
    "empty lists": _values(plain, items=0),
    "two of everything": _values(plain, items=2),
    "empty texts": _every("string", ""),
    "texts that are no addresses": _every("string", "i-0abc\n<script>"),
    "texts that are addresses of no host": _every("string", "255.255.255.255"),
    "texts that are IPv6 addresses": _every("string", "fe80::1%eth0"),
    "texts that are numbers": _every("string", "9" * 5000),
    "texts that are lists": _every("string", ["text"]),
    "texts that are objects": _every("string", {"a": 1}),
    "numbers as JSON texts": _every("string", 7),
    "huge numbers": _every(_NUMBERS, 10**30),
    "negative numbers": _every(_NUMBERS, -1),
    "infinite numbers": _every(_NUMBERS, float("inf")),
    "numbers that are none": _every(_NUMBERS, float("nan")),
    "numbers that are texts": _every(_NUMBERS, "many"),
    "fractions": _every(_NUMBERS, 0.5),
    "flags that are texts": _every("boolean", "maybe"),
    "times that are texts": _every("timestamp", "yesterday"),
    "times that are huge": _every("timestamp", 10**30),
    "times without a zone": _every("timestamp", "2026-11-22T10:00:00"),
    "the same page again": _paged("again"),
    "pages without an end": _paged(lambda: f"page-{next(_numbers)}"),
    "a token that is a number": _paged(7),
    "a token that is a list": _paged(["a"]),
}
