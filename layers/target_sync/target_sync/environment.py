"""Reading a variable of the function's environment."""

from collections.abc import Mapping

from target_sync.errors import SettingsError


def required(environ: Mapping[str, str], name: str) -> str:
    """The text of a variable.

    Raises:
        SettingsError: It is missing or empty.
    """
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"the environment variable {name} is missing; the template sets it")
    return value


def items(text: str) -> list[str]:
    """The items of a list with commas, without spaces around them."""
    return [item.strip() for item in text.split(",") if item.strip()]
