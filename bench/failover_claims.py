"""The claims of ``make bench`` about the figures of the failovers."""

from collections.abc import Callable, Iterator, Sequence

from bench.claims import Claim
from bench.results import MONTH_MINUTES, Row
from bench.strategies import (
    AUTHORITATIVE,
    DEFAULT,
    DNS_POLL_INTERVAL_SECONDS,
    NO_POLLS,
    NO_STANDBY,
    OURS,
    SERVING_STANDBY,
    SLOW_RULES,
    Strategy,
)
from bench.world import Kind, World
from target_sync.model import SyncPolicy
from target_sync.reconcile.loop import RunConfig

_ITERATION = RunConfig(started_at=0.0, deadline=0.0, watch_until=0.0).iteration_seconds
#: The longest time until a cache and an iteration of a watch show a change.
_DETECTION = World().ttl + _ITERATION
#: The longest time until a change of a rule takes effect.
_RULE = World().rule.high
#: For RDS's TTL the minimum of the policy and the TTL plus one second are equal.
_CONFIRM_WINDOW = SyncPolicy(port=5432, allowed_networks=()).confirm_seconds
#: Moments are floats, so sums of seconds are not exact to the last digit.
_ROUNDING = 0.001

_BOTH = tuple(Kind)
_CLUSTER = (Kind.CLUSTER,)
_INSTANCE = (Kind.INSTANCE,)

#: The strategy, the kinds, the figure, and its limit.
_LIMITS: Sequence[tuple[Strategy, Sequence[Kind], str, Callable[[Row], float], float]] = (
    (DEFAULT, _BOTH, "stale p50, announced", lambda r: r.stale_s_event_before_flip.p50, 4.5),
    (DEFAULT, _BOTH, "stale p99, announced", lambda r: r.stale_s_event_before_flip.p99, _DETECTION),
    (DEFAULT, _BOTH, "stale p99", lambda r: r.stale_s.p99, 10.0),
    (
        DEFAULT,
        _BOTH,
        "stale, maximum",
        lambda r: r.stale_s.max,
        _DETECTION + DNS_POLL_INTERVAL_SECONDS,
    ),
    (
        NO_POLLS,
        _BOTH,
        "stale p99, announced",
        lambda r: r.stale_s_event_before_flip.p99,
        _DETECTION,
    ),
    (NO_POLLS, _BOTH, "stale p99", lambda r: r.stale_s.p99, 31.0),
    (AUTHORITATIVE, _BOTH, "stale p50, announced", lambda r: r.stale_s_event_before_flip.p50, 1.5),
    (DEFAULT, _BOTH, "flowing p50", lambda r: r.flowing_s.p50, 21.0),
    (DEFAULT, _BOTH, "flowing p99", lambda r: r.flowing_s.p99, 30.0),
    (NO_POLLS, _BOTH, "flowing p99", lambda r: r.flowing_s.p99, 50.0),
    (NO_STANDBY, _BOTH, "flowing p99", lambda r: r.flowing_s.p99, 200.0),
    (SERVING_STANDBY, _INSTANCE, "flowing p99", lambda r: r.flowing_s.p99, 10.0),
    (
        DEFAULT,
        _CLUSTER,
        "wrong server p99, announced",
        lambda r: r.wrong_server_s_event_before_flip.p99,
        _DETECTION + _CONFIRM_WINDOW + _RULE,
    ),
    (
        DEFAULT,
        _CLUSTER,
        "wrong server p99 from the first observation",
        lambda r: r.wrong_server_s_since_seen.p99,
        _DETECTION + _CONFIRM_WINDOW,
    ),
    (
        AUTHORITATIVE,
        _CLUSTER,
        "wrong server p99 from the first observation",
        lambda r: r.wrong_server_s_since_seen.p99,
        _CONFIRM_WINDOW + _RULE,
    ),
    (NO_POLLS, _INSTANCE, "AWS calls a month", lambda r: r.aws_calls_per_month, 3 * MONTH_MINUTES),
    (NO_POLLS, _CLUSTER, "AWS calls a month", lambda r: r.aws_calls_per_month, 5 * MONTH_MINUTES),
    (NO_POLLS, _INSTANCE, "DNS queries a month", lambda r: r.dns_queries_per_month, MONTH_MINUTES),
    (DEFAULT, _INSTANCE, "AWS calls a month", lambda r: r.aws_calls_per_month, 3 * MONTH_MINUTES),
)
_ALL_OURS: Sequence[tuple[str, Callable[[Row], float]]] = (
    ("missed failovers", lambda row: row.missed),
    ("failovers after which an in-sync group changed again", lambda row: row.changed_later),
    ("failovers with a desired target removed", lambda row: row.removed_desired),
)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield every claim with its figure."""
    by_name = {(row.strategy, row.kind): row for row in rows}
    for strategy, kinds, name, figure, limit in _LIMITS:
        for kind in kinds:
            title = f"{kind}, {strategy.name}: {name}"
            yield _at_most(title, figure(by_name[strategy.name, kind]), limit)
    # After 30 s without effect the switch counts as ineffective, and the warm targets go.
    ours = [row for row in rows if row.strategy in OURS - {it.name for it in SLOW_RULES}]
    for name, figure in _ALL_OURS:
        yield _at_most(f"every strategy of this stack: {name}", max(map(figure, ours)), 0)


def _at_most(title: str, measured: float, limit: float) -> Claim:
    holds = measured <= limit + _ROUNDING
    return Claim(f"{title}: at most {limit:,g}", f"{measured:,.10g}", holds)
