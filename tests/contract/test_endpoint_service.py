"""The behaviour that every endpoint service port shares, and the errors of the real adapter.

moto has none of these calls. The shared tests run over the fake of the other tests, and over the
real adapter with the lab's emulator.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber

from lab.emulator.client import EmulatorAdminError
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.errors import AwsCallError, AwsUnavailableError
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.ports import EndpointServicePort
from target_sync.provisioning.request import parse_request
from target_sync.provisioning.resources.endpoint_connections import EndpointConnections
from tests.lab.emulator_process import CONSUMER, STRANGER, Emulator, create_vpc
from tests.support.clock import FakeClock
from tests.support.connections import SERVICE_ID, UNKNOWN_ENDPOINT, FakeEndpointService
from tests.support.custom_resources import event

_names = (f"reviews-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Service:
    """A service under test, and a function that requests a connection as an account."""

    id: str
    port: EndpointServicePort
    request: Callable[[str], str]

    def states(self) -> dict[str, ConnectionState]:
        return {c.endpoint_id: c.state for c in self.port.connections()}


def emulated_service(emulator: Emulator) -> Service:
    """Create a service behind a new load balancer, open to two accounts."""
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

    def request_as(account: str) -> str:
        consumer = emulator.client("ec2", account)
        theirs = consumer.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
        endpoint = consumer.create_vpc_endpoint(
            VpcId=theirs, VpcEndpointType="Interface", ServiceName=service["ServiceName"]
        )
        return str(endpoint["VpcEndpoint"]["VpcEndpointId"])

    id_ = service["ServiceId"]
    return Service(id_, Ec2EndpointService(ec2, id_), request_as)


@pytest.fixture(params=["fake", pytest.param("emulator", marks=pytest.mark.lab)])
def service(request: pytest.FixtureRequest) -> Service:
    if request.param == "emulator":
        return emulated_service(request.getfixturevalue("emulator"))
    fake = FakeEndpointService()
    return Service(SERVICE_ID, fake, fake.request)


def test_lists_no_connection_of_a_service_without_consumers(service: Service) -> None:
    assert service.port.connections() == ()


def test_lists_a_pending_request_with_its_account(service: Service) -> None:
    endpoint = service.request(CONSUMER)

    assert service.port.connections() == (
        EndpointConnection(
            endpoint_id=endpoint, owner=CONSUMER, state=ConnectionState.PENDING_ACCEPTANCE
        ),
    )


def test_accepts_and_rejects_one_request_only(service: Service) -> None:
    accepted, rejected, pending = (service.request(a) for a in (CONSUMER, STRANGER, CONSUMER))

    service.port.accept(accepted)
    service.port.reject(rejected)

    assert service.states() == {
        accepted: ConnectionState.AVAILABLE,
        rejected: ConnectionState.REJECTED,
        pending: ConnectionState.PENDING_ACCEPTANCE,
    }


def test_fails_to_accept_or_reject_an_unknown_endpoint(service: Service) -> None:
    for call in (service.port.accept, service.port.reject):
        with pytest.raises(AwsCallError, match=r"InvalidVpcEndpointId\.NotFound"):
            call(UNKNOWN_ENDPOINT)


@pytest.mark.lab
def test_a_pending_connection_is_rejected_when_it_is_available(emulator: Emulator) -> None:
    service = emulated_service(emulator)
    endpoint = service.request(CONSUMER)
    emulator.admin.set_connection_state(endpoint, "pending")
    with pytest.raises(AwsCallError, match="InvalidState"):
        service.port.reject(endpoint)
    clock = FakeClock()
    clock.at(clock.now() + 30, lambda: emulator.admin.set_connection_state(endpoint, "available"))
    ec2 = emulator.client("ec2")
    resource = EndpointConnections(service=lambda id_: Ec2EndpointService(ec2, id_), clock=clock)
    request = parse_request(event("Delete", "EndpointConnections", {"ServiceId": service.id}))

    assert str(resource.apply(request, 0.0)["ServiceName"]).endswith(service.id)
    resource.delete(request, clock.now() + 60)

    assert service.states() == {endpoint: ConnectionState.REJECTED}
    with pytest.raises(EmulatorAdminError, match="no endpoint"):
        emulator.admin.set_connection_state("vpce-missing", "pending")


def test_returns_the_name_that_ec2_gave_the_service(
    stubbed: tuple[Ec2EndpointService, Stubber],
) -> None:
    service, stubber = stubbed
    stubber.add_response(
        "describe_vpc_endpoint_service_configurations",
        {"ServiceConfigurations": [{"ServiceName": f"cn.com.amazonaws.vpce.{SERVICE_ID}"}]},
        {"ServiceIds": [SERVICE_ID]},
    )

    assert service.name() == f"cn.com.amazonaws.vpce.{SERVICE_ID}"


@pytest.mark.parametrize("reply", [{}, {"ServiceConfigurations": []}])
def test_a_service_without_a_name_is_an_error(
    stubbed: tuple[Ec2EndpointService, Stubber], reply: dict[str, list[object]]
) -> None:
    service, stubber = stubbed
    stubber.add_response("describe_vpc_endpoint_service_configurations", reply)

    with pytest.raises(AwsCallError, match="DescribeVpcEndpointServiceConfigurations"):
        service.name()


@pytest.mark.lab
def test_does_not_list_the_connections_of_another_service(emulator: Emulator) -> None:
    one, other = emulated_service(emulator), emulated_service(emulator)
    endpoint = one.request(CONSUMER)

    assert other.port.connections() == ()
    with pytest.raises(AwsCallError):
        other.port.accept(endpoint)
    assert one.states() == {endpoint: ConnectionState.PENDING_ACCEPTANCE}


# --- The real adapter: its calls and its errors ------------------------------------------------


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


def test_reads_every_page_of_this_service_only(stubbed: tuple[Ec2EndpointService, Stubber]) -> None:
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
def test_rejects_a_connection_with_a_missing_field(
    stubbed: tuple[Ec2EndpointService, Stubber], field: str
) -> None:
    service, stubber = stubbed
    item = {key: value for key, value in listed(1).items() if key != field}
    stubber.add_response("describe_vpc_endpoint_connections", {"VpcEndpointConnections": [item]})

    with pytest.raises(AwsCallError, match=f"documented shape: '{field}' is missing"):
        service.connections()


@pytest.mark.parametrize("action", ["accept", "reject"])
def test_a_call_names_the_service_and_one_endpoint(
    stubbed: tuple[Ec2EndpointService, Stubber], action: str
) -> None:
    service, stubber = stubbed
    expected = {"ServiceId": SERVICE_ID, "VpcEndpointIds": ["vpce-1"]}
    stubber.add_response(f"{action}_vpc_endpoint_connections", {"Unsuccessful": []}, expected)

    getattr(service, action)("vpce-1")

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
@pytest.mark.parametrize("action", ["accept", "reject"])
def test_a_successful_reply_with_an_unsuccessful_item_is_a_failure(
    stubbed: tuple[Ec2EndpointService, Stubber], action: str, item: dict[str, Any], words: str
) -> None:
    service, stubber = stubbed
    stubber.add_response(f"{action}_vpc_endpoint_connections", {"Unsuccessful": [item]})

    with pytest.raises(AwsCallError, match=words) as raised:
        getattr(service, action)("vpce-1")

    assert raised.value.operation == f"{action.capitalize()}VpcEndpointConnections"


@pytest.mark.parametrize(
    ("code", "http_status", "retryable"),
    [
        ("RequestLimitExceeded", 503, True),
        ("InternalError", 500, True),
        ("UnauthorizedOperation", 403, False),
        ("InvalidVpcEndpointServiceId.NotFound", 400, False),
    ],
)
def test_keeps_the_code_of_an_error(
    stubbed: tuple[Ec2EndpointService, Stubber], code: str, http_status: int, retryable: bool
) -> None:
    service, stubber = stubbed
    stubber.add_client_error(
        "describe_vpc_endpoint_connections", code, "in AWS's words", http_status
    )

    with pytest.raises(AwsCallError, match="in AWS's words") as raised:
        service.connections()

    assert isinstance(raised.value, AwsUnavailableError) is retryable
    assert raised.value.retryable is retryable


def test_the_error_of_an_unreachable_api_names_the_missing_interface_endpoint() -> None:
    class _Unreachable:
        def accept_vpc_endpoint_connections(self, **_: object) -> None:
            raise ConnectTimeoutError(endpoint_url="https://ec2.example")

    client: Any = _Unreachable()

    with pytest.raises(AwsUnavailableError, match="interface endpoint for ec2"):
        Ec2EndpointService(client, SERVICE_ID).accept("vpce-1")
