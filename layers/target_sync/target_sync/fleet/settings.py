"""The environment of the fleet's functions, read once into a frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.environment import (
    matching,
    max_targets,
    networks,
    optional,
    required,
    resolvers,
    whole_number,
)
from target_sync.errors import SettingsError
from target_sync.fleet.checkpoints import KEY_BYTES, SigningKey
from target_sync.fleet.model import Limits
from target_sync.fleet.rate_limits import DEFAULT_SHARE, CallBudget

_QUEUE_URL = r"https?://\S+/[\w.-]+"
_MOST_WORKERS = 1_000
#: The time that the watch has (fleet.yaml), less what it keeps back, and some to take up events.
_LONGEST_WATCH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What the template told the function.

    Attributes:
        limits: What holds for every group (``ALLOWED_NETWORKS``, ``MAX_TARGETS``).
        key: What the fleet's own tags are sealed with (``SIGNING_KEY``).
        resolvers: Name servers as (address, port); none means the system's (``RESOLVERS``).
        share: How much of the account's calls to ELB the fleet may make (``API_SHARE``).
        workers: How many of them there are at most at once (``MAX_WORKERS``).
        watch_seconds: How long a name is polled after an event
            (``EVENT_WATCH_DURATION_SECONDS``).
    """

    limits: Limits
    key: SigningKey
    resolvers: tuple[tuple[str, int], ...]
    share: float
    workers: int
    watch_seconds: float


def load_fleet_settings(environ: Mapping[str, str]) -> FleetSettings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable is missing or wrong. The message names it.
    """
    workers = whole_number(environ, "MAX_WORKERS", _MOST_WORKERS, default="10")
    return FleetSettings(
        limits=Limits(
            allowed_networks=networks(environ, "ALLOWED_NETWORKS", ""),
            max_targets=max_targets(environ),
        ),
        key=_key(required(environ, "SIGNING_KEY")),
        resolvers=resolvers(environ),
        share=_share(optional(environ, "API_SHARE", str(DEFAULT_SHARE)), workers),
        workers=workers,
        watch_seconds=whole_number(
            environ, "EVENT_WATCH_DURATION_SECONDS", _LONGEST_WATCH, default="120"
        ),
    )


def work_queue_url(environ: Mapping[str, str]) -> str:
    """Where orders go (``WORK_QUEUE_URL``).

    Raises:
        SettingsError: It is not the URL of a queue.
    """
    return _queue_url(environ, "WORK_QUEUE_URL")


def event_queue_url(environ: Mapping[str, str]) -> str:
    """Where RDS events come from (``EVENT_QUEUE_URL``).

    Raises:
        SettingsError: It is not the URL of a queue.
    """
    return _queue_url(environ, "EVENT_QUEUE_URL")


def _queue_url(environ: Mapping[str, str], name: str) -> str:
    return matching(name, required(environ, name), _QUEUE_URL, "the URL of an SQS queue")


def _key(text: str) -> SigningKey:
    """A key of the text's end: of a stack's ID that is what no other stack has."""
    least, most = KEY_BYTES
    try:
        return SigningKey(text.encode()[-most:])
    except ValueError:
        # The text is a secret, so it is not told.
        raise SettingsError(f"SIGNING_KEY must have at least {least} bytes") from None


def _share(text: str, workers: int) -> float:
    try:
        share = float(text)
        CallBudget.of(0.0, share=share, workers=workers)
    except ValueError as error:
        raise SettingsError(
            f"API_SHARE {text!r} cannot be shared by MAX_WORKERS {workers}: {error}"
        ) from error
    return share
