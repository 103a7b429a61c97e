"""What has to come about once nothing goes wrong any more."""

from ipaddress import IPv4Address
from math import ceil

from target_sync.model import Target
from tests.properties.history import Start
from tests.properties.referee import CONFIRM_SECONDS, may_be_a_target
from tests.properties.world import World
from tests.support.scenario import PORT

MINUTE = 60.0
#: From the first health check until two in a row have said the same, after any change.
TO_KNOW_HEALTH_SECONDS = 15.0
#: For so long a standby's address may accept connections beside a right target.
STANDBY_GRACE_SECONDS = 20.0
#: A look may come a second after its moment, and takes some calls.
SLACK_SECONDS = 3.0
#: A run looks for so long that its own time is no limit.
ENOUGH_SECONDS = 600.0


def comes_right(world: World) -> float:
    """Play the calm: a scheduled run a minute. Answers how long it was allowed to take.

    The group is right when the first scheduled run has seen the answer for one confirm window.
    A standby's health decides, too, so there it is the first one that starts when every target's
    health is known, and the time for which a standby may answer. No run of the calm calls for the
    same change of the same target twice.
    """
    history = world.history
    world.plays_until(history.calm_at)
    first = history.calm_at + history.schedule_phase
    window = max(CONFIRM_SECONDS, (history.sources.ttl or 0) + 1)
    minutes, grace = 0, 0.0
    if history.serving_standby:
        known = window + history.registration_seconds + TO_KNOW_HEALTH_SECONDS
        minutes, grace = ceil(known / MINUTE), STANDBY_GRACE_SECONDS
    runs = [
        world.starts(Start(first + n * MINUTE, "schedule", ENOUGH_SECONDS))
        for n in range(minutes + 1)
    ]
    right_by = first + minutes * MINUTE + window + grace + SLACK_SECONDS
    world.plays_until(right_by)
    assert_right(world)
    for run in runs:
        assert max(run.called_for.values(), default=0) <= 1, "the same change twice"
    stays_right(world)
    return right_by - history.calm_at


def assert_right(world: World) -> None:
    """The group has exactly the right targets, and of others only a standby's."""
    history = world.history
    wanted = {Target(a, PORT) for a in history.right if isinstance(a, IPv4Address)}
    group = world.group.describe()
    ours = {t for t in group.registered if isinstance(t.address, IPv4Address)}
    assert ours >= wanted, "a right target is missing"
    assert ours == wanted or len(ours) <= history.max_targets, "more targets than allowed"
    alive = wanted <= group.healthy
    for target in ours - wanted:
        assert history.serving_standby, f"{target} is still there"
        assert may_be_a_target(target), f"{target} may not be a target, and is kept"
        assert target.address in world.held, f"{target} is not the database's, and is kept"
        assert not (alive and target in group.healthy), f"{target} answers, and is kept"


def stays_right(world: World) -> None:
    """Another run, and the end of all of them, change nothing."""
    changes = len(world.changed_by)
    world.starts(Start(world.now, "manual", ENOUGH_SECONDS))
    world.plays_until(world.now + SLACK_SECONDS)
    world.jumps_to_the_end()
    assert len(world.changed_by) == changes, "a group that was right was changed"
