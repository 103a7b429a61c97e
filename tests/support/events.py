"""The event corpus of ``events/``, and the context that Lambda hands to a handler."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

EVENTS = Path(__file__).parents[2] / "events"


def load_event(name: str) -> Any:
    """A payload of the corpus by its file name without the ending."""
    return json.loads((EVENTS / f"{name}.json").read_text())


@dataclass(frozen=True, slots=True)
class FakeContext:
    """As much of Lambda's context as our handlers use."""

    remaining_seconds: float = 600.0
    invoked_function_arn: str = ""

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_seconds * 1000)


def context(remaining_seconds: float = 600.0, function_arn: str = "") -> "LambdaContext":
    """A context with so much time left."""
    return cast("LambdaContext", FakeContext(remaining_seconds, function_arn))
