"""The rules of security groups, as AWS keeps them.

ministack skips the outbound rules that exist, revokes unknown rules without an error, has no quota
and no pages, and accepts the groups of any VPC. Sources: EC2 API reference
(AuthorizeSecurityGroupEgress, RevokeSecurityGroupEgress, DescribeSecurityGroupRules, IpRange, error
codes), VPC peering guide ("Update your security groups to reference peer security groups") and
Amazon VPC quotas.
"""

import re
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import IPv4Network
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import ec2

from lab.emulator.endpoint_services import matches
from lab.emulator.errors import ApiError, Handler, rendering_errors
from lab.emulator.outbound_rules import OutboundRule
from lab.emulator.wire import element

_STORE = "IpPermissionsEgress"
# Where ministack keeps rules, and whether they are outbound.
_DIRECTIONS = {"IpPermissions": False, _STORE: True}
# A rule has one destination, which is in one of these lists.
_DESTINATIONS = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
_DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
_LONGEST_PAGE = 1000
_Permission = dict[str, Any]
#: Requests run concurrently, and a rejected one changes nothing.
_lock = threading.Lock()


def install(*, quota: int) -> None:
    """Replace the calls for outbound rules.

    Args:
        quota: The most outbound rules of a group.
    """
    actions = ec2._ACTION_MAP
    for name, handler in (
        (
            "AuthorizeSecurityGroupIngress",
            _checking_references(actions["AuthorizeSecurityGroupIngress"]),
        ),
        ("AuthorizeSecurityGroupEgress", partial(_authorize, quota=quota)),
        ("RevokeSecurityGroupEgress", _revoking(actions["RevokeSecurityGroupEgress"])),
        ("DescribeSecurityGroupRules", _describe),
    ):
        actions[name] = rendering_errors(handler, _error)


def check_references(group: Mapping[str, Any], permissions: Iterable[Mapping[str, Any]]) -> None:
    """Check that rules of a group name only groups of its VPC, or of a peered one.

    Raises:
        ApiError: `InvalidGroup.NotFound`.
    """
    for permission in permissions:
        for pair in permission["UserIdGroupPairs"]:
            other = ec2._security_groups.get(pair.get("GroupId"))
            if other is not None and not _are_connected(group["VpcId"], other["VpcId"]):
                raise ApiError(
                    "InvalidGroup.NotFound",
                    "You have specified two resources that belong to different networks.",
                )


def _are_connected(one: str, other: str) -> bool:
    peerings = (
        {it["RequesterVpcInfo"]["VpcId"], it["AccepterVpcInfo"]["VpcId"]}
        for it in ec2._vpc_peering.values()
        if it["Status"]["Code"] == "active"
    )
    return one == other or {one, other} in peerings


def _checking_references(authorize: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        check_references(_find(params), _requested(params))
        return authorize(params)

    return handler


def outbound_rules(group: Mapping[str, Any]) -> frozenset[OutboundRule]:
    """Return the outbound rules of ministack's record of a group.

    Only those with an IPv4 network: no target of the lab has another destination.
    """
    return frozenset(
        OutboundRule(
            protocol=str(rule["IpProtocol"]),
            ports=(rule["FromPort"], rule["ToPort"]) if "FromPort" in rule else None,
            network=IPv4Network(entry["CidrIp"], strict=False),
        )
        for rule in group[_STORE]
        for entry in rule["IpRanges"]
    )


def _error(code: str, message: str) -> Any:
    return ec2._error(code, escape(message), 400)


def _authorize(params: Mapping[str, Any], *, quota: int) -> Any:
    with _lock:
        group = _find(params)
        new = _requested(params)
        _check_new(group, new, quota)
        group[_STORE] = [*group[_STORE], *new]
    items = "".join(ec2._sg_rule_xml(group["GroupId"], rule, is_egress=True) for rule in new)
    rules = f"<return>true</return><securityGroupRuleSet>{items}</securityGroupRuleSet>"
    return ec2._xml(200, "AuthorizeSecurityGroupEgressResponse", rules)


def _check_new(group: Mapping[str, Any], new: Iterable[_Permission], quota: int) -> None:
    present = _single(group[_STORE])
    known = {_identity(rule) for rule in present}
    for rule in new:
        _check(rule)
        identity = _identity(rule)
        if identity in known:
            raise ApiError(
                "InvalidPermission.Duplicate", f'the specified rule "{identity}" already exists'
            )
        known.add(identity)
    if len(known) > quota:
        raise ApiError(
            "RulesPerSecurityGroupLimitExceeded",
            "The maximum number of rules per security group has been reached.",
        )


def _check(rule: _Permission) -> None:
    """Check a rule, and write its network as AWS does, without host bits."""
    (destination,) = (entry for name in _DESTINATIONS for entry in rule[name])
    if not _DESCRIPTION.fullmatch(destination.get("Description", "")):
        raise ApiError(
            "InvalidParameterValue",
            "Invalid rule description. Valid descriptions are strings less than 256 characters "
            "from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        )
    if "CidrIp" in destination:
        try:
            network = IPv4Network(destination["CidrIp"], strict=False)
        except ValueError:
            raise ApiError(
                "InvalidParameterValue", f"CIDR block {destination['CidrIp']} is malformed"
            ) from None
        destination["CidrIp"] = str(network)


def _revoking(revoke_by_id: Handler) -> Handler:
    """Revoke rules by their content, all or none; ministack does it by their IDs."""

    def handler(params: Mapping[str, Any]) -> Any:
        with _lock:
            group = _find(params)
            if ec2._parse_member_list(params, "SecurityGroupRuleId"):
                return revoke_by_id(params)
            present = _single(group[_STORE])
            known = {_identity(rule) for rule in present}
            gone = {_identity(rule) for rule in _requested(params)}
            if gone - known:
                raise ApiError(
                    "InvalidPermission.NotFound",
                    "The specified rule does not exist in this security group.",
                )
            group[_STORE] = [rule for rule in present if _identity(rule) not in gone]
        return ec2._xml(200, "RevokeSecurityGroupEgressResponse", "<return>true</return>")

    return handler


def _describe(params: Mapping[str, Any]) -> Any:
    filters = ec2._parse_filters(params)
    rules = [
        ec2._sg_rule_xml(id_, rule, is_egress=is_egress)
        for id_, group in sorted(ec2._security_groups.items())
        for name, is_egress in _DIRECTIONS.items()
        for rule in _single(group[name])
        if matches(
            {
                "group-id": id_,
                "security-group-rule-id": ec2._sg_rule_id(id_, is_egress, rule),
            },
            filters,
        )
    ]
    start = int(ec2._p(params, "NextToken") or 0)
    end = start + int(ec2._p(params, "MaxResults") or _LONGEST_PAGE)
    token = element("nextToken", str(end) if end < len(rules) else None)
    return ec2._xml(
        200,
        "DescribeSecurityGroupRulesResponse",
        f"<securityGroupRuleSet>{''.join(rules[start:end])}</securityGroupRuleSet>{token}",
    )


def _find(params: Mapping[str, Any]) -> dict[str, Any]:
    id_ = ec2._p(params, "GroupId")
    group: dict[str, Any] | None = ec2._security_groups.get(id_)
    if group is None:
        raise ApiError("InvalidGroup.NotFound", f"The security group '{id_}' does not exist")
    return group


def _requested(params: Mapping[str, Any]) -> list[_Permission]:
    return _single(ec2._parse_ip_permissions(params, "IpPermissions"))


def _single(permissions: Iterable[_Permission]) -> list[_Permission]:
    """Split permissions into rules with one destination each, as AWS keeps them."""
    empty: Mapping[str, Any] = {name: [] for name in _DESTINATIONS}
    return [
        {**permission, **empty, name: [dict(entry)]}
        for permission in permissions
        for name in _DESTINATIONS
        for entry in permission[name]
    ]


def _identity(rule: _Permission) -> str:
    """Return what makes a rule a duplicate: everything but its ID and description."""
    (peer,) = (
        {key: value for key, value in entry.items() if key != "Description"}
        for name in _DESTINATIONS
        for entry in rule[name]
    )
    ports = (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
    return f"peer: {', '.join(map(str, peer.values()))}, {', '.join(map(str, ports))}, ALLOW"
