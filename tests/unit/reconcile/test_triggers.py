"""Parsing an RDS or EC2 event, the schedule and a manual payload."""

import pytest

from target_sync.errors import TriggerError
from target_sync.reconcile.triggers import SyncTrigger, parse_trigger
from target_sync.triggers import TriggerKind

RDS_EVENT = {
    "source": "aws.rds",
    "detail-type": "RDS DB Instance Event",
    "time": "2026-11-22T10:00:00Z",
    "detail": {"EventID": "RDS-EVENT-0049", "Date": "2026-11-22T10:00:00.500Z"},
}


def test_an_rds_event_is_parsed_with_its_id_and_its_time() -> None:
    assert parse_trigger(RDS_EVENT) == SyncTrigger(
        kind=TriggerKind.RDS_EVENT,
        event_id="RDS-EVENT-0049",
        occurred_at=1795341600.5,
        wait_for_healthy=True,
    )


@pytest.mark.parametrize("detail", [None, "text", {}, {"Date": 7}, {"Date": "yesterday"}])
def test_an_event_without_a_valid_date_uses_the_time_of_the_envelope(detail: object) -> None:
    assert parse_trigger({**RDS_EVENT, "detail": detail}).occurred_at == 1795341600.0


@pytest.mark.parametrize("time", [None, "soon", "2026-11-22T10:00:00"])
def test_an_event_without_a_valid_time_is_still_an_event(time: object) -> None:
    trigger = parse_trigger({"source": "aws.rds", "time": time})

    assert (trigger.kind, trigger.occurred_at) == (TriggerKind.RDS_EVENT, None)


@pytest.mark.parametrize(
    "detail_type",
    [
        "RDS DB Instance Event",
        "RDS DB Cluster Event",
        "RDS DB Proxy Event",
        "RDS Blue Green Deployment Event",
    ],
)
def test_every_kind_of_rds_event_announces_a_change(detail_type: str) -> None:
    trigger = parse_trigger({**RDS_EVENT, "detail-type": detail_type})

    assert trigger.kind is TriggerKind.RDS_EVENT
    assert trigger.announces_a_change


def test_a_change_of_an_instances_state_announces_a_change() -> None:
    trigger = parse_trigger(
        {
            "source": "aws.ec2",
            "detail-type": "EC2 Instance State-change Notification",
            "time": "2026-11-22T10:00:00Z",
            "detail": {"instance-id": "i-0123456789abcdef0", "state": "running"},
        }
    )

    assert trigger == SyncTrigger(kind=TriggerKind.EC2_EVENT, occurred_at=1795341600.0)
    assert trigger.announces_a_change


@pytest.mark.parametrize("payload", [{}, {"source": "aws.scheduler"}])
def test_neither_the_schedule_nor_a_person_announces_a_change(payload: object) -> None:
    assert not parse_trigger(payload).announces_a_change


@pytest.mark.parametrize("event_id", ["0015", "0049", "0051", "0053", "0065", "0071"])
def test_an_event_about_a_complete_failover_completes_a_change(event_id: str) -> None:
    trigger = parse_trigger({**RDS_EVENT, "detail": {"EventID": f"RDS-EVENT-{event_id}"}})

    assert trigger.completes_a_change
    assert trigger.announces_a_change


@pytest.mark.parametrize(
    "payload",
    [
        {**RDS_EVENT, "detail": {"EventID": "RDS-EVENT-0013"}},
        {**RDS_EVENT, "detail": {}},
        {"source": "aws.ec2", "detail": {"EventID": "x", "state": "running"}},
        {"source": "aws.scheduler"},
        {},
    ],
)
def test_nothing_else_completes_a_change(payload: object) -> None:
    assert not parse_trigger(payload).completes_a_change


@pytest.mark.parametrize(
    ("payload", "scheduled"), [({"source": "aws.scheduler"}, True), ({}, False), (RDS_EVENT, False)]
)
def test_only_the_source_of_the_schedule_is_scheduled(payload: object, *, scheduled: bool) -> None:
    assert parse_trigger(payload).is_scheduled is scheduled


def test_the_schedule_is_parsed_with_its_time() -> None:
    tick = {"source": "aws.scheduler", "time": "2026-11-22T10:00:00Z", "detail": "{}"}

    assert parse_trigger(tick) == SyncTrigger(kind=TriggerKind.SCHEDULE, occurred_at=1795341600.0)


@pytest.mark.parametrize(
    ("since_the_event", "age"),
    [
        (12.5, 12.5),
        (7200.0, 7200.0),
        (7200.5, 0.0),
        (257_826_565.0, 0.0),  # AWS's sample event of 2018
        (-3600.0, 0.0),
    ],
)
def test_an_event_that_is_too_old_or_in_the_future_has_no_age(
    since_the_event: float, age: float
) -> None:
    assert parse_trigger(RDS_EVENT).age_at(1795341600.5 + since_the_event) == age


def test_an_empty_payload_is_a_manual_run_that_does_not_wait_for_health() -> None:
    assert parse_trigger({}) == SyncTrigger(
        kind=TriggerKind.MANUAL, dry_run=False, wait_for_healthy=False
    )
    assert parse_trigger({}).age_at(1795341600.0) == 0.0


def test_a_manual_payload_may_set_each_option() -> None:
    options = {"dry_run": True, "wait_for_healthy": True, "prove_switch": True}
    assert parse_trigger(options) == SyncTrigger(
        kind=TriggerKind.MANUAL, dry_run=True, wait_for_healthy=True, prove_switch=True
    )


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"dryrun": True}, "'dryrun'"),
        ({"dry_run": True, "force": True}, "'force'"),
        ({"source": "aws.s3"}, "'source'"),
        ({"source": ["aws.rds"]}, "'source'"),
        ({"dry_run": "true"}, "'dry_run' must be true or false, not \"true\""),
        ({"wait_for_healthy": 1}, "'wait_for_healthy' must be true or false, not 1"),
        ({"prove_switch": "yes"}, "'prove_switch' must be true or false, not \"yes\""),
        ({"dry_run": None}, "'dry_run' must be true or false, not null"),
        ([], "must be a JSON object, not []"),
        ("sync", 'must be a JSON object, not "sync"'),
        (None, "must be a JSON object, not null"),
    ],
)
def test_an_unknown_payload_is_rejected_with_the_name_of_the_key(
    payload: object, message: str
) -> None:
    with pytest.raises(TriggerError) as rejected:
        parse_trigger(payload)

    assert message in str(rejected.value)
    assert not rejected.value.retryable


def test_a_trigger_without_an_event_has_none_in_its_document() -> None:
    assert parse_trigger({}).to_document() == {
        "kind": "manual",
        "event_id": None,
        "occurred_at": None,
    }
    assert parse_trigger(RDS_EVENT).to_document() == {
        "kind": "rds_event",
        "event_id": "RDS-EVENT-0049",
        "occurred_at": 1795341600.5,
    }
