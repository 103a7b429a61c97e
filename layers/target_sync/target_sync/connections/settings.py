"""The environment of ReviewConnectionsFunction, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.connections.decisions import ConnectionPolicy
from target_sync.environment import (
    alarm_topic_arn,
    endpoint_service_id,
    flag,
    stack_name,
    trusted_accounts,
)
from target_sync.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The settings of the function.

    Attributes:
        service_id: The endpoint service (``ENDPOINT_SERVICE_ID``).
        policy: Which accounts may connect (``TRUSTED_ACCOUNTS``, ``REJECT_UNTRUSTED``).
        alarm_topic_arn: The topic of the messages; empty for none (``ALARM_TOPIC_ARN``).
        stack: The stack's name, for the messages (``POWERTOOLS_SERVICE_NAME``).
    """

    service_id: str
    policy: ConnectionPolicy
    alarm_topic_arn: str = ""
    stack: str = "postgres-privatelink"


def load_settings(environ: Mapping[str, str]) -> ConnectionSettings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
    """
    return ConnectionSettings(
        service_id=endpoint_service_id(environ),
        policy=_policy(environ),
        alarm_topic_arn=alarm_topic_arn(environ),
        stack=stack_name(environ),
    )


def _policy(environ: Mapping[str, str]) -> ConnectionPolicy:
    trusted = trusted_accounts(environ)
    reject = flag(environ, "REJECT_UNTRUSTED")
    if reject and not trusted:
        raise SettingsError(
            "REJECT_UNTRUSTED is true and TRUSTED_ACCOUNTS is empty, so every request would be"
            " rejected. Set TRUSTED_ACCOUNTS to an account, or set REJECT_UNTRUSTED to false"
        )
    return ConnectionPolicy(trusted_accounts=trusted, reject_untrusted=reject)
