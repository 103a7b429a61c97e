"""The environment of ReportStatusFunction, read once into a frozen value.

The function has the variables of the sync function, and more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from target_sync.config import Settings, load_settings
from target_sync.environment import (
    endpoint_service_id,
    flag,
    ids,
    items,
    matching,
    one_of,
    optional,
    required,
    target_group_arn,
    trusted_accounts,
    whole_number,
)
from target_sync.errors import SettingsError
from target_sync.model import HIGHEST_PORT, DatabaseKind, IPNetwork, SyncPolicy
from target_sync.status.facts import Deployment

_LOAD_BALANCER_ARN = r"arn:[\w-]+:elasticloadbalancing:[\w-]+:\d{12}:loadbalancer/\S+"
#: NLB user guide, *Update the TCP idle timeout for your Network Load Balancer listener*.
_LONGEST_IDLE_TIMEOUT = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """The settings of ReportStatusFunction.

    Attributes:
        sync: The settings of the sync function; None for an Auto Scaling group.
        load_balancer_arn: The stack's own; empty if it has none (``LOAD_BALANCER_ARN``).
        function_subnets: The subnets of this function and the sync function
            (``FUNCTION_SUBNETS``).
        namespace: The namespace of the metrics (``POWERTOOLS_METRICS_NAMESPACE``).
    """

    deployment: Deployment
    sync: Settings | None
    load_balancer_arn: str
    function_subnets: tuple[str, ...]
    namespace: str


def load_status_settings(environ: Mapping[str, str]) -> StatusSettings:
    """Return the settings from the environment.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
    """
    is_scaling_group = required(environ, "DATABASE_KIND") == DatabaseKind.EC2_ASG
    sync = None if is_scaling_group else load_settings(environ)
    return StatusSettings(
        deployment=_deployment(environ, sync),
        sync=sync,
        load_balancer_arn=_load_balancer_arn(environ),
        function_subnets=ids(environ, "FUNCTION_SUBNETS", "subnet", ""),
        namespace=required(environ, "POWERTOOLS_METRICS_NAMESPACE"),
    )


def _deployment(environ: Mapping[str, str], sync: Settings | None) -> Deployment:
    deployment = Deployment(
        stack=required(environ, "POWERTOOLS_SERVICE_NAME"),
        kind=sync.kind if sync else DatabaseKind.EC2_ASG,
        policy=(
            sync.policy
            if sync
            # Only the port matters where AWS registers the instances.
            else SyncPolicy(
                port=whole_number(environ, "DATABASE_PORT", HIGHEST_PORT), allowed_networks=()
            )
        ),
        target_group_arn=target_group_arn(environ),
        owns_network=bool(_load_balancer_arn(environ)),
        identifier=optional(environ, "DATABASE_IDENTIFIER"),
        database_subnets=sync.subnets if sync else (),
        database_security_groups=ids(environ, "DATABASE_SECURITY_GROUPS", "sg", ""),
        outbound_rules_group=sync.outbound_rules_group if sync else "",
        apis=_apis(sync),
        scaling_group="" if sync else required(environ, "DATABASE_IDENTIFIER"),
        schedule=required(environ, "SCHEDULE_NAME") if sync else "",
        failed_runs_queue=_url(environ, "FAILED_RUNS_QUEUE_URL"),
        undelivered_events_queue=_url(environ, "UNDELIVERED_EVENTS_QUEUE_URL"),
    )
    if not deployment.owns_network:
        return deployment
    return replace(
        deployment,
        service_id=endpoint_service_id(environ),
        enforces_inbound_rules=one_of(environ, "ENFORCE_INBOUND_RULES", {"on": True, "off": False}),
        consumer_network=_network(environ),
        idle_timeout=whole_number(
            environ, "IDLE_TIMEOUT_SECONDS", _LONGEST_IDLE_TIMEOUT, lowest=60
        ),
        manages_ingress=flag(environ, "MANAGES_INGRESS"),
        acceptance_required=flag(environ, "ACCEPTANCE_REQUIRED"),
        principals=frozenset(items(environ, "ALLOWED_PRINCIPALS")),
        trusted_accounts=trusted_accounts(environ),
    )


def _apis(sync: Settings | None) -> tuple[str, ...]:
    """Return the APIs that the sync function calls, by the names of interface endpoints."""
    apis = ["elasticloadbalancing"]
    if sync and sync.kind.is_cluster:
        apis.append("rds")
    if sync and (
        sync.outbound_rules_group
        or sync.policy.serving_standby
        or sync.kind is DatabaseKind.EC2_INSTANCE
    ):
        apis.append("ec2")
    return tuple(apis)


def _url(environ: Mapping[str, str], name: str) -> str:
    return matching(name, required(environ, name), r"https?://\S+", "the URL of a queue")


def _load_balancer_arn(environ: Mapping[str, str]) -> str:
    name = "LOAD_BALANCER_ARN"
    text = optional(environ, name)
    return text and matching(name, text, _LOAD_BALANCER_ARN, "the ARN of a load balancer")


def _network(environ: Mapping[str, str]) -> IPNetwork:
    text = required(environ, "CONSUMER_NETWORK")
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise SettingsError(
            f"CONSUMER_NETWORK must be a network such as 10.0.0.0/8: {error}"
        ) from error
