"""The metrics of AWS's services in the lab's AWS."""

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.lab.emulator_process import Emulator, running_emulator

pytestmark = pytest.mark.lab
#: The length of a minute in seconds.
MINUTE = 0.2
CODE = """
import os

def handler(event, context):
    if event.get("fails"):
        raise ValueError("on request")
    return os.getpid()
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator with a short minute."""
    directory = tmp_path_factory.mktemp("emulator")
    with running_emulator(directory, options=(f"--schedule-interval={MINUTE}",)) as it:
        yield it


@dataclass(frozen=True)
class MetricReader:
    """The values of one metric, oldest first."""

    emulator: Emulator
    namespace: str
    name: str
    dimensions: Mapping[str, str]

    def values(self, statistic: str = "Sum", *, seconds: float = 3600) -> list[float]:
        now = datetime.fromtimestamp(time.time(), UTC)
        metric = {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": [{"Name": n, "Value": v} for n, v in self.dimensions.items()],
        }
        query = {"Id": "m0", "MetricStat": {"Metric": metric, "Period": 1, "Stat": statistic}}
        reply = self.emulator.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query],
            StartTime=now - timedelta(seconds=seconds),
            EndTime=now + timedelta(seconds=60),
        )
        return [value for result in reply["MetricDataResults"] for value in result["Values"]]


@pytest.fixture(scope="module")
def function(emulator: Emulator) -> str:
    """A function that fails on request."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", CODE)
    role = emulator.client("iam").create_role(RoleName="runs", AssumeRolePolicyDocument="{}")
    emulator.client("lambda").create_function(
        FunctionName="runs",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return "runs"


def of_lambda(emulator: Emulator, name: str) -> MetricReader:
    return MetricReader(emulator, "AWS/Lambda", name, {"FunctionName": "runs"})


def test_a_process_continues_after_an_error_of_its_handler(
    emulator: Emulator, function: str
) -> None:
    client = emulator.client("lambda")

    def run(payload: bytes) -> Any:
        return json.load(client.invoke(FunctionName=function, Payload=payload)["Payload"])

    first = run(b"{}")
    assert run(b'{"fails": true}')["errorType"] == "ValueError"
    assert run(b"{}") == first


def test_counts_a_throttled_invocation_as_a_throttle_and_not_as_a_run(
    emulator: Emulator, function: str
) -> None:
    client = emulator.client("lambda")
    runs, throttles = of_lambda(emulator, "Invocations"), of_lambda(emulator, "Throttles")
    before = sum(runs.values())
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=function, Payload=b"{}")

    client.delete_function_concurrency(FunctionName=function)
    assert (sum(runs.values()), sum(throttles.values())) == (before, 1)
