"""The request that CloudFormation sends for a custom resource, and the body of the response.

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

#: The longest response that CloudFormation accepts, in bytes.
MAX_RESPONSE_BYTES = 4096


class RequestType(StrEnum):
    """What to do with the resource."""

    CREATE = "Create"
    UPDATE = "Update"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """The properties of a resource. CloudFormation sends every scalar as text."""

    values: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a property; an empty text if it is missing."""
        value = self.values.get(name, "")
        return value.strip() if isinstance(value, str) else str(value)

    def required(self, name: str) -> str:
        """Return a property that the template must set.

        Raises:
            CustomResourceRequestError: It is missing or empty.
        """
        if text := self.text(name):
            return text
        raise CustomResourceRequestError(f"the property {name} is missing; the template sets it")

    def items(self, name: str) -> tuple[str, ...]:
        """Return the items of a list or of a comma-separated text, without empty items."""
        value = self.values.get(name, "")
        if isinstance(value, str) or not isinstance(value, Sequence):
            value = str(value).split(",")
        return tuple(text for item in value if (text := str(item).strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """One request for one custom resource.

    Attributes:
        resource_type: For example ``Custom::FirstSync``.
        response_url: The URL to upload the response to. It is a credential: never log it.
        old_properties: The properties before an update.
    """

    type: str
    resource_type: str
    logical_id: str
    physical_id: str
    stack_id: str
    request_id: str
    response_url: str
    properties: Properties
    old_properties: Properties


class RequestOutcome(NamedTuple):
    """The outcome of a request: its attributes, or None with the reason of the failure."""

    request: ResourceRequest
    attributes: Attributes | None
    reason: str

    def to_log_records(self) -> Iterable[LogRecord]:
        """Return the record of the request, without the response URL."""
        yield LogRecord(
            message="custom resource request ended",
            fields={
                "request": {
                    "request_type": self.request.type,
                    "resource_type": self.request.resource_type,
                    "logical_id": self.request.logical_id,
                    "stack_id": self.request.stack_id,
                },
                "attributes": self.attributes,
                "reason": self.reason or None,
            },
            level="error" if self.attributes is None else "info",
        )


class CustomResource(Protocol):
    """One type of custom resource. Each method can get the same request again."""

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:
        """Create or update the resource before the deadline, a time of the clock.

        Raises:
            RejectedInputError: The parameters are invalid.
            TargetSyncError: Something failed.
        """

    def delete(self, request: ResourceRequest, deadline: float) -> None:
        """Undo what ``apply`` did.

        Raises:
            TargetSyncError: Something failed.
        """


def parse_request(event: object) -> ResourceRequest:
    """Return CloudFormation's request.

    Raises:
        CustomResourceRequestError: The payload is not a request.
    """
    event = event if isinstance(event, Mapping) else {}
    missing = [
        name
        for name in ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")
        if not isinstance(event.get(name), str) or not event[name]
    ]
    if missing:
        raise CustomResourceRequestError(
            f"the payload is not a CloudFormation request: it has no {', '.join(missing)}. Only"
            " CloudFormation invokes this function, for the custom resources of the stack"
        )
    logical_id = event["LogicalResourceId"]
    return ResourceRequest(
        type=str(event.get("RequestType", "")),
        resource_type=str(event.get("ResourceType", "")),
        logical_id=logical_id,
        # The physical ID never changes, so an update never replaces the resource.
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


def success_response(request: ResourceRequest, attributes: Attributes) -> bytes:
    """Return the body of a successful response.

    Raises:
        RejectedInputError: The body is longer than CloudFormation accepts.
    """
    body = _body(request, "SUCCESS", "", attributes)
    if len(body) > MAX_RESPONSE_BYTES:
        raise RejectedInputError(
            f"The response for {request.logical_id} has {len(body)} bytes, but CloudFormation"
            f" accepts {MAX_RESPONSE_BYTES}: give SubnetIds and AllowedNetworks with fewer items."
        )
    return body


def failure_response(request: ResourceRequest, reason: str) -> bytes:
    """Return the body of a failure. A reason that is too long for CloudFormation is cut."""
    body = _body(request, "FAILED", reason, {})
    while reason and len(body) > MAX_RESPONSE_BYTES:
        reason = reason[: max(0, len(reason) - (len(body) - MAX_RESPONSE_BYTES) // 4 - 1)]
        body = _body(request, "FAILED", f"{reason}…", {})
    return body


def _body(request: ResourceRequest, status: str, reason: str, attributes: Attributes) -> bytes:
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
