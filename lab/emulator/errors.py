"""Errors of the emulated APIs, and wrappers of ministack's handlers.

All API modules of the emulator use it.
"""

from collections.abc import Callable, Mapping
from typing import Any

# ministack's handlers take the request's parameters and return status, headers and body.
Handler = Callable[[Mapping[str, Any]], Any]


class ApiError(Exception):
    """A rejected request. `code` is the error code of the response."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def rendering_errors(handler: Handler, render: Callable[[str, str], Any]) -> Handler:
    """Return a handler that replies to an `ApiError` with `render(code, message)`."""

    def wrapped(params: Mapping[str, Any]) -> Any:
        try:
            return handler(params)
        except ApiError as error:
            return render(error.code, str(error))

    return wrapped


def after_success(handler: Handler, adapt: Callable[[Mapping[str, Any], Any], Any]) -> Handler:
    """Return a handler that replies with `adapt(params, response)` after a success."""

    def adapted(params: Mapping[str, Any]) -> Any:
        response = handler(params)
        return adapt(params, response) if response[0] == 200 else response

    return adapted
