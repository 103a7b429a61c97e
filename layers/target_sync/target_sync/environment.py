"""Functions that read one environment variable each, for the settings of all features.

A variable without a default is required. Each function raises a `SettingsError` that names the
variable if it is missing or invalid.
"""

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
_TARGET_GROUP_ARN = r"arn:[\w-]+:elasticloadbalancing:[\w-]+:\d{12}:targetgroup/\S+"
_SERVICE_ID = r"vpce-svc-[0-9a-f]+"


def required(environ: Mapping[str, str], name: str) -> str:
    """Return the text of a variable, which must not be empty."""
    value = optional(environ, name)
    if not value:
        raise SettingsError(f"the environment variable {name} is missing; the template sets it")
    return value


def optional(environ: Mapping[str, str], name: str, default: str = "") -> str:
    """Return the text of a variable, or the default if the variable is missing or empty."""
    return environ.get(name, "").strip() or default


def _text(environ: Mapping[str, str], name: str, default: str | None) -> str:
    return required(environ, name) if default is None else optional(environ, name, default)


def one_of(
    environ: Mapping[str, str], name: str, values: Mapping[str, _T], default: str | None = None
) -> _T:
    """Return the value for the text of a variable."""
    text = _text(environ, name, default)
    if text not in values:
        raise SettingsError(f"{name} must be {' or '.join(values)}, not {text!r}")
    return values[text]


def flag(environ: Mapping[str, str], name: str, default: str | None = None) -> bool:
    """Return whether a variable is `true`; the other value is `false`."""
    return one_of(environ, name, {"true": True, "false": False}, default)


def matching(name: str, text: str, pattern: str, description: str) -> str:
    """Return the text of a variable if it matches a pattern.

    The pattern is compiled here and not at import, because most stacks do not need every pattern.
    """
    if not re.fullmatch(pattern, text):
        raise SettingsError(f"{name} must be {description}, not {text!r}")
    return text


def items(environ: Mapping[str, str], name: str, default: str | None = None) -> list[str]:
    """Return the items of a list that is separated by commas, without spaces around them."""
    texts = (item.strip() for item in _text(environ, name, default).split(","))
    return [text for text in texts if text]


def ids(
    environ: Mapping[str, str], name: str, prefix: str, default: str | None = None
) -> tuple[str, ...]:
    """Return the IDs of a list, for example with the prefix `subnet`."""
    description = f"IDs such as {prefix}-0a1b2c3d, separated by commas"
    found = items(environ, name, default)
    if default is None and not found:
        raise SettingsError(f"{name} must be {description}, and has none")
    return tuple(matching(name, item, rf"{prefix}-[0-9a-f]+", description) for item in found)


def whole_number(
    environ: Mapping[str, str],
    name: str,
    highest: int,
    *,
    lowest: int = 1,
    default: str | None = None,
) -> int:
    """Return a number within a range."""
    return _number(name, _text(environ, name, default), highest, lowest)


def _number(name: str, text: str, highest: int, lowest: int = 1) -> int:
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        raise SettingsError(
            f"{name} must be a whole number from {lowest} to {highest}, not {text!r}"
        )
    return int(text)


def networks(
    environ: Mapping[str, str], name: str, default: str | None = None
) -> tuple[IPNetwork, ...]:
    """Return the networks of a list that is separated by commas."""
    try:
        return tuple(ip_network(item) for item in items(environ, name, default))
    except ValueError as error:
        raise SettingsError(
            f"{name} must be a list of networks such as 10.0.0.0/16: {error}"
        ) from error


def stack_name(environ: Mapping[str, str]) -> str:
    """Return the name of the stack, which is also the dimension of its metrics."""
    return optional(environ, "POWERTOOLS_SERVICE_NAME", "postgres-privatelink")


def trusted_accounts(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the accounts whose requests are accepted (``TRUSTED_ACCOUNTS``)."""
    name, description = "TRUSTED_ACCOUNTS", "account IDs of twelve digits with commas"
    found = items(environ, name, "")
    return frozenset(matching(name, item, r"[0-9]{12}", description) for item in found)


def alarm_topic_arn(environ: Mapping[str, str]) -> str:
    """Return the SNS topic for people (``ALARM_TOPIC_ARN``), or an empty text without one."""
    text = optional(environ, "ALARM_TOPIC_ARN")
    return text and matching("ALARM_TOPIC_ARN", text, _TOPIC_ARN, "the ARN of an SNS topic")


def endpoint_service_id(environ: Mapping[str, str]) -> str:
    """Return the ID of the endpoint service (``ENDPOINT_SERVICE_ID``)."""
    return matching(
        "ENDPOINT_SERVICE_ID",
        required(environ, "ENDPOINT_SERVICE_ID"),
        _SERVICE_ID,
        "the ID of an endpoint service such as vpce-svc-0a1b2c3d4e5f60718",
    )


def target_group_arn(environ: Mapping[str, str]) -> str:
    """Return the ARN of the target group (``TARGET_GROUP_ARN``)."""
    name = "TARGET_GROUP_ARN"
    return matching(name, required(environ, name), _TARGET_GROUP_ARN, "the ARN of a target group")


def max_targets(environ: Mapping[str, str]) -> int:
    """Return the highest number of addresses in an observation (``MAX_TARGETS``)."""
    return whole_number(environ, "MAX_TARGETS", _MOST_TARGETS, default="15")


def resolvers(environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return the DNS servers (``RESOLVERS``) as addresses with ports. None means the system's."""
    return tuple(_resolver(item) for item in items(environ, "RESOLVERS", ""))


def is_address(text: str) -> bool:
    """Return whether the text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _resolver(text: str) -> tuple[str, int]:
    """Read ``address`` or ``address:port``. An IPv6 address with a port is in brackets."""
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
    return address, _number("RESOLVERS: the port", port, HIGHEST_PORT)
