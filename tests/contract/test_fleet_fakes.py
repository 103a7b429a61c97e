"""The fakes of the fleet behave as AWS documents."""

from random import Random

import pytest

from target_sync.errors import AwsCallError, AwsNotFoundError, AwsUnavailableError
from target_sync.fleet.model import AUDIT_CURSOR_TAG, CHECKPOINT_TAG, ENDPOINT_TAG
from target_sync.fleet.work_items import CursorWorkItem
from tests.support.clock import FakeClock
from tests.support.fleet import (
    FakeDatabaseEvents,
    FakeQueue,
    FakeTaggedGroups,
    FakeWorkQueue,
    Message,
    lambda_event,
    settle,
)
from tests.unit.fleet.builders import arn


def fifo(clock: FakeClock) -> FakeQueue:
    queue = FakeQueue(clock, fifo=True, visibility=100.0)
    for number, group in enumerate("aab"):
        queue.send(f"{group}{number}", group=group, deduplication=str(number))
    return queue


def bodies(messages: list[Message]) -> list[str]:
    return [message.body for message in messages]


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight() -> None:
    queue = fifo(FakeClock())
    first = queue.receive(1)

    assert bodies(first) == ["a0"]
    assert bodies(queue.receive()) == ["b2"]

    queue.delete(first[0].handle)
    assert bodies(queue.receive()) == ["a1"]


def test_a_message_is_delivered_again_after_its_visibility_timeout_and_before_later_ones() -> None:
    clock = FakeClock()
    queue = fifo(clock)
    (taken,) = queue.receive(1)

    clock.advance(99.5)
    assert bodies(queue.receive()) == ["b2"]
    clock.advance(0.5)
    again = queue.receive()

    assert bodies(again) == ["a0", "a1"]
    assert [message.receptions for message in again] == [2, 1]
    assert again[0].id == taken.id


def test_an_expired_handle_deletes_nothing() -> None:
    clock = FakeClock()
    queue = fifo(clock)
    (taken,) = queue.receive(1)
    clock.advance(100.0)

    queue.delete(taken.handle)

    assert queue.waiting == 3


def test_a_message_received_three_times_is_a_dead_letter_and_unlocks_its_group() -> None:
    clock = FakeClock()
    queue = fifo(clock)
    for _ in range(3):
        assert queue.receive(1)[0].body == "a0"
        clock.advance(100.0)

    assert bodies(queue.receive()) == ["a1", "b2"]
    assert bodies(queue.dead) == ["a0"]
    assert queue.waiting == 2


def test_a_deduplication_id_counts_once_in_five_minutes_even_after_the_message_is_deleted() -> None:
    clock = FakeClock()
    queue = FakeQueue(clock, fifo=True)
    queue.send("first", group="a", deduplication="same")
    queue.delete(queue.receive()[0].handle)

    clock.advance(299.5)
    queue.send("second", group="a", deduplication="same")
    assert queue.waiting == 0
    clock.advance(0.5)
    queue.send("third", group="a", deduplication="same")

    assert queue.bodies == ["third"]


def test_a_message_is_lost_after_the_retention() -> None:
    clock = FakeClock()
    queue = fifo(clock)
    clock.advance(900.0)

    assert queue.waiting == 0
    assert queue.receive() == []


def test_a_duplicate_message_can_be_received_beside_the_first_one() -> None:
    queue = fifo(FakeClock())
    (first,) = queue.receive(1)
    queue.duplicate()

    others = queue.receive()

    assert sorted(bodies(others)) == ["a0", "a1", "b2", "b2"]
    assert others[1].id == first.id
    assert others[1].handle != first.handle


def test_a_shuffled_queue_has_the_same_messages() -> None:
    queue = fifo(FakeClock())
    queue.shuffle(Random(1))  # noqa: S311 - the same sequence in every run

    assert queue.bodies != ["a0", "a1", "b2"]
    assert sorted(queue.bodies) == ["a0", "a1", "b2"]


def test_lambda_deletes_the_messages_without_a_reported_failure() -> None:
    queue = fifo(FakeClock())
    batch = queue.receive()
    checkpoints = lambda_event(batch)["Records"]

    settle(queue, batch, {"batchItemFailures": [{"itemIdentifier": checkpoints[1]["messageId"]}]})

    assert queue.bodies == ["a1"]


@pytest.mark.parametrize("identifier", ["", "another"])
def test_lambda_deletes_nothing_if_an_unknown_message_is_reported(identifier: str) -> None:
    queue = fifo(FakeClock())
    batch = queue.receive()

    settle(queue, batch, {"batchItemFailures": [{"itemIdentifier": identifier}]})

    assert queue.waiting == 3


def test_the_fake_drops_equal_work_items_of_a_minute() -> None:
    queue = FakeWorkQueue(FakeClock())
    work_item = CursorWorkItem(arn(1), "a cursor")
    queue.send([work_item, CursorWorkItem(arn(2), "a cursor")], 60.0)
    queue.send([work_item], 119.9)
    assert queue.count() == 2

    queue.send([work_item], 120.0)
    assert queue.count() == 3


def test_a_planned_fault_is_raised_once() -> None:
    queue = FakeWorkQueue(FakeClock())
    queue.queue.faults.plan(AwsUnavailableError("SendMessageBatch", "Throttling", "slower"))

    with pytest.raises(AwsUnavailableError):
        queue.count()
    assert queue.count() == 0


def test_waiting_for_an_event_advances_the_clock_to_it() -> None:
    clock = FakeClock()
    events = FakeDatabaseEvents(clock)
    clock.at(clock.now() + 0.5, lambda: events.send_event("orders"))
    began = clock.now()

    received = events.receive(1)

    assert [event.identifier for event in received] == ["orders"]
    assert clock.now() == began + 0.5
    events.delete(received)
    assert events.receive(1) == []
    assert clock.now() == began + 1.5
    assert events.queue.waiting == 0


def test_a_listing_is_older_than_the_tags() -> None:
    clock = FakeClock()
    groups = FakeTaggedGroups(clock, lag=5.0)
    groups.put(arn(1), {ENDPOINT_TAG: "orders"})
    groups.write(arn(1), CHECKPOINT_TAG, "a checkpoint")

    assert groups.tags(arn(1)) == {ENDPOINT_TAG: "orders", CHECKPOINT_TAG: "a checkpoint"}
    assert groups.list_groups()[0].tags == {(ENDPOINT_TAG, "orders")}
    clock.advance(5.0)
    assert (CHECKPOINT_TAG, "a checkpoint") in groups.list_groups()[0].tags

    groups.delete(arn(1))
    assert len(groups.list_groups()) == 1
    clock.advance(5.0)
    assert groups.list_groups() == []


def test_the_fake_cannot_tag_a_missing_group() -> None:
    groups = FakeTaggedGroups(FakeClock())
    with pytest.raises(AwsNotFoundError):
        groups.write(arn(1), CHECKPOINT_TAG, "a checkpoint")


@pytest.mark.parametrize("value", ["a" * 256, "a,b", "{}"])
def test_rejects_a_tag_value_that_elb_rejects(value: str) -> None:
    groups = FakeTaggedGroups(FakeClock())
    groups.put(arn(1), {})
    with pytest.raises(AwsCallError):
        groups.write(arn(1), CHECKPOINT_TAG, value)
    assert groups.tags(arn(1)) == {}


def test_rejects_the_fifty_first_tag_of_a_group() -> None:
    groups = FakeTaggedGroups(FakeClock())
    groups.put(arn(1), {f"key-{number}": "" for number in range(49)})
    groups.write(arn(1), CHECKPOINT_TAG, "a checkpoint")
    groups.write(arn(1), CHECKPOINT_TAG, "another checkpoint")

    with pytest.raises(AwsCallError, match="TooManyTags"):
        groups.write(arn(1), AUDIT_CURSOR_TAG, "a cursor")
