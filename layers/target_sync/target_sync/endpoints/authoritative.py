"""Names as their zone's own name servers tell them, past the caches of the resolvers."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice, takewhile

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver
import dns.rrset

from target_sync.model import FailedObservation, IPAddress, Observation
from target_sync.ports import NameResolver

SOURCE = "dns (authoritative)"
#: Seconds after which an attempt begins nothing more. What it began may take `TRY_SECONDS` more.
ATTEMPT_SECONDS = 1.5
#: Seconds for one try at one name server: over UDP, and once more over TCP if it truncates.
TRY_SECONDS = 0.5
#: Seconds without a further attempt after one in which nobody answered.
PAUSE_SECONDS = 60.0
#: Bounds in seconds for the time that a zone's name servers are remembered.
LEAST_KEEP_SECONDS, MOST_KEEP_SECONDS = 60, 3600
#: How many of a zone's name servers are asked, so that a closed port costs a second and no more.
_MOST_SERVERS = 2
#: How many zones a chain of CNAMEs may lead through.
_MOST_ZONES = 8
#: The root and the top-level domains have fewer labels (the root is one). No database's address
#: is in them, and their servers are not ours to ask every second.
_LEAST_LABELS = 3


class _NoAuthoritativeAnswerError(dns.exception.DNSException):
    """No name server of the zone answered with authority."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    now: Callable[[], float]
    at: float

    def left(self) -> float:
        return max(0.0, self.at - self.now())


@dataclass(slots=True)
class _Zone:
    """A zone and the addresses of its name servers; the one that answered last comes first."""

    apex: dns.name.Name
    servers: list[str]
    until: float

    def prefer(self, server: str) -> None:
        # The same server at every look: the servers of a zone may differ for a moment.
        self.servers.remove(server)
        self.servers.insert(0, server)


class AuthoritativeResolver:
    """The name servers of a name's own zone; the system's resolver where they do not help.

    Implements ``target_sync.ports.NameResolver``. Only a positive answer with authority
    counts, and only with private addresses: the resolver of a VPC gives private addresses for
    names that are public elsewhere (a private hosted zone, EC2's public names), and the zone's
    own servers know nothing of that. For everything else ``system`` has the word. So an answer
    is never missing because of this class (ADR 0015).

    The name servers of a zone come from the system's resolvers and are remembered for the TTL of
    their records, between one minute and one hour.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        system: NameResolver,
        zones: dns.resolver.Resolver | None = None,
        port: int = 53,
    ) -> None:
        """Prepare, without asking anybody.

        Args:
            now: Seconds of a monotonic clock.
            system: Who answers wherever the zone's own servers do not.
            zones: Who is asked for zones and their name servers; the system's by default.
            port: Where name servers listen. Only a test has another one.
        """
        self._now = now
        self._system = system
        self._resolver = zones or dns.resolver.Resolver()
        self._port = port
        self._zones: dict[dns.name.Name, _Zone] = {}
        self._paused_until = now()

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look a name up once."""
        return self._ask_zone(name) or self._system.resolve(name)

    def _ask_zone(self, name: str) -> Observation | None:
        if self._now() < self._paused_until:
            return None
        try:
            return self._follow(name)
        except (dns.exception.DNSException, OSError):
            # A closed port stays closed: not every look shall pay for finding out.
            self._paused_until = self._now() + PAUSE_SECONDS
            self._zones.clear()
            return None

    def _follow(self, name: str) -> Observation | None:
        """Follow a name from zone to zone; None if it leads to no address of ours."""
        deadline = _Deadline(self._now, self._now() + ATTEMPT_SECONDS)
        asked, ttls = dns.name.from_text(name), list[int]()
        for _ in range(_MOST_ZONES):
            zone = self._zone(asked, deadline)
            chain = _records_of(zone, self._ask(zone, asked, deadline))
            if not chain:
                return None
            ttls += [records.ttl for records in chain]
            if chain[-1].rdtype == dns.rdatatype.A:
                return self._observed(name, chain[-1], min(ttls))
            asked = chain[-1][0].target
        return None

    def _observed(self, name: str, records: dns.rrset.RRset, ttl: int) -> Observation | None:
        addresses: frozenset[IPAddress] = frozenset(ip_address(it.address) for it in records)
        if any(address.is_global for address in addresses):
            return None
        return Observation(name=name, addresses=addresses, source=SOURCE, ttl=ttl, at=self._now())

    def _ask(
        self, zone: _Zone, name: dns.name.Name, deadline: _Deadline
    ) -> dns.message.QueryMessage:
        # No flags: nobody shall look further on our behalf and answer from a cache.
        query = dns.message.make_query(name, dns.rdatatype.A, flags=0)
        for server in tuple(zone.servers):
            reply = self._try(query, server, min(TRY_SECONDS, deadline.left()))
            if reply is not None:
                zone.prefer(server)
                return reply
        raise _NoAuthoritativeAnswerError

    def _try(
        self, query: dns.message.Message, server: str, seconds: float
    ) -> dns.message.QueryMessage | None:
        try:
            reply, _ = dns.query.udp_with_fallback(
                query, server, seconds, self._port, ignore_unexpected=True, ignore_errors=True
            )
        except (dns.exception.DNSException, OSError):
            return None
        if isinstance(reply, dns.message.QueryMessage) and reply.flags & dns.flags.AA:
            return reply
        return None

    def _zone(self, name: dns.name.Name, deadline: _Deadline) -> _Zone:
        """The zone of a name, remembered or found."""
        zone = self._zones.get(name)
        if zone is None or zone.until <= self._now():
            apex = dns.resolver.zone_for_name(
                name, resolver=self._resolver, lifetime=deadline.left()
            )
            zone = self._known(apex) or self._found(apex, deadline)
            self._zones[name] = zone
        return zone

    def _known(self, apex: dns.name.Name) -> _Zone | None:
        known = (it for it in self._zones.values() if it.apex == apex and it.until > self._now())
        return next(known, None)

    def _found(self, apex: dns.name.Name, deadline: _Deadline) -> _Zone:
        if len(apex) < _LEAST_LABELS:
            raise _NoAuthoritativeAnswerError
        hosts = self._resolver.resolve(apex, "NS", search=False, lifetime=deadline.left())
        ttls, servers = [hosts.chaining_result.minimum_ttl], list[str]()
        for answer in islice(self._addresses(hosts, deadline), _MOST_SERVERS):
            ttls.append(answer.chaining_result.minimum_ttl)
            servers.append(answer[0].address)
        keep = max(LEAST_KEEP_SECONDS, min(MOST_KEEP_SECONDS, *ttls))
        return _Zone(apex, servers, self._now() + keep)

    def _addresses(
        self, hosts: dns.resolver.Answer, deadline: _Deadline
    ) -> Iterator[dns.resolver.Answer]:
        """The addresses of each name server that has any, as they are needed."""
        for host in hosts:
            with suppress(dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                yield self._resolver.resolve(
                    host.target, "A", search=False, lifetime=deadline.left()
                )


def _records_of(zone: _Zone, reply: dns.message.QueryMessage) -> list[dns.rrset.RRset]:
    """The chain from the name that was asked for, as far as it lies in the zone.

    Authority is for the zone only: what a server adds about other zones is hearsay
    (RFC 2181 §5.4.1).
    """

    def chain() -> Iterator[dns.rrset.RRset]:
        result = reply.resolve_chaining()
        yield from result.cnames
        if result.answer is not None:
            yield result.answer

    return list(takewhile(lambda records: records.name.is_subdomain(zone.apex), chain()))
