"""Requests go to the documented host of the Region, whatever botocore knows about the Region."""

import re
from collections.abc import Iterator, Mapping

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import UnknownServiceError

from target_sync import aws
from target_sync.aws import make_client

#: One call of each API that the functions use, and the name of the API in its host.
CALLS: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "autoscaling": ("autoscaling", "describe_auto_scaling_groups", {}),
    "cloudwatch": ("monitoring", "list_metrics", {}),
    "ec2": ("ec2", "describe_vpcs", {}),
    "elbv2": ("elasticloadbalancing", "describe_target_health", {"TargetGroupArn": "arn"}),
    "events": ("events", "put_events", {"Entries": [{"Source": "a"}]}),
    "lambda": ("lambda", "list_functions", {}),
    "rds": ("rds", "describe_db_clusters", {}),
    "resourcegroupstaggingapi": ("tagging", "get_resources", {}),
    "scheduler": ("scheduler", "list_schedules", {}),
    "sns": ("sns", "publish", {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:a", "Message": "m"}),
    "sqs": ("sqs", "receive_message", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/a"}),
}


@pytest.fixture(autouse=True)
def _a_session_of_its_own() -> Iterator[None]:
    """Clear the cached session, which would keep the Region of the first client."""
    aws._session.cache_clear()  # noqa: SLF001 - only this test needs a second one
    yield
    aws._session.cache_clear()  # noqa: SLF001


class NotSentError(Exception):
    """The host of a request, and the Region of its signature."""


def where(service: str) -> str:
    def stop(request: AWSPreparedRequest, **_: object) -> None:
        header = request.headers["Authorization"]
        text = header.decode() if isinstance(header, bytes) else header
        signed = re.search(r"Credential=testing/\d+/([^/]+)", text)
        assert signed is not None
        raise NotSentError(f"{request.url.split('/')[2]} {signed[1]}")

    client = make_client(service)
    _, operation, arguments = CALLS[service]
    client.meta.events.register("before-send", stop)
    with pytest.raises(NotSentError) as error:
        getattr(client, operation)(**arguments)
    return str(error.value)


@pytest.mark.parametrize(
    ("region", "domain"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("eu-newer-1", "amazonaws.com"),  # a Region that is newer than botocore
    ],
)
@pytest.mark.parametrize("service", CALLS)
def test_a_request_goes_to_the_host_of_its_region(
    service: str, region: str, domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert where(service) == f"{CALLS[service][0]}.{region}.{domain} {region}"


@pytest.mark.parametrize(
    ("wish", "host"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "elasticloadbalancing-fips.us-east-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "elasticloadbalancing.us-east-1.api.aws"),
    ],
)
def test_a_wish_for_another_kind_of_endpoint_is_kept(
    wish: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(wish, "true")
    assert where("elbv2") == f"{host} us-east-1"


def test_an_api_that_botocore_does_not_have_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(UnknownServiceError, match="elbv3"):
        make_client("elbv3")
