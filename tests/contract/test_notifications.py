"""Messages and events are sent once, in the form that SNS and EventBridge accept."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from target_sync.errors import AwsCallError
from target_sync.notifications.messages import BusEvent, Email
from target_sync.notifications.sender import CLIENT_CONFIG, EventBus, SnsTopic
from tests.lab.emulator_process import Emulator

_names = (f"messages-{number}" for number in itertools.count())

TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"
MESSAGE = Email("a subject", "a text")
EVENT = BusEvent("Target Group Synced", {"version": "1", "id": "0a1b"}, "arn:aws:one")
ENTRY = {
    "Source": "postgres-privatelink",
    "DetailType": "Target Group Synced",
    "Detail": '{"version": "1", "id": "0a1b"}',
    "Resources": ["arn:aws:one"],
}


def test_a_message_is_published_with_its_subject() -> None:
    client = boto3.client("sns", "eu-west-1")
    with Stubber(client) as stubber:
        expected = {"TopicArn": TOPIC, "Subject": "a subject", "Message": "a text"}
        stubber.add_response("publish", {"MessageId": "1"}, expected)
        SnsTopic(client, TOPIC).publish(MESSAGE)
        stubber.assert_no_pending_responses()


def test_a_message_that_the_topic_rejects_is_a_failure() -> None:
    client = boto3.client("sns", "eu-west-1")
    with Stubber(client) as stubber:
        stubber.add_client_error("publish", "AuthorizationError", "not authorized", 403)
        with pytest.raises(AwsCallError, match="Publish failed with AuthorizationError"):
            SnsTopic(client, TOPIC).publish(MESSAGE)


def test_an_event_is_put_on_the_default_bus() -> None:
    client = boto3.client("events", "eu-west-1")
    with Stubber(client) as stubber:
        answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        stubber.add_response("put_events", answer, {"Entries": [ENTRY]})
        EventBus(client).put(EVENT)
        stubber.assert_no_pending_responses()


def test_an_event_that_the_bus_rejects_is_a_failure_although_the_call_succeeds() -> None:
    client = boto3.client("events", "eu-west-1")
    refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "try later"}
    with Stubber(client) as stubber:
        answer = {"FailedEntryCount": 1, "Entries": [refused]}
        stubber.add_response("put_events", answer, {"Entries": [ENTRY]})
        with pytest.raises(AwsCallError, match="PutEvents failed with InternalFailure: try"):
            EventBus(client).put(EVENT)


@pytest.mark.parametrize(
    "send",
    [
        lambda client: SnsTopic(client, TOPIC).publish(MESSAGE),
        lambda client: EventBus(client).put(EVENT),
    ],
)
def test_a_silent_service_is_a_failure(send: Callable[[Any], None]) -> None:
    class _Silent:
        def publish(self, **_: object) -> None:
            raise ReadTimeoutError(endpoint_url="https://aws.example")

        put_events = publish

    with pytest.raises(AwsCallError, match="interface endpoint"):
        send(_Silent())


def test_a_lost_reply_causes_no_second_message_and_no_long_wait() -> None:
    config: Any = CLIENT_CONFIG
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout <= 3


@pytest.mark.lab
def test_a_message_reaches_the_subscribers_of_the_topic(emulator: Emulator) -> None:
    sns, sqs = emulator.client("sns"), emulator.client("sqs")
    topic = sns.create_topic(Name=next(_names))["TopicArn"]
    queue, arn = _queue(sqs, "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    SnsTopic(sns, topic).publish(MESSAGE)

    published = _received(sqs, queue)
    assert (published["Subject"], published["Message"]) == ("a subject", "a text")


@pytest.mark.lab
def test_an_event_reaches_the_target_of_a_matching_rule(emulator: Emulator) -> None:
    events, sqs = emulator.client("events"), emulator.client("sqs")
    queue, arn = _queue(sqs, "events.amazonaws.com")
    rule = next(_names)
    pattern = {"source": ["postgres-privatelink"], "detail": {"version": ["1"]}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])

    EventBus(events).put(EVENT)

    delivered = _received(sqs, queue)
    assert delivered["detail-type"] == "Target Group Synced"
    assert delivered["detail"] == EVENT.detail
    assert delivered["resources"] == ["arn:aws:one"]


def _queue(sqs: Any, service: str) -> tuple[str, str]:
    """Create a queue to which a service may send; return its URL and its ARN."""
    url: str = sqs.create_queue(QueueName=next(_names))["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn: str = found["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def _received(sqs: Any, queue: str) -> Any:
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    return json.loads(message["Body"])
