"""Checks of the target group, the listener, the load balancer and its Availability Zones."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from target_sync.status.checks.result import CheckId, CheckResult, broken, ok, warning
from target_sync.status.facts import (
    Deployment,
    Facts,
    Listener,
    LoadBalancer,
    SubnetNetwork,
    Unavailable,
    require,
    require_load_balancer,
    target_addresses,
    warm_addresses,
    zone_of,
)
from target_sync.targets.group_settings import (
    CROSS_ZONE,
    GROUP_ATTRIBUTES,
    HEALTH_CHECK,
    PRESERVE_CLIENT_IP,
    PROXY_PROTOCOL,
    different,
    pairs,
    sentences,
    setting_back,
)

#: PostgreSQL needs these values for a connection to work.
_VITAL_ATTRIBUTES = frozenset({PROXY_PROTOCOL, PRESERVE_CLIENT_IP})
_IDLE_TIMEOUT = "tcp.idle_timeout.seconds"
#: One zone may fail. dbt asks for two zones as well.
_MIN_ZONES = 2


def target_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the target group is as deployed, or that PostgreSQL can use an existing one."""
    group = require(facts.group)
    attributes = require(facts.group_attributes)
    if group is None or attributes is None:
        remedy = (
            "Delete the stack and deploy it again."
            if deployment.owns_network
            else "Deploy the stack with an existing target group as ExistingTargetGroupArn."
        )
        return broken(["The target group does not exist."], remedy)
    fixed = {"protocol": "TCP", "target_type": "ip" if deployment.syncs else "instance"}
    if unfit := [*sentences(fixed, {"protocol": group.protocol, "target_type": group.target_type})]:
        return broken(
            unfit, "Nothing can change this: deploy the stack again with another target group."
        )
    expected = _expected_attributes(deployment)
    wrong = different(expected, attributes)
    check = different(HEALTH_CHECK, group.health_check)
    details = [*sentences(expected, attributes), *sentences(HEALTH_CHECK, group.health_check)]
    if not details:
        return ok("Its health checks and attributes are as in the template.")
    result = broken if wrong.keys() & _VITAL_ATTRIBUTES else warning
    return result(
        details,
        "Set them back." if deployment.owns_network else "Set them as the template does.",
        command=setting_back(deployment.target_group_arn, deployment.region, wrong, check),
    )


def _expected_attributes(deployment: Deployment) -> Mapping[str, str]:
    """Return what the promise of a fast failover rests on.

    The owner of an existing group may have a reason to preserve the clients' addresses.
    """
    left_out = () if deployment.owns_network else (PRESERVE_CLIENT_IP,)
    return {name: value for name, value in GROUP_ATTRIBUTES.items() if name not in left_out}


def listener(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that a listener forwards the database's port to the target group."""
    port = deployment.policy.port
    forwarding = [
        it
        for it in require(facts.listeners) or ()
        if deployment.target_group_arn in it.target_group_arns
    ]
    if not forwarding:
        balancer = facts.load_balancer
        return broken(
            ["No listener of the load balancer forwards to the target group."],
            "Create it again.",
            command=f"aws elbv2 create-listener --region {deployment.region}"
            f" --load-balancer-arn {balancer.arn} --protocol TCP --port {port}"
            f" --default-actions Type=forward,TargetGroupArn={deployment.target_group_arn}"
            if isinstance(balancer, LoadBalancer)
            else "",
            possible_causes=(CheckId.LOAD_BALANCER, CheckId.TARGET_GROUP),
        )
    # The listener on the database's port, if there is one.
    found = min(forwarding, key=lambda it: it.port != port)
    expected = {"protocol": "TCP", "port": port}
    changed = [*sentences(expected, {"protocol": found.protocol, "port": found.port})]
    if deployment.owns_network and changed:
        return broken(
            changed,
            "Set it back.",
            command=f"aws elbv2 modify-listener --region {deployment.region}"
            f" --listener-arn {found.arn} --protocol TCP --port {port}",
        )
    if others := sorted(found.target_group_arns - {deployment.target_group_arn}):
        result = broken if deployment.owns_network else warning
        return result(
            [f"It forwards a part of the connections to {', '.join(others)}."],
            "Set it back.",
            command=f"aws elbv2 modify-listener --region {deployment.region}"
            f" --listener-arn {found.arn}"
            f" --default-actions Type=forward,TargetGroupArn={deployment.target_group_arn}",
        )
    return _idle_timeout(found, facts.listener_attributes, deployment)


def _idle_timeout(
    found: Listener, attributes: Mapping[str, str] | Unavailable | None, deployment: Deployment
) -> CheckResult:
    expected = deployment.idle_timeout
    forwards = f"It forwards {found.protocol} port {found.port} to the target group."
    if isinstance(attributes, Unavailable):
        return ok(forwards, f"Its idle timeout is unknown: {attributes.reason}")
    seconds = (attributes or {}).get(_IDLE_TIMEOUT)
    actual = "not set" if seconds is None else f"{seconds} s"
    if expected is not None and seconds != str(expected):
        return warning(
            [forwards, f"Its idle timeout is {actual}, but should be {expected} s."],
            "Set it back.",
            command=f"aws elbv2 modify-listener-attributes --region {deployment.region}"
            f" --listener-arn {found.arn}"
            f" --attributes {pairs({_IDLE_TIMEOUT: expected})}",
        )
    return ok(forwards, f"Its idle timeout is {actual}.")


def load_balancer(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the load balancer is active, and reaches the targets from each of its zones."""
    balancer = require(facts.load_balancer)
    if balancer is None:
        return broken(
            ["There is no load balancer."],
            "Delete the stack and deploy it again."
            if deployment.owns_network
            else "Let a listener of a Network Load Balancer forward to the target group.",
            possible_causes=(CheckId.TARGET_GROUP,),
        )
    state = f"It is {balancer.state} in {', '.join(sorted(balancer.zones))}."
    if balancer.state == "active_impaired":
        return warning(
            [state],
            "Read the AWS Health Dashboard: AWS lacks resources to scale the load balancer.",
        )
    if balancer.state != "active":
        return broken(
            [state], "Wait while it is provisioning. If it has failed, contact AWS Support."
        )
    attributes = require(facts.load_balancer_attributes)
    if _crosses_zones(attributes or {}, facts.group_attributes):
        return ok(state, "Cross-zone load balancing is on.")
    result = broken if deployment.owns_network else warning
    return result(
        [state, "Cross-zone load balancing is off: a consumer in a zone without a target fails."],
        "Switch it on.",
        command=f"aws elbv2 modify-load-balancer-attributes --region {deployment.region}"
        f" --load-balancer-arn {balancer.arn} --attributes {pairs({CROSS_ZONE: 'true'})}",
    )


def _crosses_zones(
    balancer: Mapping[str, str], group: Mapping[str, str] | Unavailable | None
) -> bool:
    """Prefer the group's own setting (ELBv2 API reference, TargetGroupAttribute)."""
    own = group.get(CROSS_ZONE) if isinstance(group, Mapping) else None
    return (own if own in {"true", "false"} else balancer.get(CROSS_ZONE)) == "true"


def availability_zones(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the load balancer is in the targets' zones, except where AWS offers none."""
    balancer = require_load_balancer(facts.load_balancer)
    subnets = require(facts.subnets)
    without = {subnet.zone for subnet in subnets if not subnet.accepts_load_balancers}
    zones = _zones(target_addresses(facts, deployment), subnets)
    if missing := ", ".join(sorted(zones - balancer.zones.keys() - without)):
        return broken(
            [f"A target is in {missing}, where the load balancer has no subnet."],
            f"Add a subnet of {missing} to SubnetIds and deploy the stack again.",
        )
    warm = _zones(warm_addresses(facts, deployment), subnets)
    if missing := ", ".join(sorted(warm - balancer.zones.keys() - without)):
        return warning(
            [f"A warm target is in {missing}, where the load balancer has no subnet."],
            f"If the database can move there, add a subnet of {missing} to SubnetIds and deploy the"
            " stack again.",
        )
    enabled = f"The load balancer is in {', '.join(sorted(balancer.zones))}"
    if len(balancer.zones) < _MIN_ZONES:
        return warning(
            [f"{enabled} only. If that zone fails, no connection works."],
            "Add a subnet of a second zone to SubnetIds and deploy the stack again.",
        )
    targets = (
        f"The targets are in {', '.join(sorted(zones))}" if zones else "No target is in its VPC"
    )
    details = [f"{enabled}. {targets}."]
    if served := ", ".join(sorted((zones | warm) & without)):
        details.append(
            f"AWS offers no Network Load Balancer in {served}. Cross-zone load balancing reaches"
            " the target there."
        )
    return ok(*details)


def _zones(addresses: Iterable[str], subnets: tuple[SubnetNetwork, ...]) -> frozenset[str]:
    found = (zone_of(ip_address(address), subnets) for address in addresses)
    return frozenset(zone for zone in found if zone)
