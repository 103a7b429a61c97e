"""What is told to people and to programs: a mail's text, and an event on the bus."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Document: TypeAlias = Mapping[str, object]

#: Of every event: the version of the documents in docs/observability.md. It changes when a field
#: goes or gets another meaning; a new field changes nothing.
VERSION = "1"
#: The ``source`` of our events.
SOURCE = "postgres-privatelink"
#: Where a person reads on; also in the descriptions of the alarms (template.yaml).
RUNBOOK = "docs/runbook.md"
#: SNS takes subjects of fewer than 100 ASCII characters without a line break (SNS API reference,
#: Publish).
SUBJECT_LENGTH = 99
#: Longest text from outside, in a mail or an event. A name in DNS has 253 characters at most.
TEXT_LENGTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who tells.

    Attributes:
        stack: The name of the stack.
        resource: What it is about: the ARN of the target group, or the endpoint service's ID.
    """

    stack: str
    resource: str


@dataclass(frozen=True, slots=True)
class Email:
    """A mail: its subject and its text."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event of EventBridge.

    Attributes:
        detail_type: What happened, for example ``Target Group Synced``.
        detail: The document, JSON-ready.
        resource: What it is about, as in its ``resources``.
    """

    detail_type: str
    detail: Document
    resource: str


@dataclass(frozen=True, slots=True)
class Notification:
    """One piece of news, for both."""

    message: Email
    event: BusEvent


def mail(subject: str, paragraphs: Iterable[str]) -> Email:
    """A mail of these paragraphs. What is not ASCII in the subject becomes a question mark."""
    line = plain(subject).encode("ascii", "replace").decode()
    return Email(_cut(line, SUBJECT_LENGTH), "\n\n".join(filter(None, paragraphs)) + "\n")


def plain(text: object) -> str:
    """A text from outside on one line and not endless, whatever DNS, AWS or a tag put into it.

    Line breaks would make paragraphs of ours, control characters other terminals' commands, and
    marks of direction another order of the words.
    """
    seen = "".join(c if c.isprintable() else " " for c in str(text))
    return _cut(" ".join(seen.split()), TEXT_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
