"""How the emulator refuses a request."""

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
