"""The members of a cluster as candidates."""

from typing import Any

import pytest

from target_sync.endpoints.cluster import LOOKUP_SECONDS, ClusterMembers, RdsCluster
from target_sync.model import CandidateList, LookupFailure
from tests.support.clock import FakeClock
from tests.support.databases import CLUSTER, FakeDns, FakeRds, instance_name
from tests.support.scenario import A, B, C

MEMBERS = {"orders-1": A, "orders-2": B, "orders-3": C}


def cluster_of(client: Any) -> RdsCluster:
    return RdsCluster(client, CLUSTER)


class Listed:
    """A cluster of three members that an observation has listed."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dns = FakeDns(self.clock)
        for member, address in MEMBERS.items():
            self.dns.set_addresses(instance_name(member), address)
        self.rds = FakeRds(*MEMBERS)
        self.cluster = cluster_of(self.rds)
        self.cluster.members()
        self.members = ClusterMembers(self.cluster, self.dns, self.clock.now)


@pytest.fixture
def listed() -> Listed:
    return Listed()


def test_the_candidates_are_the_members_that_do_not_serve(listed: Listed) -> None:
    assert listed.members.addresses(frozenset({B})) == CandidateList(addresses=(A, C))


def test_makes_no_call_and_looks_up_each_member_again_after_some_minutes(listed: Listed) -> None:
    calls = listed.rds.calls.total()
    for seconds in (0, LOOKUP_SECONDS - 1):
        listed.clock.advance(seconds)
        listed.members.addresses(frozenset())
    assert listed.dns.queries == [instance_name(member) for member in MEMBERS]

    listed.dns.set_addresses(instance_name("orders-1"), "10.0.1.99")
    listed.clock.advance(1)
    assert [str(a) for a in listed.members.addresses(frozenset()).addresses] == [
        "10.0.1.99",
        str(B),
        str(C),
    ]
    assert listed.rds.calls.total() == calls


def test_a_member_that_an_observation_has_looked_up_is_not_looked_up_again(listed: Listed) -> None:
    listed.dns.set_alias("orders", instance_name("orders-1"))
    listed.members.resolve("orders")
    listed.members.resolve(instance_name("orders-2"))

    assert listed.members.addresses(frozenset()) == CandidateList(addresses=(A, B, C))
    assert listed.dns.queries == ["orders", instance_name("orders-2"), instance_name("orders-3")]


def test_an_observation_looks_up_a_name_each_time(listed: Listed) -> None:
    for _ in range(2):
        listed.members.resolve(instance_name("orders-1"))

    assert listed.dns.queries == 2 * [instance_name("orders-1")]


def test_a_new_member_is_looked_up_at_once(listed: Listed) -> None:
    listed.members.addresses(frozenset())
    listed.rds.members["orders-4"] = instance_name("orders-4")
    listed.dns.set_addresses(instance_name("orders-4"), "10.0.1.44")
    listed.cluster.members()

    assert str(listed.members.addresses(frozenset()).addresses[-1]) == "10.0.1.44"


def test_a_member_that_is_being_created_or_deleted_has_no_address(listed: Listed) -> None:
    listed.rds.members["orders-4"] = None
    listed.dns.set_failure(instance_name("orders-3"), LookupFailure.NAME_DOES_NOT_EXIST)
    listed.cluster.members()

    assert listed.members.addresses(frozenset()) == CandidateList(addresses=(A, B))


def test_a_failed_look_up_lists_no_candidates(listed: Listed) -> None:
    listed.dns.set_failure(instance_name("orders-2"), LookupFailure.TIMED_OUT)

    candidates = listed.members.addresses(frozenset())

    assert candidates == CandidateList(failure=f"{instance_name('orders-2')}: timed_out")


def test_without_a_list_of_members_there_are_no_candidates() -> None:
    listed = Listed()
    cluster = cluster_of(listed.rds)

    candidates = ClusterMembers(cluster, listed.dns, listed.clock.now).addresses(frozenset())

    assert candidates.failure == "The RDS API has listed no member of orders yet."
