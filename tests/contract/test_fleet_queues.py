"""The fleet's two queues: the fakes, and the adapters over moto and the lab's emulator."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import ANY, Stubber
from moto import mock_aws

from target_sync.errors import AwsCallError, AwsUnavailableError
from target_sync.fleet.model import WorkReason
from target_sync.fleet.ports import DatabaseEvent, DatabaseEventsPort, WorkQueuePort
from target_sync.fleet.queues import SqsDatabaseEvents, SqsWorkQueue
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem, read_work_item
from tests.lab.emulator_process import Emulator
from tests.support.clock import FakeClock
from tests.support.events import EVENTS
from tests.support.fleet import FakeDatabaseEvents, FakeWorkQueue
from tests.unit.fleet.builders import arn, binding

_names = (f"fleet-{number}" for number in itertools.count())

#: Whole minutes begin at multiples of 60.
AT = 6_000.0
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/work.fifo"
CURSOR = CursorWorkItem(arn(1), "a cursor")


def sync(number: int, reason: WorkReason = WorkReason.AUDIT) -> SyncWorkItem:
    return SyncWorkItem(binding(number), "a checkpoint", reason)


# --------------------------------------------------------------------------------------- work queue


@dataclass(frozen=True)
class Work:
    """A work queue, and the actions of Lambda.

    Attributes:
        receive: Receives up to this many messages, by handle and body.
        delete: By handle.
    """

    queue: WorkQueuePort
    receive: Callable[[int], list[tuple[str, str]]]
    delete: Callable[[str], None]

    def work_items(self, most: int = 10) -> list[WorkItem]:
        return [read_work_item(body) for _, body in self.receive(most)]

    def drain(self) -> list[WorkItem]:
        """Return every work item, in the sequence in which one worker gets them."""
        work_items = []
        while received := self.receive(10):
            for handle, body in received:
                work_items.append(read_work_item(body))
                self.delete(handle)
        return work_items


def fake_work() -> Work:
    fake = FakeWorkQueue(FakeClock())

    def receive(most: int) -> list[tuple[str, str]]:
        return [(it.handle, it.body) for it in fake.queue.receive(most)]

    return Work(fake, receive, fake.queue.delete)


def sqs_work(client: Any) -> Work:
    url = client.create_queue(
        QueueName=f"{next(_names)}.fifo",
        Attributes={"FifoQueue": "true", "VisibilityTimeout": "100"},
    )["QueueUrl"]

    def receive(most: int) -> list[tuple[str, str]]:
        reply = client.receive_message(QueueUrl=url, MaxNumberOfMessages=most)
        return [(it["ReceiptHandle"], it["Body"]) for it in reply.get("Messages", ())]

    return Work(
        SqsWorkQueue(client, url),
        receive,
        lambda handle: client.delete_message(QueueUrl=url, ReceiptHandle=handle),
    )


@pytest.fixture
def moto_sqs() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("sqs", "eu-west-1")


@pytest.fixture
def emulated_sqs(emulator: Emulator) -> Any:
    return emulator.client("sqs")


WORLDS = ["fake", "moto", pytest.param("emulated", marks=pytest.mark.lab)]


@pytest.fixture(params=WORLDS)
def work(request: pytest.FixtureRequest) -> Work:
    if request.param == "fake":
        return fake_work()
    return sqs_work(request.getfixturevalue(f"{request.param}_sqs"))


def test_receives_work_items_as_they_were_sent(work: Work) -> None:
    work.queue.send([sync(1), sync(2, WorkReason.ADDRESSES_CHANGED)], AT)
    work.queue.send([CURSOR], AT)

    assert work.drain() == [sync(1), sync(2, WorkReason.ADDRESSES_CHANGED), CURSOR]


def test_sends_more_work_items_than_fit_into_a_call_in_sequence(work: Work) -> None:
    work_items = [sync(number) for number in range(23)]
    work.queue.send(work_items, AT)

    assert work.queue.count() == 23
    assert work.drain() == work_items


def test_sends_no_message_without_work_items(work: Work) -> None:
    work.queue.send([], AT)

    assert work.queue.count() == 0


def test_drops_equal_work_items_of_a_minute(work: Work) -> None:
    work.queue.send([sync(1)], AT)
    work.queue.send([sync(1), sync(2)], AT + 59.9)

    assert work.drain() == [sync(1), sync(2)]


def test_keeps_an_equal_work_item_of_another_minute(work: Work) -> None:
    work.queue.send([sync(1)], AT + 59.9)
    work.queue.send([sync(1)], AT + 60.0)

    assert work.drain() == [sync(1), sync(1)]


def test_a_work_item_in_progress_delays_its_own_group_only(work: Work) -> None:
    work.queue.send([sync(1), CURSOR, sync(2)], AT)
    ((handle, body),) = work.receive(1)
    assert read_work_item(body) == sync(1)

    assert work.work_items() == [sync(2)]
    work.delete(handle)
    assert work.work_items() == [CURSOR]


def test_counts_a_work_item_until_it_is_deleted(work: Work) -> None:
    work.queue.send([sync(1), sync(2)], AT)
    received = work.receive(10)

    assert work.queue.count() == 2
    work.delete(received[0][0])
    assert work.queue.count() == 1


# ---------------------------------------------------------------------------------- database events


@dataclass(frozen=True)
class Events:
    """A queue of events, and the actions of EventBridge."""

    queue: DatabaseEventsPort
    put: Callable[[str], object]


@pytest.fixture(params=WORLDS)
def events(request: pytest.FixtureRequest) -> Events:
    if request.param == "fake":
        fake = FakeDatabaseEvents(FakeClock())
        return Events(fake, fake.queue.send)
    client = request.getfixturevalue(f"{request.param}_sqs")
    url = client.create_queue(QueueName=next(_names))["QueueUrl"]
    return Events(
        SqsDatabaseEvents(client, url),
        lambda body: client.send_message(QueueUrl=url, MessageBody=body),
    )


def named(events: Events) -> list[str]:
    return [event.identifier for event in events.queue.receive(0)]


def test_reads_the_database_of_an_event(events: Events) -> None:
    for name in ("multi-az-failover-started", "other-database-failover"):
        events.put((EVENTS / f"{name}.json").read_text())

    assert sorted(named(events)) == ["orders", "orders-2"]


def test_receives_events_without_a_database_so_that_they_can_be_deleted(events: Events) -> None:
    events.put("no event")
    received = events.queue.receive(0)

    assert [event.identifier for event in received] == [""]
    events.queue.delete(received)


def test_receives_an_event_once_at_a_time(events: Events) -> None:
    events.put((EVENTS / "cluster-failover-completed.json").read_text())

    assert named(events) == ["orders"]
    assert named(events) == []


def test_receives_and_deletes_more_events_than_fit_into_a_call(
    events: Events,
) -> None:
    for number in range(13):
        detail = {"SourceType": "DB_INSTANCE", "SourceIdentifier": f"db-{number}"}
        events.put(json.dumps({"source": "aws.rds", "detail": detail}))
    received = [*events.queue.receive(0), *events.queue.receive(0)]

    assert {event.identifier for event in received} == {f"db-{number}" for number in range(13)}
    events.queue.delete(received)
    assert events.queue.receive(0) == []


def test_does_not_delete_the_events_of_lambdas_own_batch(events: Events) -> None:
    events.queue.delete([DatabaseEvent("orders")])


# ----------------------------------------------------------------------------------------- failures


@contextmanager
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client("sqs", "eu-west-1")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def failed(code: str, *, ours: bool, number: str = "0") -> dict[str, object]:
    return {"Id": number, "Code": code, "SenderFault": ours, "Message": "in AWS's words"}


CALLS: dict[str, Callable[[Any], object]] = {
    "send_message_batch": lambda client: SqsWorkQueue(client, URL).send([CURSOR], AT),
    "get_queue_attributes": lambda client: SqsWorkQueue(client, URL).count(),
    "receive_message": lambda client: SqsDatabaseEvents(client, URL).receive(1),
    "delete_message_batch": lambda client: SqsDatabaseEvents(client, URL).delete(
        [DatabaseEvent("orders", "a handle")]
    ),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestThrottled", 403),
        ("ThrottlingException", 400),
        ("KmsThrottled", 400),
        ("KMS.ThrottlingException", 400),
        ("OverLimit", 403),
        ("InternalFailure", 500),
    ],
)
def test_transient_failures_are_retryable(method: str, code: str, status: int) -> None:
    with stubbed() as (client, stubber):
        stubber.add_client_error(method, code, "in AWS's words", status)
        with pytest.raises(AwsUnavailableError, match=code):
            CALLS[method](client)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("code", ["AccessDenied", "AWS.SimpleQueueService.NonExistentQueue"])
def test_permanent_failures_are_not_retryable(method: str, code: str) -> None:
    with stubbed() as (client, stubber):
        stubber.add_client_error(method, code, "in AWS's words", 400)
        with pytest.raises(AwsCallError, match=f"{code}: in AWS's words") as raised:
            CALLS[method](client)
    assert not raised.value.retryable


@pytest.mark.parametrize("method", CALLS)
def test_a_queue_without_a_reply_is_unavailable(method: str) -> None:
    class _Silent:
        def __getattr__(self, _: str) -> Callable[..., None]:
            def look_up(**_: object) -> None:
                raise ReadTimeoutError(endpoint_url=URL)

            return look_up

    with pytest.raises(AwsUnavailableError, match="interface endpoint for sqs"):
        CALLS[method](_Silent())


class _Says:
    """A client with this reply for all calls."""

    def __init__(self, reply: object) -> None:
        self._reply = reply

    def __getattr__(self, _: str) -> Callable[..., object]:
        return lambda **_: self._reply


WRONG_REPLIES: dict[str, tuple[object, ...]] = {
    "send_message_batch": ({}, {"Successful": [{}, {}]}, {"Failed": [{"Id": "0"}]}, None),
    "get_queue_attributes": (
        {},
        {"Attributes": {"ApproximateNumberOfMessages": "1"}},
        {
            "Attributes": {
                "ApproximateNumberOfMessages": "many",
                "ApproximateNumberOfMessagesNotVisible": "0",
            }
        },
        {"Attributes": None},
    ),
    "receive_message": ({"Messages": [{"Body": "{}"}]}, {"Messages": [None]}, None),
    "delete_message_batch": ({}, None),
}


@pytest.mark.parametrize(
    ("method", "reply"), [(method, it) for method, found in WRONG_REPLIES.items() for it in found]
)
def test_rejects_a_malformed_reply_of_a_queue(method: str, reply: object) -> None:
    with pytest.raises(AwsCallError, match="does not have the documented shape") as raised:
        CALLS[method](_Says(reply))
    assert not raised.value.retryable


@pytest.mark.parametrize("method", ["send_message_batch", "delete_message_batch"])
@pytest.mark.parametrize(
    ("code", "ours", "retryable"),
    [
        ("InternalError", False, True),
        ("RequestThrottled", True, True),
        ("InvalidMessageContents", True, False),
    ],
)
def test_a_failed_entry_of_a_successful_call_is_a_failure(
    method: str, code: str, *, ours: bool, retryable: bool
) -> None:
    with stubbed() as (client, stubber):
        stubber.add_response(method, {"Successful": [], "Failed": [failed(code, ours=ours)]})
        with pytest.raises(AwsCallError, match=f"{code}: 1 of 1 entries: in AWS's") as raised:
            CALLS[method](client)
    assert raised.value.retryable is retryable


def test_a_permanent_failure_decides_among_several_failed_entries() -> None:
    with stubbed() as (client, stubber):
        reply = {
            "Successful": [],
            "Failed": [
                failed("InternalError", ours=False),
                failed("InvalidMessageContents", ours=True, number="1"),
            ],
        }
        stubber.add_response("send_message_batch", reply)
        with pytest.raises(AwsCallError, match=r"Contents: 2 of 2 entries") as raised:
            SqsWorkQueue(client, URL).send([CURSOR, sync(2)], AT)
    assert not raised.value.retryable


def test_sends_nothing_after_a_failed_call() -> None:
    with stubbed() as (client, stubber):
        done = [
            {"Id": str(number), "MessageId": "1", "MD5OfMessageBody": "x"} for number in range(9)
        ]
        reply = {"Successful": done, "Failed": [failed("InternalError", ours=False, number="9")]}
        stubber.add_response("send_message_batch", reply, {"QueueUrl": URL, "Entries": ANY})
        with pytest.raises(AwsUnavailableError):
            SqsWorkQueue(client, URL).send([sync(number) for number in range(11)], AT)


def test_sqs_waits_for_events() -> None:
    with stubbed() as (client, stubber):
        expected = {"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
        stubber.add_response("receive_message", {}, expected)
        assert SqsDatabaseEvents(client, URL).receive(1) == []
