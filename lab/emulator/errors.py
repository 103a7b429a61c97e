"""How the emulator refuses a request, and comes after ministack in one that it does not."""

from collections.abc import Callable, Mapping
from typing import Any

# ministack's handlers take the request's parameters and return status, headers and body.
Handler = Callable[[Mapping[str, Any]], Any]


class ApiError(Exception):
    """A request that AWS refuses. `code` is the error code on the wire."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answering_errors(handler: Handler, render: Callable[[str, str], Any]) -> Handler:
    """Return a handler that answers an `ApiError` with what `render(code, message)` makes."""

    def answer(params: Mapping[str, Any]) -> Any:
        try:
            return handler(params)
        except ApiError as error:
            return render(error.code, str(error))

    return answer


def after_success(handler: Handler, adapt: Callable[[Mapping[str, Any], Any], Any]) -> Handler:
    """Return a handler that gives `adapt(params, response)` unless ministack refuses."""

    def adapted(params: Mapping[str, Any]) -> Any:
        response = handler(params)
        return adapt(params, response) if response[0] == 200 else response

    return adapted
