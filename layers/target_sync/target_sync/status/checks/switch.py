"""The check of the switch: the outbound rules that decide which targets get traffic."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

from target_sync.model import MARKER, OutboundRules, SwitchState, SyncPolicy
from target_sync.status.checks.commands import invoke
from target_sync.status.checks.result import CheckId, CheckResult, broken, ok, warning
from target_sync.status.facts import (
    Deployment,
    Facts,
    LoadBalancer,
    Rule,
    SecurityGroup,
    desired_targets,
    is_warm,
    require,
    require_load_balancer,
)

_STATES: Mapping[SwitchState, str] = {
    SwitchState.PROVEN: (
        "The switch is proven: a target was unhealthy while it was closed, and healthy once opened."
    ),
    SwitchState.UNPROVEN: (
        "The switch is unproven: no target was seen unhealthy while closed and healthy once opened."
        " Until then at most one target is kept warm."
    ),
    SwitchState.INEFFECTIVE: (
        "The switch is ineffective: a target was healthy although it was closed. Therefore no"
        " target is kept warm, and a failover takes minutes."
    ),
}


def switch(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the outbound rules open the desired targets, and no other ones."""
    rules = require(facts.outbound_rules)
    balancer = require_load_balancer(facts.load_balancer)
    groups = require(facts.security_groups)
    group = deployment.outbound_rules_group
    if group not in balancer.security_groups:
        return _missing_group(balancer, deployment)
    targets = facts.targets if isinstance(facts.targets, tuple) else ()
    warm = sorted(str(target) for target in targets if is_warm(target, facts))
    desired = desired_targets(facts, deployment) or ()
    if closed := ", ".join(target for target in warm if target in desired):
        return broken(
            [f"No outbound rule of {group} opens {closed}, so the load balancer cannot reach it."],
            "Invoke ReconcileTargetsFunction with {} and read its result.",
            command=invoke("ReconcileTargetsFunction", deployment),
            possible_causes=(CheckId.FUNCTION_NETWORK, CheckId.SCHEDULE, CheckId.LAST_SYNC),
        )
    return _state(rules, warm, list(_other_rules(balancer, groups, rules, deployment)), deployment)


def _missing_group(balancer: LoadBalancer, deployment: Deployment) -> CheckResult:
    group = deployment.outbound_rules_group
    return broken(
        [f"The load balancer does not have the security group {group}, which opens its targets."],
        "Add it.",
        # Without the last option AWS would switch the enforcement on (ELBv2 API reference,
        # SetSecurityGroups).
        command=f"aws elbv2 set-security-groups --region {deployment.region}"
        f" --load-balancer-arn {balancer.arn}"
        f" --security-groups {' '.join((*balancer.security_groups, group))}"
        " --enforce-security-group-inbound-rules-on-private-link-traffic"
        f" {'on' if deployment.enforces_inbound_rules else 'off'}",
    )


def _state(
    rules: OutboundRules,
    warm: Sequence[str],
    others: Sequence[tuple[str, str]],
    deployment: Deployment,
) -> CheckResult:
    details = [_STATES[rules.state], *(detail for detail, _ in others)]
    if warm:
        details.append(f"Registered and closed: {', '.join(warm)}.")
    commands = [command for _, command in others]
    remedies = ["Remove every other rule that opens targets."] if others else []
    if rules.state is SwitchState.INEFFECTIVE:
        port = deployment.policy.port
        marker = Rule(protocol="tcp", first_port=port, last_port=port)
        peer = _range(f"{MARKER}/32")
        commands.append(_revocation(deployment.outbound_rules_group, marker, peer, deployment))
        remedies.append("Then delete the rule that keeps this state.")
    if not remedies:
        return ok(*details)
    return warning(details, " ".join(remedies), command=" && ".join(commands))


def _other_rules(
    balancer: LoadBalancer,
    groups: Mapping[str, SecurityGroup],
    rules: OutboundRules,
    deployment: Deployment,
) -> Iterator[tuple[str, str]]:
    """Yield each rule that opens targets and is not ours, and the command that removes it."""
    ours = {str(ip_network(address)) for address in (MARKER, *(t.address for t in rules.open))}
    for id_ in balancer.security_groups:
        for rule in groups[id_].outbound if id_ in groups else ():
            if not rule.covers(deployment.policy.port):
                continue
            for peer, shown in _peers(rule, deployment.policy):
                if id_ != deployment.outbound_rules_group or peer not in ours:
                    yield (
                        f"{id_} allows outbound traffic to {peer}, also to closed targets.",
                        _revocation(id_, rule, shown, deployment),
                    )


def _peers(rule: Rule, policy: SyncPolicy) -> Iterator[tuple[str, str]]:
    """Yield the peers of a rule that may be targets, and each as the AWS CLI takes it."""
    for network in rule.networks:
        allowed = (it for it in policy.allowed_networks if it.version == network.version)
        if any(network.overlaps(it) for it in allowed):
            yield str(network), _range(network)
    for group in rule.groups:
        yield group, f"UserIdGroupPairs=[{{GroupId={group}}}]"
    for prefix_list in rule.prefix_lists:
        yield prefix_list, f"PrefixListIds=[{{PrefixListId={prefix_list}}}]"


def _range(network: object) -> str:
    return f"IpRanges=[{{CidrIp={network}}}]"


def _revocation(group: str, rule: Rule, peer: str, deployment: Deployment) -> str:
    ports = (
        "" if rule.first_port is None else f"FromPort={rule.first_port},ToPort={rule.last_port},"
    )
    return (
        f"aws ec2 revoke-security-group-egress --region {deployment.region} --group-id {group}"
        f" --ip-permissions 'IpProtocol={rule.protocol},{ports}{peer}'"
    )
