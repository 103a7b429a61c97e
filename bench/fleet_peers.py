"""Plain loops that keep many target groups in sync, on one thread: the peers of the fleet.

None has a confirm window, a veto or an audit. Each works for ever, and yields between two groups.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address
from random import Random

from bench.fleet_world import (
    MINUTE,
    PORT,
    SEED,
    AdaptivePace,
    Buckets,
    Client,
    FleetWorld,
    Pace,
    SharePace,
    address_of,
    arn_of,
)
from target_sync.errors import AwsUnavailableError
from target_sync.fleet.rate_limits import DEFAULT_SHARE, Call
from target_sync.model import Target


def describe_all(world: FleetWorld, client: Client) -> Iterator[None]:
    """Describe every group in a random order, at most once a minute."""
    chances = Random(SEED)  # noqa: S311 - a simulation
    while True:
        began = world.clock.now()
        for number in chances.sample(range(len(world.listing())), world.size):
            _follow(world, client, number, world.resolve([number])[0])
            yield
        world.clock.sleep_until(began + MINUTE)


def remember(world: FleetWorld, client: Client, interval: float) -> Iterator[None]:
    """Look up all names each ``interval`` seconds, and change the groups whose answer changed.

    It starts with the right answers in memory, and changes one group after the other.
    """
    numbers = range(world.size)
    answers = [address_of(number, moved=False) for number in numbers]
    changed = dict[int, None]()
    list_at = due = world.clock.now()
    while True:
        yield
        now = world.clock.now()
        if now >= list_at:
            world.listing()
            list_at += MINUTE
        if now >= due:
            before, answers, due = answers, world.resolve(numbers), max(due + interval, now)
            changed |= dict.fromkeys(n for n in numbers if answers[n] != before[n])
        if not changed:
            world.clock.sleep_until(due)
            continue
        number = next(iter(changed))
        del changed[number]
        if not _follow(world, client, number, answers[number]):
            changed[number] = None


def _follow(world: FleetWorld, client: Client, number: int, address: IPv4Address) -> bool:
    """Give a group this address only, and return whether no call was throttled for good."""
    arn, desired = arn_of(number), {Target(address, PORT)}
    group = world.groups[arn]
    try:
        registered = client.call(Call.DESCRIBE, group.describe).registered
        for change, targets in (
            (group.register, desired - registered),
            (group.deregister, registered - desired),
        ):
            if targets:
                client.call(Call.REGISTRATION, partial(change, list(targets)))
                world.changed(arn)
    except AwsUnavailableError:
        world.failed += 1
        return False
    world.verified(number)
    return True


def _shared(world: FleetWorld) -> Pace:
    return SharePace(world.clock, Buckets(DEFAULT_SHARE))


def _adaptive(world: FleetWorld) -> Pace:
    return AdaptivePace(world.clock)


ADAPTIVE = "describe all, adaptive"
#: The name of each peer, what it does, and the pace of its client.
PEERS: Mapping[
    str, tuple[Callable[[FleetWorld, Client], Iterator[None]], Callable[[FleetWorld], Pace]]
] = {
    "describe all": (describe_all, _shared),
    ADAPTIVE: (describe_all, _adaptive),
    "remember, each minute": (partial(remember, interval=MINUTE), _shared),
    "remember, each second": (partial(remember, interval=1.0), _shared),
}


def play_peer(name: str, world: FleetWorld, until: float) -> None:
    """Play a peer until a time."""
    strategy, pace = PEERS[name]
    client = Client(world.elb, Random(f"{SEED}/{name}"), pace(world))  # noqa: S311 - a simulation
    for _ in strategy(world, client):
        if world.clock.now() >= until:
            return
