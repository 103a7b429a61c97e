"""Reads the environment variables of the fleet's functions."""

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
#: The watch's time-out (fleet.yaml), less its reserve and some time to receive events.
_LONGEST_WATCH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The settings of the fleet's functions.

    Attributes:
        limits: The limits of every group (``ALLOWED_NETWORKS``, ``MAX_TARGETS``).
        key: The signing key of the fleet's own tags (``SIGNING_KEY``).
        resolvers: Name servers as (address, port); none means the system's (``RESOLVERS``).
        share: The part of the account's calls to ELB that the fleet may make (``API_SHARE``).
        workers: The highest number of concurrent workers (``MAX_WORKERS``).
        watch_seconds: How long a database is observed after an event
            (``EVENT_WATCH_DURATION_SECONDS``).
    """

    limits: Limits
    key: SigningKey
    resolvers: tuple[tuple[str, int], ...]
    share: float
    workers: int
    watch_seconds: float


def load_fleet_settings(environ: Mapping[str, str]) -> FleetSettings:
    """Return the settings in the environment.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
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


def queue_url(environ: Mapping[str, str], name: str) -> str:
    """Return the URL of a queue (``WORK_QUEUE_URL``, ``EVENT_QUEUE_URL``).

    Raises:
        SettingsError: The variable is not the URL of a queue.
    """
    return matching(name, required(environ, name), _QUEUE_URL, "the URL of an SQS queue")


def _key(text: str) -> SigningKey:
    """Return a key from the end of the text, which is unique in the ID of a stack."""
    least, most = KEY_BYTES
    try:
        return SigningKey(text.encode()[-most:])
    except ValueError:
        # The text is a secret, so the message does not contain it.
        raise SettingsError(f"SIGNING_KEY must have at least {least} bytes") from None


def _share(text: str, workers: int) -> float:
    try:
        share = float(text)
        CallBudget.of(0.0, share=share, workers=workers)
    except ValueError as error:
        raise SettingsError(
            f"API_SHARE {text!r} cannot be divided among MAX_WORKERS {workers}: {error}"
        ) from error
    return share
