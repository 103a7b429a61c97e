"""What the drill makes of AWS's replies. tests/contract/test_drill_aws.py has the real calls."""

import io
import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
from botocore.exceptions import ClientError

from drill.aws import Aws
from target_sync.errors import RejectedInputError
from tests.support.notifications import GROUP_ARN


class Client:
    """A client of any service.

    Attributes:
        replies: The reply of each operation; an error is raised.
    """

    def __init__(self, replies: Mapping[str, object]) -> None:
        self.replies = replies

    def describe_stacks(self, **_: object) -> object:
        return self._reply("describe_stacks")

    def invoke(self, **arguments: object) -> object:
        assert arguments == {"FunctionName": "status", "Payload": b"{}"}
        return self._reply("invoke")

    def get_paginator(self, operation: str) -> "Client":
        assert operation == "list_stack_resources"
        return self

    def paginate(self, **_: object) -> object:
        return [{"StackResourceSummaries": []}]

    def _reply(self, operation: str) -> object:
        reply = self.replies[operation]
        if isinstance(reply, Exception):
            raise reply
        return reply


class Session:
    """Implements what the drill uses of a session of boto3."""

    def __init__(self, **replies: object) -> None:
        self._replies = replies

    def client(self, *_: object, **__: object) -> Client:
        return Client(self._replies)


def aws(**replies: object) -> Aws:
    session: Any = Session(**replies)
    return Aws(session)


def invoked(document: Mapping[str, object], **more: object) -> Mapping[str, object]:
    return {"Payload": io.BytesIO(json.dumps(document).encode()), **more}


def test_returns_the_report_of_the_status_function() -> None:
    assert aws(invoke=invoked({"healthy": True})).status("status") == {"healthy": True}


def test_rejects_a_failed_status_function() -> None:
    failed = invoked({"errorMessage": "no such variable"}, FunctionError="Unhandled")

    with pytest.raises(RejectedInputError, match="status failed: no such variable"):
        aws(invoke=failed).status("status")


def test_describes_the_given_target_group() -> None:
    assert aws().target_group(GROUP_ARN).arn == GROUP_ARN


@pytest.mark.parametrize("ahead", [0, 90, -90])
def test_measures_how_far_awss_clock_is_ahead(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1_000.0, 1_002.0])
    monkeypatch.setattr("drill.aws.time.time", times.__next__)
    date = formatdate(1_001.0 + ahead, usegmt=True)
    account = aws(
        describe_stacks={"Stacks": [{}], "ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    )

    account.stack("orders")

    # The header has whole seconds, so AWS's clock shows half a second more on average.
    assert account.clock_ahead == ahead + 0.5


def test_does_not_know_awss_clock_without_a_date() -> None:
    account = aws(describe_stacks={"Stacks": [{}], "ResponseMetadata": {"HTTPHeaders": {}}})

    account.stack("orders")

    assert account.clock_ahead is None


def test_a_denied_description_of_the_stack_is_not_a_missing_stack() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")

    with pytest.raises(ClientError, match="AccessDenied"):
        aws(describe_stacks=denied).stack("orders")
