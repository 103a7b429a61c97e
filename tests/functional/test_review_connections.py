"""ReviewConnectionsFunction, called through its handler: requests, messages and faults."""

import json

import pytest

from functions.review_connections import app
from target_sync.connections import build
from target_sync.connections.decisions import decide
from target_sync.connections.result import ReviewStatus
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.errors import (
    AwsCallError,
    AwsReplyError,
    RequestsFailedError,
    SettingsError,
    TriggerError,
)
from target_sync.model import ConnectionState, EndpointConnection
from target_sync.notifications.sender import NotificationSender
from target_sync.reporting import PowertoolsReporter
from tests.support.connections import (
    OTHER,
    TRUSTED,
    UNKNOWN_ENDPOINT,
    ReviewedService,
    forbidden,
    throttled,
)
from tests.support.events import context, load_event
from tests.support.notifications import FakeBus, FakeTopic

ACCEPT, REJECT = "AcceptVpcEndpointConnections", "RejectVpcEndpointConnections"
DESCRIBE = "DescribeVpcEndpointConnections"
NOTIFICATION, SCHEDULE = load_event("connection-request"), load_event("schedule")


def installed(monkeypatch: pytest.MonkeyPatch, reviewed: ReviewedService) -> ReviewedService:
    """Let the handler use this reviewer."""
    monkeypatch.setattr(app, "reviewer", lambda: reviewed.reviewer)
    return reviewed


@pytest.fixture
def reviewed(monkeypatch: pytest.MonkeyPatch) -> ReviewedService:
    return installed(monkeypatch, ReviewedService())


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> ReviewedService:
    return installed(monkeypatch, ReviewedService(reject_untrusted=True))


@pytest.mark.parametrize("event", [NOTIFICATION, SCHEDULE, {}])
def test_accepts_a_request_of_a_trusted_account_and_notifies(
    reviewed: ReviewedService, event: object
) -> None:
    endpoint = reviewed.service.request(TRUSTED)

    document = app.handler(event, context())

    assert reviewed.service.state(endpoint) is ConnectionState.AVAILABLE
    assert document["status"] == "reviewed"
    (mail,) = reviewed.topic.messages
    assert "accepted" in mail.subject
    assert endpoint in mail.text
    (event,) = reviewed.bus.events
    assert (event.detail_type, event.detail["action"]) == ("Connection Reviewed", "accept")


def test_leaves_an_untrusted_request_for_a_person(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(OTHER)

    document = app.handler(NOTIFICATION, context())

    assert reviewed.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert document["status"] == "waiting"
    (mail,) = reviewed.topic.messages
    assert "waits for you" in mail.subject
    (event,) = reviewed.bus.events
    assert (event.detail_type, event.detail["action"]) == ("Connection Waiting", "leave")
    assert (event.detail["endpoint"], event.detail["account"]) == (endpoint, OTHER)


@pytest.mark.parametrize("event", [SCHEDULE, {}])
def test_a_run_without_a_notification_does_not_notify_again_of_a_waiting_request(
    reviewed: ReviewedService, event: object
) -> None:
    reviewed.service.request(OTHER)

    document = app.handler(event, context())

    assert document["status"] == "waiting"
    assert not reviewed.topic.messages


def test_rejects_an_untrusted_request_if_configured(strict: ReviewedService) -> None:
    untrusted, trusted = strict.service.request(OTHER), strict.service.request(TRUSTED)

    document = app.handler(NOTIFICATION, context())

    assert strict.service.state(untrusted) is ConnectionState.REJECTED
    assert strict.service.state(trusted) is ConnectionState.AVAILABLE
    assert document["status"] == "reviewed"
    assert [message.subject.split()[-1] for message in strict.topic.messages] == [
        "rejected",
        "accepted",
    ]


def test_a_forged_notification_accepts_no_request(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(OTHER)
    forged = load_event("connection-request")
    forged["Records"][0]["Sns"]["Message"] = json.dumps(
        {
            "VpcEndpointId": endpoint,
            "VpcEndpointOwner": TRUSTED,
            "VpcEndpointState": "pendingAcceptance",
        }
    )

    app.handler(forged, context())

    assert reviewed.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert not reviewed.service.calls[ACCEPT]


def test_a_notification_with_unreadable_text_still_starts_a_review(
    reviewed: ReviewedService,
) -> None:
    endpoint = reviewed.service.request(TRUSTED)
    event = load_event("connection-request")
    event["Records"][0]["Sns"]["Message"] = "An endpoint has connected."

    app.handler(event, context())

    assert reviewed.service.state(endpoint) is ConnectionState.AVAILABLE


def test_reviews_and_notifies_once(reviewed: ReviewedService) -> None:
    reviewed.service.request(TRUSTED)

    app.handler(NOTIFICATION, context())
    document = app.handler(NOTIFICATION, context())

    assert document["status"] == "no_requests"
    assert reviewed.service.calls == {DESCRIBE: 2, ACCEPT: 1}
    assert len(reviewed.topic.messages) == 1


@pytest.mark.parametrize(
    "state", sorted(set(ConnectionState) - {ConnectionState.PENDING_ACCEPTANCE})
)
def test_leaves_a_connection_in_any_other_state(
    strict: ReviewedService, state: ConnectionState
) -> None:
    for owner in (TRUSTED, OTHER):
        strict.service.request(owner, state)

    document = app.handler(SCHEDULE, context())

    assert document["status"] == "no_requests"
    assert strict.service.calls == {DESCRIBE: 1}


def test_a_dry_run_lists_the_actions_and_changes_nothing(strict: ReviewedService) -> None:
    trusted, untrusted = strict.service.request(TRUSTED), strict.service.request(OTHER)

    document = json.loads(json.dumps(app.handler(load_event("manual-dry-run"), context())))

    assert document == {
        "status": "dry_run",
        "summary": f"To accept: {trusted} of {TRUSTED}. To reject: {untrusted} of {OTHER}."
        " Dry run: nothing was changed.",
        "trigger": {"kind": "manual"},
        "accepted": [],
        "rejected": [],
        "planned": [
            {
                "endpoint": trusted,
                "account": TRUSTED,
                "state": "pendingAcceptance",
                "action": "accept",
                "reason": "its account is trusted",
            },
            {
                "endpoint": untrusted,
                "account": OTHER,
                "state": "pendingAcceptance",
                "action": "reject",
                "reason": "its account is not trusted",
            },
        ],
        "waiting": [],
        "connections": 2,
        "failures": [],
        "undelivered_notifications": [],
    }
    assert strict.service.calls == {DESCRIBE: 1}
    assert not strict.topic.messages


def test_reviews_requests_without_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    reviewed = installed(monkeypatch, ReviewedService(has_topic=False))
    endpoint = reviewed.service.request(TRUSTED)

    app.handler(NOTIFICATION, context())

    assert reviewed.service.state(endpoint) is ConnectionState.AVAILABLE
    assert len(reviewed.bus.events) == 1
    assert not reviewed.topic.messages


@pytest.mark.parametrize("payload", [{"Records": []}, {"accept": UNKNOWN_ENDPOINT}, []])
def test_rejects_an_invalid_payload_before_any_call(
    reviewed: ReviewedService, payload: object
) -> None:
    with pytest.raises(TriggerError):
        app.handler(payload, context())

    assert not reviewed.service.calls


# --- Faults ----------------------------------------------------------------------------------


def test_a_failed_call_does_not_block_the_others(strict: ReviewedService) -> None:
    first, second = strict.service.request(TRUSTED), strict.service.request(TRUSTED)
    third = strict.service.request(OTHER)
    strict.service.faults[first] = [
        AwsCallError(ACCEPT, "InvalidState", "not now")  # as from `Unsuccessful`
    ]

    with pytest.raises(RequestsFailedError) as raised:
        app.handler(NOTIFICATION, context())

    assert str(raised.value) == f"{first}: {ACCEPT} failed with InvalidState: not now"
    assert strict.service.state(second) is ConnectionState.AVAILABLE
    assert strict.service.state(third) is ConnectionState.REJECTED
    assert len(strict.topic.messages) == 2
    document = strict.reporter.results[-1].to_document()
    assert document["status"] == "failed"
    assert [d["endpoint"] for d in document["planned"]] == [first]  # type: ignore[attr-defined]


def test_the_error_names_every_failure(reviewed: ReviewedService) -> None:
    endpoints = [reviewed.service.request(TRUSTED) for _ in range(2)]
    reviewed.service.faults[ACCEPT] = [forbidden(ACCEPT), throttled(ACCEPT)]

    with pytest.raises(RequestsFailedError) as raised:
        app.handler(SCHEDULE, context())

    first, second = raised.value.failures
    assert (endpoints[0] in first, "UnauthorizedOperation" in first) == (True, True)
    assert (endpoints[1] in second, "RequestLimitExceeded" in second) == (True, True)


def test_a_throttled_run_stops_and_reports_what_it_accepted(reviewed: ReviewedService) -> None:
    endpoints = [reviewed.service.request(TRUSTED) for _ in range(250)]
    reviewed.service.faults[endpoints[2]] = [throttled(ACCEPT)]

    with pytest.raises(RequestsFailedError, match=endpoints[2]):
        app.handler(NOTIFICATION, context(60.0))

    assert reviewed.service.calls == {ACCEPT: 3, DESCRIBE: 2}
    assert len(reviewed.topic.messages) == 2
    assert len(reviewed.reporter.results[-1].accepted) == 2


def test_an_unusable_reply_about_one_request_does_not_block_the_others(
    reviewed: ReviewedService,
) -> None:
    endpoints = [reviewed.service.request(TRUSTED) for _ in range(3)]
    reviewed.service.faults[endpoints[0]] = [AwsReplyError(ACCEPT, ValueError("<html>"))]

    with pytest.raises(RequestsFailedError, match="<html>"):
        app.handler(NOTIFICATION, context(60.0))

    assert len(reviewed.topic.messages) == 2


def test_a_run_with_too_many_requests_ends_in_time_and_the_next_one_continues(
    reviewed: ReviewedService,
) -> None:
    began_at = reviewed.clock.now()
    for _ in range(250):
        reviewed.service.request(TRUSTED)
    reviewed.service.seconds_per_call = 1.0

    document = app.handler(NOTIFICATION, context(60.0))

    assert reviewed.clock.now() - began_at <= 60.0
    assert document["status"] == "unfinished"
    accepted = len(document["accepted"])  # type: ignore[arg-type]
    assert 0 < accepted < 250
    assert len(reviewed.topic.messages) == accepted
    reviewed.service.seconds_per_call = 0.0
    assert app.handler(SCHEDULE, context(60.0))["status"] == "reviewed"
    assert len(reviewed.topic.messages) == 250


def test_a_failed_run_without_time_lists_nothing_again(reviewed: ReviewedService) -> None:
    reviewed.service.request(TRUSTED)
    reviewed.service.faults[ACCEPT] = [throttled(ACCEPT)]
    reviewed.service.seconds_per_call = 16.0

    with pytest.raises(RequestsFailedError):
        app.handler(NOTIFICATION, context(60.0))

    assert reviewed.service.calls == {ACCEPT: 1, DESCRIBE: 1}
    assert reviewed.reporter.results[-1].status is ReviewStatus.FAILED


def test_a_message_without_time_is_undelivered(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(OTHER)
    reviewed.service.seconds_per_call = 55.0

    document = app.handler(NOTIFICATION, context(60.0))

    assert document["undelivered_notifications"] == [
        f"not delivered: the time of the run was up, for {endpoint}"
    ]
    assert not reviewed.topic.messages


def test_an_acceptance_with_a_lost_reply_counts_as_done(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(TRUSTED)
    reviewed.service.lost_replies[ACCEPT] = [throttled(ACCEPT)]

    document = app.handler(NOTIFICATION, context())

    assert document["status"] == "reviewed"
    assert reviewed.service.state(endpoint) is ConnectionState.AVAILABLE
    assert len(reviewed.topic.messages) == 1


def test_a_rejection_with_a_lost_reply_counts_as_done(strict: ReviewedService) -> None:
    strict.service.request(OTHER)
    strict.service.lost_replies[REJECT] = [throttled(REJECT)]

    assert app.handler(NOTIFICATION, context())["status"] == "reviewed"


def test_reports_the_first_failure_if_the_second_list_fails(reviewed: ReviewedService) -> None:
    reviewed.service.request(TRUSTED)
    reviewed.service.faults[ACCEPT] = [throttled(ACCEPT)]
    replies = iter([reviewed.service.connections()])

    def fails_after_one_call() -> object:
        try:
            return next(replies)
        except StopIteration:
            raise throttled(DESCRIBE) from None

    reviewed.service.connections = fails_after_one_call  # type: ignore[assignment,method-assign]

    with pytest.raises(RequestsFailedError, match=ACCEPT):
        app.handler(NOTIFICATION, context())


@pytest.mark.parametrize("state", [ConnectionState.REJECTED, ConnectionState.DELETING])
def test_a_request_that_another_party_ended_is_not_a_failure_and_not_reported(
    reviewed: ReviewedService, state: ConnectionState
) -> None:
    endpoint = reviewed.service.request(TRUSTED)
    accept = reviewed.service.accept

    def accept_too_late(endpoint_id: str) -> None:
        reviewed.service.set_state(endpoint_id, state)
        reviewed.service.faults[ACCEPT] = [AwsCallError(ACCEPT, "InvalidState", "too late")]
        accept(endpoint_id)

    reviewed.service.accept = accept_too_late  # type: ignore[method-assign]

    app.handler(NOTIFICATION, context())

    assert reviewed.service.state(endpoint) is state
    assert not reviewed.topic.messages


def test_an_endpoint_that_was_deleted_meanwhile_is_not_a_failure(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(TRUSTED)
    accept = reviewed.service.accept

    def accept_too_late(endpoint_id: str) -> None:
        reviewed.service.delete(endpoint_id)
        accept(endpoint_id)

    reviewed.service.accept = accept_too_late  # type: ignore[method-assign]

    app.handler(NOTIFICATION, context())

    assert endpoint not in {c.endpoint_id for c in reviewed.service.connections()}
    assert not reviewed.topic.messages


def test_a_deleted_endpoint_does_not_hide_another_failure(reviewed: ReviewedService) -> None:
    deleted, failing = reviewed.service.request(TRUSTED), reviewed.service.request(TRUSTED)
    reviewed.service.faults[failing] = [forbidden(ACCEPT)]
    accept = reviewed.service.accept

    def accept_too_late(endpoint_id: str) -> None:
        if endpoint_id == deleted:
            reviewed.service.delete(deleted)
        accept(endpoint_id)

    reviewed.service.accept = accept_too_late  # type: ignore[method-assign]

    with pytest.raises(RequestsFailedError, match=failing):
        app.handler(NOTIFICATION, context())


def test_a_failed_list_fails_the_run_and_changes_nothing(reviewed: ReviewedService) -> None:
    endpoint = reviewed.service.request(TRUSTED)
    reviewed.service.faults[DESCRIBE] = [forbidden(DESCRIBE)]

    with pytest.raises(AwsCallError, match=DESCRIBE):
        app.handler(NOTIFICATION, context())

    assert reviewed.service.state(endpoint) is ConnectionState.PENDING_ACCEPTANCE
    assert reviewed.reporter.results[-1].status is ReviewStatus.FAILED


def test_an_undelivered_mail_undoes_nothing_and_is_not_repeated(reviewed: ReviewedService) -> None:
    endpoints = [reviewed.service.request(TRUSTED) for _ in range(2)]
    reviewed.topic.is_broken = True

    document = app.handler(NOTIFICATION, context())
    second = app.handler(NOTIFICATION, context())

    for endpoint in endpoints:
        assert reviewed.service.state(endpoint) is ConnectionState.AVAILABLE
    assert document["status"] == "reviewed"
    assert (
        document["undelivered_notifications"]
        == ["not delivered: Publish failed with NotFound: Topic does not exist"] * 2
    )
    assert second["undelivered_notifications"] == []
    assert len(reviewed.bus.events) == 2


# --- The log record and the metrics ---------------------------------------------------------------


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("is_broken", "level"), [(False, "INFO"), (True, "ERROR")])
def test_a_run_writes_one_record_and_its_metrics(
    strict: ReviewedService, capsys: pytest.CaptureFixture[str], is_broken: bool, level: str
) -> None:
    strict.service.request(TRUSTED)
    strict.service.request(OTHER)
    if is_broken:
        strict.service.faults[REJECT] = [forbidden(REJECT)]
        with pytest.raises(RequestsFailedError):
            app.handler(NOTIFICATION, context())
    else:
        app.handler(NOTIFICATION, context())
    result = strict.reporter.results[-1]

    PowertoolsReporter().report(result)

    record, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["level"] == level
    assert record["result"] == json.loads(json.dumps(result.to_document()))
    assert metrics["ConnectionsAccepted"] == [1]
    assert metrics["ConnectionsRejected"] == [int(not is_broken)]
    assert metrics["ConnectionsWaiting"] == [0]
    assert metrics["ConnectionReviewsFailed"] == [int(is_broken)]
    assert metrics["NotificationsFailed"] == [0]


# --- The build ------------------------------------------------------------------------------------


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_SERVICE_ID", "vpce-svc-0a1b2c3d4e5f60718")
    monkeypatch.setenv("TRUSTED_ACCOUNTS", TRUSTED)
    monkeypatch.setenv("REJECT_UNTRUSTED", "false")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    build.reviewer.cache_clear()


@pytest.mark.usefixtures("_environment", "_powertools")
def test_builds_the_reviewer_from_the_environment_once_per_container() -> None:
    reviewer = build.reviewer()

    assert reviewer.policy.trusted_accounts == {TRUSTED}
    assert isinstance(reviewer.service, Ec2EndpointService)
    assert build.reviewer() is reviewer


@pytest.mark.usefixtures("_environment", "_powertools")
def test_notifies_the_topic_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    monkeypatch.setenv("ALARM_TOPIC_ARN", topic)
    monkeypatch.setattr("time.time", lambda: 1795341603.12345)
    mails, bus = FakeTopic(), FakeBus()
    senders = {topic: NotificationSender(topic=mails, bus=bus)}
    monkeypatch.setattr(build, "notification_sender", senders.__getitem__)
    request = EndpointConnection(
        endpoint_id="vpce-0abc", owner=TRUSTED, state=ConnectionState.PENDING_ACCEPTANCE
    )
    reviewer = build.reviewer()

    assert reviewer.notifier.notify(decide(request, reviewer.policy)) == ()
    assert len(mails.messages) == 1
    assert [event.detail["at"] for event in bus.events] == [1795341603.123]


@pytest.mark.usefixtures("_environment")
def test_the_first_invocation_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENDPOINT_SERVICE_ID")

    with pytest.raises(SettingsError, match="ENDPOINT_SERVICE_ID"):
        app.handler({}, context())
