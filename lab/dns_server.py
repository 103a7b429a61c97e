"""An authoritative DNS server for the lab, with RDS-shaped names and faults on demand.

    python -m lab.dns_server --host 127.0.0.1 --port P --zone FILE --query-log FILE

The zone is a JSON file that `Zone` replaces in one step; the server reads it again when it has
changed, so a flip is one write and takes effect with the next query. The query log has one line
for each query: time (epoch seconds), name, type and transport.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab.addresses import write_atomically

# What a client without EDNS takes over UDP (RFC 1035 §4.2.1).
_PLAIN_UDP_SIZE = 512


class ZoneError(ValueError):
    """A zone file does not hold a zone."""


class Fault(StrEnum):
    """What a name can be made to do instead of answering."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TRUNCATE = "truncate"
    """TC bit and no answer over UDP, the full answer over TCP."""


_FAULT_RCODES = {Fault.SERVFAIL: dns.rcode.SERVFAIL, Fault.REFUSED: dns.rcode.REFUSED}


@dataclass(frozen=True, slots=True)
class Record:
    """What the zone says about one name.

    Attributes:
        type: "A" or "CNAME".
        values: Addresses, or the one name that a CNAME leads to.
        ttl: Seconds. RDS endpoints have 5.
        fault: What happens instead of an answer, None for an answer.
    """

    type: str
    values: tuple[str, ...]
    ttl: int = 5
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.type == "A":
            for value in self.values:
                IPv4Address(value)
        elif self.type != "CNAME":
            raise ZoneError(f"type {self.type!r} is neither A nor CNAME")
        elif len(self.values) != 1:
            raise ZoneError("a CNAME leads to exactly one name")


def _normal(name: str) -> str:
    return name.rstrip(".").lower()


class Zone:
    """The zone file, as the one who writes it sees it.

    One writer at a time: a change reads the file, changes one name and replaces the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self._write({})

    def set_address(self, name: str, addresses: Sequence[str], ttl: int = 5) -> None:
        """Give a name these A records; it keeps its fault. None at all makes a NODATA answer."""
        self._change(name, type="A", values=tuple(addresses), ttl=ttl)

    def set_alias(self, name: str, target: str, ttl: int = 5) -> None:
        """Make a name a CNAME; it keeps its fault."""
        self._change(name, type="CNAME", values=(_normal(target),), ttl=ttl)

    def set_fault(self, name: str, fault: Fault | None) -> None:
        """Make a name fail, or answer again (None).

        Raises:
            KeyError: The zone does not have the name.
        """
        records = read_zone(self._path)
        records[_normal(name)] = replace(records[_normal(name)], fault=fault)
        self._write(records)

    def remove(self, name: str) -> None:
        """Forget a name; queries for it are answered with NXDOMAIN.

        Raises:
            KeyError: The zone does not have the name.
        """
        records = read_zone(self._path)
        del records[_normal(name)]
        self._write(records)

    def _change(self, name: str, *, type: str, values: tuple[str, ...], ttl: int) -> None:  # noqa: A002 - DNS's own word
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


def query_count(log: Path, name: str | None = None) -> int:
    """Return how many queries a query log holds, for one name or in all."""
    lines = log.read_text().splitlines()
    return sum(1 for line in lines if name is None or line.split()[1] == _normal(name))


class _ZoneFile:
    """The zone file, as the server sees it: read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._records: dict[str, Record] = {}

    def records(self) -> dict[str, Record]:
        status = self._path.stat()
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp:
            self._records = read_zone(self._path)
            self._stamp = stamp
        return self._records


@dataclass(frozen=True, slots=True)
class _Lookup:
    """The records along a chain of CNAMEs, and how the chain ends."""

    chain: tuple[tuple[str, Record], ...]
    rcode: dns.rcode.Rcode

    @classmethod
    def follow(cls, records: Mapping[str, Record], name: str, kind: str) -> Self:
        chain: dict[str, Record] = {}
        while name not in chain:
            record = records.get(name)
            if record is None:
                # The status is that of the last name, also behind an alias (RFC 6604 §3).
                return cls(tuple(chain.items()), dns.rcode.NXDOMAIN)
            chain[name] = record
            if record.type in {"A", kind}:
                return cls(tuple(chain.items()), dns.rcode.NOERROR)
            name = record.values[0]
        return cls((), dns.rcode.SERVFAIL)

    @property
    def fault(self) -> Fault | None:
        """The first fault along the chain."""
        return next((record.fault for _, record in self.chain if record.fault), None)


class Responder:
    """Answers DNS messages from a zone file and logs every query."""

    def __init__(self, zone: Path, query_log: IO[str]) -> None:
        self._zone = _ZoneFile(zone)
        self._zone.records()
        self._query_log = query_log

    def respond(self, wire: bytes, transport: str) -> bytes | None:
        """Return the answer to a query in wire form, None for no answer at all.

        Args:
            wire: The query.
            transport: "udp" or "tcp".

        Raises:
            ZoneError: The zone file was replaced by something else.
            OSError: The zone file cannot be read, or the log not written.
        """
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return _refusal(query, dns.rcode.NOTIMP)
        question = query.question[0]
        name, kind = _normal(question.name.to_text()), dns.rdatatype.to_text(question.rdtype)
        self._query_log.write(f"{time.time():.6f} {name} {kind} {transport}\n")
        lookup = _Lookup.follow(self._zone.records(), name, kind)
        if lookup.fault is Fault.TIMEOUT:
            return None
        if lookup.fault in _FAULT_RCODES:
            return _refusal(query, _FAULT_RCODES[lookup.fault])
        if lookup.fault is Fault.TRUNCATE and transport == "udp":
            return _truncated(query)
        return self._answer(query, kind, lookup, transport)

    def _answer(
        self, query: dns.message.Message, kind: str, lookup: _Lookup, transport: str
    ) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        response.set_rcode(lookup.rcode)
        for name, record in lookup.chain:
            if record.values and record.type in {kind, "CNAME"}:
                response.answer.append(_rrset(name, record))
        if transport == "tcp":
            return response.to_wire()
        try:
            return response.to_wire(max_size=max(_PLAIN_UDP_SIZE, query.payload))
        except dns.exception.TooBig:
            return _truncated(query)


def _rrset(name: str, record: Record) -> dns.rrset.RRset:
    values = [f"{value}." if record.type == "CNAME" else value for value in record.values]
    return dns.rrset.from_text_list(f"{name}.", record.ttl, "IN", record.type, values)


def _refusal(query: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes:
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    return response.to_wire()


def _truncated(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA | dns.flags.TC
    return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder, failed: "asyncio.Future[None]") -> None:
        self._responder = responder
        self._failed = failed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's promise; before Python 3.12 its own class does not inherit from this one.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            answer = self._responder.respond(data, "udp")
        except (OSError, ZoneError) as error:
            _fail(self._failed, error)
            return
        if answer is not None:
            self._transport.sendto(answer, addr)


def _fail(failed: "asyncio.Future[None]", error: Exception) -> None:
    if not failed.done():
        failed.set_exception(error)


async def _serve_tcp(
    responder: Responder,
    failed: "asyncio.Future[None]",
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        while True:
            length = int.from_bytes(await reader.readexactly(2))
            answer = responder.respond(await reader.readexactly(length), "tcp")
            if answer is not None:
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    except (OSError, ZoneError) as error:
        _fail(failed, error)
    finally:
        writer.close()


async def serve(host: str, port: int, zone: Path, query_log: IO[str]) -> None:
    """Answer queries over UDP and TCP until cancelled.

    Raises:
        ZoneError: The file holds no zone, now or later.
        OSError: The address is taken, or a file cannot be read or written.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    responder = Responder(zone, query_log)
    await loop.create_datagram_endpoint(
        lambda: _Udp(responder, failed), local_addr=(host, port), family=socket.AF_INET
    )
    # TCP comes last: who can connect knows that UDP is served too.
    await asyncio.start_server(
        lambda reader, writer: _serve_tcp(responder, failed, reader, writer), host, port
    )
    await failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server as a process of its own."""
    parser = argparse.ArgumentParser(prog="lab.dns_server", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--zone", type=Path, required=True)
    parser.add_argument("--query-log", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.query_log.open("a", buffering=1, encoding="utf-8") as query_log:
        try:
            asyncio.run(serve(options.host, options.port, options.zone, query_log))
        except (OSError, ZoneError) as error:
            sys.exit(f"lab.dns_server: {error}")


if __name__ == "__main__":
    main()
