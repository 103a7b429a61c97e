"""An alarm of the lab's AWS, and its notification."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.emulator_process import Emulator, running_emulator, wait_until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator in which a minute takes half a second."""
    directory = tmp_path_factory.mktemp("alarms")
    with running_emulator(directory, options=("--schedule-interval=0.5",)) as emulator:
        yield emulator


def state(emulator: Emulator, name: str) -> str:
    (found,) = emulator.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def put_alarm(emulator: Emulator, name: str, **changes: Any) -> None:
    emulator.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "Ours",
            "MetricName": "Successes",
            "Dimensions": [{"Name": "service", "Value": name}],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 3,
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": 1,
            "TreatMissingData": "breaching",
            **changes,
        }
    )


def succeed(emulator: Emulator, name: str) -> None:
    emulator.client("cloudwatch").put_metric_data(
        Namespace="Ours",
        MetricData=[
            {
                "MetricName": "Successes",
                "Dimensions": [{"Name": "service", "Value": name}],
                "Value": 1,
            }
        ],
    )


def state_after_success(emulator: Emulator, name: str) -> str:
    """Write a value and return the state: a value soon leaves the evaluated periods."""
    succeed(emulator, name)
    return state(emulator, name)


def test_missing_data_set_an_alarm_off_and_a_value_ends_it(fast: Emulator) -> None:
    sns, sqs = fast.client("sns"), fast.client("sqs")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])

    put_alarm(fast, "silence", AlarmActions=[topic])
    wait_until(lambda: state(fast, "silence") == "ALARM")

    (message,) = wait_until(
        lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages")
    )
    assert json.loads(json.loads(message["Body"])["Message"])["AlarmName"] == "silence"
    wait_until(lambda: state_after_success(fast, "silence") == "OK")
