"""Notifications: an email for people, and an event on the bus for programs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Document: TypeAlias = Mapping[str, object]

#: The version of the events' documents (docs/observability.md). It changes when a field is removed
#: or changes its meaning. A new field does not change it.
VERSION = "1"
#: The ``source`` of the events.
SOURCE = "postgres-privatelink"
#: The page to read next. The descriptions of the alarms name it, too (template.yaml).
RUNBOOK = "docs/runbook.md"
#: SNS takes subjects of fewer than 100 ASCII characters without a line break (SNS API reference,
#: Publish).
SUBJECT_LENGTH = 99
#: The longest text from other systems in an email or an event. A DNS name has up to 253
#: characters.
TEXT_LENGTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The stack, and the ARN of its target group or the ID of its endpoint service."""

    stack: str
    resource: str


@dataclass(frozen=True, slots=True)
class Email:
    """An email."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event of EventBridge.

    Attributes:
        detail_type: The type of the event, for example ``Target Group Synced``.
        resource: The only item of its ``resources``.
    """

    detail_type: str
    detail: Document
    resource: str


@dataclass(frozen=True, slots=True)
class Notification:
    """The same notification for people and for programs."""

    message: Email
    event: BusEvent


def mail(subject: str, paragraphs: Iterable[str]) -> Email:
    """Return an email. In the subject, a question mark replaces each non-ASCII character."""
    line = plain(subject).encode("ascii", "replace").decode()
    return Email(_cut(line, SUBJECT_LENGTH), "\n\n".join(filter(None, paragraphs)) + "\n")


def plain(text: object) -> str:
    """Return a text from DNS, AWS or a tag on one line, with a bounded length.

    Line breaks could imitate paragraphs, control characters could control a terminal, and
    direction characters could change the order of the words.
    """
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return _cut(" ".join(printable.split()), TEXT_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
