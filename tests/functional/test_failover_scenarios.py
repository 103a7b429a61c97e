"""Failure scenarios: what the run does, what a client notices, and which metrics show it.

They use a virtual clock, and a target group as AWS documents it with a registration of 90 s.
docs/contributing/failure-scenarios.md lists the outcomes.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from lab.dns_server import Fault
from lab.processes import Supervisor
from target_sync.endpoints import dns as dns_adapter
from target_sync.endpoints.dns import DnsEndpoint
from target_sync.errors import AwsNotFoundError, AwsUnavailableError, ObservationError
from target_sync.model import LookupFailure, RunStatus
from target_sync.reconcile.planner import Reason, VetoCode
from target_sync.reconcile.result import SyncResult
from tests.support.cluster import Cluster
from tests.support.name_server import RunningNameServer
from tests.support.scenario import (
    COMPLETED,
    ENDPOINT_NAME,
    EVENT,
    FROM_A_TO_B,
    POLICY,
    SCHEDULE,
    A,
    B,
    C,
    FakeEndpoint,
    Scenario,
    target,
    throttled,
)
from tests.support.scenarios import (
    CHANGED_AFTER_FAILURES,
    FAILED,
    FIRST_RUN_FAILED,
    TARGETS_CHANGED,
    outcome,
)

# --- Events -----------------------------------------------------------------------------------


@outcome("Nothing happens")
def test_a_run_in_sync_makes_one_aws_call_and_one_dns_query() -> Scenario:
    scenario = Scenario(A)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert [operation for operation, _ in scenario.group.history] == ["DescribeTargetHealth"]
    assert scenario.endpoint.queries == 1
    assert result.seconds == {"to_detect": None, "to_register": None, "to_healthy": None}
    return scenario


@outcome(
    "Failover; the name changes before the event arrives", refused=94.5, metrics=TARGETS_CHANGED
)
def test_registers_the_new_primary_first_and_never_empties_the_group() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.follow(EVENT)

    assert result.seconds["to_detect"] == result.seconds["to_register"] == 0
    assert result.seconds["to_healthy"] == 97
    removed_at = scenario.group.call_times[
        scenario.group.history.index(("DeregisterTargets", (target(A),)))
    ]
    assert removed_at - scenario.started_at == 6  # the confirm window: TTL plus 1 s
    assert scenario.group.fewest_registered == 1
    return scenario


@outcome(
    "Failover; the event arrives 20 s before the name changes",
    refused=114.5,
    metrics=TARGETS_CHANGED,
)
def test_watches_after_the_event_until_the_name_changes() -> Scenario:
    scenario = Scenario(A)
    scenario.promote(B)
    scenario.after(20, lambda: scenario.endpoint.set_addresses(B))

    result = scenario.follow(EVENT)

    assert result.seconds["to_detect"] == pytest.approx(20, abs=1)
    return scenario


@outcome(
    "Failover; every event is lost, the next scheduled run starts after 30 s",
    refused=124.5,
    metrics=TARGETS_CHANGED,
)
def test_the_schedule_finds_a_failover_without_an_event() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.clock.advance(30)

    scenario.follow(SCHEDULE)
    return scenario


@outcome(
    "Failover; its events arrive twice and out of order", refused=104.5, metrics=TARGETS_CHANGED
)
def test_duplicate_and_unordered_events_change_the_group_once() -> Scenario:
    scenario = Scenario(A)
    scenario.promote(B)
    scenario.after(10, lambda: scenario.endpoint.set_addresses(B))

    runs = [
        (0, scenario.run_in_steps(COMPLETED)),
        (0.5, scenario.run_in_steps(EVENT)),
        (0.5, scenario.run_in_steps(EVENT)),
        (3, scenario.run_in_steps(EVENT)),
        (20, scenario.run_in_steps(COMPLETED)),
    ]
    ends = scenario.run_concurrently(*runs)

    assert {_status(end) for end in ends} == {RunStatus.SYNCED, RunStatus.IN_SYNC}
    assert _distinct(scenario.changes) == FROM_A_TO_B
    assert scenario.registered == {str(target(B))}
    return scenario


@outcome("An event announces a failover that does not happen")
def test_an_event_without_a_failover_changes_nothing() -> Scenario:
    scenario = Scenario(A, watch_seconds=60)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.IN_SYNC
    assert scenario.elapsed == pytest.approx(60, abs=1)
    assert not scenario.changes
    return scenario


# --- DNS failures, with a real DNS server -----------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[RunningNameServer]:
    with Supervisor() as supervisor:
        yield RunningNameServer(supervisor)


@pytest.fixture
def name_server(server: RunningNameServer, monkeypatch: pytest.MonkeyPatch) -> RunningNameServer:
    """Return a server with the old address of the database."""
    monkeypatch.setattr(dns_adapter, "LOOKUP_SECONDS", 0.2)
    server.zone.set_address(ENDPOINT_NAME, [str(A)])
    server.zone.set_fault(ENDPOINT_NAME, None)
    return server


def _fail_over_in_the_zone(server: RunningNameServer) -> Scenario:
    """Return a failover that the zone shows. The test adds the fault."""
    scenario = Scenario(A)
    scenario.use_endpoint(DnsEndpoint(ENDPOINT_NAME, server.resolver(scenario.clock.now)))
    scenario.promote(B)
    server.zone.set_address(ENDPOINT_NAME, [str(B)])
    return scenario


def _assert_recovers_with_dns(
    scenario: Scenario, server: RunningNameServer, failure: LookupFailure
) -> None:
    """Check that a scheduled run fails, and that a watching run waits until DNS works again."""
    with pytest.raises(ObservationError):
        scenario.run(SCHEDULE)
    assert not scenario.changes
    document: Any = scenario.reporter.results[-1].to_document()
    assert document["observation"]["failure"] == failure

    def restore_dns() -> None:
        server.zone.set_address(ENDPOINT_NAME, [str(B)])
        server.zone.set_fault(ENDPOINT_NAME, None)

    scenario.after(20, restore_dns)
    result = scenario.follow(EVENT)

    assert result.run.failures == 7  # at 0, 1, 3, 7, 11, 15, 19 s
    assert result.to_document()["last_failure"] is None


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        pytest.param(Fault.TIMEOUT, LookupFailure.TIMED_OUT, id="time-out"),
        pytest.param(Fault.SERVFAIL, LookupFailure.SERVERS_FAILED, id="SERVFAIL"),
    ],
)
@outcome("Failover; DNS times out or fails for 20 s", refused=117.5, metrics=FIRST_RUN_FAILED)
def test_a_failing_name_server_removes_nothing(
    name_server: RunningNameServer, fault: Fault, failure: LookupFailure
) -> Scenario:
    scenario = _fail_over_in_the_zone(name_server)
    name_server.zone.set_fault(ENDPOINT_NAME, fault)

    _assert_recovers_with_dns(scenario, name_server, failure)
    return scenario


@outcome("Failover; the name does not exist for 20 s", refused=117.5, metrics=FIRST_RUN_FAILED)
def test_a_missing_name_removes_nothing(name_server: RunningNameServer) -> Scenario:
    scenario = _fail_over_in_the_zone(name_server)
    name_server.zone.remove(ENDPOINT_NAME)

    _assert_recovers_with_dns(scenario, name_server, LookupFailure.NAME_DOES_NOT_EXIST)
    return scenario


@outcome("Failover; the name has no address for 20 s", refused=117.5, metrics=FIRST_RUN_FAILED)
def test_an_empty_answer_removes_nothing(name_server: RunningNameServer) -> Scenario:
    scenario = _fail_over_in_the_zone(name_server)
    name_server.zone.set_address(ENDPOINT_NAME, [])

    _assert_recovers_with_dns(scenario, name_server, LookupFailure.NO_ADDRESS)
    return scenario


@outcome(
    "Failover; the name is an alias of itself for 20 s", refused=117.5, metrics=FIRST_RUN_FAILED
)
def test_an_alias_loop_removes_nothing(name_server: RunningNameServer) -> Scenario:
    scenario = _fail_over_in_the_zone(name_server)
    name_server.zone.set_alias("loop.example.com", ENDPOINT_NAME)
    name_server.zone.set_alias(ENDPOINT_NAME, "loop.example.com")

    _assert_recovers_with_dns(scenario, name_server, LookupFailure.SERVERS_FAILED)
    return scenario


@outcome("Failover; DNS answers are truncated over UDP", refused=94.5, metrics=TARGETS_CHANGED)
def test_a_truncated_answer_is_repeated_over_tcp(name_server: RunningNameServer) -> Scenario:
    scenario = _fail_over_in_the_zone(name_server)
    name_server.zone.set_fault(ENDPOINT_NAME, Fault.TRUNCATE)

    result = scenario.follow(EVENT)

    assert result.run.failures == 0
    return scenario


# --- Invalid and alternating answers ----------------------------------------------------------


@pytest.mark.parametrize("answer", ["8.8.8.8", "127.0.0.1", "169.254.1.1", "0.0.0.0"])
@outcome("The name has a public, loopback or link-local address", metrics=("SyncVetoed",))
def test_an_invalid_address_is_rejected_and_removes_nothing(answer: str) -> Scenario:
    scenario = Scenario(A)
    scenario.endpoint.set_addresses(answer)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.VETOED
    assert not scenario.changes
    assert _vetoes(result) == [VetoCode.OUTSIDE_ALLOWED_NETWORKS]
    return scenario


@outcome(
    "Failover; the name has a public address for the first 10 s",
    refused=104.5,
    metrics=TARGETS_CHANGED,
)
def test_a_run_continues_to_watch_after_a_veto() -> Scenario:
    scenario = Scenario(A)
    scenario.promote(B)
    scenario.endpoint.set_addresses("8.8.8.8")
    scenario.after(10, lambda: scenario.endpoint.set_addresses(B))

    scenario.follow(EVENT)
    return scenario


@outcome(
    "The name alternates every second between the primary and another server of the VPC",
    metrics=("SyncUnfinished", "TargetsRegistered"),
)
def test_alternating_addresses_remove_neither_target() -> Scenario:
    scenario = Scenario(A)
    for second in range(600):
        scenario.after(second + 0.5, partial(scenario.endpoint.set_addresses, (B, A)[second % 2]))

    result = scenario.run(EVENT)

    assert result.status is RunStatus.UNFINISHED
    assert scenario.changes == [("RegisterTargets", (str(target(B)),))]
    assert scenario.registered == {str(target(A)), str(target(B))}
    return scenario


@outcome(
    "Failover; the name alternates between old and new until the caches expire",
    refused=94.5,
    metrics=TARGETS_CHANGED,
)
def test_stale_caches_only_delay_the_removal() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    for second, answer in enumerate([A, B, A, B]):
        scenario.after(second + 0.5, partial(scenario.endpoint.set_addresses, answer))

    scenario.follow(EVENT)

    removed_at = scenario.group.call_times[
        scenario.group.history.index(("DeregisterTargets", (target(A),)))
    ]
    assert removed_at - scenario.started_at == 10  # 6 s after the last old address
    return scenario


@outcome(
    "Failover; two concurrent runs, one of them with a stale cache",
    refused=95,
    metrics=TARGETS_CHANGED,
)
def test_concurrent_runs_with_different_answers_do_not_undo_each_other() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    stale = FakeEndpoint(scenario.clock)
    stale.set_addresses(A)
    scenario.after(5, lambda: stale.set_addresses(B))

    ends = scenario.run_concurrently(
        (0, scenario.run_in_steps(EVENT)), (0.2, scenario.run_in_steps(SCHEDULE, stale))
    )

    assert [_status(end) for end in ends] == [RunStatus.SYNCED, RunStatus.IN_SYNC]
    assert _distinct(scenario.changes) == FROM_A_TO_B
    return scenario


# --- Failures of AWS's API --------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["RegisterTargets", "DescribeTargetHealth"])
@outcome(
    "Failover; AWS throttles three calls before the registration",
    refused=101.5,
    metrics=CHANGED_AFTER_FAILURES,
)
def test_throttling_delays_the_registration(operation: str) -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults[operation] = [throttled(operation)] * 3

    result = scenario.follow(EVENT, repeats=True)

    assert result.run.failures == 3
    assert result.seconds["to_register"] == 7  # after pauses of 1, 2 and 4 s
    return scenario


@outcome(
    "Failover; AWS throttles DeregisterTargets three times",
    refused=94.5,
    metrics=CHANGED_AFTER_FAILURES,
)
def test_a_throttled_removal_delays_nothing_else() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults["DeregisterTargets"] = [throttled("DeregisterTargets")] * 3

    result = scenario.follow(EVENT, repeats=True)

    assert result.run.failures == 3
    return scenario


@outcome("AWS throttles the first call of a scheduled run", metrics=FAILED)
def test_a_scheduled_run_without_a_description_fails_at_once() -> Scenario:
    scenario = Scenario(A)
    scenario.group.faults["DescribeTargetHealth"] = [throttled("DescribeTargetHealth")]

    with pytest.raises(AwsUnavailableError, match="ThrottlingException"):
        scenario.run(SCHEDULE)

    assert scenario.elapsed == 0
    assert not scenario.changes
    return scenario


@outcome(
    "Failover; AWS throttles RegisterTargets for longer than the run watches",
    refused=154.5,
    metrics=FIRST_RUN_FAILED,
)
def test_a_registration_that_keeps_failing_ends_in_an_error_and_removes_nothing() -> Scenario:
    scenario = Scenario(A, watch_seconds=60)
    scenario.fail_over(B)
    scenario.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 1000

    with pytest.raises(AwsUnavailableError, match="ThrottlingException"):
        scenario.run(EVENT)

    assert scenario.registered == {str(target(A))}
    assert "DeregisterTargets" not in scenario.group.calls
    # The pause doubles up to 4 s: 0, 1, 3, 7, 11 ... 59 s.
    assert scenario.group.calls["RegisterTargets"] == 17

    scenario.group.faults.clear()
    scenario.clock.sleep_until(scenario.started_at + 60)
    assert scenario.run(SCHEDULE).status is RunStatus.SYNCED
    return scenario


def _lose_the_reply_to(operation: str) -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.lost_replies[operation] = [
        AwsUnavailableError(operation, "ReadTimeoutError", "no reply")
    ]

    scenario.follow(EVENT)
    return scenario


@outcome(
    "Failover; the reply to the registration is lost",
    refused=94.5,
    metrics=("CallsFailed", "TargetsDeregistered"),
)
def test_a_registration_with_a_lost_reply_is_not_repeated() -> Scenario:
    return _lose_the_reply_to("RegisterTargets")


@outcome(
    "Failover; the reply to the removal is lost",
    refused=94.5,
    metrics=("CallsFailed", "TargetsRegistered"),
)
def test_a_removal_with_a_lost_reply_is_not_repeated() -> Scenario:
    return _lose_the_reply_to("DeregisterTargets")


@outcome("A person deletes the target group", refused=30, metrics=FAILED)
def test_a_deleted_target_group_ends_the_run_at_once() -> Scenario:
    scenario = Scenario(addresses=[A])
    scenario.clock.advance(30)
    scenario.group.faults["DescribeTargetHealth"] = [
        AwsNotFoundError("DescribeTargetHealth", "TargetGroupNotFound", "not found")
    ]

    with pytest.raises(AwsNotFoundError, match="not found"):
        scenario.run(EVENT)

    assert [operation for operation, _ in scenario.group.history] == ["DescribeTargetHealth"]
    return scenario


# --- Interrupted runs -------------------------------------------------------------------------


@outcome(
    "Failover; the function ends between registration and removal",
    refused=94.5,
    metrics=("TargetsDeregistered", "Errors"),
)
def test_the_next_run_completes_an_interrupted_change() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.run_until_killed_after("RegisterTargets", EVENT)
    assert scenario.registered == {str(target(A)), str(target(B))}
    scenario.clock.advance(30)

    scenario.follow(SCHEDULE)
    return scenario


@outcome(
    "Failover; the function times out before the name changes",
    refused=115,
    metrics=("TargetsRegistered", "TargetsDeregistered", "Errors"),
)
def test_the_schedule_continues_after_a_time_out() -> Scenario:
    scenario = Scenario(A)
    scenario.after(40, lambda: scenario.fail_over(B))
    scenario.run_until_killed(lambda: scenario.elapsed >= 30, EVENT)
    assert not scenario.changes
    scenario.clock.sleep_until(scenario.started_at + 60)

    scenario.follow(SCHEDULE)
    return scenario


@outcome(
    "Failover; the run has too little time to confirm the removal",
    refused=94.5,
    metrics=("SyncUnfinished", "TargetsRegistered", "TargetsDeregistered"),
)
def test_the_next_run_makes_an_unconfirmed_removal() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)

    first = scenario.run(EVENT, remaining_seconds=18)
    assert first.status is RunStatus.UNFINISHED
    assert scenario.registered == {str(target(A)), str(target(B))}

    assert scenario.run(SCHEDULE).status is RunStatus.SYNCED
    assert scenario.changes == FROM_A_TO_B
    return scenario


# --- The target group -------------------------------------------------------------------------


@outcome(
    "Failover, and failback before the old address has drained",
    refused=112.5,
    metrics=TARGETS_CHANGED,
)
def test_failing_back_registers_the_draining_address_again() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.after(12, lambda: scenario.fail_over(A))

    ends = scenario.run_concurrently(
        (0, scenario.run_in_steps(EVENT)), (12, scenario.run_in_steps(EVENT))
    )

    assert [_status(end) for end in ends] == [RunStatus.SYNCED, RunStatus.SYNCED]
    assert _distinct(scenario.changes) == [
        *FROM_A_TO_B,
        ("RegisterTargets", (str(target(A)),)),
        ("DeregisterTargets", (str(target(B)),)),
    ]
    assert scenario.group.fewest_registered == 1
    return scenario


@outcome(
    "The database's address is registered on the wrong port", refused=94.5, metrics=TARGETS_CHANGED
)
def test_a_target_on_the_wrong_port_is_replaced() -> Scenario:
    scenario = Scenario(addresses=[A], listening=[A])
    scenario.group.register_externally(target(A, 5433))

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == [
        ("RegisterTargets", (str(target(A)),)),
        ("DeregisterTargets", (str(target(A, 5433)),)),
    ]
    return scenario


@outcome("Failover of a database on another port than 5432", refused=94.5, metrics=TARGETS_CHANGED)
def test_targets_have_the_port_of_the_database() -> Scenario:
    scenario = Scenario(A, policy=replace(POLICY, port=6432))
    scenario.fail_over(B)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == [
        ("RegisterTargets", (str(target(B, 6432)),)),
        ("DeregisterTargets", (str(target(A, 6432)),)),
    ]
    return scenario


@outcome("Failover; the group has two stale targets", refused=94.5, metrics=TARGETS_CHANGED)
def test_removes_all_stale_targets_after_registering_the_new_one() -> Scenario:
    scenario = Scenario(A, C, addresses=[A], listening=[A])
    scenario.fail_over(B)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == [
        ("RegisterTargets", (str(target(B)),)),
        ("DeregisterTargets", (str(target(A)), str(target(C)))),
    ]
    return scenario


@outcome(
    "A person deregisters the target, and it has drained",
    refused=114.5,
    metrics=("TargetsRegistered",),
)
def test_the_schedule_registers_a_deregistered_target_again() -> Scenario:
    scenario = Scenario(A)
    scenario.group.deregister_externally(target(A))
    scenario.clock.advance(20)

    assert scenario.run(SCHEDULE).status is RunStatus.SYNCED
    assert scenario.registered == {str(target(A))}
    return scenario


@outcome(
    "Failover; the new server never accepts connections",
    refused=184,
    metrics=("SyncUnhealthy", "TargetsRegistered", "TargetsDeregistered"),
)
def test_a_run_with_an_unhealthy_target_ends_unhealthy() -> Scenario:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.set_listening()

    result = scenario.run(EVENT, remaining_seconds=200)

    assert result.status is RunStatus.UNHEALTHY
    assert result.seconds["to_healthy"] is None
    assert scenario.changes == FROM_A_TO_B
    assert scenario.elapsed <= 200 - 15
    return scenario


@outcome("The instance reboots for 20 s and keeps its address", refused=19.5)
def test_a_rebooting_instance_keeps_its_target() -> Scenario:
    scenario = Scenario(A)
    scenario.set_listening()
    scenario.after(20, lambda: scenario.set_listening(A))

    result = scenario.run(EVENT)

    assert result.status is RunStatus.IN_SYNC
    assert result.run.healthy
    assert not scenario.changes
    return scenario


# --- Clusters ---------------------------------------------------------------------------------


@outcome(
    "Failover of a cluster; the old writer returns as a reader after 10 s",
    refused=94.5,
    metrics=TARGETS_CHANGED,
)
def test_the_old_writer_is_not_registered_again_as_a_reader() -> Scenario:
    cluster = Cluster.of_writer()
    cluster.fail_over("orders-2")
    cluster.scenario.set_listening(B, C)
    cluster.scenario.after(10, lambda: cluster.scenario.set_listening(A, B, C))

    result = cluster.scenario.follow(EVENT)

    assert [c.reason for c in result.run.deregistered] == [Reason.ABSENT_IN_BOTH_SOURCES]
    assert cluster.scenario.run(SCHEDULE).status is RunStatus.IN_SYNC
    return cluster.scenario


@outcome(
    "Failover of a cluster; the RDS API names the new writer 20 s after DNS",
    refused=88.5,
    misrouted=7,
    metrics=TARGETS_CHANGED,
)
def test_the_old_writer_stays_at_most_for_the_confirm_window() -> Scenario:
    cluster = Cluster.of_writer()
    cluster.promote("orders-2")
    cluster.name_writer_after(0.5, "dns", "orders-2")
    cluster.name_writer_after(20, "rds", "orders-2")

    result = cluster.scenario.follow(EVENT)

    assert [c.reason for c in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]
    return cluster.scenario


@outcome("A reader reboots; its port is closed for 20 s", refused=4.5)
def test_a_rebooting_reader_keeps_its_target() -> Scenario:
    cluster = Cluster.of_readers()
    cluster.rds.states["orders-2"] = "rebooting"
    cluster.scenario.set_listening(A, C)
    cluster.scenario.after(20, lambda: cluster.scenario.set_listening(A, B, C))
    cluster.scenario.after(20, cluster.rds.states.clear)

    result = cluster.scenario.run(EVENT)

    assert result.status is RunStatus.IN_SYNC
    assert not cluster.scenario.changes
    return cluster.scenario


@outcome(
    "Failover of a cluster whose readers are the targets", misrouted=3, metrics=TARGETS_CHANGED
)
def test_readers_exchange_a_member_at_a_failover() -> Scenario:
    cluster = Cluster.of_readers()
    cluster.fail_over("orders-2")
    cluster.scenario.expected_servers = frozenset({A, C})

    result = cluster.scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert cluster.scenario.registered == {str(target(A)), str(target(C))}
    return cluster.scenario


# --- Helpers ----------------------------------------------------------------------------------


def _status(end: object) -> RunStatus:
    assert isinstance(end, SyncResult), end
    return end.status


def _distinct(changes: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the changes without repetitions."""
    return list(dict.fromkeys(changes))


def _vetoes(result: SyncResult) -> list[VetoCode]:
    assert result.run.plan is not None
    return [veto.code for veto in result.run.plan.vetoes]
