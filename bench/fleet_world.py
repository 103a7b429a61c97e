"""What a sweep of many target groups meets: tags, DNS, and ELB with AWS's token buckets."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar, cast

from botocore.retries.quota import RetryQuota
from botocore.retries.standard import ExponentialBackoff

from lab.simulation.clock import ActorClock
from lab.simulation.target_group import ComputedGroup
from target_sync.errors import AwsUnavailableError
from target_sync.fleet.model import ENDPOINT_TAG, GroupFacts, Limits, TaggedGroup
from target_sync.fleet.name_lookups import THREADS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, QUOTAS, Call, Quota
from target_sync.model import AwsScope, IPAddress, Observation, Target

if TYPE_CHECKING:
    from botocore.retries.standard import RetryContext

PORT = 5432
_NETWORKS = (ip_network("10.0.0.0/8"),)
LIMITS = Limits(allowed_networks=_NETWORKS, max_targets=15)
SCOPE = AwsScope("aws", "eu-west-1", "123456789012")
#: Of each AWS call, and of each DNS query.
CALL_SECONDS, QUERY_SECONDS = 0.02, 0.005
#: Groups on a page of the listing (resource groups tagging API, GetResources), and of what ELB
#: knows of them (DescribeTargetGroups).
PAGE, FACTS_PAGE = 100, 400
#: How the calls of the latter are counted.
FACTS = "DescribeTargetGroups"
TTL = 5
#: Of botocore's standard mode: attempts, and what a retry takes from the quota of a client.
_ATTEMPTS, _RETRY_COST = 3, 5
_REGISTRATION_SECONDS = 90.0

_T = TypeVar("_T")


def arn_of(number: int) -> str:
    """The ARN of a target group."""
    return (
        f"arn:aws:elasticloadbalancing:{SCOPE.region}:{SCOPE.account}"
        f":targetgroup/db-{number}/{number:016x}"
    )


def name_of(number: int) -> str:
    """The name of its database."""
    return f"db-{number}.abcdefghijkl.{SCOPE.region}.rds.amazonaws.com"


def address_of(number: int, *, moved: bool) -> IPv4Address:
    """The address of its primary, before or after the failover."""
    return IPv4Address(f"10.{2 if moved else 1}.{number // 250}.{number % 250 + 1}")


@dataclass(slots=True)
class _ServerBucket:
    """A token bucket as AWS has it: a call that finds no token is refused."""

    quota: Quota
    tokens: float
    at: float = 0.0

    def refill(self, now: float) -> None:
        gained = (now - self.at) * self.quota.refill
        self.tokens, self.at = min(self.quota.capacity, self.tokens + gained), now


@dataclass(slots=True)
class Elb:
    """ELB's side: each call takes a token of its bucket and one of the account's, or neither.

    Attributes:
        calls: How many there were, by what they are charged to, or by a name of their own.
        throttled: How many of them were refused.
    """

    clock: ActorClock
    calls: Counter[str] = field(default_factory=Counter)
    throttled: int = 0
    _buckets: Mapping[Call, _ServerBucket] = field(
        default_factory=lambda: {
            call: _ServerBucket(quota, quota.capacity) for call, quota in QUOTAS.items()
        }
    )
    _account: _ServerBucket = field(
        default_factory=lambda: _ServerBucket(ACCOUNT_QUOTA, ACCOUNT_QUOTA.capacity)
    )

    def admits(self, call: Call, name: str = "") -> bool:
        """Let a call take its time, and say whether it was let through."""
        self.clock.sleep_until(self.clock.now() + CALL_SECONDS)
        both = (self._buckets[call], self._account)
        for bucket in both:
            bucket.refill(self.clock.now())
        self.calls[name or call] += 1
        if any(bucket.tokens < 1 for bucket in both):
            self.throttled += 1
            return False
        for bucket in both:
            bucket.tokens -= 1
        return True


@dataclass(slots=True)
class Client:
    """A client with botocore's standard retries: its back-off and its retry quota are used.

    ``throttlings`` are those that this client met.
    """

    elb: Elb
    chances: Random
    throttlings: int = 0
    _quota: RetryQuota = field(default_factory=RetryQuota)

    def call(self, call: Call, deed: Callable[[], _T], name: str = "") -> _T:
        """Make a call, counted by its own name if it has one.

        Raises:
            AwsUnavailableError: It was throttled at every attempt.
        """
        backoff = ExponentialBackoff(random=self.chances.random)
        taken = 0
        for attempt in range(1, _ATTEMPTS + 1):
            if self.elb.admits(call, name):
                self._quota.release(taken or 1)
                return deed()
            self.throttlings += 1
            if attempt == _ATTEMPTS or not self._quota.acquire(_RETRY_COST):
                break
            taken = _RETRY_COST
            # Of the context, the back-off reads the number of the attempt alone.
            context = cast("RetryContext", SimpleNamespace(attempt_number=attempt))
            delay = backoff.delay_amount(context)
            self.elb.clock.sleep_until(self.elb.clock.now() + delay)
        raise AwsUnavailableError(call, "ThrottlingException", "Rate exceeded")


@dataclass(frozen=True, slots=True)
class Flip:
    """A failover: when its event comes, when the name moves, and when the caches know."""

    event: float
    name: float
    cache: float


@dataclass(slots=True)
class FleetWorld:
    """The world of one run.

    Attributes:
        size: How many groups there are.
        flips: The failovers, by the number of the group.
        right_at: When each of these groups came to have the new primary alone.
        wrong: How many changes put something into a group that neither was nor is its primary,
            or left it empty.
    """

    size: int
    flips: Mapping[int, Flip]
    clock: ActorClock = field(default_factory=ActorClock)
    listing_calls: int = 0
    dns_queries: int = 0
    right_at: dict[int, float] = field(default_factory=dict)
    wrong: int = 0
    elb: Elb = field(init=False)
    tags: dict[str, dict[str, str]] = field(init=False)
    groups: dict[str, ComputedGroup] = field(init=False)
    numbers: dict[str, int] = field(init=False)
    facts: dict[str, GroupFacts] = field(init=False)

    def __post_init__(self) -> None:
        self.elb = Elb(self.clock)
        self.numbers = {arn_of(number): number for number in range(self.size)}
        names = {name_of(number): number for number in range(self.size)}
        self.tags = {arn: {ENDPOINT_TAG: name_of(n)} for arn, n in self.numbers.items()}
        self.groups = {arn: self._group(number) for arn, number in self.numbers.items()}
        self.numbers |= names
        facts = GroupFacts(port=PORT, has_ip_targets=True, vpc_networks=_NETWORKS)
        self.facts = dict.fromkeys(self.groups, facts)

    def _group(self, number: int) -> ComputedGroup:
        group = ComputedGroup(
            now=self.clock.now, ports={}, registration_seconds=lambda: _REGISTRATION_SECONDS
        )
        group.put(Target(address_of(number, moved=False), PORT), 0.0)
        return group

    def listing(self) -> list[TaggedGroup]:
        """Every tagged group, a page after the other."""
        for _ in range(0, self.size, PAGE):
            self.listing_calls += 1
            self.clock.sleep_until(self.clock.now() + CALL_SECONDS)
        return self.tagged()

    def tagged(self) -> list[TaggedGroup]:
        """What the listing says, without asking for it."""
        return [TaggedGroup(arn, frozenset(tags.items())) for arn, tags in self.tags.items()]

    def observe(self, names: Sequence[str]) -> list[Observation]:
        """Look up names, several at once."""
        waves = -(-len(names) // THREADS)
        self.clock.sleep_until(self.clock.now() + waves * QUERY_SECONDS)
        return [self._answer(name) for name in names]

    def address(self, name: str) -> frozenset[IPAddress]:
        """Return the addresses that resolvers give now."""
        number = self.numbers[name]
        flip = self.flips.get(number)
        return frozenset({address_of(number, moved=bool(flip and self.clock.now() >= flip.cache))})

    def _answer(self, name: str) -> Observation:
        self.dns_queries += 1
        return Observation(
            name=name,
            addresses=self.address(name),
            source="dns",
            ttl=TTL,
            at=self.clock.now(),
        )

    def note(self, arn: str) -> None:
        """Take note of what a change has made of a group."""
        number, registered = self.numbers[arn], self.groups[arn].registered
        old, new = (Target(address_of(number, moved=moved), PORT) for moved in (False, True))
        flip = self.flips.get(number)
        allowed = {old} if flip is None or self.clock.now() < flip.name else {old, new}
        self.wrong += not registered or not registered <= allowed
        if registered == {new}:
            self.right_at.setdefault(number, self.clock.now())
