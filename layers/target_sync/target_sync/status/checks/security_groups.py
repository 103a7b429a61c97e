"""Checks of the security groups of the load balancer and of the database."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from target_sync.model import IPNetwork
from target_sync.status.checks.result import CheckResult, broken, ok, skipped, warning
from target_sync.status.facts import (
    Database,
    Deployment,
    Fact,
    Facts,
    LoadBalancer,
    Rule,
    SecurityGroup,
    Unknown,
    database_groups,
    require,
    require_load_balancer,
    target_addresses,
)


def load_balancer_security_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the load balancer's own security groups allow the traffic in and out.

    `switch` checks the outbound rules of a stack that has the switch.
    """
    balancer = require_load_balancer(facts.load_balancer)
    if not balancer.security_groups:
        return ok("The load balancer has no security group, so no rule filters its traffic.")
    groups = _existing(balancer.security_groups, require(facts.security_groups))
    names, port = ", ".join(balancer.security_groups), deployment.policy.port
    has_switch = bool(deployment.outbound_rules_group)
    addresses = () if has_switch else sorted(target_addresses(facts, deployment))
    if closed := ", ".join(a for a in addresses if not _allows_outbound(groups, a, port)):
        return broken(
            [f"{names} allows no outbound traffic to {closed} on port {port}."],
            "Allow it.",
            command=f"aws ec2 authorize-security-group-egress --region {deployment.region}"
            f" --group-id {balancer.security_groups[0]} --protocol tcp --port {port}"
            " --cidr 0.0.0.0/0",
        )
    if (
        deployment.owns_network
        and balancer.enforces_inbound_rules != deployment.enforces_inbound_rules
    ):
        return _changed_enforcement(balancer, deployment)
    if not _allows_inbound(groups, deployment.consumer_network, port):
        return _no_inbound_rule(balancer, deployment)
    return ok(
        f"{names} allows port {port} inbound{'' if has_switch else ' and outbound'}.",
        "Its inbound rules apply to PrivateLink traffic too."
        if balancer.enforces_inbound_rules
        else "Its inbound rules do not apply to PrivateLink traffic.",
    )


def _no_inbound_rule(balancer: LoadBalancer, deployment: Deployment) -> CheckResult:
    result = broken if balancer.enforces_inbound_rules else warning
    names, port = ", ".join(balancer.security_groups), deployment.policy.port
    group, network = _main_group(balancer, deployment), deployment.consumer_network
    return result(
        [f"{names} allows no inbound traffic from the consumers on port {port}."],
        f"Allow {network or 'the networks of the consumers'} in {group}.",
        command=f"aws ec2 authorize-security-group-ingress --region {deployment.region}"
        f" --group-id {group} --protocol tcp --port {port} --cidr {network}"
        if network
        else "",
    )


def _main_group(balancer: LoadBalancer, deployment: Deployment) -> str:
    """Return the first group that is not only for outbound rules."""
    groups = balancer.security_groups
    return next((it for it in groups if it != deployment.outbound_rules_group), groups[0])


def _changed_enforcement(balancer: LoadBalancer, deployment: Deployment) -> CheckResult:
    actual, expected = ("on", "off") if balancer.enforces_inbound_rules else ("off", "on")
    rules = "The enforcement of inbound rules on PrivateLink traffic"
    return broken(
        [f"{rules} is {actual}, but should be {expected}."],
        "Set it back.",
        command=f"aws elbv2 set-security-groups --region {deployment.region}"
        f" --load-balancer-arn {balancer.arn}"
        f" --security-groups {' '.join(balancer.security_groups)}"
        f" --enforce-security-group-inbound-rules-on-private-link-traffic {expected}",
    )


def _allows_outbound(groups: Iterable[SecurityGroup], address: str, port: int) -> bool:
    """Assume that a rule with groups or prefix lists covers the address."""
    ip = ip_address(address)
    return any(
        rule.groups or rule.prefix_lists or any(ip in network for network in rule.networks)
        for group in groups
        for rule in group.outbound
        if rule.covers(port)
    )


def _allows_inbound(groups: Iterable[SecurityGroup], network: IPNetwork | None, port: int) -> bool:
    """Accept any rule if the network is unknown, and assume that a prefix list covers it."""
    rules = _inbound_rules(groups, port)
    if network is None:
        return bool(rules)
    return any(rule.prefix_lists or _covers(rule, network) for rule in rules)


def _existing(ids: Iterable[str], groups: Mapping[str, SecurityGroup]) -> list[SecurityGroup]:
    return [groups[id_] for id_ in ids if id_ in groups]


def _inbound_rules(groups: Iterable[SecurityGroup], port: int) -> list[Rule]:
    return [rule for group in groups for rule in group.inbound if rule.covers(port)]


def _covers(rule: Rule, network: IPNetwork) -> bool:
    return any(
        wide.version == network.version
        and int(wide.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(wide.broadcast_address)
        for wide in rule.networks
    )


def database_security_group(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the database's security groups of today allow the load balancer."""
    ids = database_groups(facts.database, deployment)
    if not ids:
        return skipped("AWS reports no security groups for this kind of database.")
    balancer = require_load_balancer(facts.load_balancer)
    groups = require(facts.security_groups)
    subnets = require(facts.subnets)
    port, names = deployment.policy.port, ", ".join(ids)
    of_database = _existing(ids, groups)
    rules = _inbound_rules(of_database, port)
    own = frozenset(balancer.security_groups)
    networks = [subnet.network for subnet in subnets if subnet.id in balancer.zones.values()]
    source = " or ".join(balancer.security_groups) or "the load balancer's subnets"
    age = _age_of_groups(facts.database)
    if any(own.intersection(rule.groups) for rule in rules) or _cover_all(rules, networks):
        return ok(f"{names} allows {source} on port {port}.", *age)
    if any(rule.prefix_lists for rule in rules):
        detail = f"{names} allows prefix lists on port {port}."
        return warning(
            [detail, "This check does not read prefix lists.", *age],
            "Make sure that one of them contains the load balancer's subnets.",
        )
    # A rule may not name a group of another VPC. The stack has no rule there.
    in_one_vpc = all(group.vpc_id in {"", balancer.vpc_id} for group in of_database)
    peer = (
        f"UserIdGroupPairs=[{{GroupId={_main_group(balancer, deployment)}}}]"
        if own and in_one_vpc
        else f"IpRanges=[{','.join(f'{{CidrIp={network}}}' for network in networks)}]"
    )
    is_ours = (
        deployment.manages_ingress and in_one_vpc and ids[0] in deployment.database_security_groups
    )
    return broken(
        [f"No rule of {names} allows {source} on port {port}.", *age],
        "Allow it (the stack's own rule, DatabaseIngress, is missing)." if is_ours else "Allow it.",
        command=f"aws ec2 authorize-security-group-ingress --region {deployment.region}"
        f" --group-id {ids[0]} --ip-permissions"
        f" 'IpProtocol=tcp,FromPort={port},ToPort={port},{peer}'",
    )


def _age_of_groups(database: Fact[Database | None]) -> list[str]:
    """Return a sentence if the groups of today are not known."""
    if not isinstance(database, Unknown):
        return []
    return [
        f"These were its groups at the deployment. Those of today are unknown: {database.reason}"
    ]


def _cover_all(rules: Sequence[Rule], networks: Sequence[IPNetwork]) -> bool:
    return bool(networks) and all(any(_covers(r, n) for r in rules) for n in networks)
