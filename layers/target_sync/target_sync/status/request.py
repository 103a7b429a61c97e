"""What a person, a pipeline or a dashboard asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from target_sync.errors import TriggerError
from target_sync.status.report import StatusReport, to_text
from target_sync.status.widget import Frame, to_html
from target_sync.triggers import as_object, unknown_key

Response: TypeAlias = Mapping[str, object] | str

_FORMAT = "format"
#: CloudWatch sends these for a custom widget (CloudWatch user guide, *Details about custom
#: widgets*; `describe` as in the samples of aws-samples/cloudwatch-custom-widgets-samples).
_DESCRIBE = "describe"
_WIDGET = "widgetContext"
_KEYS = (_FORMAT, _DESCRIBE, _WIDGET)
#: Pixels; no screen has more.
_WIDEST = 100_000

#: What a person reads who adds the widget to another dashboard by hand. CloudWatch takes Markdown.
DESCRIPTION = """\
## Connection path to PostgreSQL

Shows whether each step from the database to the consumers works, what to do if one does not, the
current targets, and how long the last failover took. It only reads.

### Widget parameters

None. Whoever looks needs `lambda:InvokeFunction` on this function.
"""


class StatusRequest(Protocol):
    """What was asked for."""

    def answer(self, look: Callable[[], StatusReport]) -> Response:
        """Answer it, with a look at the road if that takes one."""
        ...


class ReportFormat(StrEnum):
    """How the answer is to look. Implements `StatusRequest`."""

    #: A document for a program.
    JSON = "json"
    #: One text for a terminal.
    TEXT = "text"

    def answer(self, look: Callable[[], StatusReport]) -> Response:
        """The diagnosis in this form."""
        status_report = look()
        return to_text(status_report) if self is ReportFormat.TEXT else status_report.to_document()


@dataclass(frozen=True, slots=True)
class Widget:
    """A dashboard shows the road in this frame. Implements `StatusRequest`."""

    frame: Frame

    def answer(self, look: Callable[[], StatusReport]) -> Response:
        """The diagnosis as HTML."""
        return to_html(look(), self.frame)


@dataclass(frozen=True, slots=True)
class Description:
    """A dashboard asks what the widget is. Implements `StatusRequest`."""

    def answer(self, look: Callable[[], StatusReport]) -> Response:  # noqa: ARG002 - needs no look
        """The widget's documentation in Markdown."""
        return DESCRIPTION


def parse_request(event: object) -> StatusRequest:
    """Read the payload of an invocation.

    Raises:
        TriggerError: It asks for something else. The message names the key that is wrong.
    """
    event = as_object(event, by_hand='send {} or {"format": "text"}')
    for key in event:
        if key not in _KEYS:
            raise unknown_key(key, _KEYS)
    if _DESCRIBE in event:
        return Description()
    if _WIDGET in event:
        return Widget(_frame(event[_WIDGET]))
    return _format(event.get(_FORMAT, ReportFormat.JSON))


def _format(text: object) -> ReportFormat:
    if not isinstance(text, str) or text not in list(ReportFormat):
        raise TriggerError(f"{_FORMAT!r} must be {' or '.join(ReportFormat)}, not {text!r}")
    return ReportFormat(text)


def _frame(context: object) -> Frame:
    """The frame as CloudWatch tells it. What it does not tell is no reason to show nothing."""
    if not isinstance(context, Mapping):
        return Frame()
    return Frame(width=_width(context.get("width")), dark=context.get("theme") == "dark")


def _width(told: object) -> float:
    if isinstance(told, int | float) and 0 < told < _WIDEST:
        return float(told)
    return Frame().width
