"""The notifications of runs: which run sends them, how often, and their content."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from target_sync.errors import TargetSyncError
from target_sync.model import FailedObservation, LookupFailure, Observation, RunStatus
from target_sync.notifications.messages import plain
from target_sync.reconcile.messages import notification_of
from target_sync.reconcile.triggers import SyncTrigger
from tests.support.notifications import GROUP_ARN, ORIGIN, NotifiedScenario
from tests.support.scenario import (
    COMPLETED,
    EVENT,
    MANUAL,
    SCHEDULE,
    A,
    B,
    Scenario,
    target,
    throttled,
)

SAMPLE = Path(__file__).parents[2] / "events/own/target-group-synced.json"


# --- Changes ----------------------------------------------------------------------------------


def test_a_failover_is_notified_once_with_targets_reason_and_seconds() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)

    scenario.run(EVENT)

    assert scenario.subjects == ["orders-privatelink: target group synced to 10.0.2.12:5432"]
    (mail,) = scenario.mails
    assert "privatelink: 10.0.2.12:5432. Before this run: 10.0.1.11:5432." in mail
    assert "Registered 10.0.2.12:5432: desired and not registered." in mail
    assert (
        "started the run (RDS-EVENT-0013). The change was detected after 0.0 s, registered" in mail
    )
    assert "What to do: nothing." in mail
    (event,) = scenario.notifier.bus.events
    assert (event.detail_type, event.resource) == ("Target Group Synced", GROUP_ARN)
    assert event.detail["old_targets"] == ["10.0.1.11:5432"]
    assert event.detail["new_targets"] == ["10.0.2.12:5432"]


def test_a_notification_states_the_time_of_the_change_and_not_of_the_runs_end() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)

    scenario.run(EVENT)

    calls = zip(scenario.group.history, scenario.group.call_times, strict=True)
    (registered_at,) = (at for (operation, _), at in calls if operation == "RegisterTargets")
    ago = scenario.clock.now() - registered_at
    assert ago > 90
    assert scenario.details[0]["at"] == scenario.notifier.now - ago


def test_a_run_without_a_change_sends_no_notification() -> None:
    scenario = NotifiedScenario(A)

    scenario.run(SCHEDULE)

    assert not scenario.mails
    assert not scenario.details


def test_later_runs_do_not_repeat_a_notification() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)

    for trigger in (SCHEDULE, COMPLETED, SCHEDULE, MANUAL):
        scenario.run(trigger)

    assert len(scenario.mails) == len(scenario.details) == 1


def test_a_retry_notifies_only_of_its_own_change() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.group.faults["DeregisterTargets"] = [throttled("DeregisterTargets")] * 400

    with pytest.raises(TargetSyncError):
        scenario.run(EVENT)
    scenario.group.faults.clear()
    retry = scenario.run(EVENT)

    first, second = scenario.details
    assert (first["status"], first["registered"] != []) == ("failed", True)
    assert "and then the run failed: DeregisterTargets failed with Throttling" in scenario.mails[0]
    # The retry notifies of its own change: the removal that failed before.
    assert retry.status is RunStatus.SYNCED
    assert (second["registered"], second["deregistered"] != []) == ([], True)
    assert first["id"] != second["id"]


def test_a_registration_with_a_lost_reply_is_notified_by_its_result() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.group.lost_replies["RegisterTargets"] = [throttled("RegisterTargets")]

    result = scenario.run(EVENT)

    assert scenario.registered == {str(target(B))}
    assert result.run.deregistered
    (detail,) = scenario.details
    assert detail["registered"] == []
    assert detail["new_targets"] == ["10.0.2.12:5432"]


def test_concurrent_runs_notify_of_one_change_once() -> None:
    scenario = NotifiedScenario(A)
    scenario.after(10, lambda: scenario.fail_over(B))

    scenario.run_concurrently(
        (0.0, scenario.run_in_steps(EVENT)),
        (0.3, scenario.run_in_steps(COMPLETED)),
        (0.6, scenario.run_in_steps(EVENT)),
    )

    assert len(scenario.mails) == 1
    assert scenario.details[0]["new_targets"] == ["10.0.2.12:5432"]


def test_two_runs_with_the_same_change_notify_with_the_same_id() -> None:
    scenario = NotifiedScenario(A)
    scenario.after(10, lambda: scenario.fail_over(B))

    # Both runs start at the same time, so neither sees that the other one registers the target.
    scenario.run_concurrently(
        (0.0, scenario.run_in_steps(EVENT)), (0.0, scenario.run_in_steps(COMPLETED))
    )

    assert scenario.group.calls["RegisterTargets"] == 2
    assert len({str(detail["id"]) for detail in scenario.details}) == 1
    times = [float(str(detail["at"])) for detail in scenario.details]
    assert max(times) - min(times) < 60


def test_a_failover_and_a_failback_have_different_ids() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.run(EVENT)
    scenario.clock.advance(600)
    scenario.fail_over(A)
    scenario.run(EVENT)

    failover, failback = scenario.details
    assert failover["id"] != failback["id"]
    assert (failback["old_targets"], failback["new_targets"]) == (
        failover["new_targets"],
        ["10.0.1.11:5432"],
    )


def test_an_undelivered_notification_neither_fails_the_run_nor_is_repeated() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.notifier.topic.is_broken = scenario.notifier.bus.is_broken = True

    result = scenario.run(EVENT)
    scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert result.undelivered_notifications == (
        "not delivered: PutEvents failed with AccessDeniedException: not authorized",
        "not delivered: Publish failed with NotFound: Topic does not exist",
    )
    assert scenario.reporter.results[0].to_document()["undelivered_notifications"] == list(
        result.undelivered_notifications
    )
    assert scenario.reporter.results[1].undelivered_notifications == ()


def test_the_event_is_sent_although_the_mail_fails() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.notifier.topic.is_broken = True

    scenario.run(EVENT)

    assert len(scenario.details) == 1


# --- Vetoes -----------------------------------------------------------------------------------


def test_a_veto_after_a_completed_failover_is_notified_with_a_remedy() -> None:
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_addresses("8.8.8.8")

    scenario.run(COMPLETED)

    assert scenario.subjects == [
        "orders-privatelink: sync vetoed, the targets are still 10.0.1.11:5432"
    ]
    (mail,) = scenario.mails
    assert "outside_allowed_networks: " in mail
    assert "Rejected: 8.8.8.8:5432." in mail
    assert "docs/runbook.md#sync-vetoed" in mail
    (event,) = scenario.notifier.bus.events
    assert event.detail_type == "Sync Vetoed"
    assert [veto["code"] for veto in event.detail["vetoes"]] == ["outside_allowed_networks"]  # type: ignore[attr-defined]


def test_a_veto_is_not_notified_every_minute() -> None:
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_addresses("8.8.8.8")

    for trigger in (SCHEDULE, EVENT, MANUAL, SCHEDULE):
        assert scenario.run(trigger).status is RunStatus.VETOED

    assert not scenario.mails


def test_a_partly_vetoed_change_is_one_notification() -> None:
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_addresses(B, "8.8.8.8")
    scenario.set_listening(B)

    scenario.run(COMPLETED)

    (mail,) = scenario.mails
    assert "a guard vetoed a part of the plan" in mail
    (event,) = scenario.notifier.bus.events
    assert (event.detail_type, event.detail["status"]) == ("Target Group Synced", "vetoed")


# --- The texts --------------------------------------------------------------------------------


def test_a_notification_about_an_unhealthy_target_links_the_runbook() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.set_listening()

    scenario.run(EVENT)

    assert scenario.subjects == ["orders-privatelink: not healthy after the sync to 10.0.2.12:5432"]
    assert "docs/runbook.md#failover-not-healthy" in scenario.mails[0]


def test_a_notification_of_a_manual_run_says_that_the_targets_are_still_checked() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)

    scenario.run(MANUAL)

    assert scenario.subjects == ["orders-privatelink: target group changed to 10.0.2.12:5432"]
    assert "A manual invocation started the run." in scenario.mails[0]
    assert "which takes some minutes" in scenario.mails[0]


def test_a_notification_says_what_the_next_run_continues() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.endpoint.ttl = 300

    scenario.run(EVENT, remaining_seconds=200)

    assert "waits for confirmation" in scenario.mails[0]


def test_the_first_target_of_a_new_stack_replaces_none() -> None:
    scenario = NotifiedScenario()
    scenario.fail_over(A)

    scenario.run(MANUAL)

    assert "Before this run: none." in scenario.mails[0]


@pytest.mark.parametrize("trigger", [EVENT, MANUAL])
def test_a_subject_is_valid_for_sns_even_with_a_long_stack_name(trigger: SyncTrigger) -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    result = scenario.run(trigger)

    stack = replace(ORIGIN, stack="Überlang\n" * 16)
    subject = notification_of(result, stack, at=0.0).message.subject

    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


class HostileEndpoint:
    """An endpoint whose name and disagreement contain control characters and markup."""

    def __init__(self, scenario: Scenario) -> None:
        self._endpoint = scenario.endpoint

    def observe(self) -> Observation | FailedObservation:
        observation = self._endpoint.observe()
        assert isinstance(observation, Observation)
        return replace(
            observation,
            name="a.example\n\nWhat to do: call 555\x1b[2J\u202e",
            disagreement="<script>alert(1)</script>" * 100,
        )


def test_a_text_from_outside_cannot_add_paragraphs_or_control_characters() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.use_endpoint(HostileEndpoint(scenario))

    scenario.run(MANUAL)

    (mail,) = scenario.mails
    assert "\n\nWhat to do: call" not in mail
    assert not set("\x1b\u202e") & set(mail)
    assert len(mail) < 2000
    (detail,) = scenario.details
    assert "\n" not in json.dumps(detail["endpoint"], ensure_ascii=False)
    assert len(json.dumps(detail)) < 4000


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 400) == "x" * 400
    assert plain("x" * 401) == "x" * 397 + "..."


def test_a_run_that_failed_before_a_change_sends_no_notification() -> None:
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)

    with pytest.raises(TargetSyncError):
        scenario.run(MANUAL)

    assert not scenario.mails


# --- The sample -------------------------------------------------------------------------------


def test_the_sample_event_has_the_fields_of_a_real_one() -> None:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.run(EVENT)
    sample = json.loads(SAMPLE.read_text())

    (event,) = scenario.notifier.bus.events
    assert sample["source"] == "postgres-privatelink"
    assert sample["detail-type"] == event.detail_type
    assert sample["resources"] == [event.detail["target_group"]]
    real = json.loads(json.dumps(event.detail))
    assert _shape(sample["detail"]) == _shape(real)


def _shape(value: object) -> object:
    """Return the keys of a document without its values."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value[:1]]
    return None
