"""The function that answers, run by the lab's AWS as its role: it needs each of its permissions."""

import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from target_sync.core.connections import ConnectionState
from tests.contract.test_endpoint_service import Service, emulated_service
from tests.lab.emulator_process import CONSUMER, PROVIDER, REGION, STRANGER, Emulator
from tests.support.events import load_event

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
DESCRIBE = "ec2:DescribeVpcEndpointConnections"
ACCEPT, REJECT = "ec2:AcceptVpcEndpointConnections", "ec2:RejectVpcEndpointConnections"
PUBLISH = "sns:Publish"
PENDING = ConnectionState.PENDING_ACCEPTANCE
_numbers = itertools.count()


@dataclass(frozen=True)
class Run:
    """One invocation, and the connections of a trusted and of an untrusted account after it."""

    failed: bool
    answer: Mapping[str, Any]
    trusted: ConnectionState
    untrusted: ConnectionState


def run_without(emulator: Emulator, missing: str = "") -> Run:
    """Let both accounts ask, and invoke the function without one of its permissions."""
    service = emulated_service(emulator)
    trusted, untrusted = service.asks(CONSUMER), service.asks(STRANGER)
    topic = emulator.client("sns").create_topic(Name="answers")["TopicArn"]
    name = f"answers-{next(_numbers)}"
    _create_function(emulator, name, service, topic, missing)

    reply = emulator.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps(load_event("connection-request"))
    )

    states = service.states()
    return Run(
        failed="FunctionError" in reply,
        answer=json.loads(reply["Payload"].read()),
        trusted=states[trusted],
        untrusted=states[untrusted],
    )


def _create_function(
    emulator: Emulator, name: str, service: Service, topic: str, missing: str
) -> None:
    arn = f"arn:aws:ec2:{REGION}:{PROVIDER}:vpc-endpoint-service/{service.id}"
    resources = {DESCRIBE: "*", ACCEPT: arn, REJECT: arn, PUBLISH: topic}
    allowed = [_allow(action, at) for action, at in resources.items() if action != missing]
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    iam = emulator.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="answers", PolicyDocument=_document(*allowed))
    emulator.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Timeout=60,
        Code={"ZipFile": _code()},
        Environment={
            "Variables": {
                "ENDPOINT_SERVICE_ID": service.id,
                "TRUSTED_ACCOUNTS": CONSUMER,
                "REJECT_UNTRUSTED": "true",
                "ALARM_TOPIC_ARN": topic,
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
            }
        },
    )


def _allow(action: str, resource: str) -> dict[str, str]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _document(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _code() -> bytes:
    """The function with our package; its dependencies are those of the emulator's interpreter."""
    layer = ROOT / "layers/target_sync"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(ROOT / "functions/answer_connections/app.py", "app.py")
        for file in (layer / "target_sync").rglob("*.py"):
            archive.write(file, file.relative_to(layer))
    return packed.getvalue()


def test_with_its_permissions_it_accepts_rejects_and_tells(emulator: Emulator) -> None:
    run = run_without(emulator)

    assert not run.failed
    assert run.answer["status"] == "answered"
    assert (run.trusted, run.untrusted) == (ConnectionState.AVAILABLE, ConnectionState.REJECTED)


@pytest.mark.parametrize(
    ("missing", "trusted", "untrusted"),
    [
        (DESCRIBE, PENDING, PENDING),
        (ACCEPT, PENDING, ConnectionState.REJECTED),
        (REJECT, ConnectionState.AVAILABLE, PENDING),
        (PUBLISH, ConnectionState.AVAILABLE, ConnectionState.REJECTED),
    ],
)
def test_without_one_of_them_it_fails_by_its_name_and_does_the_rest(
    emulator: Emulator, missing: str, trusted: ConnectionState, untrusted: ConnectionState
) -> None:
    run = run_without(emulator, missing)

    assert run.failed
    assert missing in run.answer["errorMessage"]
    assert (run.trusted, run.untrusted) == (trusted, untrusted)
