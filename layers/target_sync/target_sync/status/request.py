"""What a person or a pipeline asks for."""

from collections.abc import Mapping
from enum import StrEnum

from target_sync.core.diagnosis import Diagnosis, to_text
from target_sync.errors import TriggerError

_FORMAT = "format"


class Format(StrEnum):
    """How the answer is to look."""

    #: A document for a program.
    JSON = "json"
    #: One text for a terminal.
    TEXT = "text"

    def render(self, diagnosis: Diagnosis) -> Mapping[str, object] | str:
        """The diagnosis in this form."""
        return to_text(diagnosis) if self is Format.TEXT else diagnosis.to_document()


def parse_request(event: object) -> Format:
    """Read the payload of an invocation.

    Raises:
        TriggerError: It asks for something else. The message names the key that is wrong.
    """
    if not isinstance(event, Mapping):
        raise TriggerError(
            f"the payload must be a JSON object, not {type(event).__name__};"
            ' send {} or {"format": "text"}'
        )
    for key in event:
        if key != _FORMAT:
            raise TriggerError(f"unknown key {key!r} in the payload; known keys: {_FORMAT}")
    text = event.get(_FORMAT, Format.JSON)
    if not isinstance(text, str) or text not in list(Format):
        raise TriggerError(f"{_FORMAT!r} must be {' or '.join(Format)}, not {text!r}")
    return Format(text)
