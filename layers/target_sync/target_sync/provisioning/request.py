"""What CloudFormation asks, and the answer that it waits for.

Source: CloudFormation user guide, "Custom resource request objects" and "response objects".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from target_sync.errors import CustomResourceRequestError, RejectedInputError
from target_sync.ports import LogRecord

Attributes: TypeAlias = Mapping[str, object]

#: The longest answer that CloudFormation takes, in bytes.
MAX_RESPONSE_BYTES = 4096


class RequestType(StrEnum):
    """What is to become of the resource."""

    CREATE = "Create"
    UPDATE = "Update"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """The properties of a resource. CloudFormation sends every scalar as text."""

    values: Mapping[str, object]

    def text(self, name: str) -> str:
        """A property, or an empty text if it was not given."""
        value = self.values.get(name, "")
        return value.strip() if isinstance(value, str) else str(value)

    def required(self, name: str) -> str:
        """A property that the template has to give.

        Raises:
            CustomResourceRequestError: It is missing or empty.
        """
        if text := self.text(name):
            return text
        raise CustomResourceRequestError(f"the property {name} is missing; the template sets it")

    def items(self, name: str) -> tuple[str, ...]:
        """A list, or a text with commas, without empty items."""
        value = self.values.get(name, "")
        if isinstance(value, str) or not isinstance(value, Sequence):
            value = str(value).split(",")
        return tuple(text for item in value if (text := str(item).strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request for one custom resource.

    Attributes:
        kind: Create, Update or Delete, as CloudFormation wrote it.
        resource_type: For example ``Custom::FirstSync``.
        response_url: Where to put the answer. It is a credential: never log it.
        properties: What the template says now.
        old_properties: What it said before an update.
    """

    kind: str
    resource_type: str
    logical_id: str
    physical_id: str
    stack_id: str
    request_id: str
    response_url: str
    properties: Properties
    old_properties: Properties

    @property
    def is_delete(self) -> bool:
        """Whether the resource is to go."""
        return self.kind == RequestType.DELETE

    def to_document(self) -> Attributes:
        """The request as it may stand in the log."""
        return {
            "request_type": self.kind,
            "resource_type": self.resource_type,
            "logical_id": self.logical_id,
            "stack_id": self.stack_id,
        }


class RequestOutcome(NamedTuple):
    """The outcome of a request: its attributes, or None with the reason of the failure."""

    request: Request
    attributes: Attributes | None
    reason: str

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the request, without the URL for the response."""
        yield LogRecord(
            message="custom resource answered",
            fields={
                "request": self.request.to_document(),
                "attributes": self.attributes,
                "reason": self.reason or None,
            },
            level="error" if self.attributes is None else "info",
        )


class CustomResource(Protocol):
    """One type of custom resource. Every method may be called again with the same request."""

    def apply(self, request: Request, deadline: float) -> Attributes:
        """Create it, or bring it to its new properties; ``deadline`` is of the clock.

        Raises:
            RefusalError: The parameters cannot be met.
            TargetSyncError: Something failed.
        """
        ...

    def delete(self, request: Request, deadline: float) -> None:
        """Take back what ``apply`` did, which may be nothing.

        Raises:
            TargetSyncError: Something failed.
        """
        ...


def parse_request(event: object) -> Request:
    """Read CloudFormation's request.

    Raises:
        CustomResourceRequestError: It is none, so that there is nobody to answer.
    """
    event = event if isinstance(event, Mapping) else {}
    missing = [
        name
        for name in ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")
        if not isinstance(event.get(name), str) or not event[name]
    ]
    if missing:
        raise CustomResourceRequestError(
            f"the payload is no request of CloudFormation: it has no {', '.join(missing)}."
            " This function serves the stack's custom resources and is not to be invoked by hand"
        )
    logical_id = event["LogicalResourceId"]
    return Request(
        kind=str(event.get("RequestType", "")),
        resource_type=str(event.get("ResourceType", "")),
        logical_id=logical_id,
        # Always the same, so that an update never replaces, and the deletion of what was never
        # made is like any other.
        physical_id=str(event.get("PhysicalResourceId") or logical_id),
        stack_id=event["StackId"],
        request_id=event["RequestId"],
        response_url=event["ResponseURL"],
        properties=_properties(event, "ResourceProperties"),
        old_properties=_properties(event, "OldResourceProperties"),
    )


def _properties(event: Mapping[str, object], name: str) -> Properties:
    values = event.get(name)
    return Properties(values=values if isinstance(values, Mapping) else {})


def succeeded(request: Request, attributes: Attributes) -> bytes:
    """The answer that the resource is as wanted.

    Raises:
        RefusalError: It is longer than what CloudFormation takes.
    """
    body = _body(request, "SUCCESS", "", attributes)
    if len(body) > MAX_RESPONSE_BYTES:
        raise RejectedInputError(
            f"The answer for {request.logical_id} has {len(body)} bytes and CloudFormation takes"
            f" {MAX_RESPONSE_BYTES}: give SubnetIds and AllowedNetworks with fewer items."
        )
    return body


def failed(request: Request, reason: str) -> bytes:
    """The answer that it is not, with a reason cut to what CloudFormation takes."""
    body = _body(request, "FAILED", reason, {})
    while len(body) > MAX_RESPONSE_BYTES:
        reason = reason[: len(reason) - (len(body) - MAX_RESPONSE_BYTES) // 4 - 1]
        body = _body(request, "FAILED", f"{reason}…", {})
    return body


def _body(request: Request, status: str, reason: str, attributes: Attributes) -> bytes:
    return json.dumps(
        {
            "Status": status,
            "Reason": reason,
            "PhysicalResourceId": request.physical_id,
            "StackId": request.stack_id,
            "RequestId": request.request_id,
            "LogicalResourceId": request.logical_id,
            "Data": attributes,
        },
        ensure_ascii=False,
    ).encode()
