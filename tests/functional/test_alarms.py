"""Each fault rings its alarm and no other; a quiet day and a normal failover ring none.

The alarms are the template's, evaluated as AWS documents it, over what the functions write.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from target_sync.errors import AwsAccessDeniedError
from tests.support.connections import OTHER
from tests.support.monitoring import MINUTE, MonitoredScenario, alarms
from tests.support.scenario import COMPLETED, EVENT, POLICY, A, B, C, throttled

Fault = Callable[[MonitoredScenario], None]
KEEPS = replace(POLICY, serving_standby=True)


def forbidden() -> AwsAccessDeniedError:
    return AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")


def the_schedule_is_off(scenario: MonitoredScenario) -> None:
    scenario.invocations.schedule_enabled = False


def runs_fail_now_and_then(scenario: MonitoredScenario) -> None:
    for minute in range(4):
        scenario.after(
            MINUTE * minute + 1,
            lambda: scenario.group.faults.setdefault("DescribeTargetHealth", []).append(
                throttled("DescribeTargetHealth")
            ),
        )


def every_run_fails(scenario: MonitoredScenario) -> None:
    scenario.group.faults["DescribeTargetHealth"] = [forbidden() for _ in range(100)]


def the_answer_is_a_public_address(scenario: MonitoredScenario) -> None:
    scenario.endpoint.set_addresses("8.8.8.8")


def a_removal_is_never_confirmed(scenario: MonitoredScenario) -> None:
    scenario.endpoint.ttl = 3600
    scenario.fail_over(B)


def the_new_server_is_closed_to_the_load_balancer(scenario: MonitoredScenario) -> None:
    scenario.endpoint.set_addresses(B, C)
    scenario.set_listening(C)


def the_database_is_down_at_its_address(scenario: MonitoredScenario) -> None:
    scenario.set_listening()


def a_run_failed_for_good(scenario: MonitoredScenario) -> None:
    scenario.queues.failed = 1


def an_event_was_not_delivered(scenario: MonitoredScenario) -> None:
    scenario.queues.undelivered = 1


def a_stranger_asks_for_a_connection(scenario: MonitoredScenario) -> None:
    scenario.reviews.service.request(OTHER)


def ports_run_out(scenario: MonitoredScenario) -> None:
    scenario.ports_exhausted = True


def lambda_holds_runs_back(scenario: MonitoredScenario) -> None:
    scenario.invocations.throttled_minutes = {2, 3, 5}


def nobody_can_be_told(scenario: MonitoredScenario) -> None:
    scenario.notifier.bus.is_broken = True
    scenario.fail_over(B)


ONE_EACH: list[tuple[Fault, tuple[object, ...], str]] = [
    (the_schedule_is_off, (A,), "no-successful-sync"),
    (runs_fail_now_and_then, (A,), "sync-errors"),
    (the_answer_is_a_public_address, (A,), "sync-vetoed"),
    (a_removal_is_never_confirmed, (A,), "sync-unfinished"),
    (the_new_server_is_closed_to_the_load_balancer, (A, C), "failover-not-healthy"),
    (the_database_is_down_at_its_address, (A,), "no-healthy-target"),
    (ports_run_out, (A,), "port-allocation-errors"),
    (lambda_holds_runs_back, (A,), "sync-throttled"),
    (a_run_failed_for_good, (A,), "failed-runs"),
    (an_event_was_not_delivered, (A,), "undelivered-events"),
    (a_stranger_asks_for_a_connection, (A,), "connection-waiting"),
    (nobody_can_be_told, (A,), "notifications-failed"),
]


@pytest.mark.parametrize(
    ("fault", "registered", "expected"), ONE_EACH, ids=[fault.__name__ for fault, *_ in ONE_EACH]
)
def test_a_fault_rings_its_alarm_and_no_other(
    fault: Fault, registered: tuple[object, ...], expected: str
) -> None:
    scenario = MonitoredScenario(*registered)
    assert scenario.run_minutes(10) == []

    fault(scenario)

    assert scenario.run_minutes(30) == [expected]


def test_every_alarm_has_a_fault_that_rings_it_alone() -> None:
    assert {expected for _, _, expected in ONE_EACH} == alarms().keys()


def test_when_no_run_works_three_alarms_say_so() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)

    every_run_fails(scenario)

    assert scenario.run_minutes(15) == ["failed-runs", "no-successful-sync", "sync-errors"]


def test_a_fault_that_is_over_lets_the_alarm_go() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    the_database_is_down_at_its_address(scenario)
    scenario.run_minutes(10)
    scenario.set_listening(A)

    assert scenario.run_minutes(10) == []
    the_database_is_down_at_its_address(scenario)
    assert scenario.run_minutes(10) == ["no-healthy-target"]


def test_runs_that_fail_ring_after_three_minutes_and_runs_that_stay_away_after_five() -> None:
    failing, absent = MonitoredScenario(A), MonitoredScenario(A)
    for scenario, fault in ((failing, every_run_fails), (absent, the_schedule_is_off)):
        scenario.run_minutes(10)
        fault(scenario)
        scenario.run_minutes(10)

    def rang(scenario: MonitoredScenario) -> float:
        return next(alarm.after for alarm in scenario.raised if alarm.name == "no-successful-sync")

    assert (rang(failing), rang(absent)) == (3 * MINUTE, 5 * MINUTE)


# --- What rings nothing -----------------------------------------------------------------------


def test_a_quiet_day_rings_nothing() -> None:
    scenario = MonitoredScenario(A)

    assert scenario.run_minutes(24 * 60) == []


def test_a_failover_rings_nothing() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    goes_down_for(scenario, 60, to=B)

    assert scenario.run_minutes(30, (5, EVENT), (65, COMPLETED)) == []
    assert scenario.registered == {"10.0.2.12:5432"}


def test_failovers_to_and_fro_over_a_kept_standby_ring_nothing() -> None:
    scenario = MonitoredScenario(A, policy=KEEPS)
    scenario.run_minutes(10)
    for to in (B, A, B):
        goes_down_for(scenario, 120, to=to)
        assert scenario.run_minutes(30, (5, EVENT), (125, COMPLETED)) == []
    # One target is unhealthy all the time.
    assert len(scenario.registered) == 2
    assert scenario.run_minutes(60) == []


def test_a_failover_without_events_rings_nothing() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    goes_down_for(scenario, 60, to=B)

    assert scenario.run_minutes(30) == []
    assert scenario.registered == {"10.0.2.12:5432"}


def test_a_blip_of_dns_rings_nothing() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    scenario.group.faults["DescribeTargetHealth"] = [throttled("DescribeTargetHealth")] * 2

    assert scenario.run_minutes(20) == []


def goes_down_for(scenario: MonitoredScenario, seconds: float, *, to: object) -> None:
    """The database is away for so long and then back at another address."""
    scenario.set_listening()
    scenario.after(seconds, lambda: scenario.fail_over(to))
