"""Reading a variable of the function's environment."""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import TypeVar

from target_sync.errors import SettingsError
from target_sync.model import HIGHEST_PORT, IPNetwork

_T = TypeVar("_T")
_DNS_PORT = 53
_MOST_TARGETS = 100
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


def whole_number(name: str, text: str, highest: int, lowest: int = 1) -> int:
    """The number that the text of a variable is.

    Raises:
        SettingsError: It is none, or out of its range.
    """
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise SettingsError(
            f"{name} must be a whole number from {lowest} to {highest}, not {text!r}"
        )
    return int(text)


def networks(name: str, text: str) -> tuple[IPNetwork, ...]:
    """The networks in a list with commas.

    Raises:
        SettingsError: An item is no network.
    """
    try:
        return tuple(ip_network(item) for item in items(text))
    except ValueError as error:
        raise SettingsError(
            f"{name} must be a list of networks such as 10.0.0.0/16: {error}"
        ) from error


def max_targets(environ: Mapping[str, str]) -> int:
    """An answer with more addresses than this is refused (``MAX_TARGETS``).

    Raises:
        SettingsError: It is no number, or too high.
    """
    return whole_number("MAX_TARGETS", given(environ, "MAX_TARGETS", "15"), _MOST_TARGETS)


def resolvers(environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """The name servers (``RESOLVERS``) as (address, port); none means the system's.

    Raises:
        SettingsError: An item is no address with or without a port.
    """
    return tuple(_resolver(item) for item in items(environ.get("RESOLVERS", "")))


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _resolver(text: str) -> tuple[str, int]:
    """Read ``address`` or ``address:port``; an IPv6 address with a port is in brackets."""
    match = re.fullmatch(
        r"\[(?P<six>[^\]]+)\](:(?P<port6>\d+))?|(?P<four>[\d.]+)(:(?P<port4>\d+))?", text
    )
    if match is None and is_address(text):
        return text, _DNS_PORT
    address = match and (match["six"] or match["four"])
    if not match or not address or not is_address(address):
        raise SettingsError(
            f"RESOLVERS must be a list of address:port such as 10.0.0.2:53, not {text!r}"
        )
    port = match["port6"] or match["port4"] or str(_DNS_PORT)
    return address, whole_number("RESOLVERS: the port", port, HIGHEST_PORT)
