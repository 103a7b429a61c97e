"""Target group, listener, load balancer, and the security groups on the way."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from target_sync.model import IPNetwork, Observation
from target_sync.status.checks.result import (
    CheckId,
    CheckResult,
    FactMissingError,
    broken,
    known,
    ok,
    skipped,
    warning,
)
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Fact,
    Facts,
    GroupDetails,
    Listener,
    LoadBalancer,
    Rule,
    SecurityGroup,
    Skipped,
    Unknown,
    zone_of,
)

#: What the template sets for a target group; a test compares them.
GROUP_ATTRIBUTES: Mapping[str, str] = {
    "deregistration_delay.timeout_seconds": "0",
    "deregistration_delay.connection_termination.enabled": "true",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "preserve_client_ip.enabled": "false",
    "proxy_protocol_v2.enabled": "false",
}
#: With another value PostgreSQL cannot be reached, or only by luck.
_VITAL_ATTRIBUTES = ("proxy_protocol_v2.enabled", "preserve_client_ip.enabled")
#: The same for its health checks.
HEALTH_CHECK: Mapping[str, object] = {
    "health_check_protocol": "TCP",
    "health_check_port": "traffic-port",
    "health_check_interval": 5,
    "unhealthy_threshold": 2,
}
_CROSS_ZONE = "load_balancing.cross_zone.enabled"
_IDLE_TIMEOUT = "tcp.idle_timeout.seconds"
#: So that a zone can fail; dbt asks for it too.
_LEAST_ZONES = 2


def target_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the target group is as the stack made it, or at least fit for PostgreSQL."""
    group = known(facts.group)
    attributes = known(facts.group_attributes)
    if group is None or attributes is None:
        remedy = (
            "Delete the stack and deploy it anew."
            if deployment.owns_network
            else "Deploy with the target group that there is now as ExistingTargetGroupArn."
        )
        return broken(["The target group does not exist."], remedy)
    vital = _unfit(group, attributes, deployment)
    if vital:
        return broken(vital, "Set it back: aws elbv2 modify-target-group-attributes.")
    if not deployment.owns_network:
        return ok(
            f"It takes {group.protocol} to {group.target_type} targets; it is somebody's own."
        )
    changed = [
        *_differences(GROUP_ATTRIBUTES, attributes),
        *_differences(HEALTH_CHECK, _health_check(group)),
    ]
    if changed:
        return warning(
            changed,
            "Set them back: aws elbv2 modify-target-group-attributes or modify-target-group.",
        )
    return ok("Health checks and attributes are as they were deployed.")


def _unfit(group: GroupDetails, attributes: Mapping[str, str], deployment: Deployment) -> list[str]:
    wanted_type = "ip" if deployment.syncs else "instance"
    needed = {"protocol": "TCP", "target_type": wanted_type}
    there = {"protocol": group.protocol, "target_type": group.target_type}
    # Who keeps a group of his own may have a reason to keep the clients' addresses.
    vital = _VITAL_ATTRIBUTES if deployment.owns_network else _VITAL_ATTRIBUTES[:1]
    return [
        *_differences(needed, there),
        *_differences({name: GROUP_ATTRIBUTES[name] for name in vital}, attributes),
    ]


def _health_check(group: GroupDetails) -> Mapping[str, object]:
    return {name: getattr(group, name) for name in HEALTH_CHECK}


def _differences(wanted: Mapping[str, object], there: Mapping[str, object]) -> list[str]:
    """A sentence for each value that is not as wanted."""
    return [
        f"{name} is {there.get(name, 'not set')}, and should be {value}."
        for name, value in wanted.items()
        if there.get(name) != value
    ]


def listener(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether a listener forwards the database's port to the target group."""
    listeners = known(facts.listeners)
    found = _forwarding(listeners or (), deployment)
    if found is None:
        balancer = facts.load_balancer
        where = balancer.arn if isinstance(balancer, LoadBalancer) else "of the load balancer"
        return broken(
            ["No listener of the load balancer forwards to the target group."],
            f"Make it again: aws elbv2 create-listener --load-balancer-arn {where} --protocol TCP"
            f" --port {deployment.policy.port} --default-actions"
            f" Type=forward,TargetGroupArn={deployment.target_group_arn}.",
            possible_causes=(CheckId.LOAD_BALANCER, CheckId.TARGET_GROUP),
        )
    seen = [f"{found.protocol} on port {found.port} goes to the target group."]
    wanted = {"protocol": "TCP", "port": deployment.policy.port}
    there = {"protocol": found.protocol, "port": found.port}
    if deployment.owns_network and (changed := _differences(wanted, there)):
        return broken(
            changed,
            f"Set it back: aws elbv2 modify-listener --listener-arn {found.arn} --protocol TCP"
            f" --port {deployment.policy.port}.",
        )
    return _idle_timeout(seen, facts.listener_attributes, deployment)


def _forwarding(listeners: Iterable[Listener], deployment: Deployment) -> Listener | None:
    found = [it for it in listeners if deployment.target_group_arn in it.target_group_arns]
    # Of several, the one on the database's port.
    found.sort(key=lambda it: it.port != deployment.policy.port)
    return next(iter(found), None)


def _idle_timeout(
    seen: list[str],
    attributes: Mapping[str, str] | Unknown | Skipped | None,
    deployment: Deployment,
) -> CheckResult:
    if isinstance(attributes, Unknown | Skipped):
        return ok(*seen, f"Its idle timeout could not be seen: {attributes.why}")
    wanted = deployment.idle_timeout
    there = (attributes or {}).get(_IDLE_TIMEOUT, "not set")
    if wanted is not None and there != str(wanted):
        return warning(
            [*seen, f"Idle connections end after {there} s, and should after {wanted} s."],
            "Set it back: aws elbv2 modify-listener-attributes.",
        )
    return ok(*seen, f"Idle connections end after {there} s.")


def load_balancer(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the load balancer works, and uses the target from each of its zones."""
    balancer = known(facts.load_balancer)
    if balancer is None:
        return broken(
            ["There is no load balancer."],
            "Delete the stack and deploy it anew."
            if deployment.owns_network
            else "Forward a listener of a Network Load Balancer to the target group.",
            possible_causes=(CheckId.TARGET_GROUP,),
        )
    seen = [f"It is {balancer.state} in {', '.join(sorted(balancer.zones))}."]
    if balancer.state == "active_impaired":
        return warning(seen, "Look at the AWS Health Dashboard: AWS lacks something to scale it.")
    if balancer.state != "active":
        return broken(seen, "Wait while it is provisioning; if it has failed, ask AWS Support.")
    attributes = known(facts.load_balancer_attributes)
    if _crosses_zones(attributes or {}, facts.group_attributes):
        return ok(*seen, "Cross-zone load balancing is on.")
    judge = broken if deployment.owns_network else warning
    return judge(
        [*seen, "Cross-zone load balancing is off: a consumer in a zone without a target fails."],
        "Switch it on: aws elbv2 modify-load-balancer-attributes"
        f" --load-balancer-arn {balancer.arn} --attributes Key={_CROSS_ZONE},Value=true.",
    )


def _crosses_zones(
    balancer: Mapping[str, str], group: Mapping[str, str] | Unknown | Skipped | None
) -> bool:
    """The group may have a word of its own (ELBv2 API reference, TargetGroupAttribute)."""
    own = group.get(_CROSS_ZONE) if isinstance(group, Mapping) else None
    return (own if own in {"true", "false"} else balancer.get(_CROSS_ZONE)) == "true"


def _present(balancer: Fact[LoadBalancer | None]) -> LoadBalancer:
    """The load balancer, for steps that have nothing to look at without it."""
    found = known(balancer)
    if found is None:
        raise FactMissingError(Skipped("There is no load balancer to look at."))
    return found


def availability_zones(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the load balancer is in the zones that the targets are in."""
    balancer = _present(facts.load_balancer)
    subnets = known(facts.subnets)
    zones = {
        zone
        for address in _addresses(facts, deployment)
        if (zone := zone_of(ip_address(address), subnets))
    }
    missing = sorted(zones - balancer.zones.keys())
    if missing:
        return broken(
            [f"A target is in {', '.join(missing)}, where the load balancer has no subnet."],
            f"Add a subnet of {', '.join(missing)} to SubnetIds and deploy the stack again.",
        )
    seen = f"The load balancer is in {', '.join(sorted(balancer.zones))}"
    if len(balancer.zones) < _LEAST_ZONES:
        return warning(
            [f"{seen} alone, and a zone may fail."], "Give it a subnet in a second zone: SubnetIds."
        )
    where = f"the targets in {', '.join(sorted(zones))}" if zones else "no target in its VPC"
    return ok(f"{seen}; {where}.")


def _addresses(facts: Facts, deployment: Deployment) -> frozenset[str]:
    """The addresses of the targets, registered or to be registered."""
    if not deployment.syncs:
        return frozenset()  # instances: the health of a target says if its zone is not enabled
    told = facts.observation
    targets = facts.targets if isinstance(facts.targets, tuple) else ()
    wanted = told.addresses if isinstance(told, Observation) else ()
    return frozenset({*map(str, wanted), *_ids(targets)})


def _ids(targets: Iterable[DescribedTarget]) -> Iterable[str]:
    return (target.id for target in targets if target.is_registered)


def load_balancer_security_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the load balancer's own security groups let the traffic in and out."""
    balancer = _present(facts.load_balancer)
    if not balancer.security_groups:
        return ok("The load balancer has no security group, so nothing is filtered.")
    groups = known(facts.security_groups)
    own = [groups[id_] for id_ in balancer.security_groups if id_ in groups]
    first, names = balancer.security_groups[0], ", ".join(balancer.security_groups)
    port = deployment.policy.port
    closed = [a for a in sorted(_addresses(facts, deployment)) if not _lets_out(own, a, port)]
    if closed:
        return broken(
            [f"{names} lets nothing out to {', '.join(closed)} on port {port}."],
            f"Let it out: aws ec2 authorize-security-group-egress --group-id {first}"
            f" --protocol tcp --port {port} --cidr 0.0.0.0/0.",
        )
    if deployment.owns_network and balancer.enforces != deployment.enforces:
        return _enforcement(balancer, deployment)
    if not _lets_in(own, deployment.consumer_network, port):
        judge = broken if balancer.enforces else warning
        return judge(
            [f"{names} lets nobody in on port {port}."],
            f"Let the consumers in: aws ec2 authorize-security-group-ingress --group-id {first}"
            f" --protocol tcp --port {port} --cidr"
            f" {deployment.consumer_network or 'and their network'}.",
        )
    return ok(
        f"{names} lets the database's port in and out.",
        "Its rules hold for PrivateLink too."
        if balancer.enforces
        else "Its rules do not hold for what comes through PrivateLink.",
    )


def _enforcement(balancer: LoadBalancer, deployment: Deployment) -> CheckResult:
    word = {True: "on", False: "off"}
    return broken(
        [
            (
                "The enforcement of inbound rules on PrivateLink traffic is"
                f" {word[balancer.enforces]}, and was deployed {word[deployment.enforces]}."
            )
        ],
        f"Set it back: aws elbv2 set-security-groups --load-balancer-arn {balancer.arn}"
        f" --security-groups {' '.join(balancer.security_groups)}"
        " --enforce-security-group-inbound-rules-on-private-link-traffic"
        f" {word[deployment.enforces]}.",
    )


def _lets_out(groups: Iterable[SecurityGroup], address: str, port: int) -> bool:
    """Whether a rule lets traffic out; one that names groups or prefix lists is believed."""
    there = ip_address(address)
    return any(
        rule.groups or rule.prefix_lists or any(there in network for network in rule.networks)
        for group in groups
        for rule in group.outbound
        if rule.covers(port)
    )


def _lets_in(groups: Iterable[SecurityGroup], network: IPNetwork | None, port: int) -> bool:
    """Whether a rule is for this network; for any at all if none is known."""
    rules = [rule for group in groups for rule in group.inbound if rule.covers(port)]
    if network is None:
        return bool(rules)
    return any(_covers(rule, network) for rule in rules) or any(r.prefix_lists for r in rules)


def _covers(rule: Rule, network: IPNetwork) -> bool:
    return any(
        wide.version == network.version
        and int(wide.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(wide.broadcast_address)
        for wide in rule.networks
    )


def database_security_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the database's security groups let the load balancer in."""
    if not deployment.database_security_groups:
        return skipped("AWS knows no security group of this kind of database.")
    balancer = _present(facts.load_balancer)
    groups = known(facts.security_groups)
    subnets = known(facts.subnets)
    port = deployment.policy.port
    names = ", ".join(deployment.database_security_groups)
    rules = [
        rule
        for id_ in deployment.database_security_groups
        if id_ in groups
        for rule in groups[id_].inbound
        if rule.covers(port)
    ]
    own = frozenset(balancer.security_groups)
    places = [subnet.network for subnet in subnets if subnet.zone in balancer.zones]
    by_group = any(own.intersection(rule.groups) for rule in rules)
    by_network = bool(places) and all(any(_covers(r, place) for r in rules) for place in places)
    who = ", ".join(balancer.security_groups) or "the load balancer's subnets"
    if by_group or by_network:
        return ok(f"{names} lets {who} in on port {port}.")
    if any(rule.prefix_lists for rule in rules):
        return warning(
            [f"{names} lets prefix lists in on port {port}, which are not looked into."],
            "See that one of them has the load balancer's subnets.",
        )
    return broken([f"No rule of {names} lets {who} in on port {port}."], _opening(deployment, own))


def _opening(deployment: Deployment, balancers: frozenset[str]) -> str:
    first = deployment.database_security_groups[0]
    source = f"--source-group {min(balancers)}" if balancers else "--cidr and its subnets"
    again = (
        " (the stack's own rule, DatabaseIngress, is gone)" if deployment.manages_ingress else ""
    )
    return (
        f"Let it in{again}: aws ec2 authorize-security-group-ingress --group-id {first}"
        f" --protocol tcp --port {deployment.policy.port} {source}."
    )
