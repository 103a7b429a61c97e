"""The alarm evaluator against the examples of CloudWatch's user guide."""

import pytest

from lab.emulator.alarms import Alarm, AlarmState, Metric, MetricStore, Missing

METRIC = Metric("Ours", "Failures", frozenset({("service", "orders")}))
OK, ALARM, NO_DATA = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA
DATAPOINTS = {"0": False, "X": True, "-": None}


def alarm(**changes: object) -> Alarm:
    properties = {
        "AlarmName": "failures",
        "Namespace": "Ours",
        "MetricName": "Failures",
        "Dimensions": [{"Name": "service", "Value": "orders"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Threshold": 1,
    }
    return Alarm.of({**properties, **changes})


#: The tables of "Configuring how CloudWatch alarms treat missing data": datapoints, oldest first;
#: the state if missing data are missing, ignored, breaching, not breaching. RETAIN: unchanged.
RETAIN = None
THREE_OF_THREE = [
    ("0 - X - X", OK, OK, OK, OK),
    ("0 - - - -", OK, OK, OK, OK),
    ("- - - - -", NO_DATA, RETAIN, ALARM, OK),
    ("0 X X - X", ALARM, ALARM, ALARM, ALARM),
    ("- - X - -", ALARM, RETAIN, ALARM, OK),
]
TWO_OF_THREE = [
    ("0 - X - X", ALARM, ALARM, ALARM, ALARM),
    ("0 0 X 0 X", ALARM, ALARM, ALARM, ALARM),
    ("0 - X - -", OK, OK, ALARM, OK),
    ("- - - - 0", OK, OK, ALARM, OK),
    ("- - - - X", ALARM, RETAIN, ALARM, OK),
]


@pytest.mark.parametrize("before", [OK, ALARM])
@pytest.mark.parametrize(
    ("to_alarm", "row"),
    [*((3, row) for row in THREE_OF_THREE), *((2, row) for row in TWO_OF_THREE)],
)
def test_treats_missing_data_as_in_the_examples_of_aws(
    to_alarm: int, row: tuple[str, ...], before: AlarmState
) -> None:
    text, *states = row
    datapoints = [DATAPOINTS[word] for word in text.split()]
    words = (Missing.MISSING, Missing.IGNORE, Missing.BREACHING, Missing.NOT_BREACHING)
    results = [
        alarm(DatapointsToAlarm=to_alarm, TreatMissingData=str(word)).state_from(datapoints, before)
        for word in words
    ]
    assert results == [before if state is RETAIN else state for state in states]


def test_a_datapoint_is_the_statistic_of_its_period_and_dimensions() -> None:
    store = MetricStore()
    for minute in range(5):
        store.put(METRIC, 1, at=60 * minute)
        store.put(METRIC, 1, at=60 * minute + 59.9)
    other = Metric("Ours", "Failures", frozenset({("service", "sales")}))
    store.put(other, 100, at=250)

    def state(statistic: str, threshold: float, comparison: str = "GreaterThanThreshold") -> str:
        it = alarm(Statistic=statistic, Threshold=threshold, ComparisonOperator=comparison)
        return it.evaluate(store, NO_DATA, now=300)

    assert [state("Sum", 1), state("Sum", 2)] == [ALARM, OK]
    assert [state("Maximum", 0.5), state("Maximum", 1)] == [ALARM, OK]
    assert [state("Minimum", 0.5), state("Average", 1)] == [ALARM, OK]
    assert state("SampleCount", 2, "LessThanOrEqualToThreshold") == ALARM
    assert state("SampleCount", 2, "LessThanThreshold") == OK


def test_missing_data_count_after_the_last_datapoint_has_left_the_range() -> None:
    store = MetricStore()
    store.put(METRIC, 1, at=30)
    absent = alarm(ComparisonOperator="LessThanThreshold", TreatMissingData="breaching")
    states = [absent.evaluate(store, OK, now=60 * minute) for minute in range(1, 8)]
    assert states == [OK] * 5 + [ALARM] * 2
