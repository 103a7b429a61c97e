"""The fleet counts every throttled response to its client of ELB, and slows down."""

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError

from target_sync.aws import make_client
from target_sync.errors import AwsCallError
from target_sync.fleet import build
from target_sync.fleet.rate_limiter import ThrottlingCounter
from target_sync.fleet.rate_limits import Call
from target_sync.targets.target_group import ElbTargetGroup
from tests.support.clock import FakeClock
from tests.support.scenario import ON_PREM, target
from tests.unit.fleet.builders import arn, binding

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

_THROTTLED = (
    400,
    "<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error></ErrorResponse>",
)
_REFUSED = (403, _THROTTLED[1].replace("Throttling", "AccessDenied"))
_EMPTY = (
    200,
    "<R><DescribeTargetHealthResult><TargetHealthDescriptions/></DescribeTargetHealthResult></R>",
)


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


def elb_that_says(
    monkeypatch: pytest.MonkeyPatch, *replies: tuple[int, str] | Exception
) -> "ElasticLoadBalancingv2Client":
    """Return a client of ELB that retries without pauses and gets these replies."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    client: ElasticLoadBalancingv2Client = make_client("elbv2")
    left = iter(replies)

    def reply(**_: object) -> Any:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return AWSResponse("https://elb.test", said[0], HTTPHeaders(), _Body(said[1].encode()))

    client.meta.events.register("before-send", reply)
    return client


@pytest.mark.parametrize(
    ("replies", "count"),
    [
        pytest.param([_EMPTY], 0, id="at once"),
        pytest.param([_THROTTLED, _THROTTLED, _EMPTY], 2, id="made good by retries"),
        pytest.param([_THROTTLED] * 3, 3, id="throttled to the end"),
        pytest.param([ReadTimeoutError(endpoint_url="elb"), _EMPTY], 0, id="no reply"),
        pytest.param([_REFUSED], 0, id="refused for another reason"),
    ],
)
def test_counts_every_throttled_response(
    monkeypatch: pytest.MonkeyPatch, replies: Sequence[tuple[int, str] | Exception], count: int
) -> None:
    client = elb_that_says(monkeypatch, *replies)
    throttlings = ThrottlingCounter(client)

    with contextlib.suppress(AwsCallError):
        ElbTargetGroup(client, arn(1)).describe()

    assert throttlings.count() == count


def test_counts_the_responses_of_each_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = elb_that_says(monkeypatch, _THROTTLED, _EMPTY)
    throttlings, counts = ThrottlingCounter(client), list[int]()

    def describe() -> None:
        ElbTargetGroup(client, arn(1)).describe()
        counts.append(throttlings.count())

    thread = threading.Thread(target=describe)
    thread.start()
    thread.join()

    assert (counts, throttlings.count()) == ([1], 0)


@pytest.mark.usefixtures("_powertools")
def test_slows_down_after_a_throttling_that_botocore_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, clock = elb_that_says(monkeypatch, _THROTTLED, _EMPTY), FakeClock()
    monkeypatch.setattr(build, "_shared_client", lambda _: client)
    monkeypatch.setattr(build, "SystemClock", lambda: clock)
    runs = build.build_sweeper({"API_SHARE": "0.1"}).runs

    runs.rate_limiter.call(Call.DESCRIBE, runs.target_group(binding()).describe)

    # A tenth of 10 calls a second is one a second; half of that is one in 2 s.
    assert runs.rate_limiter.take(Call.DESCRIBE) - clock.now() == pytest.approx(2.0)


@pytest.mark.usefixtures("_powertools")
def test_registers_a_target_outside_the_groups_vpc_for_every_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = elb_that_says(monkeypatch, (200, "<R><RegisterTargetsResult/></R>"))
    sent = list[Mapping[str, Any]]()
    client.meta.events.register(
        "before-parameter-build", lambda params, **_: sent.append(dict(params))
    )
    monkeypatch.setattr(build, "_shared_client", lambda _: client)

    build.build_sweeper({}).runs.target_group(binding()).register([target(ON_PREM)])

    ((described,),) = (request["Targets"] for request in sent)
    assert described["AvailabilityZone"] == "all"
