"""What is made of what was seen: the moments, and whether the failover was followed."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from drill.story import NameSeen, RdsNews, Seen, Story, TargetsSeen, Tried
from lab.records import SyncRecord
from lab.timeline import Moment
from target_sync.model import Target, TargetGroup, TargetHealth, TargetState

T0 = 1_800_000_000.0
OLD, NEW = "10.0.1.11:5432", "10.0.2.12:5432"


def run_record(
    *,
    trigger: str = "rds_event",
    at: float = 3.0,
    started: float = 3.5,
    registered: tuple[str, ...] = (NEW,),
    to_detect: float | None = 1.0,
) -> SyncRecord:
    return SyncRecord(
        trigger=trigger,
        event_id="RDS-EVENT-0013" if trigger == "rds_event" else None,
        occurred_at=T0 + at,
        age=started - at,
        status="synced",
        registered=registered,
        deregistered=(OLD,),
        failures=0,
        to_detect=to_detect,
        to_register=1.25 if registered else None,
    )


def group(at: float, **states: str) -> TargetsSeen:
    addresses = {"old": ip_address("10.0.1.11"), "new": ip_address("10.0.2.12")}
    targets = (
        TargetHealth(Target(addresses[who], 5432), TargetState(state))
        for who, state in states.items()
    )
    return TargetsSeen(at=T0 + at, group=TargetGroup(tuple(targets)))


def name(at: float, *addresses: str, failure: str = "") -> NameSeen:
    return NameSeen(at=T0 + at, addresses=frozenset(addresses), failure=failure)


def tried(*moments: tuple[float, bool]) -> tuple[Tried, ...]:
    return tuple(Tried(at=T0 + at, answered=answered) for at, answered in moments)


FOLLOWED = Seen(
    names=(name(-1, "10.0.1.11"), name(5, "10.0.2.12")),
    targets=(
        group(-1, old="healthy"),
        group(6, old="healthy", new="initial"),
        group(95, old="healthy", new="healthy"),
        group(97, old="draining", new="healthy"),
    ),
    news=(RdsNews(at=T0 + 2, message="failover started", categories=("failover",)),),
    runs=(run_record(),),
    tries=tried((-0.5, True), (1, False), (90, False), (96, True), (97, True)),
)
STORY = Story(
    asked=Moment(name="failover asked for", at=T0),
    before=group(-1, old="healthy"),
    name_before=frozenset({"10.0.1.11"}),
    keeps_standby=False,
    connects=True,
    counts_flows=False,
    hears_events=True,
    seen=FOLLOWED,
)


def moments(story: Story) -> dict[str, float]:
    timeline = story.timeline("x")
    assert timeline is not None
    return {moment.name: timeline.seconds(moment.at) for moment in timeline.ordered}


def unmet(story: Story) -> list[str]:
    return [entry.text for entry in story.expectations if not entry.holds]


def test_a_followed_failover_has_every_moment() -> None:
    assert moments(STORY) == {
        "failover asked for": 0,
        "RDS event": 2,
        "event received": 3.5,
        "detected": 4,
        "registered": 4.25,
        "DNS flipped": 5,
        "healthy": 95,
        "first new connection": 96,
        "old target gone": 97,
    }
    assert STORY.is_complete
    assert not unmet(STORY)
    assert not STORY.unseen


def test_nothing_is_followed_while_the_new_target_is_not_healthy() -> None:
    story = STORY.with_seen(replace(FOLLOWED, targets=FOLLOWED.targets[:2], tries=()))
    assert not story.is_followed
    assert not story.is_complete
    assert "the stack follows the failover: the new target is healthy" in unmet(story)
    assert "healthy" not in moments(story)
    assert moments(story)["registered"] == 4.25


def test_an_old_target_that_recovers_is_no_followed_failover() -> None:
    """A reboot that did not fail over."""
    back = (group(-1, old="healthy"), group(2, old="unhealthy"), group(30, old="healthy"))
    story = STORY.with_seen(replace(FOLLOWED, targets=back, runs=(), names=FOLLOWED.names[:1]))
    assert not story.is_followed
    assert len(unmet(story)) == 3


def test_what_was_seen_before_the_call_does_not_count() -> None:
    early = (group(-9, old="healthy", new="healthy"), group(-1, old="healthy"))
    story = STORY.with_seen(replace(FOLLOWED, targets=early, tries=tried((-3, True))))
    assert not story.is_followed
    assert story.connected_at is None


def test_a_kept_standby_is_healthy_without_being_registered() -> None:
    story = replace(
        STORY,
        before=group(-1, old="healthy", new="unhealthy"),
        keeps_standby=True,
        seen=replace(
            FOLLOWED,
            targets=(
                group(-1, old="healthy", new="unhealthy"),
                group(3, old="unhealthy", new="unhealthy"),
                group(12, old="unhealthy", new="healthy"),
            ),
            runs=(run_record(registered=()),),
            tries=tried((1, False), (6, False), (7, True), (12, True)),
        ),
    )
    seen = moments(story)
    assert (seen["healthy"], seen["old target unhealthy"], seen["detected"]) == (12, 3, 4)
    # Without any healthy target a load balancer tries all of them.
    assert seen["first new connection"] == 7
    assert "registered" not in seen
    assert story.is_complete
    assert not unmet(story)


def test_the_run_that_followed_is_the_one_that_registered() -> None:
    other = run_record(trigger="schedule", at=1, started=1.1, registered=(), to_detect=0.2)
    story = STORY.with_seen(replace(FOLLOWED, runs=(other, run_record())))
    assert moments(story)["detected"] == 4
    waiting = STORY.with_seen(replace(FOLLOWED, runs=(other,)))
    assert not waiting.is_complete
    assert [entry.partition(":")[0] for entry in waiting.unseen] == ["detected", "event received"]
    assert not unmet(waiting)


def test_an_event_whose_run_left_the_registration_to_another_run_is_no_end() -> None:
    story = STORY.with_seen(replace(FOLLOWED, runs=(run_record(registered=()),)))
    assert moments(story)["event received"] == 3.5
    assert [entry.partition(":")[0] for entry in story.unseen] == ["detected"]
    assert not story.is_complete


def test_a_run_of_long_ago_is_not_of_this_failover() -> None:
    story = STORY.with_seen(replace(FOLLOWED, runs=(run_record(at=-60, started=-59),)))
    assert "event received" not in moments(story)


def test_a_lost_event_is_told() -> None:
    by_schedule = (run_record(trigger="schedule"),)
    story = STORY.with_seen(replace(FOLLOWED, runs=by_schedule))
    assert not story.is_complete
    assert any(entry.startswith("event received") for entry in story.unseen)
    assert replace(story, hears_events=False).is_complete


def test_a_name_that_cannot_be_resolved_from_here_leaves_the_functions_own_times() -> None:
    names = (name(-1, failure="the name does not exist"),)
    story = replace(STORY, name_before=frozenset(), seen=replace(FOLLOWED, names=names))
    assert "DNS flipped" not in moments(story)
    assert moments(story)["detected"] == 4
    (unseen,) = story.unseen
    assert unseen.startswith("DNS flipped: the name does not exist")
    assert story.is_complete


def test_a_name_that_resolves_again_has_not_moved_as_far_as_anybody_knows() -> None:
    names = (name(-1, failure="timed out"), name(3, "10.0.1.11"))
    seen = Seen(names=names, targets=FOLLOWED.targets[:1])
    story = replace(STORY, name_before=frozenset(), seen=seen)
    assert "DNS flipped" not in moments(story)
    assert replace(story, asked=None).cause is None


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        # None failed: the first one after the target was healthy.
        (((10, True), (94, True), (96, True)), 96),
        # It went through before the target was seen to be healthy.
        (((10, False), (93, False), (94, True), (96, True)), 94),
        # One went through in between, to the old server.
        (((10, False), (20, True), (93, False), (96, True)), 96),
        # Not yet certain: none has gone through since the target is healthy.
        (((10, False), (94, True)), None),
        (((10, False), (96, True), (98, False)), None),
    ],
)
def test_the_first_new_connection_is_the_first_after_the_last_that_failed(
    tries: tuple[tuple[float, bool], ...], expected: float | None
) -> None:
    story = STORY.with_seen(replace(FOLLOWED, tries=tried(*tries)))
    assert moments(story).get("first new connection") == expected
    assert story.is_complete == (expected is not None)
    assert ("a new connection goes through" in unmet(story)) == (expected is None)


def test_without_connections_the_metric_tells_of_the_first_minute_after_health() -> None:
    flows = ((T0 + 30, 5), (T0 + 90, 7), (T0 + 150, 3))
    story = replace(STORY, connects=False, counts_flows=True)
    story = story.with_seen(replace(FOLLOWED, tries=(), flows=flows[:2]))
    assert not story.is_complete
    assert any(entry.startswith("first new connection") for entry in story.unseen)
    story = story.with_seen(replace(FOLLOWED, tries=(), flows=flows))
    assert moments(story)["first minute of new flows"] == 150
    assert story.is_complete
    assert not unmet(story)


def test_the_old_target_that_stays_is_an_unmet_expectation() -> None:
    story = STORY.with_seen(replace(FOLLOWED, targets=FOLLOWED.targets[:3]))
    assert unmet(story) == ["the old target is gone"]
    assert not story.is_complete


@pytest.mark.parametrize(
    ("seen", "at"),
    [
        (Seen(names=FOLLOWED.names, targets=FOLLOWED.targets[:1]), 5),
        (Seen(targets=FOLLOWED.targets), 6),
        (FOLLOWED, 2),
        (replace(FOLLOWED, news=(RdsNews(at=T0, message="backup", categories=("backup",)),)), 5),
    ],
)
def test_an_observer_counts_from_the_first_sign(seen: Seen, at: float) -> None:
    story = replace(STORY, asked=None, seen=seen)
    assert story.cause is not None
    assert (story.cause.name, story.cause.at) == ("failover seen", T0 + at)


def test_an_observer_who_saw_nothing_has_nothing_to_tell() -> None:
    quiet = Seen(names=FOLLOWED.names[:1], targets=(group(-1, old="healthy"),), runs=FOLLOWED.runs)
    story = replace(STORY, asked=None, seen=quiet)
    assert story.timeline("x") is None
    assert not story.is_complete
