"""Observes many endpoints at once, each according to its kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.config import Config

from target_sync.aws import CLIENT_CONFIG, make_client
from target_sync.fleet.model import EndpointKey
from target_sync.model import DatabaseKind, FailedObservation, LookupFailure, Observation
from target_sync.ports import Endpoint, NameResolver

#: The number of concurrent look-ups.
THREADS = 32
#: The time limit of one call for all look-ups together.
ALL_SECONDS = 20.0

_Result = Observation | FailedObservation


def make_shared_client(service: str) -> Any:
    """Return a client for all threads: by default botocore keeps ten connections only."""
    return make_client(service, CLIENT_CONFIG.merge(Config(max_pool_connections=THREADS)))


@dataclass(kw_only=True)
class NameLookups:
    """Implements ``target_sync.fleet.ports.NameLookupsPort``.

    The writer of a cluster is looked up by the cluster's name alone, which suffices to find the
    groups that need work. The worker then asks both sources. Readers need a full observation,
    because no name has them all.

    DNS and the API block the calling thread, so each look-up has a thread. They share the resolver
    and the clients: dnspython keeps the state of a look-up in an object of its own
    (``dns.resolver._Resolution``) and has no cache unless it is given one. A client of botocore is
    safe for many threads once it is made (boto3 guide, *Low-level clients*).

    Attributes:
        resolver: For every name.
        readers: Makes the endpoint of a cluster's readers from their name.
        now: The time of a look-up that timed out.
        seconds: The time limit of one call. A look-up that takes longer has timed out.
    """

    resolver: NameResolver
    readers: Callable[[str], Endpoint]
    now: Callable[[], float]
    seconds: float = ALL_SECONDS
    _slow: frozenset[EndpointKey] = field(default=frozenset(), init=False)

    def look_up(self, keys: Sequence[EndpointKey]) -> Mapping[EndpointKey, _Result]:
        """Look up each key once, 32 at a time; those that timed out in the last call come last.

        So names without a response delay the others by at most one time-out, and not at all from
        the second call on.
        """
        lookups = self._sorted(map(_lookup, keys))
        methods = {lookup: self._method(lookup) for lookup in lookups}
        # Not used as a context manager, which would wait for the look-ups that timed out.
        pool = ThreadPoolExecutor(THREADS)
        futures = {lookup: pool.submit(methods[lookup]) for lookup in lookups}
        done, _ = wait(futures.values(), timeout=self.seconds)
        pool.shutdown(wait=False, cancel_futures=True)
        results = {
            lookup: future.result() if future in done else self._timed_out(lookup)
            for lookup, future in futures.items()
        }
        self._slow = frozenset(lookup for lookup, result in results.items() if _is_slow(result))
        return {key: results[_lookup(key)] for key in keys}

    def _sorted(self, lookups: Iterable[EndpointKey]) -> Sequence[EndpointKey]:
        return sorted(set(lookups), key=lambda lookup: (lookup in self._slow, lookup))

    def _method(self, lookup: EndpointKey) -> Callable[[], _Result]:
        """Return the look-up as a function. It makes clients here, which is not thread-safe."""
        kind, name = lookup
        if kind is DatabaseKind.RDS_CLUSTER_READERS:
            return self.readers(name).observe
        return partial(self.resolver.resolve, name)

    def _timed_out(self, lookup: EndpointKey) -> FailedObservation:
        _, name = lookup
        return FailedObservation(
            name=name,
            failure=LookupFailure.TIMED_OUT,
            detail=f"The look-up of {name} did not end within the {self.seconds:g} s for all names"
            " of the fleet. Check that the function can reach its resolvers.",
            at=self.now(),
        )


def _lookup(key: EndpointKey) -> EndpointKey:
    """Return the key of the look-up, which all kinds but cluster readers share."""
    kind, name = key
    readers = kind is DatabaseKind.RDS_CLUSTER_READERS
    return (kind if readers else DatabaseKind.HOSTNAME), name


def _is_slow(result: _Result) -> bool:
    return isinstance(result, FailedObservation) and result.failure is LookupFailure.TIMED_OUT
