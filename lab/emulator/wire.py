"""The XML of the AWS query protocols.

All query APIs of the emulator use it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import escape


def element(name: str, value: object, *, item: str = "item") -> str:
    """Return an element: mappings nest, lists become one `item` each, None is omitted."""
    if value is None:
        return ""
    return f"<{name}>{_content(value, item)}</{name}>"


def elements(values: Mapping[str, object], *, item: str = "item") -> str:
    """Return one element for each entry."""
    return "".join(element(name, value, item=item) for name, value in values.items())


def _content(value: object, item: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if isinstance(value, Mapping):
        return elements(value, item=item)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "".join(element(item, entry, item=item) for entry in value)
    return escape(str(value))
