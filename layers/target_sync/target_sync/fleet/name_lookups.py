"""Many names at once, each in the way of its kind of endpoint."""

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

#: Looked up at the same time.
THREADS = 32
#: Seconds for all questions of one call together.
ALL_SECONDS = 20.0

_Answer = Observation | FailedObservation


def make_shared_client(service: str) -> Any:
    """A client of an API for all threads at once: botocore keeps ten connections by itself."""
    return make_client(service, CLIENT_CONFIG.merge(Config(max_pool_connections=THREADS)))


@dataclass(kw_only=True)
class NameLookups:
    """Implements ``target_sync.fleet.ports.NamesPort``.

    A writer is asked for by its cluster's name alone: the sweep only finds out which groups have
    to be looked at, and who looks asks both sources. The readers are asked for as in a look,
    because no name has them all.

    Threads, because DNS and the API wait in the thread that asks. These share the resolver and
    the clients: dnspython keeps the state of each look-up in an object of its own
    (``dns.resolver._Resolution``) and has no cache unless it is given one; a client of botocore
    may be used by many threads once it is made (boto3 guide, *Low-level clients*).

    Attributes:
        resolver: For every name.
        readers: Makes the endpoint of a cluster's readers from their name.
        now: The time, for an answer that was not waited for.
        seconds: For all questions of one call; what has no answer then has timed out.
    """

    resolver: NameResolver
    readers: Callable[[str], Endpoint]
    now: Callable[[], float]
    seconds: float = ALL_SECONDS
    _late: frozenset[EndpointKey] = field(default=frozenset(), init=False)

    def ask(
        self, questions: Sequence[EndpointKey]
    ) -> Mapping[EndpointKey, Observation | FailedObservation]:
        """Ask each once, 32 at a time, and after all others those that timed out the last time.

        So the names that nobody answers for delay the others by no more than one time-out, and
        by none from the second call on.
        """
        lookups = self._in_order(map(_lookup, questions))
        tries = {lookup: self._try(lookup) for lookup in lookups}
        # Not as a context, which would wait for look-ups that nobody waits for any more.
        pool = ThreadPoolExecutor(THREADS)
        futures = {lookup: pool.submit(tries[lookup]) for lookup in lookups}
        done, _ = wait(futures.values(), timeout=self.seconds)
        pool.shutdown(wait=False, cancel_futures=True)
        answers = {
            lookup: future.result() if future in done else self._timed_out(lookup)
            for lookup, future in futures.items()
        }
        self._late = frozenset(it for it, answer in answers.items() if _is_late(answer))
        return {question: answers[_lookup(question)] for question in questions}

    def _in_order(self, lookups: Iterable[EndpointKey]) -> Sequence[EndpointKey]:
        return sorted(set(lookups), key=lambda lookup: (lookup in self._late, lookup))

    def _try(self, lookup: EndpointKey) -> Callable[[], _Answer]:
        """Made in the thread of the caller: making a client is not safe in many."""
        kind, name = lookup
        if kind is DatabaseKind.RDS_CLUSTER_READERS:
            return self.readers(name).observe
        return partial(self.resolver.resolve, name)

    def _timed_out(self, lookup: EndpointKey) -> FailedObservation:
        _, name = lookup
        return FailedObservation(
            name=name,
            failure=LookupFailure.TIMED_OUT,
            detail=f"{name} had no answer within the {self.seconds:g} s for all names of the fleet."
            " Can the function reach its resolvers?",
            at=self.now(),
        )


def _lookup(question: EndpointKey) -> EndpointKey:
    """What is looked up for a question: for all kinds but one, the same."""
    kind, name = question
    readers = kind is DatabaseKind.RDS_CLUSTER_READERS
    return (kind if readers else DatabaseKind.HOSTNAME), name


def _is_late(answer: _Answer) -> bool:
    return isinstance(answer, FailedObservation) and answer.failure is LookupFailure.TIMED_OUT
