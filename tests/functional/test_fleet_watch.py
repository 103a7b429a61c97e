"""Watches over fakes: the look-ups, the work items, and the end."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.fleet_watch import app
from target_sync.endpoints.dns import LOOKUP_SECONDS
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    SettingsError,
    TriggerError,
)
from target_sync.fleet import sweep_build
from target_sync.fleet.model import ENDPOINT_TAG, KIND_TAG, WorkReason
from target_sync.fleet.name_lookups import NameLookups
from target_sync.fleet.ports import DatabaseEvent
from target_sync.fleet.triggers import parse_watch
from target_sync.fleet.watcher import ITERATION_SECONDS, RESERVE_SECONDS
from target_sync.fleet.work_items import SyncWorkItem
from target_sync.model import AwsScope, DatabaseKind, IPAddress, LookupFailure
from target_sync.reporting import PowertoolsReporter
from tests.support.events import context, load_event
from tests.support.fleet import lambda_event
from tests.support.fleet_scenario import NOW, WATCH_TIMEOUT, FleetScenario
from tests.unit.fleet.builders import FACTS, KEY, A, B, arn, binding, name

THROTTLED = AwsUnavailableError("SendMessage", "RequestThrottled", "slow down")
DENIED = AwsAccessDeniedError("SendMessage", "AccessDenied", "no")
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:fleet-watch"
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "SIGNING_KEY": "a secret of this deployment",
    "WORK_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/work.fifo",
    "EVENT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
}
#: The longest time from a change to its work item: the pause before the iteration, which may have
#: just started when an event arrived, and the rest of a tick.
AT_MOST = 2 * ITERATION_SECONDS + 0.5


def watched(*numbers: int, watch_seconds: float = 120.0) -> FleetScenario:
    """Return a scenario with verified groups."""
    scenario = FleetScenario(watch_seconds=watch_seconds)
    scenario.add_verified(*numbers)
    return scenario


def looked_up(scenario: FleetScenario) -> set[str]:
    """Return every name that was looked up."""
    return {name for endpoint_keys in scenario.lookups.calls for _, name in endpoint_keys}


def moments(scenario: FleetScenario) -> list[tuple[float, str]]:
    """Return a list that records the time and the group of each work item from now on."""
    sent, send = list[tuple[float, str]](), scenario.queue.send

    def noted(work_items: Sequence[SyncWorkItem], at: float) -> None:
        send(work_items, at)
        sent.extend((scenario.clock.now(), work_item.arn) for work_item in work_items)

    scenario.queue.send = noted  # type: ignore[method-assign, assignment]
    return sent


# --- Databases ------------------------------------------------------------------------------------


def test_observes_only_the_databases_of_events_every_second() -> None:
    scenario = watched(1, 2, 3)
    result = scenario.watch("db-2")
    assert looked_up(scenario) == {name(2)}
    assert (result.databases, result.work_items, result.still_watched) == (1, 0, 0)
    assert len(scenario.lookups.calls) == 120
    assert result.seconds == 120.0


def test_lists_the_groups_once() -> None:
    scenario = watched(1)
    scenario.watch("db-1")
    assert scenario.tagged.listings == 1
    assert len(scenario.facts.calls) == 1


def test_observes_the_writer_and_the_readers_of_a_cluster() -> None:
    scenario = FleetScenario()
    lookups = {
        1: "orders.cluster-abc.eu-west-1.rds.amazonaws.com",
        2: "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com",
        3: "orders.proxy-abc.eu-west-1.rds.amazonaws.com",
        4: "orders.corp.example.com",
    }
    for number, endpoint in lookups.items():
        scenario.tagged.put(arn(number), {ENDPOINT_TAG: endpoint})
        scenario.facts.known[arn(number)] = FACTS
        scenario.dns.set_addresses(endpoint, A)
    scenario.watch("orders")
    assert looked_up(scenario) == {lookups[1], lookups[2]}
    assert {kind for endpoint_keys in scenario.lookups.calls for kind, _ in endpoint_keys} == {
        DatabaseKind.RDS_CLUSTER_WRITER,
        DatabaseKind.RDS_CLUSTER_READERS,
    }


def test_ignores_a_database_without_a_group() -> None:
    scenario = watched(1)
    result = scenario.watch("another")
    assert (result.events, result.unreadable, result.databases) == (1, 0, 0)
    assert scenario.lookups.calls == []
    assert result.seconds == 0.0


def test_events_without_a_database_cause_no_call() -> None:
    scenario = watched(1)
    result = scenario.watch("", "")
    assert (result.events, result.unreadable) == (2, 2)
    assert scenario.tagged.listings == 0


def test_leaves_groups_with_invalid_tags_to_the_sweep() -> None:
    scenario = watched(1, 2)
    scenario.tagged.tag(arn(2), KIND_TAG, "nonsense")
    assert scenario.watch("db-1", "db-2").databases == 1


# --- Work items -----------------------------------------------------------------------------------


def test_sends_a_failover_once_and_at_once() -> None:
    scenario = watched(1, 2)
    checkpoint = scenario.tagged.tags(arn(1))["privatelink-sync:checkpoint"]
    scenario.clock.at(NOW + 30.0, lambda: scenario.change_address(1, B))
    sent = moments(scenario)
    assert scenario.watch("db-1").work_items == 1
    assert scenario.queue.sent == [
        SyncWorkItem(binding(1), checkpoint, WorkReason.ADDRESSES_CHANGED)
    ]
    ((at, _),) = sent
    assert NOW + 30.0 <= at <= NOW + 30.0 + AT_MOST


def test_sends_an_unverified_group_at_once() -> None:
    scenario = FleetScenario()
    scenario.add(1)
    scenario.watch("db-1")
    assert scenario.queue.sent == [SyncWorkItem(binding(1), "", WorkReason.ADDRESSES_CHANGED)]


def test_sends_each_change_of_a_name_that_changes_back() -> None:
    scenario = watched(1)
    for seconds, address in ((5.0, B), (10.0, A), (15.0, B), (20.0, A)):
        scenario.clock.at(NOW + seconds, partial(scenario.change_address, 1, address))
    assert scenario.watch("db-1").work_items == 4
    # The queue accepted each, although all are of the same minute.
    assert scenario.queue.queue.waiting == 4
    checkpoints = [it.checkpoint for it in scenario.queue.sent if isinstance(it, SyncWorkItem)]
    assert len(set(checkpoints)) == 4


def test_after_a_change_back_the_checkpoint_of_any_worker_is_valid() -> None:
    scenario = watched(1)
    scenario.work(1)
    scenario.clock.at(NOW + 5.0, lambda: scenario.change_address(1, B))
    scenario.clock.at(NOW + 10.0, lambda: scenario.change_address(1, A))
    before = scenario.tagged.tags(arn(1))
    scenario.watch("db-1")
    assert [value for _, _, value in scenario.tagged.writes][-1] == before[
        "privatelink-sync:checkpoint"
    ]
    assert scenario.tagged.tags(arn(1)) == before


def test_looks_up_again_after_a_failed_observation() -> None:
    scenario = watched(1)
    scenario.dns.set_failure(name(1), LookupFailure.TIMED_OUT)
    scenario.clock.at(NOW + 10.0, lambda: scenario.change_address(1, B))
    sent = moments(scenario)
    assert scenario.watch("db-1").work_items == 1
    assert NOW + 10.0 <= sent[0][0] <= NOW + 10.0 + AT_MOST


def test_two_watches_send_the_same_work_once() -> None:
    scenario = watched(1)
    scenario.change_address(1, B)
    scenario.watch("db-1", remaining=RESERVE_SECONDS + 5)
    scenario.watch("db-1", remaining=RESERVE_SECONDS + 5)
    assert len(scenario.queue.sent) == 2
    assert scenario.queue.queue.waiting == 1


# --- Further events -------------------------------------------------------------------------------


def test_a_second_event_prolongs_only_the_watch_of_its_database() -> None:
    scenario = watched(1, 2, watch_seconds=60.0)
    scenario.clock.at(NOW + 40.0, lambda: scenario.events.send_event("db-1"))
    result = scenario.watch("db-1", "db-2")
    assert result.events == 2 + 1
    assert 100.0 <= result.seconds <= 100.0 + AT_MOST
    late = [q for q in scenario.lookups.calls if len(q) == 1]
    assert late
    assert all(endpoint_keys[0][1] == name(1) for endpoint_keys in late)


def test_adds_the_events_of_other_databases_and_deletes_them_at_the_end() -> None:
    scenario = watched(1, 2)
    scenario.clock.at(NOW + 20.0, lambda: scenario.events.send_event("db-2"))
    scenario.clock.at(NOW + 30.0, lambda: scenario.change_address(2, B))
    result = scenario.watch("db-1")
    assert (result.databases, result.work_items) == (2, 1)
    assert scenario.events.queue.waiting == 0


def test_leaves_events_in_the_queue_without_time_for_a_whole_watch() -> None:
    scenario = watched(1, 2)
    early = WATCH_TIMEOUT - RESERVE_SECONDS - 120.0
    scenario.clock.at(NOW + early - 1.0, lambda: scenario.events.send_event("db-1"))
    scenario.clock.at(NOW + early + 1.5, lambda: scenario.events.send_event("db-2"))
    result = scenario.watch("db-1")
    assert result.databases == 1
    assert scenario.events.queue.waiting == 1
    # The prolonged watch has just ended.
    assert result.seconds <= WATCH_TIMEOUT - RESERVE_SECONDS + AT_MOST


def test_one_watch_sends_a_storm_of_200_failovers_within_seconds() -> None:
    scenario = watched(*range(1_000))
    flips = {number: NOW + 15.0 + number / 10 for number in range(200)}
    for number, at in flips.items():
        scenario.clock.at(at - 12.0, partial(scenario.events.send_event, f"db-{number}"))
        scenario.clock.at(at, partial(scenario.change_address, number, B))
    sent = moments(scenario)
    result = scenario.watch("db-0")
    assert (result.events, result.databases, result.work_items) == (201, 200, 200)
    assert Counter(which for _, which in sent) == Counter(map(arn, flips))
    late = {which: at for at, which in sent}
    assert max(late[arn(number)] - at for number, at in flips.items()) <= AT_MOST
    assert looked_up(scenario) == set(map(name, flips))
    assert scenario.events.queue.waiting == 0


# --- Time -----------------------------------------------------------------------------------------


def test_reports_the_databases_that_are_still_watched_at_the_end() -> None:
    scenario = watched(1, 2)
    result = scenario.watch("db-1", "db-2", remaining=60.0)
    assert result.still_watched == 2
    assert 60.0 - RESERVE_SECONDS <= result.seconds <= 60.0 - RESERVE_SECONDS + AT_MOST


def test_makes_no_look_up_without_time() -> None:
    scenario = watched(1)
    assert scenario.watch("db-1", remaining=RESERVE_SECONDS).still_watched == 1
    assert scenario.lookups.calls == []


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_a_failed_listing_ends_the_watch_and_the_events_are_delivered_again(
    error: AwsCallError,
) -> None:
    scenario = watched(1)
    scenario.tagged.faults.plan(error)
    with pytest.raises(AwsCallError):
        scenario.watch("db-1")
    assert scenario.reporter.all == []
    scenario.change_address(1, B)
    assert scenario.watch("db-1").work_items == 1


def test_sends_a_refused_work_item_again_in_the_next_iteration() -> None:
    scenario = watched(1)
    scenario.change_address(1, B)
    scenario.queue.queue.faults.plan(THROTTLED, times=3)
    sent = moments(scenario)
    result = scenario.watch("db-1")
    assert (result.work_items, result.failures) == (1, 3)
    assert "RequestThrottled" in result.last_failure
    assert sent == [(NOW + 3 * ITERATION_SECONDS, arn(1))]


def test_a_permanent_failure_of_the_queue_ends_the_watch() -> None:
    scenario = watched(1)
    scenario.change_address(1, B)
    scenario.queue.queue.faults.plan(DENIED)
    with pytest.raises(AwsCallError, match="AccessDenied"):
        scenario.watch("db-1")
    assert scenario.reporter.all == []


def test_continues_while_no_events_can_be_received() -> None:
    scenario = watched(1)
    scenario.events.queue.faults.plan(THROTTLED, times=10)
    result = scenario.watch("db-1")
    assert result.failures == 10
    assert len(scenario.lookups.calls) == 120 / ITERATION_SECONDS


def test_events_that_could_not_be_deleted_are_delivered_again_and_do_no_harm() -> None:
    scenario = watched(1)
    scenario.events.send_event("db-1")
    scenario.change_address(1, B)

    def failing(_: Sequence[DatabaseEvent]) -> None:
        raise THROTTLED

    delete, scenario.events.delete = scenario.events.delete, failing  # type: ignore[method-assign, assignment]
    assert scenario.watch("db-1").failures == 1
    scenario.events.delete = delete  # type: ignore[method-assign]
    assert scenario.events.queue.waiting == 1
    scenario.carry_out(10)
    scenario.clock.advance(100.0)
    assert scenario.watch("db-1").work_items == 0
    assert scenario.events.queue.waiting == 0


def test_a_watch_that_crashes_deletes_no_events() -> None:
    scenario = watched(1, 2)
    scenario.clock.at(NOW + 5.0, lambda: scenario.events.send_event("db-2"))

    def crash() -> None:
        raise MemoryError

    scenario.clock.at(NOW + 30.0, crash)
    with pytest.raises(MemoryError):
        scenario.watch("db-1")
    assert scenario.events.queue.waiting == 1
    scenario.change_address(2, B)
    scenario.clock.advance(200.0)
    # The event is visible again, and the next watch receives it.
    result = scenario.watch("db-1")
    assert (result.databases, result.work_items) == (2, 1)
    assert scenario.events.queue.waiting == 0


change_address = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0.0, 110.0), st.sampled_from([A, B])), max_size=12
)


@settings(max_examples=40)
@given(
    change_address,
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.0, 160.0)), max_size=10),
    st.lists(st.floats(0.0, 100.0), max_size=6),
    st.integers(0, 4),
)
def test_the_last_work_item_is_for_the_final_addresses_and_none_is_sent_twice(
    flips: list[tuple[int, float, IPAddress]],
    events: list[tuple[int, float]],
    troubles: list[float],
    rate_limiter: int,
) -> None:
    scenario = watched(*range(4))
    for number, seconds, address in flips:
        scenario.clock.at(NOW + seconds, lambda n=number, a=address: scenario.change_address(n, a))  # type: ignore[misc]
    for number, seconds in events:
        scenario.clock.at(NOW + seconds, lambda n=number: scenario.events.send_event(f"db-{n}"))  # type: ignore[misc]
    observed = dict[str, list[IPAddress]]()
    send = scenario.queue.send

    def noted(work_items: Sequence[SyncWorkItem], at: float) -> None:
        if any(NOW + trouble <= at < NOW + trouble + 2.0 for trouble in troubles):
            raise THROTTLED
        for work_item in work_items:
            (address,) = scenario.dns.resolve(work_item.binding.endpoint).addresses  # type: ignore[union-attr]
            observed.setdefault(work_item.arn, [A]).append(address)
        send(work_items, at)

    scenario.queue.send = noted  # type: ignore[method-assign, assignment]
    if rate_limiter:
        scenario.work(rate_limiter)
    result = scenario.watch(*(f"db-{number}" for number in range(4)))
    assert result.work_items == len(scenario.queue.sent)
    for number in range(4):
        sent_for = observed.get(arn(number), [A])
        assert all(one != other for one, other in pairwise(sent_for))
        (address,) = scenario.dns.resolve(name(number)).addresses  # type: ignore[union-attr]
        assert sent_for[-1] == address


# --- Results and handler --------------------------------------------------------------------------


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("identifier", "level"), [("db-1", "INFO"), ("", "WARNING")])
def test_logs_one_result(capsys: pytest.CaptureFixture[str], identifier: str, level: str) -> None:
    result = watched(1).watch("db-1", identifier)

    PowertoolsReporter().report(result)

    (checkpoint,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert checkpoint["level"] == level
    assert checkpoint["result"] == {
        "events": 2,
        "unreadable_events": int(not identifier),
        "databases": 1,
        "work_items": 0,
        "still_watched": 0,
        "failed_calls": 0,
        "last_failure": None,
        "seconds": 120.0,
    }


def test_parses_a_batch_of_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = FleetScenario()
    scenario.add_verified(1)
    scenario.tagged.tag(arn(1), ENDPOINT_TAG, "orders.abc.eu-west-1.rds.amazonaws.com")
    batch = load_event("fleet/database-events")
    batch["Records"].append({**batch["Records"][0], "body": "garbled"})
    monkeypatch.setattr(app, "watcher", {FUNCTION: scenario.watcher}.__getitem__)
    document = app.handler(batch, context(WATCH_TIMEOUT, FUNCTION))
    assert (document["events"], document["unreadable_events"], document["databases"]) == (3, 1, 1)
    assert document == scenario.reporter.all[0].to_document()


def test_leaves_the_messages_of_its_batch_to_lambda() -> None:
    scenario = watched(1)
    scenario.events.send_event("db-1")
    messages = scenario.events.queue.receive(10)
    events = parse_watch(lambda_event(messages))
    scenario.watcher.run(events, remaining_seconds=WATCH_TIMEOUT)
    assert scenario.events.queue.waiting == 1


@pytest.mark.parametrize(
    "event",
    [
        [],
        {},
        {"Records": "none"},
        {"Records": ["text"]},
        {"Records": [{"eventSource": "aws:sns", "body": ""}]},
        {"Records": [{"eventSource": "aws:sqs"}]},
    ],
)
def test_rejects_a_payload_that_is_no_batch(monkeypatch: pytest.MonkeyPatch, event: object) -> None:
    monkeypatch.setattr(app, "watcher", {FUNCTION: watched(1).watcher}.__getitem__)
    with pytest.raises(TriggerError, match="invoke the sweep"):
        app.handler(event, context(WATCH_TIMEOUT, FUNCTION))


@pytest.mark.usefixtures("_powertools")
def test_builds_the_watcher_once_per_container_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep_build.watcher.cache_clear()
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("EVENT_QUEUE_URL")
    with pytest.raises(SettingsError, match="EVENT_QUEUE_URL"):
        sweep_build.watcher(FUNCTION)
    monkeypatch.setenv("EVENT_QUEUE_URL", ENVIRONMENT["EVENT_QUEUE_URL"])
    ours = sweep_build.watcher(FUNCTION)
    assert ours is sweep_build.watcher(FUNCTION)
    assert ours.groups.scope == AwsScope("aws", "eu-west-1", "123456789012")
    assert ours.key.verifies(KEY.sign(["a part"]), ["a part"])
    assert ours.watch_seconds == 120
    assert isinstance(ours.lookups, NameLookups)
    # A last iteration ends in the function's time, even if no look-up gets a response.
    assert LOOKUP_SECONDS < ours.lookups.seconds < RESERVE_SECONDS
