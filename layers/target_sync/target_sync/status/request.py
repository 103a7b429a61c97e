"""The requests of people, pipelines and dashboards for the status report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from target_sync.errors import TriggerError
from target_sync.status.report import StatusReport, to_text
from target_sync.status.widget import Frame, to_html
from target_sync.triggers import as_json, as_object, unknown_key

Response: TypeAlias = Mapping[str, object] | str

_FORMAT = "format"
#: CloudWatch sends these keys for a custom widget (CloudWatch user guide, *Details about custom
#: widgets*; `describe` as in the samples of aws-samples/cloudwatch-custom-widgets-samples).
_DESCRIBE = "describe"
_WIDGET = "widgetContext"
_KEYS = (_FORMAT, _DESCRIBE, _WIDGET)
#: In pixels, more than any screen has.
_MAX_WIDTH = 100_000

#: CloudWatch shows this Markdown to a person who adds the widget to another dashboard.
DESCRIPTION = """\
## Connection path to PostgreSQL

Shows the state of each element between the database and the consumers, what to do about a broken
one, the current targets, and how long the last failover took. The function only reads.

### Widget parameters

None. A viewer needs `lambda:InvokeFunction` on this function.
"""


class ReportFormat(StrEnum):
    """A request for a document or for a text for a terminal."""

    JSON = "json"
    TEXT = "text"

    def respond(self, collect: Callable[[], StatusReport]) -> Response:
        """Return the report in this format."""
        report = collect()
        return to_text(report) if self is ReportFormat.TEXT else report.to_document()


@dataclass(frozen=True, slots=True)
class Widget:
    """A dashboard's request for the widget."""

    frame: Frame

    def respond(self, collect: Callable[[], StatusReport]) -> Response:
        """Return the report as HTML."""
        return to_html(collect(), self.frame)


@dataclass(frozen=True, slots=True)
class Description:
    """A dashboard's request for the widget's description."""

    def respond(self, collect: Callable[[], StatusReport]) -> Response:  # noqa: ARG002
        """Return the description in Markdown."""
        return DESCRIPTION


#: `respond` calls `collect` if the response needs a report.
StatusRequest: TypeAlias = ReportFormat | Widget | Description


def parse_request(event: object) -> StatusRequest:
    """Return the request in the payload of an invocation.

    Raises:
        TriggerError: The payload is not a valid request. The message names the key.
    """
    event = as_object(event, usage='send {} or {"format": "text"}')
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
        raise TriggerError(f"{_FORMAT!r} must be {' or '.join(ReportFormat)}, not {as_json(text)}")
    return ReportFormat(text)


def _frame(context: object) -> Frame:
    """Return the frame from CloudWatch, with the default for each missing or invalid value."""
    if not isinstance(context, Mapping):
        return Frame()
    return Frame(width=_width(context.get("width")), dark=context.get("theme") == "dark")


def _width(value: object) -> float:
    if isinstance(value, int | float) and 0 < value < _MAX_WIDTH:
        return float(value)
    return Frame().width
