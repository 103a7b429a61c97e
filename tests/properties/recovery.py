"""What must hold after the faults of a history have ended."""

from ipaddress import IPv4Address
from math import ceil

from target_sync.model import Target
from tests.properties.history import Start
from tests.properties.rules import CONFIRM_SECONDS, is_allowed
from tests.properties.switched import room
from tests.properties.world import World
from tests.support.scenario import PORT

MINUTE = 60.0
#: A rule that no run needs is closed in the second, and its target may become a warm one in the
#: third. A closed target is seen healthy in the next, and two more act on it. Its registration, or
#: a rule that opens it, may have ended only just before.
RUNS_OF_THE_POOL = 7
#: The time that two equal health checks take after any change.
HEALTH_CHECK_SECONDS = 15.0
#: How long a standby may accept connections beside a desired target.
STANDBY_GRACE_SECONDS = 20.0
#: A snapshot may be a second late, and takes some calls.
SLACK_SECONDS = 3.0
#: Enough time for any run.
RUN_SECONDS = 600.0


def assert_recovers(world: World) -> float:
    """Start a scheduled run each minute, and check that the group is in sync in time.

    Without a standby, the first scheduled run has one confirm window for that. With a standby, the
    first run that starts after every target's health is known has a grace period too. No run
    requests the same change of the same target twice.

    Returns:
        The time allowed, in seconds after the end of the faults.
    """
    history = world.history
    world.play_until(history.faults_end_at)
    first_run_at = history.faults_end_at + history.schedule_phase
    window = max(CONFIRM_SECONDS, history.sources.longest_ttl + 1)
    minutes, grace = 0, 0.0
    if history.serving_standby:
        known = window + history.registration_seconds + HEALTH_CHECK_SECONDS
        minutes, grace = ceil(known / MINUTE), STANDBY_GRACE_SECONDS
    runs = [
        world.start(Start(first_run_at + n * MINUTE, "schedule", RUN_SECONDS))
        for n in range(minutes + 1)
    ]
    in_sync_by = first_run_at + minutes * MINUTE + window + grace + SLACK_SECONDS
    world.play_until(in_sync_by)
    assert_in_sync(world)
    if history.switch is not None:
        assert_the_pool_is_right(world, first_run_at + (minutes + 1) * MINUTE)
    for run in runs:
        assert max(run.requested.values(), default=0) <= 1, "the same change twice"
    assert_nothing_changes(world)
    return in_sync_by - history.faults_end_at


def assert_in_sync(world: World) -> None:
    """The group has exactly the desired targets, and otherwise only a standby."""
    history = world.history
    desired = {Target(a, PORT) for a in history.final_addresses if isinstance(a, IPv4Address)}
    group = world.group.describe()
    registered = {t for t in world.serving if isinstance(t.address, IPv4Address)}
    assert registered >= desired, "a desired target is missing"
    assert registered == desired or len(registered) <= history.max_targets, "too many targets"
    all_healthy = desired <= group.healthy
    for target in registered - desired:
        assert history.serving_standby, f"{target} is still registered"
        assert is_allowed(target), f"{target} is not allowed, but kept"
        assert target.address in world.owned, f"{target} does not belong to the database, but kept"
        assert not (all_healthy and target in group.healthy), f"{target} is healthy, but kept"


def assert_the_pool_is_right(world: World, first_run_at: float) -> None:
    """After some more runs, no rule and no warm target is there without a reason.

    An open target that no run needs is closed when one container has seen it for a minute. A closed
    target that is healthy is noticed within one run that polls, or two runs that do not.
    """
    switch = world.history.switch
    assert switch is not None
    for n in range(RUNS_OF_THE_POOL):
        world.start(Start(first_run_at + n * MINUTE, "schedule", RUN_SECONDS))
    world.play_until(first_run_at + RUNS_OF_THE_POOL * MINUTE)
    most = room(switch, world.rules.state, world.serving, world.history.max_targets)
    assert world.rules.opened <= world.serving, "an open target that no run needs"
    candidates, at = switch.candidates, world.history.faults_end_at
    if candidates is None or candidates.at(at).confirmed is not None:
        # While the candidates are not known, what others registered closed stays too.
        assert len(world.warm) <= most, "too many warm targets"
    healthy = world.group.describe().healthy
    assert not world.warm & healthy, "a closed target is healthy"


def assert_nothing_changes(world: World) -> None:
    """Neither another run nor the end of all runs changes the group."""
    changes = len(world.changed_by)
    world.start(Start(world.now, "manual", RUN_SECONDS))
    world.play_until(world.now + SLACK_SECONDS)
    world.finish_all_runs()
    assert len(world.changed_by) == changes, "a group in sync was changed"
