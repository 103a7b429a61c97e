"""The lab's caching resolver, like the resolver of a VPC.

    python -m lab.dns_cache --host 127.0.0.1 --port P --forward ZONE=HOST:PORT [--forward …]

It queries the server of the longest matching zone, follows CNAMEs across servers, and caches every
answer for its TTL. `.` is the zone of all other names.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab.dns_server import in_wire_form, read_query, serve

#: Queries a server of a zone; raises a DNSException or an OSError without an answer.
Ask = Callable[[dns.name.Name, dns.message.QueryMessage], dns.message.QueryMessage]

_UPSTREAM_SECONDS = 1.0
_MOST_LINKS = 8


class NoAnswerError(Exception):
    """No server is configured for a name, or no server answered."""


@dataclass(frozen=True, slots=True)
class _Entry:
    reply: dns.message.QueryMessage
    at: float

    def age(self, now: float) -> int:
        return int(now - self.at)

    def is_fresh(self, now: float) -> bool:
        return now < self.at + self.reply.resolve_chaining().minimum_ttl


class CachingResolver:
    """Answers queries from its cache, and fills it from the servers of the zones."""

    def __init__(
        self, zones: Sequence[dns.name.Name], ask: Ask, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._zones = sorted(zones, key=len, reverse=True)
        self._ask = ask
        self._now = now
        self._cache: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], _Entry] = {}

    def respond(self, wire: bytes, transport: str) -> bytes | None:
        """Return the response to a query in wire form; None for no response."""
        query = read_query(wire)
        if not isinstance(query, dns.message.QueryMessage):
            return query
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        try:
            self._fill(response, query.question[0].name, query.question[0].rdtype)
        except NoAnswerError:
            response.set_rcode(dns.rcode.SERVFAIL)
        return in_wire_form(response, query, transport)

    def _fill(
        self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> None:
        for _ in range(_MOST_LINKS):
            entry = self._entry(name, kind)
            response.set_rcode(entry.reply.rcode())
            for rrset in entry.reply.answer:
                remaining = rrset.ttl - entry.age(self._now())
                response.answer.append(
                    dns.rrset.from_rdata_list(rrset.name, remaining, list(rrset))
                )
            end = entry.reply.resolve_chaining()
            if end.answer is not None or end.canonical_name == name:
                response.authority = list(entry.reply.authority)
                return
            name = end.canonical_name
        raise NoAnswerError

    def _entry(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> _Entry:
        entry = self._cache.get((name, kind))
        if entry is None or not entry.is_fresh(self._now()):
            entry = self._cache[name, kind] = _Entry(self._fetch(name, kind), self._now())
        return entry

    def _fetch(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> dns.message.QueryMessage:
        zone = next((zone for zone in self._zones if name.is_subdomain(zone)), None)
        if zone is None:
            raise NoAnswerError
        try:
            reply = self._ask(zone, dns.message.make_query(name, kind, flags=0))
        except (dns.exception.DNSException, OSError) as error:
            raise NoAnswerError from error
        if reply.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            raise NoAnswerError
        return reply


def asking(servers: Mapping[dns.name.Name, tuple[str, int]]) -> Ask:
    """Return a function that queries the servers of these zones over the network."""

    def ask(zone: dns.name.Name, query: dns.message.QueryMessage) -> dns.message.QueryMessage:
        host, port = servers[zone]
        reply, _ = dns.query.udp_with_fallback(query, host, _UPSTREAM_SECONDS, port)
        assert isinstance(reply, dns.message.QueryMessage)  # noqa: S101 - the library checks it
        return reply

    return ask


def _forward(text: str) -> tuple[dns.name.Name, tuple[str, int]]:
    zone, _, server = text.partition("=")
    host, _, port = server.rpartition(":")
    return dns.name.from_text(zone), (host, int(port))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the resolver."""
    parser = argparse.ArgumentParser(prog="lab.dns_cache", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--forward", type=_forward, action="append", required=True)
    options = parser.parse_args(arguments)
    servers = dict(options.forward)
    resolver = CachingResolver(list(servers), asking(servers))
    try:
        asyncio.run(serve(options.host, options.port, resolver.respond))
    except OSError as error:
        sys.exit(f"lab.dns_cache: {error}")


if __name__ == "__main__":
    main()
