"""The response to CloudFormation over HTTP, and the adapters of Auto Scaling and Lambda."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto import mock_aws

from lab.addresses import free_port
from lab.loopback_server import LoopbackServer, QuickHandler
from target_sync.errors import AwsCallError, CustomResourceResponseError
from target_sync.provisioning.cloudformation import ResponseUrl
from target_sync.provisioning.functions import LambdaFunctions
from target_sync.provisioning.ports import AutoScalingPort, FunctionError
from target_sync.targets.auto_scaling import AutoScalingGroups
from tests.support.clock import FakeClock
from tests.support.custom_resources import GROUP, TARGET_GROUP, FakeAutoScaling
from tests.support.uploads import UploadServer

BODY = '{"Status": "SUCCESS", "Reason": "é"}'.encode()

# ------------------------------------------------------------------------------ the response URL


PATH = "/response?sig=secret"


def put(url: str) -> None:
    clock = FakeClock()
    ResponseUrl(clock).put(url, BODY, clock.now() + 60)


def test_uploads_the_response_without_a_content_type() -> None:
    with UploadServer() as server:
        put(server.url + PATH)

    assert server.uploads == [(PATH, "", BODY)]


def test_retries_a_failed_upload() -> None:
    with UploadServer(503, 500, 429, 408) as server:
        put(server.url + PATH)

    assert len(server.uploads) == 5


class RawServer(LoopbackServer):
    """Replies to each upload with these bytes."""

    def __init__(self, reply: bytes) -> None:
        class Handler(QuickHandler):
            def do_PUT(self) -> None:  # noqa: N802 - http.server calls this name
                self.rfile.read(int(self.headers["Content-Length"]))
                self.wfile.write(reply)
                self.close_connection = True

        super().__init__(Handler)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
        *(
            b"HTTP/1.1 %d Moved\r\nLocation: http://[broken\r\nContent-Length: 0\r\n\r\n" % status
            for status in (301, 302, 303, 307, 308)
        ),
    ],
)
def test_a_hostile_reply_is_an_error_without_the_url(reply: bytes) -> None:
    with (
        RawServer(reply) as server,
        pytest.raises(CustomResourceResponseError, match="CloudFormation") as failure,
    ):
        put(server.url + PATH)

    assert "secret" not in str(failure.value)


def test_an_invalid_url_is_an_error_without_the_url() -> None:
    with pytest.raises(CustomResourceResponseError, match="InvalidURL") as failure:
        put("http://127.0.0.1:secret/")

    assert "secret" not in str(failure.value)


def test_does_not_retry_a_rejected_upload() -> None:
    with UploadServer(403) as server:
        with pytest.raises(CustomResourceResponseError, match="HTTP status 403"):
            put(server.url + PATH)

        assert len(server.uploads) == 1


class RecordingClock(FakeClock):
    """Records the end of each wait, in seconds after the start."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.waits: list[float] = []

    def sleep_until(self, at: float) -> None:
        self.waits.append(at)
        super().sleep_until(at)


@pytest.mark.parametrize(
    ("deadline", "waits"),
    [
        (60.0, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]),
        # A try may take 4 seconds, so the last one begins 4 seconds before the deadline or earlier.
        (7.5, [0.5, 1.5, 3.5]),
        (7.4, [0.5, 1.5]),
    ],
)
def test_an_unreachable_url_fails_at_the_deadline_without_showing_the_url(
    deadline: float, waits: list[float]
) -> None:
    clock = RecordingClock()
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}{PATH}"

    with pytest.raises(CustomResourceResponseError, match="in time") as failure:
        ResponseUrl(clock).put(url, BODY, deadline)

    assert clock.waits == waits
    assert "secret" not in str(failure.value)


def test_rejects_a_url_that_is_not_http() -> None:
    with pytest.raises(CustomResourceResponseError, match="not an HTTP URL"):
        put("file:///etc/hostname")


# --------------------------------------------------------------------------- Auto Scaling groups


@dataclass(frozen=True)
class Groups:
    """An implementation with one Auto Scaling group, and a target group to attach."""

    port: AutoScalingPort
    target_group: str = TARGET_GROUP

    @property
    def attached(self) -> frozenset[str] | None:
        return self.port.attached_target_groups(GROUP)


@pytest.fixture(params=["fake", "moto"])
def groups(request: pytest.FixtureRequest) -> Iterator[Groups]:
    if request.param == "fake":
        yield Groups(FakeAutoScaling())
        return
    with mock_aws():
        client = boto3.client("autoscaling", "eu-west-1")
        client.create_launch_configuration(
            LaunchConfigurationName="it", ImageId="ami-0123", InstanceType="t3.micro"
        )
        client.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchConfigurationName="it",
            MinSize=0,
            MaxSize=0,
            AvailabilityZones=["eu-west-1a"],
        )
        vpc = boto3.client("ec2", "eu-west-1").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]
        target_group = boto3.client("elbv2", "eu-west-1").create_target_group(
            Name="orders", Protocol="TCP", Port=5432, VpcId=vpc["VpcId"]
        )["TargetGroups"][0]["TargetGroupArn"]
        yield Groups(AutoScalingGroups(client), target_group)


def test_lists_the_target_groups_of_a_group(groups: Groups) -> None:
    assert groups.attached == frozenset()

    groups.port.attach(GROUP, groups.target_group)
    assert groups.attached == {groups.target_group}

    groups.port.detach(GROUP, groups.target_group)
    assert groups.attached == frozenset()


def test_returns_none_for_a_missing_group(groups: Groups) -> None:
    assert groups.port.attached_target_groups("Missing") is None


# ---------------------------------------------------------------------------- Lambda functions


@pytest.fixture
def functions() -> Iterator[Stubber]:
    with Stubber(boto3.client("lambda", "eu-west-1")) as stubber:
        yield stubber


def add_reply(functions: Stubber, text: str, **more: str) -> None:
    body = text.encode()
    functions.add_response(
        "invoke",
        {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body)), **more},
        {"FunctionName": "sync", "Payload": b'{"dry_run": false}'},
    )


def invoke(functions: Stubber) -> object:
    client: Any = functions.client
    return LambdaFunctions(client).invoke("sync", {"dry_run": False})


def test_runs_a_function_and_returns_its_document(functions: Stubber) -> None:
    add_reply(functions, json.dumps({"status": "in_sync"}))

    assert invoke(functions) == {"status": "in_sync"}


def test_returns_the_error_that_a_function_raised(functions: Stubber) -> None:
    error = {"errorType": "ObservationError", "errorMessage": "It does not exist."}
    add_reply(functions, json.dumps(error), FunctionError="Unhandled")

    assert invoke(functions) == FunctionError("ObservationError", "It does not exist.")


@pytest.mark.parametrize("text", ["", "null", "[1]", "<html>"])
def test_rejects_a_reply_that_is_not_a_document(functions: Stubber, text: str) -> None:
    add_reply(functions, text)

    with pytest.raises(AwsCallError, match="sync returned"):
        invoke(functions)


def test_a_denied_invocation_is_an_error_with_its_code(functions: Stubber) -> None:
    functions.add_client_error("invoke", "AccessDeniedException", "no")

    with pytest.raises(AwsCallError, match="Invoke failed with AccessDeniedException: no"):
        invoke(functions)
