"""What every implementation of the endpoint service port does, and how the adapters translate.

moto has none of these calls, so the shared expectations run over the fake of the other tests
and over the real adapter on the lab's emulator.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber

from target_sync.endpoint_service import Ec2EndpointService
from target_sync.errors import (
    EndpointServiceError,
    EndpointServiceUnavailableError,
)
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.ports import EndpointServicePort
from tests.lab.emulator_process import CONSUMER, STRANGER, Emulator, create_vpc
from tests.support.connections import NOBODYS_ENDPOINT, SERVICE_ID, FakeEndpointService

_names = (f"answers-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Service:
    """A service under test, and a consumer's way to ask for a connection."""

    id: str
    port: EndpointServicePort
    asks: Callable[[str], str]

    def states(self) -> dict[str, ConnectionState]:
        return {c.endpoint_id: c.state for c in self.port.connections()}


def emulated_service(emulator: Emulator) -> Service:
    """A service of its own behind a load balancer of its own, open to two accounts."""
    ec2, elbv2 = emulator.client("ec2"), emulator.client("elbv2")
    _, subnets = create_vpc(emulator)
    balancer = elbv2.create_load_balancer(
        Name=next(_names), Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer], AcceptanceRequired=True
    )["ServiceConfiguration"]
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service["ServiceId"],
        AddAllowedPrincipals=[f"arn:aws:iam::{a}:root" for a in (CONSUMER, STRANGER)],
    )

    def asks(account: str) -> str:
        consumer = emulator.client("ec2", account)
        theirs = consumer.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
        endpoint = consumer.create_vpc_endpoint(
            VpcId=theirs, VpcEndpointType="Interface", ServiceName=service["ServiceName"]
        )
        return str(endpoint["VpcEndpoint"]["VpcEndpointId"])

    id_ = service["ServiceId"]
    return Service(id_, Ec2EndpointService(ec2, id_), asks)


@pytest.fixture(params=["fake", pytest.param("emulator", marks=pytest.mark.lab)])
def service(request: pytest.FixtureRequest) -> Service:
    if request.param == "emulator":
        return emulated_service(request.getfixturevalue("emulator"))
    fake = FakeEndpointService()
    return Service(SERVICE_ID, fake, fake.asks)


def test_a_service_without_consumers_lists_nothing(service: Service) -> None:
    assert service.port.connections() == ()


def test_a_request_is_listed_with_its_account_and_waits(service: Service) -> None:
    endpoint = service.asks(CONSUMER)

    assert service.port.connections() == (
        EndpointConnection(
            endpoint_id=endpoint, owner=CONSUMER, state=ConnectionState.PENDING_ACCEPTANCE
        ),
    )


def test_each_request_is_answered_alone(service: Service) -> None:
    accepted, rejected, left = (service.asks(a) for a in (CONSUMER, STRANGER, CONSUMER))

    service.port.accept(accepted)
    service.port.reject(rejected)

    assert service.states() == {
        accepted: ConnectionState.AVAILABLE,
        rejected: ConnectionState.REJECTED,
        left: ConnectionState.PENDING_ACCEPTANCE,
    }


def test_answering_an_endpoint_that_is_not_there_fails(service: Service) -> None:
    for answer in (service.port.accept, service.port.reject):
        with pytest.raises(EndpointServiceError, match=r"InvalidVpcEndpointId\.NotFound"):
            answer(NOBODYS_ENDPOINT)


@pytest.mark.lab
def test_another_services_connections_are_not_listed(emulator: Emulator) -> None:
    one, other = emulated_service(emulator), emulated_service(emulator)
    endpoint = one.asks(CONSUMER)

    assert other.port.connections() == ()
    with pytest.raises(EndpointServiceError):
        other.port.accept(endpoint)
    assert one.states() == {endpoint: ConnectionState.PENDING_ACCEPTANCE}


# --- How the adapters translate ------------------------------------------------------------------


@pytest.fixture
def stubbed() -> Iterator[tuple[Ec2EndpointService, Stubber]]:
    client = boto3.client("ec2", "eu-west-1")
    with Stubber(client) as stubber:
        yield Ec2EndpointService(client, SERVICE_ID), stubber


def listed(number: int, state: str = "pendingAcceptance") -> dict[str, str]:
    return {
        "ServiceId": SERVICE_ID,
        "VpcEndpointId": f"vpce-{number}",
        "VpcEndpointOwner": CONSUMER,
        "VpcEndpointState": state,
    }


def test_every_page_is_read_and_only_of_this_service(
    stubbed: tuple[Ec2EndpointService, Stubber],
) -> None:
    service, stubber = stubbed
    filters = {"Filters": [{"Name": "service-id", "Values": [SERVICE_ID]}]}
    operation = "describe_vpc_endpoint_connections"
    first = {"VpcEndpointConnections": [listed(1), listed(2, "Available")], "NextToken": "more"}
    stubber.add_response(operation, first, filters)
    second = {"VpcEndpointConnections": [listed(3, "Expired"), listed(4, "asleep")]}
    stubber.add_response(operation, second, {**filters, "NextToken": "more"})

    assert [c.state for c in service.connections()] == [
        ConnectionState.PENDING_ACCEPTANCE,
        ConnectionState.AVAILABLE,
        ConnectionState.EXPIRED,
        ConnectionState.UNKNOWN,
    ]


@pytest.mark.parametrize("field", ["VpcEndpointId", "VpcEndpointOwner", "VpcEndpointState"])
def test_a_connection_without_one_of_its_fields_decides_nothing(
    stubbed: tuple[Ec2EndpointService, Stubber], field: str
) -> None:
    service, stubber = stubbed
    item = {key: value for key, value in listed(1).items() if key != field}
    stubber.add_response("describe_vpc_endpoint_connections", {"VpcEndpointConnections": [item]})

    with pytest.raises(EndpointServiceError, match=f"documented shape: '{field}' is missing"):
        service.connections()


@pytest.mark.parametrize("answer", ["accept", "reject"])
def test_an_answer_names_the_service_and_the_one_endpoint(
    stubbed: tuple[Ec2EndpointService, Stubber], answer: str
) -> None:
    service, stubber = stubbed
    expected = {"ServiceId": SERVICE_ID, "VpcEndpointIds": ["vpce-1"]}
    stubber.add_response(f"{answer}_vpc_endpoint_connections", {"Unsuccessful": []}, expected)

    getattr(service, answer)("vpce-1")

    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            {"ResourceId": "vpce-1", "Error": {"Code": "InvalidState", "Message": "not now"}},
            "InvalidState: not now",
        ),
        ({"ResourceId": "vpce-1"}, "Unknown: no reason given"),
    ],
)
@pytest.mark.parametrize("answer", ["accept", "reject"])
def test_a_reply_of_200_with_something_unsuccessful_is_a_failure(
    stubbed: tuple[Ec2EndpointService, Stubber], answer: str, item: dict[str, Any], words: str
) -> None:
    service, stubber = stubbed
    stubber.add_response(f"{answer}_vpc_endpoint_connections", {"Unsuccessful": [item]})

    with pytest.raises(EndpointServiceError, match=words) as raised:
        getattr(service, answer)("vpce-1")

    assert raised.value.operation == f"{answer.capitalize()}VpcEndpointConnections"


@pytest.mark.parametrize(
    ("code", "http_status", "retryable"),
    [
        ("RequestLimitExceeded", 503, True),
        ("InternalError", 500, True),
        ("UnauthorizedOperation", 403, False),
        ("InvalidVpcEndpointServiceId.NotFound", 400, False),
    ],
)
def test_an_error_is_told_by_its_code(
    stubbed: tuple[Ec2EndpointService, Stubber], code: str, http_status: int, retryable: bool
) -> None:
    service, stubber = stubbed
    stubber.add_client_error(
        "describe_vpc_endpoint_connections", code, "in AWS's words", http_status
    )

    with pytest.raises(EndpointServiceError, match="in AWS's words") as raised:
        service.connections()

    assert isinstance(raised.value, EndpointServiceUnavailableError) is retryable
    assert raised.value.retryable is retryable


def test_an_api_that_cannot_be_reached_names_the_missing_endpoint() -> None:
    class _Unreachable:
        def accept_vpc_endpoint_connections(self, **_: object) -> None:
            raise ConnectTimeoutError(endpoint_url="https://ec2.example")

    client: Any = _Unreachable()

    with pytest.raises(EndpointServiceUnavailableError, match="interface endpoint for ec2"):
        Ec2EndpointService(client, SERVICE_ID).accept("vpce-1")
