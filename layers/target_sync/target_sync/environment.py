"""Reading a variable of the function's environment."""

import re
from collections.abc import Mapping
from typing import TypeVar

from target_sync.errors import SettingsError

_T = TypeVar("_T")
_TOPIC_ARN = r"arn:[\w-]+:sns:[\w-]+:[0-9]{12}:[\w-]+"

#: What the two texts of a yes-or-no parameter mean.
FLAGS: Mapping[str, bool] = {"true": True, "false": False}


def required(environ: Mapping[str, str], name: str) -> str:
    """The text of a variable.

    Raises:
        SettingsError: It is missing or empty.
    """
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"the environment variable {name} is missing; the template sets it")
    return value


def given(environ: Mapping[str, str], name: str, default: str) -> str:
    """The text of a variable, or what holds if it is missing or empty."""
    return environ.get(name, "").strip() or default


def one_of(name: str, text: str, meanings: Mapping[str, _T]) -> _T:
    """What the text of a variable means.

    Raises:
        SettingsError: It is none of the texts that have a meaning.
    """
    if text not in meanings:
        raise SettingsError(f"{name} must be {' or '.join(meanings)}, not {text!r}")
    return meanings[text]


def matching(name: str, text: str, pattern: str, what: str) -> str:
    """The text of a variable that has a form.

    The pattern is compiled here and not at import: most variables are of one kind of stack only.

    Raises:
        SettingsError: It has not; the message says what it must be.
    """
    if not re.fullmatch(pattern, text):
        raise SettingsError(f"{name} must be {what}, not {text!r}")
    return text


def alarm_topic_arn(environ: Mapping[str, str]) -> str:
    """Where people are told (``ALARM_TOPIC_ARN``); empty for nowhere.

    Raises:
        SettingsError: It is not the ARN of a topic.
    """
    text = environ.get("ALARM_TOPIC_ARN", "").strip()
    return text and matching("ALARM_TOPIC_ARN", text, _TOPIC_ARN, "the ARN of an SNS topic")


def stack_name(environ: Mapping[str, str]) -> str:
    """The name of the stack, which is also the dimension of its metrics."""
    return given(environ, "POWERTOOLS_SERVICE_NAME", "postgres-privatelink")


def items(text: str) -> list[str]:
    """The items of a list with commas, without spaces around them."""
    return [item.strip() for item in text.split(",") if item.strip()]
