"""Each fault raises its alarm only. Without a fault, and at a failover, there is no alarm.

The alarms are the template's, evaluated as AWS documents it.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from target_sync.errors import AwsAccessDeniedError
from target_sync.model import SwitchState
from tests.support.connections import OTHER
from tests.support.monitoring import MINUTE, MonitoredScenario, alarms
from tests.support.scenario import COMPLETED, EVENT, POLICY, A, B, C, throttled
from tests.support.warm_targets import WARM_POLICY

Fault = Callable[[MonitoredScenario], None]
SERVING = replace(POLICY, serving_standby=True)


def access_denied() -> AwsAccessDeniedError:
    return AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")


def disable_the_schedule(scenario: MonitoredScenario) -> None:
    scenario.invocations.schedule_enabled = False


def fail_some_runs(scenario: MonitoredScenario) -> None:
    for minute in range(4):
        scenario.after(
            MINUTE * minute + 1,
            lambda: scenario.group.faults.setdefault("DescribeTargetHealth", []).append(
                access_denied()
            ),
        )


def fail_every_run(scenario: MonitoredScenario) -> None:
    scenario.group.faults["DescribeTargetHealth"] = [access_denied() for _ in range(100)]


def observe_a_public_address(scenario: MonitoredScenario) -> None:
    scenario.endpoint.set_addresses("8.8.8.8")


def ignore_registrations(scenario: MonitoredScenario) -> None:
    scenario.endpoint.set_addresses(A, B)
    scenario.set_listening(A, B)
    scenario.group.effective_after = inf


def close_the_new_server(scenario: MonitoredScenario) -> None:
    scenario.endpoint.set_addresses(B, C)
    scenario.set_listening(C)


def stop_the_database(scenario: MonitoredScenario) -> None:
    scenario.set_listening()


def dead_letter_a_run(scenario: MonitoredScenario) -> None:
    scenario.queues.failed = 1


def lose_an_event(scenario: MonitoredScenario) -> None:
    scenario.queues.undelivered = 1


def request_an_untrusted_connection(scenario: MonitoredScenario) -> None:
    scenario.reviews.service.request(OTHER)


def exhaust_the_ports(scenario: MonitoredScenario) -> None:
    scenario.ports_exhausted = True


def throttle_runs(scenario: MonitoredScenario) -> None:
    scenario.invocations.throttled_minutes = {2, 3, 5}


def break_the_notifications(scenario: MonitoredScenario) -> None:
    scenario.notifier.bus.is_broken = True
    scenario.fail_over(B)


ALARM_OF_FAULT: list[tuple[Fault, tuple[object, ...], str]] = [
    (disable_the_schedule, (A,), "no-successful-sync"),
    (fail_some_runs, (A,), "sync-errors"),
    (observe_a_public_address, (A,), "sync-vetoed"),
    (ignore_registrations, (A,), "sync-unfinished"),
    (close_the_new_server, (A, C), "failover-not-healthy"),
    (stop_the_database, (A,), "no-healthy-target"),
    (exhaust_the_ports, (A,), "port-allocation-errors"),
    (throttle_runs, (A,), "sync-throttled"),
    (dead_letter_a_run, (A,), "failed-runs"),
    (lose_an_event, (A,), "undelivered-events"),
    (request_an_untrusted_connection, (A,), "connection-waiting"),
    (break_the_notifications, (A,), "notifications-failed"),
]


@pytest.mark.parametrize(
    ("fault", "registered", "expected"),
    ALARM_OF_FAULT,
    ids=[fault.__name__ for fault, *_ in ALARM_OF_FAULT],
)
def test_a_fault_raises_only_its_alarm(
    fault: Fault, registered: tuple[object, ...], expected: str
) -> None:
    scenario = MonitoredScenario(*registered)
    assert scenario.run_minutes(10) == []

    fault(scenario)

    assert scenario.run_minutes(30) == [expected]


def test_a_healthy_closed_target_raises_an_alarm_until_the_proof_starts_again() -> None:
    scenario = MonitoredScenario(
        A, B, policy=WARM_POLICY, candidates=[B], addresses=[A], listening=[A]
    )
    assert scenario.run_minutes(10) == []
    scenario.rules.is_effective = False
    scenario.set_listening(A, B)

    assert scenario.run_minutes(30) == ["switch-ineffective"]
    scenario.rules.is_effective = True
    scenario.rules.mark(SwitchState.UNPROVEN)

    assert scenario.run_minutes(10) == []
    scenario.rules.is_effective = False
    assert scenario.run_minutes(10) == ["switch-ineffective"]


def test_every_alarm_has_a_fault() -> None:
    faults = {expected for _, _, expected in ALARM_OF_FAULT}
    assert faults | {"switch-ineffective"} == alarms().keys()


def test_three_alarms_report_that_every_run_fails() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)

    fail_every_run(scenario)

    assert scenario.run_minutes(15) == ["failed-runs", "no-successful-sync", "sync-errors"]


def test_an_alarm_ends_with_its_fault() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    stop_the_database(scenario)
    scenario.run_minutes(10)
    scenario.set_listening(A)

    assert scenario.run_minutes(10) == []
    stop_the_database(scenario)
    assert scenario.run_minutes(10) == ["no-healthy-target"]


def test_failed_runs_raise_an_alarm_after_four_minutes_and_missing_runs_after_six() -> None:
    failing, missing = MonitoredScenario(A), MonitoredScenario(A)
    for scenario, fault in ((failing, fail_every_run), (missing, disable_the_schedule)):
        scenario.run_minutes(10)
        fault(scenario)
        scenario.run_minutes(10)

    def raised_after(scenario: MonitoredScenario) -> float:
        return next(alarm.after for alarm in scenario.raised if alarm.name == "no-successful-sync")

    # The run that had started before the fault polls DNS for another minute, and succeeds.
    assert (raised_after(failing), raised_after(missing)) == (4 * MINUTE, 6 * MINUTE)


# --- No alarm ---------------------------------------------------------------------------------


def test_three_hours_without_faults_raise_no_alarm() -> None:
    """The starts of the runs repeat after 40 minutes, and no alarm considers more than an hour."""
    scenario = MonitoredScenario(A)

    assert scenario.run_minutes(3 * 60) == []


def test_a_failover_raises_no_alarm() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    stop_for(scenario, 60, to=B)

    assert scenario.run_minutes(30, (5, EVENT), (65, COMPLETED)) == []
    assert scenario.registered == {"10.0.2.12:5432"}


def test_repeated_failovers_to_a_serving_standby_raise_no_alarm() -> None:
    scenario = MonitoredScenario(A, policy=SERVING)
    scenario.run_minutes(10)
    for to in (B, A, B):
        stop_for(scenario, 120, to=to)
        assert scenario.run_minutes(30, (5, EVENT), (125, COMPLETED)) == []
    # One of the two targets is always unhealthy.
    assert len(scenario.registered) == 2
    assert scenario.run_minutes(60) == []


def test_a_failover_without_events_raises_no_alarm() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    stop_for(scenario, 60, to=B)

    assert scenario.run_minutes(30) == []
    assert scenario.registered == {"10.0.2.12:5432"}


def test_two_throttled_calls_raise_no_alarm() -> None:
    scenario = MonitoredScenario(A)
    scenario.run_minutes(10)
    scenario.group.faults["DescribeTargetHealth"] = [throttled("DescribeTargetHealth")] * 2

    assert scenario.run_minutes(20) == []


def stop_for(scenario: MonitoredScenario, seconds: float, *, to: object) -> None:
    """Stop the database, and start it at another address after a delay."""
    scenario.set_listening()
    scenario.after(seconds, lambda: scenario.fail_over(to))
