"""Measure how much earlier authoritative DNS gives a new address than a caching resolver.

It uses real DNS on loopback: a name server of the lab with RDS's TTL of 5 s, and a caching
resolver.
The address flips at random moments, while the benchmark queries both in turn. The figures show the
effect of the cache only. On AWS, the network to Route 53 and the propagation of a change add to it.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import dns.nameserver
import dns.resolver

from lab.addresses import free_port_on
from lab.dns_server import Zone
from lab.processes import Supervisor, accepts_connections
from target_sync.endpoints.authoritative import SOURCE, AuthoritativeResolver
from target_sync.endpoints.dns import DnsResolver, NameServer
from target_sync.model import FailedObservation, Observation

ROOT = Path(__file__).resolve().parents[1]
NAME_SERVER_HOST, CACHE_HOST = "127.0.0.2", "127.0.0.1"
ZONE = "eu-west-1.rds.amazonaws.com"
NAME = f"orders.abcdefghijkl.{ZONE}"
ADDRESSES = ("10.0.1.11", "10.0.2.12")
TTL = 5
# The pause between two queries to the same server. A run queries once a second.
PAUSE_SECONDS = 0.005

Resolve = Callable[[str], Observation | FailedObservation]


def serve(supervisor: Supervisor) -> tuple[Zone, int]:
    """Start the name server and the resolver; return the zone and their port."""
    port, zone_file = free_port_on((NAME_SERVER_HOST, CACHE_HOST)), supervisor.work_dir / "zone"
    zone = Zone(zone_file)
    zone.set_name_servers(ZONE, [f"ns1.{ZONE}"], ttl=3600)
    zone.set_address(f"ns1.{ZONE}", [NAME_SERVER_HOST], ttl=3600)
    zone.set_address(NAME, [ADDRESSES[0]], ttl=TTL)
    log = supervisor.work_dir / "queries.log"
    for module, host, options in (
        ("dns_server", NAME_SERVER_HOST, ("--zone", zone_file, "--query-log", log)),
        ("dns_cache", CACHE_HOST, ("--forward", f".={NAME_SERVER_HOST}:{port}")),
    ):
        command = [sys.executable, "-m", f"lab.{module}", "--host", host, "--port", str(port)]
        supervisor.start(
            module,
            [*command, *options],
            cwd=ROOT,
            ready=lambda host=host: accepts_connections(host, port),  # type: ignore[misc]
        )
    return zone, port


def ways(port: int) -> tuple[Resolve, Resolve]:
    """Return the look-up by the resolver, and the look-up by the zone's name servers."""
    system = DnsResolver(now=time.monotonic, name_servers=[NameServer(CACHE_HOST, port)])
    zones = dns.resolver.Resolver(configure=False)
    zones.nameservers = [dns.nameserver.Do53Nameserver(CACHE_HOST, port)]
    authoritative = AuthoritativeResolver(now=time.monotonic, system=system, zones=zones, port=port)
    first = time.perf_counter()
    seen = authoritative.resolve(NAME)
    print(f"first authoritative look-up, zone unknown: {_ms(time.perf_counter() - first)}")
    if not isinstance(seen, Observation) or seen.source != SOURCE:
        sys.exit(f"bench.authoritative: the name server gave no authoritative answer: {seen}")
    return system.resolve, authoritative.resolve


def seconds_until_seen(
    iterations: Sequence[Resolve], address: str, took: Sequence[list[float]]
) -> list[float]:
    """Return the seconds until each look-up gives the address; record the durations in ``took``."""
    start, seen = time.perf_counter(), dict[int, float]()
    while len(seen) < len(iterations):
        for number, resolve in enumerate(iterations):
            before = time.perf_counter()
            observation = resolve(NAME)
            took[number].append(time.perf_counter() - before)
            if isinstance(observation, Observation) and observation.addresses == {
                ip_address(address)
            }:
                seen.setdefault(number, time.perf_counter() - start)
        time.sleep(PAUSE_SECONDS)
    return [seen[number] for number in range(len(iterations))]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _summary(values: Sequence[float], form: Callable[[float], str]) -> str:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    chosen = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(values)}
    return "  ".join(f"{name} {form(value)}" for name, value in chosen.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.authoritative", description=__doc__)
    parser.add_argument("--flips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args(arguments)
    moments = random.Random(options.seed)  # noqa: S311 - no secret
    took: tuple[list[float], list[float]] = ([], [])
    seen: list[list[float]] = []
    with Supervisor() as supervisor:
        zone, port = serve(supervisor)
        iterations = ways(port)
        for flip in range(options.flips):
            # Query before the flip, so that the cache holds the old address.
            seconds_until_seen(iterations, ADDRESSES[flip % 2], took)
            time.sleep(moments.uniform(0, TTL))
            seconds_until_seen(iterations, ADDRESSES[flip % 2], took)
            zone.set_address(NAME, [ADDRESSES[(flip + 1) % 2]], ttl=TTL)
            seen.append(seconds_until_seen(iterations, ADDRESSES[(flip + 1) % 2], took))
    print(f"{options.flips} flips, TTL {TTL} s, a look-up every {PAUSE_SECONDS * 1000:g} ms")
    for number, way in enumerate(("resolver", "name servers")):
        print(
            f"{way:12}  flip visible after"
            f"  {_summary([it[number] for it in seen], '{:.2f} s'.format)}"
        )
        print(f"{way:12}  a look-up takes     {_summary(took[number], _ms)}")


if __name__ == "__main__":
    main()
