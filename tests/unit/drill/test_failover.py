"""The moments of an observed failover, and whether the stack followed it."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from drill.failover import (
    ConnectionAttempt,
    DatabaseEvent,
    GroupObservation,
    NameObservation,
    Observations,
    ObservedFailover,
    RulesObservation,
)
from drill.results import Moment
from drill.run_records import RunRecord
from target_sync.config import StandbyTargets
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
) -> RunRecord:
    return RunRecord(
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


def group(at: float, **states: str) -> GroupObservation:
    addresses = {"old": ip_address("10.0.1.11"), "new": ip_address("10.0.2.12")}
    targets = (
        TargetHealth(Target(addresses[who], 5432), TargetState(state))
        for who, state in states.items()
    )
    return GroupObservation(at=T0 + at, group=TargetGroup(tuple(targets)))


def name(at: float, *addresses: str, failure: str = "") -> NameObservation:
    return NameObservation(at=T0 + at, addresses=frozenset(addresses), failure=failure)


def attempts(*moments: tuple[float, bool]) -> tuple[ConnectionAttempt, ...]:
    return tuple(ConnectionAttempt(at=T0 + at, succeeded=succeeded) for at, succeeded in moments)


FOLLOWED = Observations(
    names=(name(-1, "10.0.1.11"), name(5, "10.0.2.12")),
    groups=(
        group(-1, old="healthy"),
        group(6, old="healthy", new="initial"),
        group(95, old="healthy", new="healthy"),
        group(97, old="draining", new="healthy"),
    ),
    events=(DatabaseEvent(at=T0 + 2, message="failover started", categories=("failover",)),),
    runs=(run_record(),),
    attempts=attempts((-0.5, True), (1, False), (90, False), (96, True), (97, True)),
)
FAILOVER = ObservedFailover(
    call=Moment(name="failover requested", at=T0),
    before=group(-1, old="healthy"),
    addresses_before=frozenset({"10.0.1.11"}),
    standby_targets=StandbyTargets.NONE,
    connects=True,
    counts_flows=False,
    expects_events=True,
    observations=FOLLOWED,
)


def moments(failover: ObservedFailover) -> dict[str, float]:
    timeline = failover.timeline("x")
    assert timeline is not None
    return {moment.name: timeline.seconds(moment.at) for moment in timeline.ordered}


def failed_expectations(failover: ObservedFailover) -> list[str]:
    return [entry.text for entry in failover.expectations if not entry.holds]


def test_a_followed_failover_has_every_moment() -> None:
    assert moments(FAILOVER) == {
        "failover requested": 0,
        "RDS event": 2,
        "event received": 3.5,
        "detected": 4,
        "registered": 4.25,
        "DNS flipped": 5,
        "healthy": 95,
        "first new connection": 96,
        "old target gone": 97,
    }
    assert FAILOVER.is_complete
    assert not failed_expectations(FAILOVER)
    assert not FAILOVER.missing


def test_a_failover_is_not_followed_while_the_new_target_is_not_healthy() -> None:
    failover = FAILOVER.with_observations(
        replace(FOLLOWED, groups=FOLLOWED.groups[:2], attempts=())
    )
    assert not failover.is_followed
    assert not failover.is_complete
    assert "the stack follows the failover: the new target is healthy" in failed_expectations(
        failover
    )
    assert "healthy" not in moments(failover)
    assert moments(failover)["registered"] == 4.25


def test_an_old_target_that_recovers_is_no_failover() -> None:
    """As after a reboot without a failover."""
    back = (group(-1, old="healthy"), group(2, old="unhealthy"), group(30, old="healthy"))
    failover = FAILOVER.with_observations(
        replace(FOLLOWED, groups=back, runs=(), names=FOLLOWED.names[:1])
    )
    assert not failover.is_followed
    assert len(failed_expectations(failover)) == 3


def test_observations_before_the_call_do_not_count() -> None:
    early = (group(-9, old="healthy", new="healthy"), group(-1, old="healthy"))
    failover = FAILOVER.with_observations(
        replace(FOLLOWED, groups=early, attempts=attempts((-3, True)))
    )
    assert not failover.is_followed
    assert failover.connected_at is None


def test_a_serving_standby_is_healthy_without_a_registration() -> None:
    failover = replace(
        FAILOVER,
        before=group(-1, old="healthy", new="unhealthy"),
        standby_targets=StandbyTargets.SERVING,
        observations=replace(
            FOLLOWED,
            groups=(
                group(-1, old="healthy", new="unhealthy"),
                group(3, old="unhealthy", new="unhealthy"),
                group(12, old="unhealthy", new="healthy"),
            ),
            runs=(run_record(registered=()),),
            attempts=attempts((1, False), (6, False), (7, True), (12, True)),
        ),
    )
    found = moments(failover)
    assert (found["healthy"], found["old target unhealthy"], found["detected"]) == (12, 3, 4)
    # Without any healthy target a load balancer tries all of them.
    assert found["first new connection"] == 7
    assert "registered" not in found
    assert failover.is_complete
    assert not failed_expectations(failover)


def rules(at: float, *targets: str) -> RulesObservation:
    return RulesObservation(at=T0 + at, open=frozenset(targets))


WARM = replace(
    FAILOVER,
    before=group(-1, old="healthy", new="unhealthy"),
    standby_targets=StandbyTargets.WARM,
    observations=replace(
        FOLLOWED,
        groups=(
            group(-1, old="healthy", new="unhealthy"),
            group(14, old="healthy", new="healthy"),
            group(22, old="unhealthy", new="healthy"),
        ),
        rules=(rules(-1, OLD), rules(4.5, OLD, NEW), rules(11, NEW)),
        attempts=attempts((1, False), (15, True)),
    ),
)


def test_a_warm_target_is_opened_and_the_old_one_closed() -> None:
    found = moments(WARM)
    # The record of the run is more exact than what is observed from here.
    assert (found["rule opened"], found["healthy"]) == (4.25, 14)
    assert (found["old rule closed"], found["old target unhealthy"]) == (11, 22)
    assert not {"registered", "old target gone"} & found.keys()
    assert WARM.is_complete
    assert not failed_expectations(WARM)


def test_waits_until_the_old_target_of_a_warm_one_is_closed_and_unhealthy() -> None:
    observed = WARM.observations
    for early in (
        replace(observed, rules=observed.rules[:2]),
        replace(observed, groups=observed.groups[:2]),
    ):
        failover = WARM.with_observations(early)
        assert not failover.is_complete
        assert failed_expectations(failover) == ["the old target gets no traffic"]


def test_waits_for_the_record_of_the_run_that_opened_the_rule() -> None:
    other = run_record(trigger="schedule", at=1, started=1.1, registered=(), to_detect=0.2)
    failover = WARM.with_observations(replace(WARM.observations, runs=(other,)))
    assert not failover.is_complete
    assert moments(failover)["rule opened"] == 4.5


def test_without_the_permission_to_read_rules_the_health_of_the_old_target_counts() -> None:
    failover = WARM.with_observations(replace(WARM.observations, rules=()))
    assert not {"rule opened", "old rule closed"} & moments(failover).keys()
    assert failover.is_complete
    assert not failed_expectations(failover)


def test_a_warm_target_that_joins_is_not_the_new_target() -> None:
    joined = replace(
        WARM.observations, groups=(group(-1, old="healthy"), group(2, old="healthy", new="initial"))
    )
    waiting = replace(WARM, before=joined.groups[0], observations=replace(joined, rules=()))
    assert waiting.new_target == NEW
    unopened = replace(waiting, observations=replace(joined, rules=(rules(-1, OLD),)))
    assert unopened.new_target is None
    assert "rule opened" not in moments(unopened)
    opened = replace(waiting, observations=joined)
    assert opened.new_target == NEW
    # It was registered during the failover, so the record does not show when it was opened.
    assert (moments(opened)["registered"], moments(opened)["rule opened"]) == (4.25, 4.5)


def test_an_old_target_that_does_not_stay_warm_is_gone() -> None:
    groups = (*WARM.observations.groups[:2], group(12, old="draining", new="healthy"))
    failover = WARM.with_observations(replace(WARM.observations, groups=groups))
    assert moments(failover)["old target gone"] == 12


def test_the_run_that_registered_the_target_followed_the_failover() -> None:
    other = run_record(trigger="schedule", at=1, started=1.1, registered=(), to_detect=0.2)
    failover = FAILOVER.with_observations(replace(FOLLOWED, runs=(other, run_record())))
    assert moments(failover)["detected"] == 4
    waiting = FAILOVER.with_observations(replace(FOLLOWED, runs=(other,)))
    assert not waiting.is_complete
    assert [entry.partition(":")[0] for entry in waiting.missing] == ["detected", "event received"]
    assert not failed_expectations(waiting)


def test_waits_for_the_record_of_the_run_that_registered_the_target() -> None:
    failover = FAILOVER.with_observations(replace(FOLLOWED, runs=(run_record(registered=()),)))
    assert moments(failover)["event received"] == 3.5
    assert [entry.partition(":")[0] for entry in failover.missing] == ["detected"]
    assert not failover.is_complete


def test_ignores_an_old_run() -> None:
    failover = FAILOVER.with_observations(
        replace(FOLLOWED, runs=(run_record(at=-60, started=-59),))
    )
    assert "event received" not in moments(failover)


def test_ignores_a_run_whose_trigger_has_no_time() -> None:
    by_hand = replace(run_record(trigger="manual"), occurred_at=None)
    failover = FAILOVER.with_observations(replace(FOLLOWED, runs=(by_hand,)))
    assert "detected" not in moments(failover)


def test_an_event_long_before_the_call_is_no_moment() -> None:
    old = DatabaseEvent(at=T0 - 60, message="backup finished", categories=("backup",))
    failover = FAILOVER.with_observations(replace(FOLLOWED, events=(old,)))
    assert "RDS event" not in moments(failover)
    recent = replace(old, at=T0 - 5)
    assert (
        moments(FAILOVER.with_observations(replace(FOLLOWED, events=(recent,))))["RDS event"] == -5
    )


def test_reports_a_lost_event() -> None:
    by_schedule = (run_record(trigger="schedule"),)
    failover = FAILOVER.with_observations(replace(FOLLOWED, runs=by_schedule))
    assert not failover.is_complete
    assert any(entry.startswith("event received") for entry in failover.missing)
    assert replace(failover, expects_events=False).is_complete


def test_without_dns_answers_the_functions_own_times_remain() -> None:
    names = (name(-1, failure="the name does not exist"),)
    failover = replace(
        FAILOVER, addresses_before=frozenset(), observations=replace(FOLLOWED, names=names)
    )
    assert "DNS flipped" not in moments(failover)
    assert moments(failover)["detected"] == 4
    (missing,) = failover.missing
    assert missing.startswith("DNS flipped: the name does not exist")
    assert failover.is_complete


def test_a_name_that_resolves_again_has_not_moved() -> None:
    names = (name(-1, failure="timed out"), name(3, "10.0.1.11"))
    observed = Observations(names=names, groups=FOLLOWED.groups[:1])
    failover = replace(FAILOVER, addresses_before=frozenset(), observations=observed)
    assert "DNS flipped" not in moments(failover)
    assert replace(failover, call=None).cause is None


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        # No failure: the first success after the target was healthy.
        (((10, True), (94, True), (96, True)), 96),
        # A success before the target was observed as healthy.
        (((10, False), (93, False), (94, True), (96, True)), 94),
        # A success in between, with the old server.
        (((10, False), (20, True), (93, False), (96, True)), 96),
        # Not yet certain: no success since the target is healthy.
        (((10, False), (94, True)), None),
        (((10, False), (96, True), (98, False)), None),
    ],
)
def test_the_first_new_connection_is_the_first_success_after_the_last_failure(
    tries: tuple[tuple[float, bool], ...], expected: float | None
) -> None:
    failover = FAILOVER.with_observations(replace(FOLLOWED, attempts=attempts(*tries)))
    assert moments(failover).get("first new connection") == expected
    assert failover.is_complete == (expected is not None)
    assert ("a new connection succeeds" in failed_expectations(failover)) == (expected is None)


def test_without_connections_the_metric_shows_the_first_minute_after_health() -> None:
    flows = ((T0 + 30, 5), (T0 + 90, 7), (T0 + 150, 3))
    failover = replace(FAILOVER, connects=False, counts_flows=True)
    failover = failover.with_observations(replace(FOLLOWED, attempts=(), flows=flows[:2]))
    assert not failover.is_complete
    assert any(entry.startswith("first new connection") for entry in failover.missing)
    failover = failover.with_observations(replace(FOLLOWED, attempts=(), flows=flows))
    assert moments(failover)["first minute of new flows"] == 150
    assert failover.is_complete
    assert not failed_expectations(failover)


def test_an_old_target_that_stays_fails_an_expectation() -> None:
    failover = FAILOVER.with_observations(replace(FOLLOWED, groups=FOLLOWED.groups[:3]))
    assert failed_expectations(failover) == ["the old target gets no traffic"]
    assert not failover.is_complete


@pytest.mark.parametrize(
    ("observed", "at"),
    [
        (Observations(names=FOLLOWED.names, groups=FOLLOWED.groups[:1]), 5),
        (Observations(groups=FOLLOWED.groups), 6),
        (FOLLOWED, 2),
        (
            replace(
                FOLLOWED, events=(DatabaseEvent(at=T0, message="backup", categories=("backup",)),)
            ),
            5,
        ),
    ],
)
def test_without_a_call_the_seconds_count_from_the_first_sign(
    observed: Observations, at: float
) -> None:
    failover = replace(FAILOVER, call=None, observations=observed)
    assert failover.cause is not None
    assert (failover.cause.name, failover.cause.at) == ("failover observed", T0 + at)


def test_without_a_sign_there_is_no_timeline() -> None:
    quiet = Observations(
        names=FOLLOWED.names[:1], groups=(group(-1, old="healthy"),), runs=FOLLOWED.runs
    )
    failover = replace(FAILOVER, call=None, observations=quiet)
    assert failover.timeline("x") is None
    assert not failover.is_complete
