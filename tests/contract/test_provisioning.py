"""CloudFormation's answer over HTTP; Auto Scaling and Lambda behind their clients."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto import mock_aws

from lab.addresses import free_port
from target_sync.errors import AwsCallError, CustomResourceResponseError
from target_sync.provisioning.cloudformation import TRY_SECONDS, ResponseUrl
from target_sync.provisioning.functions import LambdaFunctions
from target_sync.provisioning.lookup import AutoScalingPort
from target_sync.provisioning.progress import FunctionError
from target_sync.targets.auto_scaling import AutoScalingGroups
from tests.support.clock import FakeClock
from tests.support.custom_resources import GROUP, TARGET_GROUP, FakeAutoScaling

BODY = '{"Status": "SUCCESS", "Reason": "é"}'.encode()

# --------------------------------------------------------------------- the answer's signed URL


@dataclass
class Bucket:
    """Where CloudFormation takes answers: what it replies in turn, and what it was sent."""

    url: str
    statuses: list[int] = field(default_factory=list)
    uploads: list[tuple[str, str, bytes]] = field(default_factory=list)


@contextmanager
def listening(*statuses: int) -> Iterator[Bucket]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bucket.uploads.append((self.path, self.headers.get("Content-Type", ""), body))
            self.send_response(bucket.statuses.pop(0) if bucket.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test's output is not the place."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    bucket = Bucket(f"http://127.0.0.1:{server.server_port}/answer?sig=secret", list(statuses))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def put(url: str, clock: FakeClock | None = None) -> None:
    clock = clock or FakeClock()
    ResponseUrl(clock).put(url, BODY, clock.now() + 60)


def test_the_answer_is_uploaded_without_a_content_type() -> None:
    with listening() as bucket:
        put(bucket.url)

    assert bucket.uploads == [("/answer?sig=secret", "", BODY)]


def test_an_upload_that_fails_once_is_tried_again() -> None:
    with listening(503, 500) as bucket:
        put(bucket.url)

    assert len(bucket.uploads) == 3


def test_a_refused_upload_is_not_tried_again() -> None:
    with listening(403) as bucket:
        with pytest.raises(CustomResourceResponseError, match="HTTP status 403"):
            put(bucket.url)

        assert len(bucket.uploads) == 1


def test_nobody_listening_fails_at_the_deadline_without_telling_the_url() -> None:
    clock = FakeClock()
    began = clock.now()

    with pytest.raises(CustomResourceResponseError, match="in time") as failure:
        put(f"http://127.0.0.1:{free_port('127.0.0.1')}/answer?sig=secret", clock)

    assert "secret" not in str(failure.value)
    assert 20 < clock.now() - began <= 60 - TRY_SECONDS


def test_a_url_that_is_no_http_url_is_refused() -> None:
    with pytest.raises(CustomResourceResponseError, match="no HTTP URL"):
        put("file:///etc/hostname")


# --------------------------------------------------------------------------- Auto Scaling groups


@dataclass(frozen=True)
class Groups:
    """The API with one group, and a target group to attach to it."""

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


def test_a_group_says_what_is_attached_to_it(groups: Groups) -> None:
    assert groups.attached == frozenset()

    groups.port.attach(GROUP, groups.target_group)
    assert groups.attached == {groups.target_group}

    groups.port.detach(GROUP, groups.target_group)
    assert groups.attached == frozenset()


def test_a_group_that_does_not_exist_is_none(groups: Groups) -> None:
    assert groups.port.attached_target_groups("Nobody") is None


# ---------------------------------------------------------------------------- Lambda functions


@pytest.fixture
def functions() -> Iterator[Stubber]:
    with Stubber(boto3.client("lambda", "eu-west-1")) as stubber:
        yield stubber


def answers(functions: Stubber, text: str, **more: str) -> None:
    body = text.encode()
    functions.add_response(
        "invoke",
        {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body)), **more},
        {"FunctionName": "sync", "Payload": b'{"dry_run": false}'},
    )


def invoke(functions: Stubber) -> object:
    client: Any = functions.client
    return LambdaFunctions(client).invoke("sync", {"dry_run": False})


def test_a_function_is_run_with_its_payload_and_answers(functions: Stubber) -> None:
    answers(functions, json.dumps({"status": "in_sync"}))

    assert invoke(functions) == {"status": "in_sync"}


def test_a_function_that_raised_is_told_from_one_that_answered(functions: Stubber) -> None:
    error = {"errorType": "ObservationError", "errorMessage": "It does not exist."}
    answers(functions, json.dumps(error), FunctionError="Unhandled")

    assert invoke(functions) == FunctionError("ObservationError", "It does not exist.")


@pytest.mark.parametrize("text", ["", "null", "[1]", "<html>"])
def test_an_answer_that_is_no_document_is_an_error(functions: Stubber, text: str) -> None:
    answers(functions, text)

    with pytest.raises(AwsCallError, match="sync answered"):
        invoke(functions)


def test_an_invocation_that_is_not_allowed_is_an_error_with_its_code(functions: Stubber) -> None:
    functions.add_client_error("invoke", "AccessDeniedException", "no")

    with pytest.raises(AwsCallError, match="Invoke failed with AccessDeniedException: no"):
        invoke(functions)
