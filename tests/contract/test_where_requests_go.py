"""Our clients send and sign requests as botocore does, without its table of endpoints."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.loaders import JSONFileLoader

from target_sync import aws
from target_sync.aws import CLIENT_CONFIG, make_client

#: One call of each API that the functions use.
CALLS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "autoscaling": ("describe_auto_scaling_groups", {}),
    "cloudwatch": ("list_metrics", {}),
    "ec2": ("describe_vpcs", {}),
    "elbv2": ("describe_target_health", {"TargetGroupArn": "arn"}),
    "events": ("put_events", {"Entries": [{"Source": "a"}]}),
    "lambda": ("list_functions", {}),
    "rds": ("describe_db_clusters", {}),
    "resourcegroupstaggingapi": ("get_resources", {}),
    "scheduler": ("list_schedules", {}),
    "sns": ("publish", {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:a", "Message": "m"}),
    "sqs": ("receive_message", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/a"}),
}


@pytest.fixture(autouse=True)
def _a_session_of_its_own() -> Iterator[None]:
    """Clear the cached session, which would keep the Region of the first client."""
    aws._session.cache_clear()  # noqa: SLF001 - only this test needs a second one
    yield
    aws._session.cache_clear()  # noqa: SLF001


class NotSentError(Exception):
    """The URL of a request, and the Region and API of its signature."""


def where(client: object, service: str) -> str:
    def stop(request: AWSPreparedRequest, **_: object) -> None:
        header = request.headers["Authorization"]
        text = header.decode() if isinstance(header, bytes) else header
        signed = re.search(r"Credential=testing/\d+/([^,]+)", text)
        assert signed is not None
        raise NotSentError(f"{request.url} {signed[1]}")

    operation, arguments = CALLS[service]
    client.meta.events.register("before-send", stop)  # type: ignore[attr-defined]
    with pytest.raises(NotSentError) as error:
        getattr(client, operation)(**arguments)
    return str(error.value)


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1", "us-gov-west-1", "xx-newer-1"])
@pytest.mark.parametrize("service", CALLS)
def test_a_request_goes_where_botocore_sends_it(
    service: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    theirs = botocore.session.get_session().create_client(service, config=CLIENT_CONFIG)
    assert where(make_client(service), service) == where(theirs, service)


@pytest.mark.parametrize("wish", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_a_request_for_another_kind_of_endpoint_goes_where_botocore_sends_it(
    wish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(wish, "true")
    theirs = botocore.session.get_session().create_client("elbv2", config=CLIENT_CONFIG)
    ours = where(make_client("elbv2"), "elbv2")
    assert ours == where(theirs, "elbv2")
    assert "https://elasticloadbalancing.us-east-1.amazonaws.com/" not in ours


def test_the_table_of_endpoints_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read, load_file = list[str](), JSONFileLoader.load_file

    def noted(self: JSONFileLoader, path: str) -> object:
        read.append(Path(path).name)
        return load_file(self, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", noted)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    make_client("elbv2")
    assert "service-2" in read
    assert "endpoints" not in read
