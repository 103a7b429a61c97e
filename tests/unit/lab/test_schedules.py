import pytest

from lab.emulator import schedules

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
EVENT = {
    "Source": "aws.scheduler",
    "Resources": ["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/orders"],
    "Time": 0.0,
    "EventId": "1",
    "Account": "123456789012",
    "Region": "eu-west-1",
}


@pytest.mark.parametrize(("runs", "sent"), [(2, 1), (3, 0)])
def test_a_schedule_does_not_pile_up_runs_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, runs: int, sent: int
) -> None:
    monkeypatch.setattr(schedules, "count_runs", lambda *, function: {"orders": runs}[function])
    events = list[object]()
    send = schedules.sending_schedules(lambda *event: events.append(event), max_runs=3)

    send({"Arn": ARN}, EVENT, None)

    assert len(events) == sent
