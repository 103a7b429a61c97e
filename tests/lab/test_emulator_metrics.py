"""The lab's AWS reads metrics from a function's log."""

import io
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.emulator_process import PROVIDER, Emulator, running_emulator

pytestmark = pytest.mark.lab

CODE = """
import json, time

def handler(event, context):
    print("not a metric")
    print('{"_aws": broken')
    print(json.dumps({"_aws": "of another library"}))
    print(json.dumps({
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [{
                "Namespace": "Lab",
                "Dimensions": [["service"]],
                "Metrics": [
                    {"Name": "Runs", "Unit": "Count"},
                    {"Name": "Seconds", "Unit": "Seconds"},
                ],
            }],
        },
        "service": event["stack"],
        "Runs": [1],
        "Seconds": 2.5,
    }))
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as it:
        yield it


@pytest.fixture(scope="module")
def function(emulator: Emulator) -> str:
    """A function that writes two metrics and other lines."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", CODE)
    role = emulator.client("iam").create_role(RoleName="writer", AssumeRolePolicyDocument="{}")
    emulator.client("lambda").create_function(
        FunctionName="writer",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return "writer"


def points(emulator: Emulator, name: str, service: str, account: str = PROVIDER) -> list[float]:
    now = datetime.fromtimestamp(time.time(), UTC)
    metric = {
        "Namespace": "Lab",
        "MetricName": name,
        "Dimensions": [{"Name": "service", "Value": service}],
    }
    reply = emulator.client("cloudwatch", account).get_metric_data(
        MetricDataQueries=[
            {"Id": "m0", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}}
        ],
        StartTime=now - timedelta(hours=2),
        EndTime=now + timedelta(hours=1),
    )
    return [value for result in reply["MetricDataResults"] for value in result["Values"]]


def test_reads_metrics_from_the_log(emulator: Emulator, function: str) -> None:
    for _ in range(2):
        emulator.client("lambda").invoke(FunctionName=function, Payload=b'{"stack": "one"}')

    assert sum(points(emulator, "Runs", "one")) == 2
    assert sum(points(emulator, "Seconds", "one")) == 5


def test_keeps_the_metrics_of_stacks_and_accounts_separate(
    emulator: Emulator, function: str
) -> None:
    emulator.client("lambda").invoke(FunctionName=function, Payload=b'{"stack": "two"}')

    assert sum(points(emulator, "Runs", "two")) == 1
    assert points(emulator, "Runs", "three") == []
    assert points(emulator, "Runs", "two", "999999999999") == []
