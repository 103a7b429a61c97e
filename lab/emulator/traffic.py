"""Counts API calls, and fails them on request."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.core.router import detect_service
from ministack.services import alb, ec2, rds

from lab.emulator.messages import EVERY_ACTION, Fault

_MESSAGES = {"ThrottlingException": "Rate exceeded", "Throttling": "Rate exceeded"}
_STATUSES = {"InternalFailure": 500, "InternalError": 500, "ServiceUnavailable": 503}


@dataclass(slots=True)
class Traffic:
    """The numbers of calls, and the faults."""

    calls: Counter[str] = field(default_factory=Counter)
    _faults: dict[str, Fault] = field(default_factory=dict)
    _remaining: Counter[str] = field(default_factory=Counter)

    def inject(self, fault: Fault) -> None:
        """Fail the next calls of an action."""
        name = f"{fault.service}.{fault.action}"
        self._faults[name] = fault
        self._remaining[name] = fault.times

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self._remaining.clear()

    def arrive(self, name: str) -> Fault | None:
        """Count a call of `service.action`; return its fault, or None."""
        self.calls[name] += 1
        service = name.partition(".")[0]
        for key in (name, f"{service}.{EVERY_ACTION}"):
            if self._remaining[key] > 0:
                self._remaining[key] -= 1
                return self._faults[key]
        return None


def install(traffic: Traffic) -> None:
    """Handle every API call before ministack."""
    app._dispatch_service_request = _observing(app._dispatch_service_request, traffic)


def _observing(
    dispatch: Callable[..., Awaitable[Any]], traffic: Traffic
) -> Callable[..., Awaitable[Any]]:
    async def wrapped(*request: Any) -> Any:
        method, path, headers, body, query_params, _request_id = request
        params = app._routing_params(method, path, headers, body, query_params)
        service = detect_service(method, path, headers, params)
        action = iam_actions.extract_iam_action(service, method, path, headers, body, params)
        if action is not None:
            fault = traffic.arrive(action.replace(":", ".", 1))
            if fault is not None:
                return _failure(service, fault)
        return await dispatch(*request)

    return wrapped


def _failure(service: str, fault: Fault) -> Any:
    message = _MESSAGES.get(fault.error, f"{fault.error}, injected by the lab")
    status = _STATUSES.get(fault.error, 400)
    if service == "ec2":
        return ec2._error(fault.error, message, status)
    if service == "elasticloadbalancing":
        return alb._error(fault.error, message, status)
    if service == "rds":
        return rds._error(fault.error, message, status)
    body = json.dumps({"__type": fault.error, "message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.1"}, body
