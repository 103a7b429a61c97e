"""The lab's authoritative DNS server, with faults on demand.

    python -m lab.dns_server --host 127.0.0.1 --port P --zone FILE --query-log FILE

The zone is a JSON file that `Zone` replaces in one step. The server reads a changed file before the
next query. The query log has a line for each query: time (epoch seconds), name, type, transport.

Without NS records the server is authoritative for every name. With NS records it is authoritative
for their zones, and refuses queries for other names.
"""

import argparse
import asyncio
import json
import math
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Self, TypeAlias, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab.addresses import ReplacedFile, write_atomically

# The longest UDP message for a client without EDNS (RFC 1035 §4.2.1).
_PLAIN_UDP_SIZE = 512


class ZoneError(ValueError):
    """A zone file does not hold a zone."""


class Fault(StrEnum):
    """A fault of a name."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TRUNCATE = "truncate"
    """TC bit and no answer over UDP, the full answer over TCP."""


#: Returns the response to a query over "udp" or "tcp", in wire form; None: no response.
Respond: TypeAlias = Callable[[bytes, str], bytes | None]

_FAULT_RCODES = {Fault.SERVFAIL: dns.rcode.SERVFAIL, Fault.REFUSED: dns.rcode.REFUSED}


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one name.

    Attributes:
        type: "A", "CNAME", or "NS" at the apex of a zone.
        values: Addresses, the one target of a CNAME, or the zone's name servers.
        ttl: Seconds. RDS endpoints have 5.
        fault: The fault instead of an answer; None for an answer.
    """

    type: str
    values: tuple[str, ...]
    ttl: int = 5
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.type == "A":
            for value in self.values:
                IPv4Address(value)
        elif self.type not in {"CNAME", "NS"}:
            raise ZoneError(f"type {self.type!r} is neither A, CNAME nor NS")
        elif self.type == "CNAME" and len(self.values) != 1:
            raise ZoneError("a CNAME has exactly one target")


def _normal(name: str) -> str:
    return name.rstrip(".").lower()


class Zone:
    """Writes the zone file. There may be one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self._write({})

    def set_address(self, name: str, addresses: Sequence[str], ttl: int = 5) -> None:
        """Give a name these A records; it keeps its fault. No address makes a NODATA answer."""
        self._change(name, type="A", values=tuple(addresses), ttl=ttl)

    def set_alias(self, name: str, target: str, ttl: int = 5) -> None:
        """Make a name a CNAME; it keeps its fault."""
        self._change(name, type="CNAME", values=(_normal(target),), ttl=ttl)

    def set_name_servers(self, apex: str, names: Sequence[str], ttl: int = 60) -> None:
        """Begin a zone at a name, with these name servers; it keeps its fault."""
        self._change(apex, type="NS", values=tuple(map(_normal, names)), ttl=ttl)

    def set_fault(self, name: str, fault: Fault | None) -> None:
        """Set the fault of a name; None removes it.

        Raises:
            KeyError: The zone does not have the name.
        """
        records = read_zone(self._path)
        records[_normal(name)] = replace(records[_normal(name)], fault=fault)
        self._write(records)

    def remove(self, name: str) -> None:
        """Remove a name, so that its answer is NXDOMAIN.

        Raises:
            KeyError: The zone does not have the name.
        """
        records = read_zone(self._path)
        del records[_normal(name)]
        self._write(records)

    def _change(self, name: str, *, type: str, values: tuple[str, ...], ttl: int) -> None:  # noqa: A002 - the term of DNS
        records = read_zone(self._path)
        before = records.get(_normal(name))
        fault = before.fault if before else None
        records[_normal(name)] = Record(type, values, ttl, fault)
        self._write(records)

    def _write(self, records: Mapping[str, Record]) -> None:
        entries = {name: asdict(record) for name, record in records.items()}
        write_atomically(self._path, json.dumps(entries, indent=2) + "\n")


def read_zone(path: Path) -> dict[str, Record]:
    """Read a zone file.

    Raises:
        ZoneError: The file does not hold a zone; the message names the file.
        OSError: The file cannot be read.
    """
    try:
        return {_normal(name): _record(e) for name, e in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ZoneError(f"{path} is not a zone: {error!r}") from error


def _record(entry: Mapping[str, object]) -> Record:
    values, ttl, fault = entry["values"], entry.get("ttl", 5), entry.get("fault")
    if not isinstance(values, list) or not isinstance(ttl, int):
        raise ZoneError(f"{entry} needs a list of values and a ttl in seconds")
    return Record(
        type=str(entry["type"]),
        values=tuple(str(value) for value in values),
        ttl=ttl,
        fault=None if fault is None else Fault(str(fault)),
    )


def query_count(
    log: Path, name: str | None = None, since: float = 0.0, until: float = math.inf
) -> int:
    """Return the number of queries in a query log, for one name or for all, in a period."""
    # The server may be writing the last line.
    lines = log.read_text().rpartition("\n")[0].splitlines()
    entries = ((float(at), asked) for at, asked, *_ in map(str.split, lines))
    return sum(
        since <= at < until and (name is None or asked == _normal(name)) for at, asked in entries
    )


@dataclass(frozen=True, slots=True)
class _Lookup:
    """The records along a chain of CNAMEs.

    Attributes:
        chain: The names with their records.
        rcode: The status of the last name.
        apex: The apex of the last name's zone, with its record; None without an NS record.
    """

    chain: tuple[tuple[str, Record], ...]
    rcode: dns.rcode.Rcode
    apex: tuple[str, Record] | None = None

    @classmethod
    def follow(cls, records: Mapping[str, Record], name: str, kind: str) -> Self:
        chain: dict[str, Record] = {}
        while name not in chain:
            record, apex = records.get(name), _apex(records, name)
            if record is None:
                elsewhere = apex is None and any(it.type == "NS" for it in records.values())
                return cls(
                    tuple(chain.items()),
                    _absent(elsewhere=elsewhere, behind_alias=bool(chain)),
                    apex,
                )
            chain[name] = record
            if record.type != "CNAME" or kind == "CNAME":
                return cls(tuple(chain.items()), dns.rcode.NOERROR, apex)
            name = record.values[0]
        return cls((), dns.rcode.SERVFAIL)

    @property
    def fault(self) -> Fault | None:
        """The first fault along the chain."""
        return next((record.fault for _, record in self.chain if record.fault), None)


def _apex(records: Mapping[str, Record], name: str) -> tuple[str, Record] | None:
    """Return the nearest name with an NS record, from a name upwards."""
    while name:
        record = records.get(name)
        if record is not None and record.type == "NS":
            return name, record
        name = name.partition(".")[2]
    return None


def _absent(*, elsewhere: bool, behind_alias: bool) -> dns.rcode.Rcode:
    """Return the status of a name without a record."""
    if not elsewhere:
        # The status of the last name, also behind an alias (RFC 6604 §3).
        return dns.rcode.NXDOMAIN
    return dns.rcode.NOERROR if behind_alias else dns.rcode.REFUSED


class Responder:
    """Answers DNS queries from a zone file and logs every query."""

    def __init__(self, zone: Path, query_log: IO[str]) -> None:
        self._zone = ReplacedFile(zone, read_zone)
        self._query_log = query_log

    def respond(self, wire: bytes, transport: str) -> bytes | None:
        """Return the response to a query in wire form; None for no response.

        Args:
            wire: The query.
            transport: "udp" or "tcp".

        Raises:
            ZoneError: The file is no longer a zone file.
            OSError: The zone file cannot be read, or the log not written.
        """
        query = read_query(wire)
        if not isinstance(query, dns.message.QueryMessage):
            return query
        question = query.question[0]
        name, kind = _normal(question.name.to_text()), dns.rdatatype.to_text(question.rdtype)
        self._query_log.write(f"{time.time():.6f} {name} {kind} {transport}\n")
        lookup = _Lookup.follow(self._zone.content, name, kind)
        if lookup.fault is Fault.TIMEOUT:
            return None
        if lookup.fault in _FAULT_RCODES:
            return _refusal(query, _FAULT_RCODES[lookup.fault])
        if lookup.rcode == dns.rcode.REFUSED:
            return _refusal(query, lookup.rcode)
        response = _answer(query, kind, lookup)
        if lookup.fault is Fault.TRUNCATE and transport == "udp":
            return _truncated(response)
        return in_wire_form(response, query, transport)


def read_query(wire: bytes) -> dns.message.QueryMessage | bytes | None:
    """Return the query; for another message an error response in wire form, or None."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    if not isinstance(query, dns.message.QueryMessage) or len(query.question) != 1:
        return _refusal(query, dns.rcode.NOTIMP)
    return query


def _answer(query: dns.message.Message, kind: str, lookup: _Lookup) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.set_rcode(lookup.rcode)
    for name, record in lookup.chain:
        if record.values and record.type in {kind, "CNAME"}:
            response.answer.append(_rrset(name, record))
    asked_for = [it for it in response.answer if dns.rdatatype.to_text(it.rdtype) == kind]
    if lookup.apex is not None and not asked_for:
        is_apex = bool(lookup.chain) and lookup.chain[-1][0] == lookup.apex[0]
        section = response.answer if kind == "SOA" and is_apex else response.authority
        section.append(_start_of_authority(*lookup.apex))
    return response


def _start_of_authority(apex: str, record: Record) -> dns.rrset.RRset:
    text = f"{record.values[0]}. hostmaster.{apex}. 1 7200 900 1209600 {record.ttl}"
    return dns.rrset.from_text(f"{apex}.", record.ttl, "IN", "SOA", text)


def in_wire_form(
    response: dns.message.Message, query: dns.message.Message, transport: str
) -> bytes:
    """Return a response in wire form, truncated if it is too long for the client's UDP."""
    if transport == "tcp":
        return response.to_wire()
    try:
        return response.to_wire(max_size=max(_PLAIN_UDP_SIZE, query.payload))
    except dns.exception.TooBig:
        return _truncated(response)


def _rrset(name: str, record: Record) -> dns.rrset.RRset:
    values = [value if record.type == "A" else f"{value}." for value in record.values]
    return dns.rrset.from_text_list(f"{name}.", record.ttl, "IN", record.type, values)


def _refusal(query: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    return response.to_wire()


def _truncated(response: dns.message.Message) -> bytes:
    response.flags |= dns.flags.TC
    response.answer, response.authority = [], []
    return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, respond: Respond, failed: "asyncio.Future[None]") -> None:
        self._respond = respond
        self._failed = failed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before Python 3.12 asyncio's class does not inherit from DatagramTransport.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            answer = self._respond(data, "udp")
        except (OSError, ZoneError) as error:
            _fail(self._failed, error)
            return
        if answer is not None:
            self._transport.sendto(answer, addr)


def _fail(failed: "asyncio.Future[None]", error: Exception) -> None:
    if not failed.done():
        failed.set_exception(error)


async def _serve_tcp(
    respond: Respond,
    failed: "asyncio.Future[None]",
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        while True:
            length = int.from_bytes(await reader.readexactly(2))
            answer = respond(await reader.readexactly(length), "tcp")
            if answer is not None:
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    except (OSError, ZoneError) as error:
        _fail(failed, error)
    finally:
        writer.close()


async def serve(host: str, port: int, respond: Respond) -> None:
    """Answer queries over UDP and TCP until cancelled.

    Raises:
        ZoneError: The zone file is no longer a zone file.
        OSError: The address is taken, or the responder cannot read or write a file.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    await loop.create_datagram_endpoint(
        lambda: _Udp(respond, failed), local_addr=(host, port), family=socket.AF_INET
    )
    # TCP starts last, so that an accepted connection shows that UDP is ready too.
    await asyncio.start_server(
        lambda reader, writer: _serve_tcp(respond, failed, reader, writer), host, port
    )
    await failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(prog="lab.dns_server", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--zone", type=Path, required=True)
    parser.add_argument("--query-log", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.query_log.open("a", buffering=1, encoding="utf-8") as query_log:
        try:
            responder = Responder(options.zone, query_log)
            asyncio.run(serve(options.host, options.port, responder.respond))
        except (OSError, ZoneError) as error:
            sys.exit(f"lab.dns_server: {error}")


if __name__ == "__main__":
    main()
