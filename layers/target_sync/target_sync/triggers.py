"""Reading the payload of an invocation: what every one must be, and what a person may send."""

from collections.abc import Iterable, Mapping

from target_sync.errors import TriggerError


def as_object(payload: object, *, by_hand: str) -> Mapping[str, object]:
    """The payload as the JSON object that it must be.

    Args:
        payload: What the function was invoked with.
        by_hand: What a person is told to send instead.

    Raises:
        TriggerError: It is another kind of JSON value.
    """
    if isinstance(payload, Mapping):
        return payload
    raise TriggerError(
        f"the payload must be a JSON object, not {type(payload).__name__}; {by_hand}"
    )


def unknown_key(key: object, known: Iterable[str]) -> TriggerError:
    """What to raise for a key that nobody knows."""
    return TriggerError(f"unknown key {key!r} in the payload; known keys: {', '.join(known)}")


def options(payload: Mapping[str, object], defaults: Mapping[str, bool]) -> Mapping[str, bool]:
    """What a person's payload asks for: each known option, true or false.

    Raises:
        TriggerError: A key is not known, or its value is no boolean. The message names the key.
    """
    given = dict(defaults)
    for key, value in payload.items():
        if key not in given:
            raise unknown_key(key, sorted(given))
        if not isinstance(value, bool):
            raise TriggerError(f"{key!r} must be true or false, not {value!r}")
        given[key] = value
    return given
