"""The descriptions of a database by RDS and EC2: the fakes, moto and the emulator agree."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from moto import mock_aws

from target_sync.endpoints.cluster import RdsCluster
from target_sync.endpoints.ec2 import InstanceEndpoint
from target_sync.endpoints.failures import failed_observation
from target_sync.errors import AwsAccessDeniedError, AwsCallError, AwsNotFoundError, AwsReplyError
from target_sync.model import FailedObservation, LookupFailure, Observation
from tests.support.databases import CLUSTER, INSTANCE_ID, FakeEc2, FakeRds, api_error

REGION = "eu-west-1"
#: moto accepts any name, and would take seconds to load the images of AWS.
IMAGE_ID = "ami-0a1b2c3d4e5f60718"


@pytest.fixture
def _moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        yield


EVERYWHERE = ["fake", "moto", pytest.param("emulator", marks=pytest.mark.lab)]


def client_of(service: str, request: pytest.FixtureRequest) -> Any:
    """Return a client of the requested implementation; None for the fake."""
    if request.param == "emulator":
        emulator = request.getfixturevalue("emulator")
        request.addfinalizer(emulator.admin.reset)
        return emulator.client(service)
    if request.param == "moto":
        request.getfixturevalue("_moto")
        return boto3.client(service, REGION)  # type: ignore[call-overload] # any service
    return None


@pytest.fixture(params=EVERYWHERE)
def rds(request: pytest.FixtureRequest) -> Any:
    """Return a client for a cluster with a writer and a reader."""
    client = client_of("rds", request)
    if client is None:
        return FakeRds("orders-1", "orders-2")
    for cluster, members in ((CLUSTER, ["orders-1", "orders-2"]), ("other", ["other-1"])):
        client.create_db_cluster(
            DBClusterIdentifier=cluster,
            Engine="aurora-postgresql",
            MasterUsername="owner",
            MasterUserPassword="not-secret",
        )
        for member in members:
            client.create_db_instance(
                DBClusterIdentifier=cluster,
                DBInstanceIdentifier=member,
                DBInstanceClass="db.r6g.large",
                Engine="aurora-postgresql",
            )
    return client


def test_lists_the_members_of_a_cluster_with_their_role_and_endpoint(rds: Any) -> None:
    members = RdsCluster(rds, CLUSTER).members()

    assert [(m.id, m.is_writer) for m in members] == [("orders-1", True), ("orders-2", False)]
    for member in members:
        assert member.endpoint is not None
        assert member.endpoint.startswith(f"{member.id}.")
        assert member.endpoint.endswith(".rds.amazonaws.com")


def test_a_missing_cluster_raises_an_error(rds: Any) -> None:
    with pytest.raises(AwsNotFoundError, match="DescribeDBClusters"):
        RdsCluster(rds, "missing").members()


def test_a_member_that_is_being_created_has_no_endpoint_yet() -> None:
    rds: Any = FakeRds("orders-1", "orders-2")
    rds.members["orders-2"] = None

    assert RdsCluster(rds, CLUSTER).members()[1].endpoint is None


@dataclass(frozen=True)
class Server:
    """An instance, its client, and a function that changes its state."""

    id: str
    client: Any
    becomes: Callable[[str], object]
    address: str

    def observed(self) -> Observation | FailedObservation:
        return InstanceEndpoint(self.id, self.client, lambda: 7.0).observe()


@pytest.fixture(params=EVERYWHERE)
def server(request: pytest.FixtureRequest) -> Server:
    client = client_of("ec2", request)
    if client is None:
        fake = FakeEc2("10.0.1.11")

        def becomes(state: str) -> None:
            fake.state = state
            fake.address = None if state == "terminated" else fake.address

        return Server(INSTANCE_ID, fake, becomes, "10.0.1.11")
    (instance,) = client.run_instances(ImageId=IMAGE_ID, MinCount=1, MaxCount=1)["Instances"]
    ids = [instance["InstanceId"]]
    changes: dict[str, Callable[..., object]] = {
        "stopped": client.stop_instances,
        "terminated": client.terminate_instances,
    }
    return Server(
        ids[0], client, lambda state: changes[state](InstanceIds=ids), instance["PrivateIpAddress"]
    )


@pytest.mark.parametrize("state", [None, "stopped"])
def test_an_instance_keeps_its_private_address_when_it_stops(
    server: Server, state: str | None
) -> None:
    if state:
        server.becomes(state)

    observation = server.observed()

    assert observation == Observation(
        name=server.id,
        addresses=frozenset({ip_address(server.address)}),
        source="ec2",
        ttl=None,
        at=7.0,
    )


def test_a_terminated_instance_has_no_address(server: Server) -> None:
    server.becomes("terminated")

    observation = server.observed()

    assert isinstance(observation, FailedObservation)
    assert observation.failure is LookupFailure.NO_ADDRESS
    assert f"{server.id} is terminated" in observation.detail


def test_a_shutting_down_instance_has_no_address() -> None:
    client: Any = FakeEc2("10.0.1.11", "shutting-down")

    assert isinstance(
        InstanceEndpoint(INSTANCE_ID, client, lambda: 7.0).observe(), FailedObservation
    )


def test_a_missing_instance_is_a_failed_observation(server: Server) -> None:
    observation = InstanceEndpoint("i-0fedcba9876543210", server.client, lambda: 7.0).observe()

    assert isinstance(observation, FailedObservation)
    assert (observation.failure, observation.at) == (LookupFailure.NAME_DOES_NOT_EXIST, 7.0)
    assert "i-0fedcba9876543210: DescribeInstances failed" in observation.detail


# --- Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (api_error("X", "AccessDenied", 403), LookupFailure.ACCESS_DENIED),
        (api_error("X", "UnauthorizedOperation", 403), LookupFailure.ACCESS_DENIED),
        (api_error("X", "Throttling"), LookupFailure.API_UNAVAILABLE),
        (api_error("X", "InternalFailure", 500), LookupFailure.API_UNAVAILABLE),
        (api_error("X", "SomethingNew"), LookupFailure.API_UNAVAILABLE),
        (ConnectTimeoutError(endpoint_url="https://x.example"), LookupFailure.API_UNAVAILABLE),
    ],
)
def test_the_code_of_an_error_decides_the_failure(fault: Exception, failure: LookupFailure) -> None:
    rds: Any = FakeRds("orders-1")
    rds.fault = fault

    with pytest.raises(AwsCallError) as raised:
        RdsCluster(rds, CLUSTER).members()

    observation = failed_observation(raised.value, "orders", 7.0)
    assert (observation.name, observation.failure, observation.at) == ("orders", failure, 7.0)
    assert "DescribeDBClusters failed with" in observation.detail


@pytest.mark.parametrize(
    ("failing", "remedy"),
    [
        (AwsAccessDeniedError("X", "AccessDenied", "no."), "role this permission."),
        (AwsNotFoundError("X", "NotFound", "no."), "new endpoint."),
        (AwsCallError("X", "Throttling", "no."), "Throttling: no."),
    ],
)
def test_the_text_of_a_failure_ends_with_the_remedy(failing: AwsCallError, remedy: str) -> None:
    assert failed_observation(failing, "orders", 7.0).detail.endswith(remedy)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"DBClusters": []},
        {"DBClusters": [{}]},
        {"DBClusters": [{"DBClusterMembers": [{"IsClusterWriter": True}]}]},
        {"DBClusters": None},
    ],
)
def test_rejects_a_reply_with_another_shape(reply: object) -> None:
    class _Odd(FakeRds):
        def describe_db_clusters(self, **_: object) -> Any:
            return reply

    odd: Any = _Odd("orders-1")

    with pytest.raises(AwsReplyError, match="documented shape") as raised:
        RdsCluster(odd, CLUSTER).members()

    assert failed_observation(raised.value, "orders", 7.0).failure is LookupFailure.BAD_ANSWER


@pytest.mark.parametrize(
    "reply", [{}, {"Reservations": []}, {"Reservations": [{"Instances": [{}]}]}]
)
def test_a_description_with_another_shape_is_a_bad_reply(reply: object) -> None:
    class _Odd:
        def describe_instances(self, **_: object) -> object:
            return reply

    odd: Any = _Odd()

    observation = InstanceEndpoint(INSTANCE_ID, odd, lambda: 7.0).observe()

    assert isinstance(observation, FailedObservation)
    assert observation.failure is LookupFailure.BAD_ANSWER
