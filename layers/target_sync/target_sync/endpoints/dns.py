"""Resolves names with DNS, without a cache of our own. Each kind of failure is recognized."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.resolver
import dns.rrset

from target_sync.model import Alias, FailedObservation, LookupFailure, Observation
from target_sync.ports import NameResolver

#: Seconds for one look-up, with all servers and tries.
LOOKUP_SECONDS = 4.0
#: The most seconds for one query to one server. The servers of RDS reply in milliseconds.
TRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NameServer:
    """A DNS server given by the user, for example an on-premises one."""

    address: str
    port: int = 53


@dataclass(frozen=True, slots=True)
class DnsEndpoint:
    """A host name. Implements ``target_sync.ports.Endpoint``."""

    name: str
    resolver: NameResolver

    def observe(self) -> Observation | FailedObservation:
        """Look up the name once."""
        return self.resolver.resolve(self.name)


class DnsResolver:
    """Resolves names at the system's DNS servers, or at given ones.

    Implements ``target_sync.ports.NameResolver``. It queries A records only, because an IPv4
    target group takes no others (ELBv2 API reference, CreateTargetGroup, IpAddressType).
    """

    def __init__(
        self, *, now: Callable[[], float], name_servers: Sequence[NameServer] = ()
    ) -> None:
        self._now = now
        self._resolver = _resolver(name_servers)

    def resolve(self, name: str) -> Observation | FailedObservation:
        """Look up a name once."""
        try:
            answer = self._resolver.resolve(
                f"{name.rstrip('.')}.", "A", search=False, lifetime=LOOKUP_SECONDS
            )
        except dns.resolver.NXDOMAIN:
            failure = LookupFailure.NAME_DOES_NOT_EXIST
            detail = f"{name} does not exist in DNS. Was the database renamed or deleted?"
        except dns.resolver.NoAnswer:
            failure = LookupFailure.NO_ADDRESS
            detail = f"{name} exists in DNS but has no IPv4 address."
        except dns.exception.Timeout:
            failure = LookupFailure.TIMED_OUT
            detail = (
                f"No DNS server answered for {name} within {LOOKUP_SECONDS:g} s."
                " Can the function reach its resolvers?"
            )
        except dns.resolver.NoNameservers as error:
            failure = LookupFailure.SERVERS_FAILED
            detail = f"Every DNS server failed for {name}: {error}"
        except (dns.exception.DNSException, OSError) as error:
            failure = LookupFailure.BAD_ANSWER
            detail = f"The DNS answer for {name} could not be used: {type(error).__name__}: {error}"
        else:
            return Observation(
                name=name,
                addresses=frozenset(ip_address(record.address) for record in answer),
                source="dns",
                ttl=answer.ttl,
                aliases=aliases_of(answer.chaining_result.cnames),
                at=self._now(),
            )
        return FailedObservation(name=name, failure=failure, detail=detail, at=self._now())


def aliases_of(records: Iterable[dns.rrset.RRset]) -> tuple[Alias, ...]:
    """Return the aliases in these CNAME records."""
    return tuple(Alias(_text(it.name), _text(it[0].target), it.ttl) for it in records)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def make_resolver(servers: Iterable[tuple[str, int]], now: Callable[[], float]) -> DnsResolver:
    """Return a resolver for these servers (address, port), or for the system's without any."""
    return DnsResolver(now=now, name_servers=[NameServer(*server) for server in servers])


def _resolver(name_servers: Sequence[NameServer]) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=not name_servers)
    if name_servers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(server.address, server.port) for server in name_servers
        ]
    # Every server gets a query, also if the ones before it are silent.
    resolver.timeout = min(TRY_SECONDS, LOOKUP_SECONDS / max(1, len(resolver.nameservers)))
    return resolver
