"""The world of many target groups: DNS, the listing, and ELB with AWS's token buckets."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from botocore.exceptions import CapacityNotAvailableError
from botocore.retries.adaptive import ClientRateLimiter, RateClocker
from botocore.retries.bucket import TokenBucket
from botocore.retries.quota import RetryQuota
from botocore.retries.standard import ExponentialBackoff
from botocore.retries.throttling import CubicCalculator

from bench.percentiles import Percentiles
from lab.simulation.clock import VirtualClock
from lab.simulation.target_group import ComputedGroup
from target_sync.errors import AwsUnavailableError
from target_sync.fleet.model import ENDPOINT_TAG, Limits, Tags
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, QUOTAS, Call, Quota
from target_sync.model import IPAddress, Observation, Target

#: The seed of everything that is random.
SEED = 1
PORT = 5432
NETWORKS = (ip_network("10.0.0.0/8"),)
LIMITS = Limits(allowed_networks=NETWORKS, max_targets=15)
REGION = "eu-west-1"
#: The duration of each AWS call, and of each DNS query.
CALL_SECONDS, QUERY_SECONDS = 0.02, 0.005
#: DNS queries at the same time.
_THREADS = 32
#: Groups on a page of the listing (resource groups tagging API, GetResources), and on a page of
#: their facts (DescribeTargetGroups).
PAGE, FACTS_PAGE = 100, 400
TTL = 5
#: botocore's standard mode: attempts, and what a retry takes from the retry quota of a client.
_ATTEMPTS, _RETRY_COST = 3, 5
_REGISTRATION_SECONDS = 90.0
MINUTE = 60.0
#: Larger than the error of a sum of tokens, smaller than any real difference.
_ROUNDING = 1e-9

_T = TypeVar("_T")


def arn_of(number: int) -> str:
    """Return the ARN of a target group."""
    return (
        f"arn:aws:elasticloadbalancing:{REGION}:123456789012:targetgroup/db-{number}/{number:016x}"
    )


def name_of(number: int) -> str:
    """Return the name of its database."""
    return f"db-{number}.abcdefghijkl.{REGION}.rds.amazonaws.com"


def address_of(number: int, *, moved: bool) -> IPv4Address:
    """Return the address of its primary, before or after the failover."""
    return IPv4Address(f"10.{2 if moved else 1}.{number // 250}.{number % 250 + 1}")


@dataclass(slots=True)
class _Bucket:
    quota: Quota
    tokens: float
    at: float = 0.0

    def ready_at(self, now: float) -> float:
        gained = max(0.0, now - self.at) * self.quota.refill
        self.tokens, self.at = min(self.quota.capacity, self.tokens + gained), max(self.at, now)
        return now + max(0.0, 1.0 - _ROUNDING - self.tokens) / self.quota.refill


class Buckets:
    """ELB's token buckets, or a share of them. A call takes a token of its kind and the account's.

    All are full at the start.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._kinds = {call: self._full(quota) for call, quota in QUOTAS.items()}
        self._account = self._full(ACCOUNT_QUOTA)

    def ready_at(self, call: Call, now: float) -> float:
        """Return when both buckets have a token."""
        return max(bucket.ready_at(now) for bucket in (self._kinds[call], self._account))

    def take(self, call: Call) -> None:
        """Take both tokens."""
        for bucket in (self._kinds[call], self._account):
            bucket.tokens -= 1.0

    def _full(self, quota: Quota) -> _Bucket:
        part = Quota(quota.capacity * self._share, quota.refill * self._share)
        return _Bucket(part, part.capacity)


@dataclass(slots=True)
class Calls:
    """Counts calls and queries by kind and minute."""

    clock: VirtualClock
    _counts: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, kind: str, number: int = 1) -> None:
        """Count calls of a kind."""
        self._counts[kind][int(self.clock.now() // MINUTE)] += number

    def clear(self) -> None:
        """Forget all calls."""
        self._counts.clear()

    def total(self, kind: str) -> int:
        """Return the number of calls of a kind."""
        return self._counts[kind].total()

    def busiest(self, kind: str) -> int:
        """Return the number of calls in the minute that had the most."""
        return max(self._counts[kind].values(), default=0)


@dataclass(slots=True)
class Elb:
    """ELB's throttling. It counts its calls, and those that it throttles as ``throttled``."""

    clock: VirtualClock
    calls: Calls
    _buckets: Buckets = field(default_factory=Buckets)

    def admit(self, call: Call, kind: str = "") -> bool:
        """Let a call take its time, count it, and return whether it was not throttled."""
        self.clock.sleep_until(self.clock.now() + CALL_SECONDS)
        self.calls.add(kind or call)
        if self._buckets.ready_at(call, self.clock.now()) > self.clock.now():
            self.calls.add("throttled")
            return False
        self._buckets.take(call)
        return True


class Pace:
    """When a client makes its calls: each at once."""

    def wait(self, call: Call) -> None:
        """Wait before an attempt of a call."""

    def note(self, *, throttled: bool) -> None:
        """Note the result of an attempt."""


@dataclass(slots=True)
class SharePace(Pace):
    """Makes a call when a share of ELB's buckets has the tokens."""

    clock: VirtualClock
    buckets: Buckets

    def wait(self, call: Call) -> None:
        """Wait for the tokens, and take them."""
        self.clock.sleep_until(self.buckets.ready_at(call, self.clock.now()))
        self.buckets.take(call)


class _VirtualTokenBucket(TokenBucket):
    """botocore's token bucket, on the virtual clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        super().__init__(max_rate=1, clock=cast("Any", SimpleNamespace(current_time=clock.now)))

    def acquire(self, amount: int = 1, block: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - botocore's signature
        while True:
            try:
                return super().acquire(amount, block=False)
            except CapacityNotAvailableError:
                missing = amount - self.available_capacity + _ROUNDING
                self._virtual.sleep_until(self._virtual.now() + missing / self.max_rate)


class AdaptivePace(Pace):
    """Makes a call when botocore's adaptive retry mode makes it (its classes, and its start)."""

    def __init__(self, clock: VirtualClock) -> None:
        botocore_clock = cast("Any", SimpleNamespace(current_time=clock.now))
        self._limiter = ClientRateLimiter(
            rate_adjustor=CubicCalculator(starting_max_rate=0, start_time=clock.now()),
            rate_clocker=RateClocker(botocore_clock),
            token_bucket=_VirtualTokenBucket(clock),
            throttling_detector=cast(
                "Any", SimpleNamespace(is_throttling_error=lambda *, throttled: throttled)
            ),
            clock=botocore_clock,
        )

    def wait(self, call: Call) -> None:  # noqa: ARG002 - botocore has one bucket for all calls
        """Wait for a token of the client's own bucket."""
        self._limiter.on_sending_request(request=None)

    def note(self, *, throttled: bool) -> None:
        """Adapt the rate."""
        self._limiter.on_receiving_response(throttled=throttled)


@dataclass(slots=True)
class Client:
    """A botocore client in the standard retry mode: its back-off and its retry quota.

    Attributes:
        chances: Draws the back-off.
        throttlings: The number of throttled calls of this client.
    """

    elb: Elb
    chances: Random
    pace: Pace = field(default_factory=Pace)
    throttlings: int = 0
    _quota: RetryQuota = field(default_factory=RetryQuota)

    def call(self, call: Call, effect: Callable[[], _T], kind: str = "") -> _T:
        """Make a call, counted as ``kind`` if given, and return what ``effect`` returns.

        Raises:
            AwsUnavailableError: Every attempt was throttled.
        """
        backoff = ExponentialBackoff(random=self.chances.random)
        taken = 0
        for attempt in range(1, _ATTEMPTS + 1):
            if self._attempt(call, kind):
                self._quota.release(taken or 1)
                return effect()
            if attempt == _ATTEMPTS or not self._quota.acquire(_RETRY_COST):
                break
            taken = _RETRY_COST
            # The back-off reads only the number of the attempt.
            delay = backoff.delay_amount(cast("Any", SimpleNamespace(attempt_number=attempt)))
            self.elb.clock.sleep_until(self.elb.clock.now() + delay)
        raise AwsUnavailableError(call, "ThrottlingException", "Rate exceeded")

    def _attempt(self, call: Call, kind: str) -> bool:
        self.pace.wait(call)
        admitted = self.elb.admit(call, kind)
        self.throttlings += not admitted
        self.pace.note(throttled=not admitted)
        return admitted


@dataclass(frozen=True, slots=True)
class Flip:
    """A failover: when the name moves, and when DNS caches have expired."""

    name: float
    cache: float


def storm(groups: int, failovers: int, at: float) -> Mapping[int, Flip]:
    """Return random failovers within 20 s, by the number of the group."""
    random = Random(f"{SEED}/{groups}/{failovers}")  # noqa: S311 - a simulation
    names = {n: at + random.uniform(0.0, 20.0) for n in random.sample(range(groups), failovers)}
    return {n: Flip(name, name + random.uniform(0.0, TTL)) for n, name in names.items()}


def least_waits(flips: Iterable[Flip], share: float) -> Percentiles:
    """Return the seconds from each flip until its two changes, if only the buckets cost time.

    The changes begin when the caches have expired, in that sequence, with full buckets.
    """
    buckets, now, waits = Buckets(share), 0.0, list[float]()
    for flip in sorted(flips, key=lambda flip: flip.cache):
        for _ in range(2):
            now = buckets.ready_at(Call.REGISTRATION, max(now, flip.cache))
            buckets.take(Call.REGISTRATION)
        waits.append(now - flip.name)
    return Percentiles.of(waits)


@dataclass(slots=True)
class FleetWorld:
    """The world of one simulation, and what it counts.

    Attributes:
        size: The number of groups.
        flips: The failovers, by the number of the group.
        failed: How often a run of a group failed.
        registered_at: When each group that failed over got its new primary.
        in_sync_at: When each of them had only its new primary.
        wrong: The number of changes that left a group empty, or with a target that is neither the
            old nor the new primary.
        verified_at: When each group was last described.
        unverified_for: The longest time, in seconds, in which a group was not described.
    """

    size: int
    flips: Mapping[int, Flip]
    clock: VirtualClock = field(default_factory=VirtualClock)
    failed: int = 0
    registered_at: dict[int, float] = field(default_factory=dict)
    in_sync_at: dict[int, float] = field(default_factory=dict)
    wrong: int = 0
    unverified_for: float = 0.0
    calls: Calls = field(init=False)
    elb: Elb = field(init=False)
    groups: dict[str, ComputedGroup] = field(init=False)
    numbers: dict[str, int] = field(init=False)
    verified_at: list[float] = field(init=False)
    _addresses: list[IPv4Address] = field(init=False)
    _moves: deque[tuple[float, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.calls = Calls(self.clock)
        self.elb = Elb(self.clock, self.calls)
        self.groups = {arn_of(number): self._group(number) for number in range(self.size)}
        self.numbers = {key(n): n for n in range(self.size) for key in (arn_of, name_of)}
        self._addresses = [address_of(number, moved=False) for number in range(self.size)]
        self._moves = deque(sorted((flip.cache, number) for number, flip in self.flips.items()))
        self.verified_at = [0.0] * self.size

    def _group(self, number: int) -> ComputedGroup:
        group = ComputedGroup(
            now=self.clock.now, ports={}, registration_seconds=lambda: _REGISTRATION_SECONDS
        )
        group.put(Target(address_of(number, moved=False), PORT), 0.0)
        return group

    def listing(self) -> Mapping[str, Tags]:
        """Return the tags of every tagged group, one page after the other."""
        for _ in range(0, self.size, PAGE):
            self.calls.add("listing")
            self.clock.sleep_until(self.clock.now() + CALL_SECONDS)
        return {arn_of(number): {ENDPOINT_TAG: name_of(number)} for number in range(self.size)}

    def resolve(self, numbers: Sequence[int]) -> list[IPv4Address]:
        """Look up the names of groups, several at once, and return their addresses."""
        self.calls.add("dns", len(numbers))
        waves = -(-len(numbers) // _THREADS)
        self.clock.sleep_until(self.clock.now() + waves * QUERY_SECONDS)
        while self._moves and self._moves[0][0] <= self.clock.now():
            _, number = self._moves.popleft()
            self._addresses[number] = address_of(number, moved=True)
        return [self._addresses[number] for number in numbers]

    def observe(self, name: str) -> Observation:
        """Look up a name, and return an observation."""
        (address,) = self.resolve([self.numbers[name]])
        return Observation(
            name=name,
            addresses=frozenset[IPAddress]({address}),
            source="dns",
            ttl=TTL,
            at=self.clock.now(),
        )

    def verified(self, number: int) -> None:
        """Note that a group was described."""
        now = self.clock.now()
        self.unverified_for = max(self.unverified_for, now - self.verified_at[number])
        self.verified_at[number] = now

    def end(self) -> None:
        """Count the groups that were not described until now."""
        self.unverified_for = max(self.unverified_for, self.clock.now() - min(self.verified_at))

    def changed(self, arn: str) -> None:
        """Note the state of a group after a change."""
        number, registered = self.numbers[arn], self.groups[arn].registered
        old, new = (Target(address_of(number, moved=moved), PORT) for moved in (False, True))
        flip, now = self.flips.get(number), self.clock.now()
        allowed = {old} if flip is None or now < flip.name else {old, new}
        self.wrong += not registered or not registered <= allowed
        if new in registered:
            self.registered_at.setdefault(number, now)
        if registered == {new}:
            self.in_sync_at.setdefault(number, now)
