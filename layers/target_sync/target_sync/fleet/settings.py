"""Reads the environment variables of the fleet's function."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from target_sync.environment import max_targets, networks, optional, resolvers
from target_sync.errors import SettingsError
from target_sync.fleet.model import Limits
from target_sync.fleet.rate_limits import DEFAULT_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The settings of the fleet's function.

    Attributes:
        limits: The limits of every group (``ALLOWED_NETWORKS``, ``MAX_TARGETS``).
        resolvers: Name servers as (address, port); none means the system's (``RESOLVERS``).
        share: The part of the account's calls to ELB that the fleet may make (``API_SHARE``).
    """

    limits: Limits
    resolvers: tuple[tuple[str, int], ...]
    share: float


def load_fleet_settings(environ: Mapping[str, str]) -> FleetSettings:
    """Return the settings in the environment.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
    """
    return FleetSettings(
        limits=Limits(
            allowed_networks=networks(environ, "ALLOWED_NETWORKS", ""),
            max_targets=max_targets(environ),
        ),
        resolvers=resolvers(environ),
        share=_share(optional(environ, "API_SHARE", str(DEFAULT_SHARE))),
    )


def _share(text: str) -> float:
    with suppress(ValueError):
        share = float(text)
        if 0 < share <= 1:
            return share
    raise SettingsError(f"API_SHARE must be above 0 and at most 1, not {text!r}")
