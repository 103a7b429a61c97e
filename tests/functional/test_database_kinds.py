"""Runs with each kind of database, whose sources are in memory."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from target_sync.endpoints import authoritative
from target_sync.endpoints import build as endpoints_build
from target_sync.endpoints import dns as dns_adapter
from target_sync.endpoints.build import StaticEndpoint
from target_sync.endpoints.cluster import ClusterReadersEndpoint
from target_sync.endpoints.ec2 import InstanceEndpoint
from target_sync.errors import ObservationDeniedError, ObservationError
from target_sync.model import LookupFailure, Observation, RunStatus, SyncPolicy
from target_sync.reconcile import build
from target_sync.reconcile.planner import CONTEST_SECONDS, Reason
from target_sync.targets.network_interfaces import RdsNetworkInterfaces
from target_sync.targets.outbound_rules import SecurityGroupRules
from target_sync.targets.switched_group import SwitchedTargetGroup
from tests.support.cluster import Cluster
from tests.support.databases import (
    CLUSTER,
    INSTANCE_ID,
    READER_NAME,
    WRITER_NAME,
    FakeDns,
    FakeEc2,
    api_error,
    instance_name,
)
from tests.support.scenario import (
    EVENT,
    FROM_A_TO_B,
    MANUAL,
    ON_PREM,
    POLICY,
    SCHEDULE,
    A,
    B,
    C,
    Scenario,
    target,
)
from tests.support.standbys import FakeStandbys


@pytest.fixture
def writer() -> Cluster:
    return Cluster.of_writer()


@pytest.fixture
def readers() -> Cluster:
    return Cluster.of_readers()


# --- The writer of a cluster ------------------------------------------------------------------


def test_later_runs_of_a_container_ask_for_the_endpoints_of_new_members_only(
    writer: Cluster,
) -> None:
    for _ in range(3):
        writer.scenario.run(SCHEDULE)
    assert writer.rds.calls == Counter(DescribeDBClusters=3, DescribeDBInstances=1)

    writer.rds.members["orders-4"] = instance_name("orders-4")
    for _ in range(2):
        writer.scenario.run(SCHEDULE)
    assert writer.rds.calls == Counter(DescribeDBClusters=5, DescribeDBInstances=2)


def test_a_writer_in_sync_takes_two_calls_and_two_queries(writer: Cluster) -> None:
    result = writer.scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert writer.rds.calls == Counter(DescribeDBClusters=1, DescribeDBInstances=1)
    assert writer.dns.queries == [WRITER_NAME, instance_name("orders-1")]


def test_one_answer_is_enough_if_the_name_of_a_cluster_is_an_alias_of_its_writers_name(
    writer: Cluster,
) -> None:
    writer.dns.set_alias(WRITER_NAME, instance_name("orders-1"))

    result = writer.scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert writer.dns.queries == [WRITER_NAME]


def test_an_alias_of_another_member_does_not_speak_for_the_writer_of_the_api(
    writer: Cluster,
) -> None:
    writer.dns.set_alias(WRITER_NAME, instance_name("orders-2"))
    writer.dns.set_addresses(instance_name("orders-2"), A)

    result = writer.scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert writer.dns.queries == [WRITER_NAME, instance_name("orders-1")]
    observation = result.to_document()["observation"]
    assert observation == {
        "name": WRITER_NAME,
        "addresses": [str(A)],
        "source": "dns+rds",
        "ttl": 5,
        "corroborated": True,
        "disagreement": None,
    }


def test_the_old_writer_is_removed_as_soon_as_both_sources_and_the_group_name_the_new_one(
    writer: Cluster,
) -> None:
    writer.fail_over("orders-2")

    result = writer.scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert writer.scenario.registered == {str(target(B))}
    assert [operation for operation, _ in writer.scenario.group.history[:4]] == [
        *("DescribeTargetHealth", "RegisterTargets"),
        *("DescribeTargetHealth", "DeregisterTargets"),
    ]
    register, deregister = writer.scenario.group.call_times[1], writer.scenario.group.call_times[3]
    assert deregister - register < 1
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENT_IN_BOTH_SOURCES]


def test_the_old_writer_stays_until_the_registration_of_the_new_one_takes_effect(
    writer: Cluster,
) -> None:
    writer.scenario.group.effective_after = 10.0
    writer.fail_over("orders-2")

    result = writer.scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert writer.scenario.registered == {str(target(B))}
    assert writer.scenario.group.fewest_registered == 1


@pytest.mark.parametrize(("first", "second"), [("rds", "dns"), ("dns", "rds")])
def test_both_writers_stay_registered_until_the_sources_agree(
    writer: Cluster, first: str, second: str
) -> None:
    writer.name_writer_after(0.5, first, "orders-2")
    writer.name_writer_after(4.5, second, "orders-2")

    result = writer.scenario.follow(EVENT)

    assert result.seconds["to_register"] == pytest.approx(1, abs=1)
    assert writer.scenario.group.call_times[-1] - writer.scenario.started_at < 105
    removed_at = writer.scenario.group.call_times[
        [op for op, _ in writer.scenario.group.history].index("DeregisterTargets")
    ]
    assert removed_at - writer.scenario.started_at == pytest.approx(5, abs=0.6)


def test_a_lagging_api_keeps_the_old_writer_only_for_the_confirm_window(writer: Cluster) -> None:
    writer.name_writer_after(0.5, "dns", "orders-2")
    writer.name_writer_after(200, "rds", "orders-2")

    result = writer.scenario.follow(EVENT)

    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]
    # The run continues until the sources agree, because only then the failover is over.
    assert writer.scenario.clock.now() - writer.scenario.started_at == pytest.approx(200, abs=5)


def test_a_lagging_name_delays_the_change_until_it_changes(writer: Cluster) -> None:
    writer.name_writer_after(0.5, "rds", "orders-2")
    writer.name_writer_after(60, "dns", "orders-2")

    result = writer.scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert writer.scenario.changes == [
        ("RegisterTargets", (str(target(B)),)),  # announced by the API
        ("DeregisterTargets", (str(target(B)),)),  # the name did not change in time
        ("RegisterTargets", (str(target(B)),)),
        ("DeregisterTargets", (str(target(A)),)),
    ]
    assert [v.reason for v in result.run.registered] == [
        Reason.ANNOUNCED,
        Reason.RETURN_CONFIRMED,  # this run saw it leave, so it needs the confirm window
    ]


def test_a_stale_cache_and_a_lagging_api_do_not_undo_the_new_writer(writer: Cluster) -> None:
    began = writer.scenario.clock.now()
    writer.name_writer_after(0.5, "dns", "orders-2")
    writer.name_writer_after(2.5, "dns", "orders-1")  # another resolver, whose cache is older
    writer.name_writer_after(4.5, "dns", "orders-2")
    writer.name_writer_after(8, "rds", "orders-2")

    result = writer.scenario.follow(EVENT)

    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENT_IN_BOTH_SOURCES]
    assert writer.scenario.clock.now() - began < 105  # the new writer's first registration counted


def test_a_writer_that_only_the_api_names_from_the_start_is_not_registered(writer: Cluster) -> None:
    writer.rds.writer = "orders-2"

    result = writer.scenario.run(MANUAL)

    assert result.status is RunStatus.UNFINISHED
    assert not writer.scenario.changes
    observation = result.to_document()["observation"]
    assert isinstance(observation, Mapping)
    assert observation["disagreement"] == (
        f"{WRITER_NAME} resolves to {A}, but by the RDS API the writer is orders-2 at {B}."
    )


def test_runs_that_start_while_the_sources_disagree_change_nothing(writer: Cluster) -> None:
    writer.rds.writer = "orders-2"

    for _ in range(3):
        assert writer.scenario.run(SCHEDULE).status is RunStatus.UNFINISHED

    assert not writer.scenario.changes


def test_a_target_that_only_the_api_names_is_removed_when_the_contest_ends(writer: Cluster) -> None:
    writer.scenario.group.register_externally(target(B))
    writer.rds.writer = "orders-2"

    result = writer.scenario.run(MANUAL)

    assert result.status is RunStatus.UNFINISHED
    assert writer.scenario.changes == [("DeregisterTargets", (str(target(B)),))]
    assert writer.scenario.group.call_times[-2] - writer.scenario.started_at == CONTEST_SECONDS


def test_a_lagging_api_does_not_keep_a_writer_that_the_name_never_had_in_this_run(
    writer: Cluster,
) -> None:
    writer.dns.set_addresses(WRITER_NAME, B)

    result = writer.scenario.run(MANUAL)

    assert result.status is RunStatus.UNFINISHED  # the API still names the old writer
    assert writer.scenario.changes == FROM_A_TO_B
    assert writer.scenario.group.call_times[-2] - writer.scenario.started_at == 6


def test_the_next_writer_stays_registered_until_the_caches_have_its_name(writer: Cluster) -> None:
    writer.name_writer_after(0.5, "rds", "orders-2")
    writer.name_writer_after(10.5, "dns", "orders-2")

    writer.scenario.follow(EVENT)


@pytest.mark.parametrize("endpoint", [None, "orders-1"])
def test_dns_alone_removes_nothing_at_once_if_the_api_names_no_writer(
    writer: Cluster, endpoint: str | None
) -> None:
    writer.dns.set_addresses(WRITER_NAME, B)
    if endpoint:
        writer.rds.members[endpoint] = None  # the writer exists without an endpoint
    else:
        writer.rds.writer = None

    result = writer.scenario.run(MANUAL)

    assert writer.scenario.changes[0] == ("RegisterTargets", (str(target(B)),))
    (newest,) = result.run.observations[:1]
    assert not newest.corroborated
    assert f"names no writer of the cluster {CLUSTER}" in newest.disagreement
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]


@pytest.mark.parametrize("code", ["InternalFailure", "Throttling"])
def test_the_name_alone_counts_after_the_confirm_window_while_the_api_fails(
    writer: Cluster, code: str
) -> None:
    writer.fail_over("orders-2")
    writer.rds.fault = api_error("DescribeDBClusters", code, 500)

    result = writer.scenario.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED  # until the API works again
    assert writer.scenario.registered == {str(target(B))}
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]
    observation = result.to_document()["observation"]
    assert isinstance(observation, Mapping)
    assert f"the RDS API failed: DescribeDBClusters failed with {code}" in str(
        observation["disagreement"]
    )


def test_readers_are_not_changed_while_the_api_fails(readers: Cluster) -> None:
    readers.rds.fault = api_error("DescribeDBClusters", "InternalFailure", 500)

    with pytest.raises(ObservationError, match="DescribeDBClusters failed") as raised:
        readers.scenario.run(SCHEDULE)

    assert raised.value.retryable
    assert not readers.scenario.changes


def test_a_watch_retries_while_the_api_fails(writer: Cluster) -> None:
    writer.fail_over("orders-2")
    writer.rds.fault = api_error("DescribeDBClusters", "Throttling")
    writer.scenario.clock.at(
        writer.scenario.clock.now() + 30, lambda: setattr(writer.rds, "fault", None)
    )

    assert writer.scenario.run(EVENT).status is RunStatus.SYNCED
    assert writer.scenario.registered == {str(target(B))}


@pytest.mark.parametrize("scenario", ["writer", "readers"])
def test_a_missing_permission_ends_the_run_at_once(
    scenario: str, request: pytest.FixtureRequest
) -> None:
    cluster: Cluster = request.getfixturevalue(scenario)
    cluster.rds.fault = api_error("DescribeDBClusters", "AccessDenied", 403)

    with pytest.raises(ObservationDeniedError, match="permission"):
        cluster.scenario.run(EVENT)

    assert cluster.rds.calls.total() == 1


@pytest.mark.parametrize("name", [WRITER_NAME, instance_name("orders-1")])
def test_a_failed_look_up_of_either_name_of_the_writer_fails_the_observation(
    writer: Cluster, name: str
) -> None:
    writer.dns.set_failure(name, LookupFailure.TIMED_OUT)

    with pytest.raises(ObservationError, match=f"{name}: timed_out"):
        writer.scenario.run(SCHEDULE)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(api_error("DescribeDBClusters", "DBClusterNotFoundFault", 404), id="renamed"),
        pytest.param(KeyError("DBClusters"), id="no reply that can be read"),
    ],
)
def test_the_name_alone_counts_while_the_api_does_not_know_the_cluster(
    writer: Cluster, fault: Exception
) -> None:
    writer.fail_over("orders-2")
    writer.rds.fault = fault

    result = writer.scenario.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED
    assert "but the RDS API failed: " in result.run.newest.disagreement
    assert writer.scenario.registered == {str(target(B))}
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]


def test_the_name_alone_counts_while_the_name_of_the_writer_does_not_exist(
    writer: Cluster,
) -> None:
    """A renamed instance has another name, which the API lists."""
    writer.dns.set_failure(instance_name("orders-1"), LookupFailure.NAME_DOES_NOT_EXIST)
    assert writer.scenario.run(MANUAL).status is RunStatus.UNFINISHED
    assert writer.scenario.registered == {str(target(A))}

    writer.rds.members["orders-1"] = instance_name("orders-9")
    writer.dns.set_addresses(instance_name("orders-9"), A)
    assert writer.scenario.run(MANUAL).status is RunStatus.IN_SYNC


def test_the_longest_ttl_of_both_names_counts(writer: Cluster) -> None:
    writer.dns.set_addresses(WRITER_NAME, A, ttl=60)

    assert writer.scenario.run(SCHEDULE).run.observations[0].ttl == 60


# --- The readers of a cluster -----------------------------------------------------------------


def test_each_reader_is_resolved_by_its_own_name(readers: Cluster) -> None:
    result = readers.scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert readers.dns.queries == [instance_name("orders-2"), instance_name("orders-3")]
    assert readers.rds.calls == Counter(DescribeDBClusters=1, DescribeDBInstances=1)


def test_a_new_reader_is_registered_once_it_has_an_endpoint(readers: Cluster) -> None:
    new_reader = IPv4Address("10.0.1.14")
    readers.rds.members["orders-4"] = None
    assert readers.scenario.run(SCHEDULE).status is RunStatus.IN_SYNC

    readers.rds.members["orders-4"] = instance_name("orders-4")
    readers.dns.set_addresses(instance_name("orders-4"), new_reader)
    readers.scenario.set_listening(A, B, C, new_reader)

    assert readers.scenario.run(SCHEDULE).status is RunStatus.SYNCED
    assert readers.scenario.registered == {str(target(a)) for a in (B, C, new_reader)}


def test_a_deleted_reader_is_removed_after_the_confirm_window(readers: Cluster) -> None:
    del readers.rds.members["orders-3"]

    result = readers.scenario.run(SCHEDULE)

    assert readers.scenario.registered == {str(target(B))}
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]


def test_a_reader_that_is_being_deleted_is_removed_once_its_name_is_gone(
    readers: Cluster,
) -> None:
    assert readers.scenario.run(MANUAL).status is RunStatus.IN_SYNC
    readers.rds.states["orders-3"] = "deleting"
    assert readers.scenario.run(MANUAL).status is RunStatus.IN_SYNC
    readers.dns.set_failure(instance_name("orders-3"), LookupFailure.NAME_DOES_NOT_EXIST)

    result = readers.scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert readers.scenario.registered == {str(target(B))}


def test_a_reader_that_is_not_being_deleted_stays_although_its_name_does_not_exist(
    readers: Cluster,
) -> None:
    readers.dns.set_failure(instance_name("orders-3"), LookupFailure.NAME_DOES_NOT_EXIST)

    with pytest.raises(ObservationError, match="orders-3"):
        readers.scenario.run(SCHEDULE)

    assert readers.scenario.registered == {str(target(B)), str(target(C))}


def test_one_failed_reader_fails_the_observation(readers: Cluster) -> None:
    readers.dns.set_failure(instance_name("orders-3"), LookupFailure.SERVERS_FAILED)

    with pytest.raises(ObservationError, match="orders-3"):
        readers.scenario.run(SCHEDULE)

    assert readers.scenario.registered == {str(target(B)), str(target(C))}


def test_a_cluster_without_readers_keeps_its_targets_and_raises_with_a_remedy(
    readers: Cluster,
) -> None:
    readers.rds.members = {"orders-1": instance_name("orders-1")}

    with pytest.raises(ObservationError, match=r"has no reader .* Add a reader"):
        readers.scenario.run(SCHEDULE)

    assert readers.scenario.registered == {str(target(B)), str(target(C))}


@pytest.fixture
def readers_or_writer(readers: Cluster) -> Cluster:
    endpoint = readers.scenario.reconciler.endpoint
    assert isinstance(endpoint, ClusterReadersEndpoint)
    readers.scenario.use_endpoint(replace(endpoint, follow_writer=True))
    return readers


def test_the_writer_replaces_missing_readers_if_configured(readers_or_writer: Cluster) -> None:
    cluster = readers_or_writer
    assert cluster.scenario.run(SCHEDULE).status is RunStatus.IN_SYNC
    cluster.rds.members = {"orders-1": instance_name("orders-1")}

    assert cluster.scenario.run(SCHEDULE).status is RunStatus.SYNCED
    assert cluster.scenario.registered == {str(target(A))}

    cluster.rds.members["orders-2"] = instance_name("orders-2")
    assert cluster.scenario.run(SCHEDULE).status is RunStatus.SYNCED
    assert cluster.scenario.registered == {str(target(B))}


# --- The standby of an instance ---------------------------------------------------------------


def test_a_failed_standby_check_removes_nothing_and_is_in_the_result() -> None:
    scenario = Scenario(A, policy=replace(POLICY, serving_standby=True))
    standbys = FakeStandbys()
    standbys.failure = "Give the function's role the permission ec2:DescribeNetworkInterfaces."
    scenario.reconciler = replace(scenario.reconciler, standbys=standbys)
    scenario.fail_over(B)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED
    assert scenario.registered == {str(target(A)), str(target(B))}
    assert result.to_document()["last_failure"] == standbys.failure

    standbys.failure, standbys.owned = "", {A}
    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert scenario.registered == {str(target(A)), str(target(B))}
    assert result.to_document()["last_failure"] is None


# --- Static addresses -------------------------------------------------------------------------


def test_another_static_address_replaces_the_target() -> None:
    scenario = Scenario(
        A, policy=SyncPolicy(port=5432, allowed_networks=(IPv4Network("192.168.0.0/16"),))
    )
    scenario.use_endpoint(
        StaticEndpoint(frozenset({IPv4Address(str(ON_PREM))}), scenario.clock.now)
    )

    result = scenario.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(ON_PREM))}
    assert result.run.observations[0].source == "static"


# --- An EC2 instance --------------------------------------------------------------------------


def on_instance(scenario: Scenario) -> FakeEc2:
    ec2 = FakeEc2(str(A))
    client: Any = ec2
    scenario.use_endpoint(InstanceEndpoint(INSTANCE_ID, client, scenario.clock.now))
    return ec2


def test_a_stopped_instance_keeps_its_unhealthy_target() -> None:
    scenario = Scenario(A)
    on_instance(scenario).state = "stopped"
    scenario.set_listening()
    scenario.clock.advance(15)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert not result.run.healthy
    assert scenario.registered == {str(target(A))}


def test_a_terminated_instance_removes_nothing_and_raises() -> None:
    scenario = Scenario(A)
    ec2 = on_instance(scenario)
    ec2.state, ec2.address = "terminated", None

    with pytest.raises(ObservationError, match=f"{INSTANCE_ID} is terminated"):
        scenario.run(SCHEDULE)

    assert scenario.registered == {str(target(A))}


# --- The build for each kind ------------------------------------------------------------------

ENVIRONMENT = {
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/o/01",
    "ALLOWED_NETWORKS": "10.0.0.0/16",
    "EVENT_WATCH_DURATION_SECONDS": "120",
}


INSTANCE_ENVIRONMENT = {
    **ENVIRONMENT,
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": instance_name("orders-1"),
}
READERS_ENVIRONMENT = {
    **ENVIRONMENT,
    "DATABASE_KIND": "rds-cluster-readers",
    "DATABASE_ENDPOINT": READER_NAME,
    "DATABASE_IDENTIFIER": CLUSTER,
}


@pytest.fixture
def wired() -> Cluster:
    """Return the cluster behind the clients and the resolver."""
    return Cluster()


@pytest.fixture
def clients(wired: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the clients that the build created, by service."""
    cluster = wired
    created: dict[str, Any] = {}
    fakes = {"elbv2": object(), "rds": cluster.rds, "ec2": FakeEc2(str(A))}

    def make(service: str) -> Any:
        assert service not in created, "each client is created once"
        created[service] = fakes[service]
        return created[service]

    for module in (build, endpoints_build):
        monkeypatch.setattr(module, "make_client", make)
    monkeypatch.setattr(dns_adapter, "DnsResolver", lambda **_: cluster.dns)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "wiring")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    return created


@pytest.mark.parametrize(
    ("kind", "endpoint", "addresses", "services"),
    [
        ("rds-instance", instance_name("orders-1"), {A}, {"elbv2"}),
        ("rds-proxy", instance_name("orders-1"), {A}, {"elbv2"}),
        ("hostname", instance_name("orders-1"), {A}, {"elbv2"}),
        ("rds-cluster-writer", WRITER_NAME, {A}, {"elbv2", "rds"}),
        ("rds-cluster-readers", READER_NAME, {B, C}, {"elbv2", "rds"}),
        ("static", "10.0.1.11,10.0.2.12", {A, B}, {"elbv2"}),
        ("ec2-instance", INSTANCE_ID, {A}, {"elbv2", "ec2"}),
    ],
)
def test_each_kind_uses_its_own_sources_and_no_other_client(
    clients: dict[str, Any], kind: str, endpoint: str, addresses: set[object], services: set[str]
) -> None:
    reconciler = build.build_reconciler(
        {
            **ENVIRONMENT,
            "DATABASE_KIND": kind,
            "DATABASE_ENDPOINT": endpoint,
            "DATABASE_IDENTIFIER": CLUSTER,
        }
    )

    observation = reconciler.endpoint.observe()

    assert isinstance(observation, Observation)
    assert observation.addresses == addresses
    assert set(clients) == services


@pytest.mark.parametrize(
    ("variables", "seconds"), [({}, 0), ({"DNS_POLL_INTERVAL_SECONDS": "5"}, 5)]
)
def test_optional_parts_are_not_built_by_default(
    clients: dict[str, Any], variables: Mapping[str, str], seconds: int
) -> None:
    reconciler = build.build_reconciler({**INSTANCE_ENVIRONMENT, **variables})

    assert reconciler.standbys is None
    assert reconciler.pool is None
    assert reconciler.proof is None
    assert reconciler.dns_poll_seconds == seconds
    assert set(clients) == {"elbv2"}


def test_a_serving_standby_is_checked_in_the_network_of_the_database(
    clients: dict[str, Any],
) -> None:
    reconciler = build.build_reconciler(
        {
            **INSTANCE_ENVIRONMENT,
            "STANDBY_TARGETS": "serving",
            "VPC_ID": "vpc-0a1b2c3d",
            "DATABASE_SECURITY_GROUPS": "sg-0a1b2c3d,sg-1a2b3c4d",
        }
    )

    assert reconciler.policy.serving_standby
    assert reconciler.standbys == RdsNetworkInterfaces(
        clients["ec2"], "vpc-0a1b2c3d", ("sg-0a1b2c3d", "sg-1a2b3c4d")
    )


SWITCH = {
    "OUTBOUND_RULES_GROUP": "sg-2a3b4c5d",
    "STANDBY_TARGETS": "warm",
    "VPC_ID": "vpc-0a1b2c3d",
    "DATABASE_SECURITY_GROUPS": "sg-0a1b2c3d",
    "DATABASE_SUBNETS": "subnet-0a1b2c3d",
}


def test_the_candidates_of_an_instance_are_the_interfaces_in_its_network(
    clients: dict[str, Any],
) -> None:
    reconciler = build.build_reconciler({**INSTANCE_ENVIRONMENT, **SWITCH})

    assert set(clients) == {"elbv2", "ec2"}
    assert reconciler.policy.warm_targets == 5
    assert reconciler.pool is not None
    assert reconciler.pool.candidates == RdsNetworkInterfaces(
        clients["ec2"], "vpc-0a1b2c3d", ("sg-0a1b2c3d",), ("subnet-0a1b2c3d",)
    )
    switched = reconciler.target_group
    assert isinstance(switched, SwitchedTargetGroup)
    assert switched.rules == SecurityGroupRules(clients["ec2"], "sg-2a3b4c5d", 5432)
    assert reconciler.proof is not None
    assert reconciler.proof.rules is reconciler.pool.switched.rules
    assert reconciler.proof.group is switched.group


@pytest.mark.parametrize("mode", ["none", "serving"])
def test_a_switch_without_warm_targets_has_no_candidates_and_no_proof(
    clients: dict[str, Any], mode: str
) -> None:
    reconciler = build.build_reconciler({**INSTANCE_ENVIRONMENT, **SWITCH, "STANDBY_TARGETS": mode})

    assert reconciler.proof is None
    assert reconciler.pool is not None
    assert reconciler.pool.candidates is None
    assert reconciler.policy.warm_targets == 0
    assert set(clients) == {"elbv2", "ec2"}


@pytest.mark.usefixtures("clients")
def test_the_candidates_of_a_cluster_are_its_members() -> None:
    reconciler = build.build_reconciler({**READERS_ENVIRONMENT, **SWITCH})

    assert isinstance(reconciler.endpoint.observe(), Observation)
    assert reconciler.pool is not None
    assert reconciler.pool.candidates is not None
    assert reconciler.pool.candidates.addresses(frozenset({B, C})).addresses == (A,)


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(
    ("kind", "endpoint", "most"), [("hostname", WRITER_NAME, 5), ("static", str(A), 0)]
)
def test_no_api_lists_the_candidates_of_another_kind(kind: str, endpoint: str, most: int) -> None:
    environment = {"DATABASE_KIND": kind, "DATABASE_ENDPOINT": endpoint}
    reconciler = build.build_reconciler({**ENVIRONMENT, **environment, **SWITCH})

    assert reconciler.pool is not None
    assert reconciler.pool.candidates is None
    assert reconciler.policy.warm_targets == most


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(("resolution", "answer"), [("system", A), ("authoritative", B)])
def test_authoritative_resolution_queries_the_name_servers_of_the_zone(
    wired: Cluster, monkeypatch: pytest.MonkeyPatch, resolution: str, answer: IPv4Address
) -> None:
    behind: list[object] = []

    def authoritative_resolver(*, now: object, system: object) -> FakeDns:  # noqa: ARG001
        behind.append(system)
        zone = FakeDns(wired.scenario.clock)
        zone.set_addresses(instance_name("orders-1"), B)
        return zone

    monkeypatch.setattr(authoritative, "AuthoritativeResolver", authoritative_resolver)

    reconciler = build.build_reconciler({**INSTANCE_ENVIRONMENT, "DNS_RESOLUTION": resolution})

    observation = reconciler.endpoint.observe()
    assert isinstance(observation, Observation)
    assert observation.addresses == {answer}
    assert behind == ([wired.dns] if resolution == "authoritative" else [])


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("follow", ["true", "false"])
def test_the_writer_replaces_missing_readers_only_if_the_environment_says_so(
    wired: Cluster, follow: str
) -> None:
    wired.rds.members = {"orders-1": instance_name("orders-1")}
    reconciler = build.build_reconciler(
        {**READERS_ENVIRONMENT, "FOLLOW_WRITER_WITHOUT_READERS": follow}
    )

    assert isinstance(reconciler.endpoint.observe(), Observation) == (follow == "true")
