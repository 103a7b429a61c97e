"""Warm targets: registered in advance, and opened when the database moves there."""

from dataclasses import replace
from typing import Any

import pytest

from target_sync.endpoints.cluster import ClusterMembers, ClusterWriterEndpoint, RdsCluster
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    TargetSyncError,
)
from target_sync.model import RunStatus, SwitchState
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.targets.pool_planner import PoolChange, PoolReason
from target_sync.targets.warm_pool import PoolReport
from target_sync.triggers import TriggerKind
from tests.support.databases import CLUSTER, WRITER_NAME, FakeDns, FakeRds, instance_name
from tests.support.scenario import (
    EVENT,
    MANUAL,
    POLICY,
    SCHEDULE,
    A,
    B,
    C,
    target,
    throttled,
)
from tests.support.scenarios import TARGETS_CHANGED, outcome, run_metrics
from tests.support.warm_targets import WARM_POLICY, WarmScenario, texts


def instance(*, warm: bool = True, **settings: Any) -> WarmScenario:
    """Return an instance at A whose standby has the address B."""
    registered = [A, B] if warm else [A]
    settings = {"candidates": [A, B], "addresses": [A], "listening": [A], **settings}
    return WarmScenario(*registered, **settings)


def pool_of(result: SyncResult) -> PoolReport:
    assert result.run.pool is not None
    return result.run.pool


def codes(result: SyncResult) -> list[str]:
    return [veto.code.value for veto in result.vetoes]


# --- Failovers ------------------------------------------------------------------------------------


@outcome("Failover to a warm standby", refused=9.5, metrics=TARGETS_CHANGED)
def test_a_first_failover_waits_for_no_registration() -> WarmScenario:
    scenario = instance()
    scenario.fail_over(B)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert (scenario.serving, scenario.warm) == (texts(B), texts(A))
    assert "DeregisterTargets" not in scenario.group.calls
    return scenario


def cluster() -> tuple[WarmScenario, Any, FakeDns]:
    """Return a cluster of three members with the writer at A, its RDS API and its DNS."""
    scenario = WarmScenario(A, B, C, addresses=[A])
    client: Any = FakeRds("orders-1", "orders-2", "orders-3")
    dns = FakeDns(scenario.clock)
    dns.set_alias(WRITER_NAME, instance_name("orders-1"))
    for member, address in zip(client.members, (A, B, C), strict=True):
        dns.set_addresses(instance_name(member), address)
    rds = RdsCluster(client, CLUSTER)
    members = ClusterMembers(rds, dns, scenario.clock.now)
    scenario.use_endpoint(ClusterWriterEndpoint(WRITER_NAME, rds, members, scenario.clock.now))
    scenario.candidates = members  # type: ignore[assignment]
    scenario.start_container()
    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC
    return scenario, client, dns


@outcome(
    "Failover of a cluster whose members are warm targets; the old writer goes on as a reader",
    refused=9.0,
    misrouted=0.5,
    metrics=TARGETS_CHANGED,
)
def test_the_old_writer_of_a_cluster_is_closed_and_stays_registered() -> WarmScenario:
    scenario, client, dns = cluster()

    client.writer, scenario.expected_servers = "orders-2", frozenset({B})
    dns.set_alias(WRITER_NAME, instance_name("orders-2"))
    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert (scenario.serving, scenario.warm) == (texts(B), texts(A, C))
    return scenario


@outcome(
    "Failover of a host name, and failback to its former address",
    refused=102.0,
    metrics=TARGETS_CHANGED,
)
def test_a_failback_of_a_host_name_waits_for_no_registration() -> WarmScenario:
    scenario = WarmScenario(A, candidates=None)
    scenario.fail_over(B)
    assert scenario.run(EVENT).status is RunStatus.SYNCED
    first, scenario.client.refused = scenario.client.refused, 0.0
    assert scenario.warm == texts(A)

    scenario.fail_over(A)
    assert scenario.run(EVENT).status is RunStatus.SYNCED

    assert scenario.client.refused == 7.5
    assert (scenario.serving, scenario.warm) == (texts(A), texts(B))
    scenario.client.refused += first
    return scenario


def test_the_interface_of_another_database_gets_no_connection() -> None:
    scenario = instance(candidates=[A, B, C], listening=[A, C])
    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC
    assert scenario.warm == texts(B, C)
    scenario.clock.advance(120)

    scenario.fail_over(B)
    scenario.set_listening(B, C)
    scenario.run(EVENT)
    scenario.clock.advance(60)

    assert (scenario.client.misrouted, scenario.client.refused) == (0.0, 9.5)
    assert all(target(C) not in targets for _, targets in scenario.rules.history)


def test_the_old_server_gets_no_connection_after_a_failover_without_its_death() -> None:
    scenario = instance()
    scenario.fail_over(B)
    scenario.set_listening(A, B)
    scenario.run(EVENT)
    scenario.clock.advance(15)
    before = scenario.client.misrouted

    scenario.clock.advance(60)

    assert scenario.client.misrouted == before


# --- The pool -------------------------------------------------------------------------------------


def test_a_run_registers_a_candidate_closed_when_nothing_is_due() -> None:
    scenario = instance(warm=False)

    result = scenario.run(SCHEDULE)

    assert pool_of(result).registered == (PoolChange(target(B), PoolReason.CANDIDATE),)
    assert (scenario.serving, scenario.warm) == (texts(A), texts(B))
    assert scenario.changes == [("RegisterTargets", (str(target(B)),))]
    assert not result.run.changed


def test_a_steady_run_makes_three_calls_and_asks_dns_once_each_poll() -> None:
    scenario = instance()
    scenario.run(SCHEDULE)
    calls = [counter.copy() for counter in (scenario.group.calls, scenario.rules.calls)]
    assert scenario.candidates is not None
    listings, queries = scenario.candidates.listings, scenario.endpoint.queries

    result = scenario.run(SCHEDULE)

    assert pool_of(result).kept == (PoolChange(target(B), PoolReason.CANDIDATE),)
    assert scenario.group.calls - calls[0] == {"DescribeTargetHealth": 1}
    assert scenario.rules.calls - calls[1] == {"DescribeSecurityGroupRules": 1}
    assert scenario.candidates.listings - listings == 1
    assert scenario.endpoint.queries - queries == 1 + result.run.dns_polls


def test_a_steady_run_of_a_cluster_makes_three_calls_and_asks_dns_once_each_poll() -> None:
    scenario, client, dns = cluster()
    ports = (scenario.group.calls, scenario.rules.calls, client.calls)
    before = [counter.copy() for counter in ports]
    queries = len(dns.queries)

    result = scenario.run(SCHEDULE)

    polls = result.run.dns_polls
    group, rules, rds = (now - then for now, then in zip(ports, before, strict=True))
    assert (group, rules) == ({"DescribeTargetHealth": 1}, {"DescribeSecurityGroupRules": 1})
    assert rds == {"DescribeDBClusters": 1 + polls}
    assert len(dns.queries) - queries == 1 + polls


def test_steady_observations_of_a_cluster_ask_dns_less_than_twice_on_average() -> None:
    scenario, client, dns = cluster()
    listed, queries = client.calls["DescribeDBClusters"], len(dns.queries)

    observations = 0
    for _ in range(10):
        run = scenario.run(SCHEDULE, remaining_seconds=20).run
        observations += run.iterations + run.dns_polls
        scenario.clock.advance(60)

    # Each observation asks once, and the two readers are looked up every five minutes.
    assert client.calls["DescribeDBClusters"] - listed == observations
    assert len(dns.queries) - queries == observations + 2 * 2


def test_a_candidate_whose_interface_is_gone_leaves_the_pool() -> None:
    scenario = instance(candidates=[A, C])

    result = scenario.run(SCHEDULE)

    assert pool_of(result).deregistered == (PoolChange(target(B), PoolReason.NOT_A_CANDIDATE),)
    assert scenario.warm == texts(C)


def test_an_event_run_refreshes_the_pool_only_at_its_end() -> None:
    scenario = instance(warm=False, watch_seconds=60)
    assert scenario.candidates is not None
    listings: list[int] = []
    scenario.after(58.5, lambda: listings.append(scenario.candidates.listings))  # type: ignore[union-attr]

    scenario.run(EVENT)

    assert (listings, scenario.candidates.listings) == ([0], 1)


def test_a_run_that_follows_a_failover_refreshes_the_pool_after_health() -> None:
    scenario = instance(candidates=[A, B, C])
    scenario.fail_over(B)

    result = scenario.run(SCHEDULE)

    assert result.run.healthy
    operations = [operation for operation, _ in scenario.changes]
    assert operations == ["RegisterTargets", "RegisterTargets"]
    assert scenario.group.history[-1] == ("RegisterTargets", (target(C),))


@pytest.mark.parametrize("trigger", [SyncTrigger(kind=TriggerKind.MANUAL, dry_run=True)])
def test_a_dry_run_changes_no_warm_target(trigger: SyncTrigger) -> None:
    scenario = instance(warm=False)

    result = scenario.run(trigger)

    assert result.run.pool is None
    assert not scenario.changes
    assert result.to_document()["switch"] == {
        "state": "proven",
        "seconds_to_healthy_once_opened": None,
        "detail": None,
    }


def test_a_run_without_time_leaves_the_pool() -> None:
    scenario = instance(warm=False)

    assert scenario.run(MANUAL, remaining_seconds=15).run.pool is None


def test_an_old_description_changes_no_pool() -> None:
    scenario = instance(warm=False)
    observe = scenario.endpoint.observe

    def slowly() -> Any:
        scenario.clock.advance(11)
        return observe()

    scenario.endpoint.observe = slowly  # type: ignore[method-assign]

    assert scenario.run(MANUAL).run.pool is None
    assert not scenario.changes


def test_a_failed_list_of_candidates_changes_no_pool_and_fails_no_run() -> None:
    scenario = instance(candidates=[A, C])
    assert scenario.candidates is not None
    scenario.candidates.failure = "DescribeNetworkInterfaces failed with UnauthorizedOperation."

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert (scenario.warm, scenario.changes) == (texts(B), [])
    document: Any = result.to_document()
    assert document["warm_targets"] == {
        "registered": [],
        "deregistered": [],
        "kept": [{"target": str(target(B)), "reason": PoolReason.UNKNOWN.value}],
        "rules_closed": [],
        "failures": [scenario.candidates.failure],
    }
    assert run_metrics(result)["CallsFailed"] == 1


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_failed_change_of_the_pool_fails_no_run_and_is_repeated(operation: str) -> None:
    scenario = instance(candidates=[A, C])
    scenario.group.faults[operation] = [throttled(operation)]

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert [operation in failure for failure in pool_of(result).failures] == [True]
    scenario.run(SCHEDULE)
    assert scenario.warm == texts(C)


def test_a_rule_that_no_run_needs_is_closed_after_a_minute() -> None:
    scenario = instance()
    scenario.rules.set_open([target(A), target(C)])

    assert pool_of(scenario.run(SCHEDULE)).closed == ()
    assert pool_of(scenario.run(SCHEDULE)).closed == (target(C),)

    assert scenario.rules.open_targets == {target(A)}


def test_without_warm_targets_a_removed_target_is_closed_and_deregistered() -> None:
    scenario = instance(policy=POLICY)
    scenario.run(SCHEDULE)
    assert scenario.registered == texts(A)

    scenario.fail_over(B)
    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == texts(B)
    assert scenario.rules.open_targets == {target(B)}
    assert scenario.candidates is not None
    assert scenario.candidates.listings == 0


# --- Unproven and ineffective ---------------------------------------------------------------------


def test_an_unproven_switch_has_one_target_under_watch_and_a_failover_proves_it() -> None:
    scenario = instance(warm=False, candidates=[A, B, C], state=SwitchState.UNPROVEN)
    scenario.run(SCHEDULE)
    assert scenario.warm == texts(B)
    scenario.clock.advance(120)
    assert scenario.run(SCHEDULE).to_document()["switch"]["state"] == "unproven"  # type: ignore[index]

    scenario.fail_over(B)
    result = scenario.run(EVENT)

    assert scenario.rules.state is SwitchState.PROVEN
    assert result.switch is not None
    assert result.switch.state is SwitchState.PROVEN
    scenario.run(SCHEDULE)
    assert scenario.warm == texts(A, C)


def test_an_ineffective_switch_empties_the_pool_in_the_same_run() -> None:
    scenario = instance(listening=[A, B])
    scenario.run(SCHEDULE)
    scenario.rules.is_effective = False
    scenario.clock.advance(30)
    before = scenario.elapsed

    result = scenario.run(SCHEDULE)

    assert scenario.elapsed - before <= 70
    assert (scenario.registered, scenario.serving) == (texts(A), texts(A))
    assert scenario.rules.state is SwitchState.INEFFECTIVE
    assert pool_of(result).deregistered == (PoolChange(target(B), PoolReason.INEFFECTIVE),)
    assert result.status is RunStatus.IN_SYNC
    document: Any = result.to_document()
    (veto,) = document["vetoes"]
    assert (veto["code"], veto["phases"]) == ("switch_ineffective", [])
    assert "255.255.255.255/32" in veto["detail"]
    assert document["switch"]["state"] == "ineffective"
    assert run_metrics(result)["SwitchIneffective"] == 1


def test_an_ineffective_switch_is_reported_until_its_mark_is_deleted() -> None:
    scenario = instance(warm=False, state=SwitchState.INEFFECTIVE)

    result = scenario.run(SCHEDULE)
    assert codes(result) == ["switch_ineffective"]
    assert (scenario.warm, scenario.changes) == (set(), [])

    scenario.rules.state = SwitchState.UNPROVEN
    result = scenario.run(SCHEDULE)
    assert codes(result) == []
    assert run_metrics(result)["SwitchIneffective"] == 0
    assert scenario.warm == texts(B)


def test_a_target_that_was_just_closed_may_be_healthy_for_a_moment() -> None:
    scenario = instance()
    scenario.fail_over(B)
    scenario.set_listening(A, B)

    scenario.run(EVENT)
    scenario.run(SCHEDULE)

    assert scenario.rules.state is SwitchState.PROVEN
    assert scenario.warm == texts(A)


def test_an_ineffective_switch_stays_empty_although_it_cannot_be_marked() -> None:
    scenario = instance(listening=[A, B])
    scenario.rules.is_effective = False
    denied = AwsAccessDeniedError("AuthorizeSecurityGroupEgress", "UnauthorizedOperation", "no")
    scenario.rules.faults["mark"] = [denied] * 2
    scenario.clock.advance(15)

    result = scenario.run(SCHEDULE)
    assert (scenario.warm, pool_of(result).failures) == (set(), (str(denied),))
    assert codes(result) == ["switch_ineffective"]

    assert codes(scenario.run(SCHEDULE)) == ["switch_ineffective"]
    assert scenario.rules.state is SwitchState.PROVEN
    scenario.run(SCHEDULE)
    assert (scenario.warm, scenario.rules.state) == (set(), SwitchState.INEFFECTIVE)


# --- Failing calls --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation", ["DescribeSecurityGroupRules", "AuthorizeSecurityGroupEgress"]
)
def test_a_denied_change_of_rules_fails_the_run_and_keeps_the_old_target(operation: str) -> None:
    scenario = instance()
    scenario.fail_over(B)
    scenario.rules.faults[operation] = [
        AwsAccessDeniedError(operation, "UnauthorizedOperation", "not authorized")
    ]

    with pytest.raises(AwsAccessDeniedError, match=operation):
        scenario.run(EVENT)

    assert scenario.serving == texts(A)


def test_throttled_rules_are_retried() -> None:
    scenario = instance()
    scenario.fail_over(B)
    for operation in ("DescribeSecurityGroupRules", "AuthorizeSecurityGroupEgress"):
        scenario.rules.faults[operation] = [throttled(operation)] * 2

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert scenario.serving == texts(B)
    assert result.run.failures == 4


def test_a_full_security_group_fails_the_run_by_name_and_keeps_the_old_target() -> None:
    scenario = instance()
    scenario.rules.most = 1
    scenario.fail_over(B)

    with pytest.raises(AwsCallError, match="RulesPerSecurityGroupLimitExceeded"):
        scenario.run(EVENT)

    assert scenario.serving == texts(A)


OPERATIONS = (
    "DescribeSecurityGroupRules", "DescribeTargetHealth", "AuthorizeSecurityGroupEgress",
    "RegisterTargets", "RevokeSecurityGroupEgress", "DeregisterTargets",
)  # fmt: skip


@pytest.mark.parametrize("is_lost", [False, True], ids=["fails", "loses its reply"])
@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_next_run_completes_a_failover_that_ended_at_any_call(
    operation: str, nth: int, is_lost: bool
) -> None:
    """The run fails at the nth call of an operation, as after a crash. Bound: one warm target."""
    scenario = instance(policy=replace(WARM_POLICY, warm_targets=1), candidates=[A, B, C])
    port: Any = scenario.rules if "SecurityGroup" in operation else scenario.group
    passes: list[Any] = [None] * nth
    faults = port.lost_replies if is_lost else port.faults
    faults[operation] = [*passes, AwsAccessDeniedError(operation, "Crashed", "for the test")]
    scenario.fail_over(B)
    serving_at_times: list[set[str]] = []
    scenario.clock.every_tick(lambda: serving_at_times.append(scenario.serving))

    for _ in range(3):
        try:
            scenario.run(EVENT)
        except TargetSyncError:
            scenario.start_container()
    scenario.run(SCHEDULE)
    scenario.run(SCHEDULE)

    assert scenario.serving == texts(B)
    assert scenario.rules.open_targets == {target(B)}
    assert len(scenario.warm) == 1
    assert all(serving_at_times)


def test_two_runs_with_different_answers_change_each_rule_once() -> None:
    scenario = instance(listening=[A, B])
    stale: Any = type(scenario.endpoint)(scenario.clock)
    stale.set_addresses(A)
    scenario.endpoint.set_addresses(B)
    scenario.after(12, lambda: stale.set_addresses(B))
    serving: list[set[str]] = []
    scenario.clock.every_tick(lambda: serving.append(scenario.serving))

    fresh_run = scenario.run_in_steps(EVENT)
    scenario.start_container()
    stale_run = scenario.run_in_steps(EVENT, stale)
    scenario.run_concurrently((0.0, fresh_run), (0.3, stale_run))

    assert all(serving)
    assert (scenario.serving, scenario.warm) == (texts(B), texts(A))
    # Without a confirm window the runs would open and close both addresses in turn.
    assert scenario.rules.history == [
        ("AuthorizeSecurityGroupEgress", (target(B),)),
        ("RevokeSecurityGroupEgress", (target(A),)),
    ]
