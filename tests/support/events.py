"""The sample events of ``events/``, and the context that Lambda passes to a handler."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

EVENTS = Path(__file__).parents[2] / "events"


def load_event(name: str) -> Any:
    """Return the event in ``events/<name>.json``."""
    return json.loads((EVENTS / f"{name}.json").read_text())


@dataclass(frozen=True, slots=True)
class FakeContext:
    """The part of Lambda's context that the handlers use."""

    remaining_seconds: float = 600.0
    invoked_function_arn: str = ""

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_seconds * 1000)


def context(remaining_seconds: float = 600.0, function_arn: str = "") -> "LambdaContext":
    """Return a context with this remaining time."""
    return cast("LambdaContext", FakeContext(remaining_seconds, function_arn))
