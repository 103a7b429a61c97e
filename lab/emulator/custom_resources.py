"""Lambda-backed custom resources: requests and responses as in CloudFormation.

Source: CloudFormation user guide, "Custom resources" (the request, the response object, its limit
of 4096 bytes and the timeout) and the CustomResource reference (`ServiceTimeout`). The response is
an upload to S3 with a signature over an empty content type, so S3 rejects other content types.

Assumption: a failed Create without a physical ID gets one with the names of stack and resource.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ministack import app
from ministack.core.responses import new_uuid
from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

from lab.emulator.errors import ApiError

_RESPONSE_PATH = "/_ministack/cfn-response/"
_MAX_RESPONSE = 4096
_DEFAULT_TIMEOUT = 3600.0


def install() -> None:
    """Make ministack's custom resources behave like CloudFormation's."""
    custom_resource.invoke_custom_resource = _invoke
    app._handle_post_body_shortcuts = _checking_responses(app._handle_post_body_shortcuts)


def _checking_responses(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapped(
        method: str, path: str, headers: Mapping[str, str], body: bytes, *rest: Any
    ) -> Any:
        if method != "PUT" or not path.startswith(_RESPONSE_PATH):
            return await handle(method, path, headers, body, *rest)
        if headers.get("content-type"):
            return 403, {}, b"SignatureDoesNotMatch: the Content-Type must be empty"
        if len(body) > _MAX_RESPONSE:
            too_long = {"Status": "FAILED", "Reason": "Response object is too long."}
            body = json.dumps(too_long).encode()
        return await handle(method, path, headers, body, *rest)

    return wrapped


def _invoke(  # noqa: PLR0917 (the signature of the replaced function)
    request_type: str,
    logical_id: str,
    props: Mapping[str, Any],
    stack_name: str,
    stack_id: str,
    resource_type: str,
    physical_id: str | None = None,
    old_props: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Send a request and wait for the response; delete after a failed Create, as AWS does."""
    request: dict[str, Any] = {
        "RequestType": request_type,
        "ServiceToken": props["ServiceToken"],
        "StackId": stack_id,
        "ResourceType": resource_type,
        "LogicalResourceId": logical_id,
        "ResourceProperties": custom_resource._normalise_resource_properties(dict(props)),
    }
    if physical_id is not None:
        request["PhysicalResourceId"] = physical_id
    if old_props is not None:
        old = custom_resource._normalise_resource_properties(dict(old_props))
        request["OldResourceProperties"] = old
    try:
        response = _send(request)
    except _FailedResponseError as error:
        if request_type == "Create":
            physical_id_made = error.physical_id or _generated_id(stack_name, logical_id)
            _send({**request, "RequestType": "Delete", "PhysicalResourceId": physical_id_made})
        raise
    return str(response["PhysicalResourceId"]), dict(response.get("Data") or {})


class _FailedResponseError(ApiError):
    """A response that fails the resource; it may have a physical ID."""

    def __init__(self, message: str, physical_id: str = "") -> None:
        super().__init__("CustomResourceFailed", message)
        self.physical_id = physical_id


def _send(request: Mapping[str, Any]) -> Mapping[str, Any]:
    token, request_id = new_uuid(), new_uuid()
    event = {
        **request,
        "RequestId": request_id,
        "ResponseURL": custom_resource._response_url(token),
    }
    responded = custom_resource.register_token(token)
    _invoke_function(str(request["ServiceToken"]), event)
    timeout = float(request["ResourceProperties"].get("ServiceTimeout", _DEFAULT_TIMEOUT))
    responded.wait(timeout)
    with custom_resource._lock:
        response = custom_resource._pending.pop(token, {}).get("result")
    if response is None:
        raise _FailedResponseError(
            "CloudFormation did not receive a response from your Custom Resource. Please check "
            f"your logs for requestId [{request_id}]."
        )
    _check(response, request, request_id)
    return {"PhysicalResourceId": request.get("PhysicalResourceId"), **response}


def _check(response: Mapping[str, Any], request: Mapping[str, Any], request_id: str) -> None:
    made = str(response.get("PhysicalResourceId") or "")
    status = response.get("Status")
    if status != "SUCCESS":
        raise _FailedResponseError(
            f"Received response status [{status}] from custom resource. Message returned: "
            f"{response.get('Reason')} (RequestId: {request_id})",
            made,
        )
    if not made:
        raise _FailedResponseError("Invalid PhysicalResourceId")
    echoed = {"StackId": request["StackId"], "LogicalResourceId": request["LogicalResourceId"]}
    missing = [name for name, value in echoed.items() if response.get(name) != value]
    if missing or response.get("RequestId") != request_id:
        raise _FailedResponseError(
            f"The response does not repeat the request's {', '.join(missing) or 'RequestId'}", made
        )


def _invoke_function(reference: str, event: Mapping[str, Any]) -> None:
    """Invoke asynchronously, with retries after an error, as for all events."""
    record, config, _ = lambda_svc._get_func_record_for_ref(reference)
    if record is None or config is None:
        raise _FailedResponseError(f"The function {reference} of the ServiceToken does not exist")
    lambda_svc.invoke_async_with_retry(
        lambda_svc._execution_record_for_config(record, config), dict(event)
    )


def _generated_id(stack_name: str, logical_id: str) -> str:
    return f"{stack_name}-{logical_id}-{secrets.token_hex(6).upper()}"
