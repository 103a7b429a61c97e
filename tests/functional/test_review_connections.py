"""The function that answers, from its door: requests of known and unknown accounts, and faults."""

import json

import pytest

from functions.review_connections import app
from target_sync.connections import build
from target_sync.connections.decisions import ReviewStatus, decide
from target_sync.connections.reporting import PowertoolsReviewReporter
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.errors import (
    EndpointServiceError,
    RequestsFailedError,
    SettingsError,
    TriggerError,
)
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.notifications.sender import NotificationSender
from tests.support.connections import (
    NOBODYS_ENDPOINT,
    OTHER,
    TRUSTED,
    Desk,
    forbidden,
    throttled,
)
from tests.support.events import context, load_event
from tests.support.notifications import FakeBus, FakeTopic

ACCEPT, REJECT = "AcceptVpcEndpointConnections", "RejectVpcEndpointConnections"
DESCRIBE = "DescribeVpcEndpointConnections"
NOTIFICATION, SWEEP = load_event("connection-request"), load_event("schedule")


def sit(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Desk:
    """Put a desk behind the function's door."""
    monkeypatch.setattr(app, "reviewer", lambda: desk.reviewer)
    return desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return sit(monkeypatch, Desk())


@pytest.fixture
def strict_desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return sit(monkeypatch, Desk(reject_untrusted=True))


@pytest.mark.parametrize("event", [NOTIFICATION, SWEEP, {}])
def test_a_trusted_accounts_request_is_accepted_and_told(desk: Desk, event: object) -> None:
    endpoint = desk.service.asks(TRUSTED)

    answer = app.handler(event, context())

    assert desk.service.state(endpoint) is ConnectionState.AVAILABLE
    assert answer["status"] == "reviewed"
    (told,) = desk.people.messages
    assert "accepted" in told.subject
    assert endpoint in told.text
    (event,) = desk.bus.events
    assert (event.detail_type, event.detail["answer"]) == ("Connection Answered", "accept")


def test_an_untrusted_request_is_left_for_a_person(desk: Desk) -> None:
    endpoint = desk.service.asks(OTHER)

    answer = app.handler(NOTIFICATION, context())

    assert desk.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert answer["status"] == "waiting"
    (told,) = desk.people.messages
    assert "waits for you" in told.subject


def test_the_sweep_does_not_tell_again_who_waits(desk: Desk) -> None:
    desk.service.asks(OTHER)

    answer = app.handler(SWEEP, context())

    assert answer["status"] == "waiting"
    assert not desk.people.messages


def test_an_untrusted_request_is_rejected_when_asked_for(strict_desk: Desk) -> None:
    stranger, friend = strict_desk.service.asks(OTHER), strict_desk.service.asks(TRUSTED)

    answer = app.handler(NOTIFICATION, context())

    assert strict_desk.service.state(stranger) is ConnectionState.REJECTED
    assert strict_desk.service.state(friend) is ConnectionState.AVAILABLE
    assert answer["status"] == "reviewed"
    assert [message.subject.split()[-1] for message in strict_desk.people.messages] == [
        "rejected",
        "accepted",
    ]


def test_a_forged_notification_accepts_nobody(desk: Desk) -> None:
    endpoint = desk.service.asks(OTHER)
    forged = load_event("connection-request")
    forged["Records"][0]["Sns"]["Message"] = json.dumps(
        {
            "VpcEndpointId": endpoint,
            "VpcEndpointOwner": TRUSTED,
            "VpcEndpointState": "pendingAcceptance",
        }
    )

    app.handler(forged, context())

    assert desk.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert not desk.service.calls[ACCEPT]


def test_a_notification_about_an_endpoint_that_is_not_there_changes_nothing(desk: Desk) -> None:
    answer = app.handler(NOTIFICATION, context())

    assert answer["status"] == "no_requests"
    assert desk.service.calls == {DESCRIBE: 1}


def test_a_notification_whose_text_is_no_json_still_means_look_now(desk: Desk) -> None:
    endpoint = desk.service.asks(TRUSTED)
    event = load_event("connection-request")
    event["Records"][0]["Sns"]["Message"] = "An endpoint has connected."

    app.handler(event, context())

    assert desk.service.state(endpoint) is ConnectionState.AVAILABLE


def test_what_is_answered_is_not_answered_or_told_twice(desk: Desk) -> None:
    desk.service.asks(TRUSTED)

    app.handler(NOTIFICATION, context())
    answer = app.handler(NOTIFICATION, context())

    assert answer["status"] == "no_requests"
    assert desk.service.calls[ACCEPT] == 1
    assert len(desk.people.messages) == 1


@pytest.mark.parametrize(
    "state", sorted(set(ConnectionState) - {ConnectionState.PENDING_ACCEPTANCE})
)
def test_a_connection_in_any_other_state_is_left_alone(
    strict_desk: Desk, state: ConnectionState
) -> None:
    for owner in (TRUSTED, OTHER):
        strict_desk.service.asks(owner, state)

    answer = app.handler(SWEEP, context())

    assert answer["status"] == "no_requests"
    assert strict_desk.service.calls == {DESCRIBE: 1}


def test_a_dry_run_says_what_it_would_do_and_does_nothing(strict_desk: Desk) -> None:
    friend, stranger = strict_desk.service.asks(TRUSTED), strict_desk.service.asks(OTHER)

    answer = json.loads(json.dumps(app.handler(load_event("manual-dry-run"), context())))

    assert answer == {
        "status": "dry_run",
        "summary": f"To accept: {friend} of {TRUSTED}. To reject: {stranger} of {OTHER}."
        " Dry run: nothing was changed.",
        "trigger": {"kind": "manual"},
        "accepted": [],
        "rejected": [],
        "planned": [
            {
                "endpoint": friend,
                "account": TRUSTED,
                "state": "pendingAcceptance",
                "answer": "accept",
                "reason": "its account is trusted",
            },
            {
                "endpoint": stranger,
                "account": OTHER,
                "state": "pendingAcceptance",
                "answer": "reject",
                "reason": "its account is not trusted",
            },
        ],
        "waiting": [],
        "connections": 2,
        "failures": [],
        "undelivered_notifications": [],
    }
    assert strict_desk.service.calls == {DESCRIBE: 1}
    assert not strict_desk.people.messages


def test_without_a_topic_requests_are_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = sit(monkeypatch, Desk(has_topic=False))
    endpoint = desk.service.asks(TRUSTED)

    app.handler(NOTIFICATION, context())

    assert desk.service.state(endpoint) is ConnectionState.AVAILABLE
    assert len(desk.bus.events) == 1
    assert not desk.people.messages


@pytest.mark.parametrize("payload", [{"Records": []}, {"accept": NOBODYS_ENDPOINT}, []])
def test_a_wrong_payload_is_refused_before_anything_is_asked(desk: Desk, payload: object) -> None:
    with pytest.raises(TriggerError):
        app.handler(payload, context())

    assert not desk.service.calls


# --- Faults ----------------------------------------------------------------------------------


def test_one_answer_that_fails_holds_up_no_other(strict_desk: Desk) -> None:
    first, second = strict_desk.service.asks(TRUSTED), strict_desk.service.asks(TRUSTED)
    third = strict_desk.service.asks(OTHER)
    strict_desk.service.faults[first] = [
        EndpointServiceError(ACCEPT, "InvalidState", "not now")  # as from `Unsuccessful`
    ]

    with pytest.raises(RequestsFailedError) as raised:
        app.handler(NOTIFICATION, context())

    assert str(raised.value) == f"{first}: {ACCEPT} failed with InvalidState: not now"
    assert strict_desk.service.state(second) is ConnectionState.AVAILABLE
    assert strict_desk.service.state(third) is ConnectionState.REJECTED
    assert len(strict_desk.people.messages) == 2
    document = strict_desk.reporter.results[-1].to_document()
    assert document["status"] == "failed"
    assert [d["endpoint"] for d in document["planned"]] == [first]  # type: ignore[attr-defined]


def test_every_failure_is_named(desk: Desk) -> None:
    endpoints = [desk.service.asks(TRUSTED) for _ in range(2)]
    desk.service.faults[ACCEPT] = [forbidden(ACCEPT), throttled(ACCEPT)]

    with pytest.raises(RequestsFailedError) as raised:
        app.handler(SWEEP, context())

    first, second = raised.value.failures
    assert (endpoints[0] in first, "UnauthorizedOperation" in first) == (True, True)
    assert (endpoints[1] in second, "RequestLimitExceeded" in second) == (True, True)


def test_an_answer_whose_reply_was_lost_counts_as_given(desk: Desk) -> None:
    endpoint = desk.service.asks(TRUSTED)
    desk.service.lost_replies[ACCEPT] = [throttled(ACCEPT)]

    answer = app.handler(NOTIFICATION, context())

    assert answer["status"] == "reviewed"
    assert desk.service.state(endpoint) is ConnectionState.AVAILABLE
    assert len(desk.people.messages) == 1


def test_a_rejection_whose_reply_was_lost_counts_as_given(strict_desk: Desk) -> None:
    strict_desk.service.asks(OTHER)
    strict_desk.service.lost_replies[REJECT] = [throttled(REJECT)]

    assert app.handler(NOTIFICATION, context())["status"] == "reviewed"


def test_when_it_cannot_look_again_the_first_failure_stands(desk: Desk) -> None:
    desk.service.asks(TRUSTED)
    desk.service.faults[ACCEPT] = [throttled(ACCEPT)]
    seen = desk.service.connections()
    answers = iter([seen])

    def only_once() -> object:
        try:
            return next(answers)
        except StopIteration:
            raise throttled(DESCRIBE) from None

    desk.service.connections = only_once  # type: ignore[assignment,method-assign]

    with pytest.raises(RequestsFailedError, match=ACCEPT):
        app.handler(NOTIFICATION, context())


@pytest.mark.parametrize("state", [ConnectionState.REJECTED, ConnectionState.DELETING])
def test_a_request_that_somebody_else_ended_is_neither_a_failure_nor_our_answer(
    desk: Desk, state: ConnectionState
) -> None:
    endpoint = desk.service.asks(TRUSTED)
    accept = desk.service.accept

    def too_late(endpoint_id: str) -> None:
        desk.service.becomes(endpoint_id, state)
        desk.service.faults[ACCEPT] = [EndpointServiceError(ACCEPT, "InvalidState", "too late")]
        accept(endpoint_id)

    desk.service.accept = too_late  # type: ignore[method-assign]

    app.handler(NOTIFICATION, context())

    assert desk.service.state(endpoint) is state
    assert not desk.people.messages


def test_an_endpoint_that_is_deleted_meanwhile_is_no_failure(desk: Desk) -> None:
    endpoint = desk.service.asks(TRUSTED)
    accept = desk.service.accept

    def too_late(endpoint_id: str) -> None:
        desk.service.goes(endpoint_id)
        accept(endpoint_id)

    desk.service.accept = too_late  # type: ignore[method-assign]

    app.handler(NOTIFICATION, context())

    assert endpoint not in {c.endpoint_id for c in desk.service.connections()}
    assert not desk.people.messages


def test_a_list_that_cannot_be_had_fails_the_run_and_answers_nothing(desk: Desk) -> None:
    endpoint = desk.service.asks(TRUSTED)
    desk.service.faults[DESCRIBE] = [forbidden(DESCRIBE)]

    with pytest.raises(EndpointServiceError, match=DESCRIBE):
        app.handler(NOTIFICATION, context())

    assert desk.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert desk.reporter.results[-1].status is ReviewStatus.FAILED


def test_when_nobody_can_be_told_the_answers_stand_and_nothing_is_said_twice(desk: Desk) -> None:
    endpoints = [desk.service.asks(TRUSTED) for _ in range(2)]
    desk.people.is_broken = True

    answer = app.handler(NOTIFICATION, context())
    again = app.handler(NOTIFICATION, context())

    for endpoint in endpoints:
        assert desk.service.state(endpoint) is ConnectionState.AVAILABLE
    assert answer["status"] == "reviewed"
    assert (
        answer["undelivered_notifications"]
        == ["nobody was told: Publish failed with NotFound: Topic does not exist"] * 2
    )
    assert again["undelivered_notifications"] == []
    assert len(desk.bus.events) == 2


def test_programs_are_told_who_waits(desk: Desk) -> None:
    endpoint = desk.service.asks(OTHER)

    app.handler(NOTIFICATION, context())

    (event,) = desk.bus.events
    assert (event.detail_type, event.detail["answer"]) == ("Connection Waiting", "leave")
    assert event.detail["endpoint"] == endpoint
    assert event.detail["account"] == OTHER


# --- The record and the figures ---------------------------------------------------------------


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("is_broken", "level"), [(False, "INFO"), (True, "ERROR")])
def test_a_run_writes_one_record_and_its_figures(
    strict_desk: Desk, capsys: pytest.CaptureFixture[str], is_broken: bool, level: str
) -> None:
    strict_desk.service.asks(TRUSTED)
    strict_desk.service.asks(OTHER)
    if is_broken:
        strict_desk.service.faults[REJECT] = [forbidden(REJECT)]
        with pytest.raises(RequestsFailedError):
            app.handler(NOTIFICATION, context())
    else:
        app.handler(NOTIFICATION, context())
    result = strict_desk.reporter.results[-1]

    PowertoolsReviewReporter().report(result)

    record, figures = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["level"] == level
    assert record["result"] == json.loads(json.dumps(result.to_document()))
    assert figures["ConnectionsAccepted"] == [1]
    assert figures["ConnectionsRejected"] == [int(not is_broken)]
    assert figures["ConnectionsWaiting"] == [0]
    assert figures["ConnectionReviewsFailed"] == [int(is_broken)]
    assert figures["NotificationsFailed"] == [0]


# --- The wiring ---------------------------------------------------------------------------------


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_SERVICE_ID", "vpce-svc-0a1b2c3d4e5f60718")
    monkeypatch.setenv("TRUSTED_ACCOUNTS", TRUSTED)
    monkeypatch.setenv("REJECT_UNTRUSTED", "false")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    build.reviewer.cache_clear()


@pytest.mark.usefixtures("_environment", "_powertools")
def test_the_parts_are_put_together_from_the_environment_once_per_container() -> None:
    reviewer = build.reviewer()

    assert reviewer.policy.trusted_accounts == {TRUSTED}
    assert isinstance(reviewer.service, Ec2EndpointService)
    assert build.reviewer() is reviewer


@pytest.mark.usefixtures("_environment", "_powertools")
def test_the_answer_goes_to_the_topic_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    monkeypatch.setenv("ALARM_TOPIC_ARN", topic)
    people, bus = FakeTopic(), FakeBus()
    couriers = {topic: NotificationSender(topic=people, bus=bus)}
    monkeypatch.setattr(build, "notification_sender", couriers.__getitem__)
    request = EndpointConnection(
        endpoint_id="vpce-0abc", owner=TRUSTED, state=ConnectionState.PENDING_ACCEPTANCE
    )
    reviewer = build.reviewer()

    assert reviewer.notifier.notify(decide(request, reviewer.policy)) == ()
    assert len(people.messages) == len(bus.events) == 1


@pytest.mark.usefixtures("_environment")
def test_a_missing_variable_is_named_at_the_first_invocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ENDPOINT_SERVICE_ID")

    with pytest.raises(SettingsError, match="ENDPOINT_SERVICE_ID"):
        app.handler({}, context())
