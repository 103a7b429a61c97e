"""Resolves names at the name servers of their own zone, without the caches of resolvers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice, takewhile

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from target_sync.endpoints.dns import aliases_of
from target_sync.model import FailedObservation, IPAddress, Observation
from target_sync.ports import NameResolver

SOURCE = "dns (authoritative)"
#: Seconds after which a look-up sends no further query. The last query takes up to `TRY_SECONDS`.
ATTEMPT_SECONDS = 1.5
#: Seconds for one query to one name server over UDP. A truncated answer is queried again over TCP.
TRY_SECONDS = 0.5
#: Seconds without queries to name servers after a look-up to which none replied.
PAUSE_SECONDS = 60.0
#: Bounds in seconds for the time that the name servers of a zone are cached.
LEAST_KEEP_SECONDS, MOST_KEEP_SECONDS = 60, 3600
#: The name servers per zone that are queried, so that a closed port takes one second at most.
_MOST_SERVERS = 2
#: The zones that a chain of CNAMEs may cross.
_MOST_ZONES = 8
#: The root and the top-level domains have fewer labels (the root is one label). They contain no
#: database, and their servers must not be queried every second.
_LEAST_LABELS = 3
#: The codes of a reply that says what the zone has. After another code, the next server is queried.
_DEFINITE = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class _NoAuthoritativeAnswerError(dns.exception.DNSException):
    """No name server of the zone gave an authoritative answer."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    now: Callable[[], float]
    at: float

    def remaining(self) -> float:
        return max(0.0, self.at - self.now())


@dataclass(slots=True)
class _Zone:
    """A zone and the addresses of its name servers. The last server that replied is first."""

    apex: dns.name.Name
    servers: list[str]
    until: float

    def prefer(self, server: str) -> None:
        # Every look-up uses the same server, because the servers may differ for a moment.
        self.servers.remove(server)
        self.servers.insert(0, server)


class AuthoritativeResolver:
    """Resolves names at their zone's name servers, with another resolver as a fallback.

    Implements ``target_sync.ports.NameResolver``. Only an authoritative answer with private
    addresses is used. The resolver of a VPC gives private addresses for names that are public
    elsewhere (a private hosted zone, EC2's public names), which the zone's own servers do not
    know. In all other cases ``system`` resolves the name, so this class causes no failure
    (ADR 0015).

    The system's resolvers find the name servers of a zone. They are cached for the TTL of their
    records, between one minute and one hour.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        system: NameResolver,
        zones: dns.resolver.Resolver | None = None,
        port: int = 53,
    ) -> None:
        """Make the resolver, without a query. Only tests give ``zones`` and ``port``."""
        self._now = now
        self._system = system
        self._resolver = zones or dns.resolver.Resolver()
        self._port = port
        self._zones: dict[dns.name.Name, _Zone] = {}
        self._paused_until = now()

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look up a name once."""
        return self._resolve_in_zones(name) or self._system.resolve(name)

    def _resolve_in_zones(self, name: str) -> Observation | None:
        if self._now() < self._paused_until:
            return None
        try:
            return self._follow(name)
        except (dns.exception.DNSException, OSError):
            # A blocked port stays blocked, so not every look-up has to wait for the time-out.
            self._paused_until = self._now() + PAUSE_SECONDS
            self._zones.clear()
            return None

    def _follow(self, name: str) -> Observation | None:
        """Follow a name from zone to zone. Return None if it has no private address."""
        deadline = _Deadline(self._now, self._now() + ATTEMPT_SECONDS)
        current, aliases = dns.name.from_text(name), list[dns.rrset.RRset]()
        for _ in range(_MOST_ZONES):
            zone = self._zone(current, deadline)
            chain = _records_of(zone, self._query(zone, current, deadline))
            if not chain:
                return None
            if chain[-1].rdtype == dns.rdatatype.A:
                return self._observed(name, chain[-1], [*aliases, *chain[:-1]])
            aliases += chain
            current = chain[-1][0].target
        return None

    def _observed(
        self, name: str, records: dns.rrset.RRset, aliases: Sequence[dns.rrset.RRset]
    ) -> Observation | None:
        addresses: frozenset[IPAddress] = frozenset(ip_address(it.address) for it in records)
        if any(address.is_global for address in addresses):
            return None
        return Observation(
            name=name,
            addresses=addresses,
            source=SOURCE,
            ttl=records.ttl,
            aliases=aliases_of(aliases),
            at=self._now(),
        )

    def _query(
        self, zone: _Zone, name: dns.name.Name, deadline: _Deadline
    ) -> dns.message.QueryMessage:
        # Without flags, so that no server resolves the name recursively from its cache.
        query = dns.message.make_query(name, dns.rdatatype.A, flags=0)
        for server in tuple(zone.servers):
            reply = self._try(query, server, min(TRY_SECONDS, deadline.remaining()))
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
        if not isinstance(reply, dns.message.QueryMessage) or reply.rcode() not in _DEFINITE:
            return None
        return reply if reply.flags & dns.flags.AA else None

    def _zone(self, name: dns.name.Name, deadline: _Deadline) -> _Zone:
        """Return the zone of a name, from the cache or from a look-up."""
        zone = self._zones.get(name)
        if zone is None or zone.until <= self._now():
            apex = dns.resolver.zone_for_name(
                name, resolver=self._resolver, lifetime=deadline.remaining()
            )
            zone = self._cached(apex) or self._look_up(apex, deadline)
            self._zones[name] = zone
        return zone

    def _cached(self, apex: dns.name.Name) -> _Zone | None:
        zones = (it for it in self._zones.values() if it.apex == apex and it.until > self._now())
        return next(zones, None)

    def _look_up(self, apex: dns.name.Name, deadline: _Deadline) -> _Zone:
        if len(apex) < _LEAST_LABELS:
            raise _NoAuthoritativeAnswerError
        hosts = self._resolver.resolve(apex, "NS", search=False, lifetime=deadline.remaining())
        ttls, servers = [hosts.chaining_result.minimum_ttl], list[str]()
        for answer in islice(self._addresses(hosts, deadline), _MOST_SERVERS):
            ttls.append(answer.chaining_result.minimum_ttl)
            servers.append(answer[0].address)
        keep = max(LEAST_KEEP_SECONDS, min(MOST_KEEP_SECONDS, *ttls))
        return _Zone(apex, servers, self._now() + keep)

    def _addresses(
        self, hosts: dns.resolver.Answer, deadline: _Deadline
    ) -> Iterator[dns.resolver.Answer]:
        """Yield the addresses of each name server that has any, by a look-up for each."""
        for host in hosts:
            with suppress(dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                yield self._resolver.resolve(
                    host.target, "A", search=False, lifetime=deadline.remaining()
                )


def _records_of(zone: _Zone, reply: dns.message.QueryMessage) -> list[dns.rrset.RRset]:
    """Return the chain of records from the queried name, up to the end of the zone.

    A server has authority for its zone only. Its records of other zones are ignored
    (RFC 2181 §5.4.1). A name that does not exist has no records, whatever the reply lists.
    """
    if reply.rcode() == dns.rcode.NXDOMAIN:
        return []

    def chain() -> Iterator[dns.rrset.RRset]:
        result = reply.resolve_chaining()
        yield from result.cnames
        if result.answer is not None:
            yield result.answer

    return list(takewhile(lambda records: records.name.is_subdomain(zone.apex), chain()))
