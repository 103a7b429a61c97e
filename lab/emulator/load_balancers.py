"""Network Load Balancers. ministack has only application load balancers.

Sources: Elastic Load Balancing API reference (CreateLoadBalancer, LoadBalancerAttribute,
TargetGroupAttribute, ListenerAttribute, CreateTargetGroup) for names, defaults and errors.
"""

import functools
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ministack.services import alb, ec2

from lab.emulator.errors import ApiError, Handler, rendering_errors
from lab.emulator.subnets import check_subnets
from lab.emulator.target_groups import CREATED_AT, forwards_to, is_active
from lab.emulator.wire import element

_LAYER_4 = frozenset({"TCP", "TLS", "UDP", "TCP_UDP"})
_ENFORCE = "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"

LOAD_BALANCER_ATTRIBUTES = {
    "access_logs.s3.enabled": "false",
    "access_logs.s3.bucket": "",
    "access_logs.s3.prefix": "",
    "deletion_protection.enabled": "false",
    "dns_record.client_routing_policy": "any_availability_zone",
    "ipv6.deny_all_igw_traffic": "false",
    "load_balancing.cross_zone.enabled": "false",
    "secondary_ips.auto_assigned.per_subnet": "0",
    "zonal_shift.config.enabled": "false",
}
TARGET_GROUP_ATTRIBUTES = {
    "deregistration_delay.connection_termination.enabled": "false",
    "deregistration_delay.timeout_seconds": "300",
    "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
    "preserve_client_ip.enabled": "false",
    "proxy_protocol_v2.enabled": "false",
    "stickiness.enabled": "false",
    "stickiness.type": "source_ip",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "target_health_state.unhealthy.draining_interval_seconds": "0",
}
LISTENER_ATTRIBUTES = {"tcp.idle_timeout.seconds": "350"}
#: The maximum length of a page of DescribeTargetGroups.
_LONGEST_PAGE = 400
_TARGET_GROUP = re.compile(r"<member><TargetGroupArn>.*?</TargetType></member>", re.DOTALL)
# The defaults of CreateTargetGroup for a TCP group.
_TARGET_GROUP_DEFAULTS = {
    "HealthCheckProtocol": "TCP",
    "HealthCheckIntervalSeconds": "30",
    "HealthCheckTimeoutSeconds": "10",
    "HealthyThresholdCount": "5",
    "UnhealthyThresholdCount": "2",
}


def is_network(load_balancer: Mapping[str, Any]) -> bool:
    """Return whether a load balancer is a Network Load Balancer."""
    return bool(load_balancer["Type"] == "network")


def make_network(
    arn: str, *, attributes: Iterable[Mapping[str, Any]] = (), enforce: str | None = None
) -> dict[str, Any]:
    """Convert a new load balancer's record to a Network Load Balancer.

    Args:
        arn: The ARN from ministack.
        attributes: The given attributes; the others get their defaults.
        enforce: Whether security group rules apply to PrivateLink traffic, `on` or `off`.

    Returns:
        The record, which has a new ARN.
    """
    record: dict[str, Any] = alb._lbs[arn]
    record[CREATED_AT] = time.monotonic()
    record["LoadBalancerArn"] = _rename(arn, "loadbalancer", alb._lbs, alb._lb_attrs)
    name, unique = record["LoadBalancerName"], record["LoadBalancerArn"].rpartition("/")[2]
    record["DNSName"] = f"{name}-{unique}.elb.{alb.get_region()}.amazonaws.com"
    subnets = [ec2._subnets[subnet] for subnet in record["Subnets"]]
    record["VpcId"] = next((subnet["VpcId"] for subnet in subnets), record["VpcId"])
    set_enforcement(record, enforce)
    alb._lb_attrs[record["LoadBalancerArn"]] = _complete(LOAD_BALANCER_ATTRIBUTES, attributes)
    return record


def set_enforcement(record: dict[str, Any], enforce: str | None) -> None:
    """Set whether security groups apply to PrivateLink traffic; default: `on`."""
    if record["SecurityGroups"]:
        record[_ENFORCE] = enforce or record.get(_ENFORCE, "on")


def is_layer_4(protocol: object) -> bool:
    """Return whether a Network Load Balancer has a protocol."""
    return protocol in _LAYER_4


def check_attributes(keys: Iterable[str], known: Mapping[str, str]) -> None:
    """Check that a kind of resource has these attributes.

    Raises:
        ApiError: `ValidationError`.
    """
    for key in keys:
        if key not in known:
            raise ApiError("ValidationError", f"Attribute key '{key}' is not recognized")


def full_name(record: Mapping[str, Any]) -> str:
    """Return `LoadBalancerFullName`, which CloudWatch uses as a dimension."""
    return str(record["LoadBalancerArn"]).partition(":loadbalancer/")[2]


def group_full_name(arn: str) -> str:
    """Return `TargetGroupFullName`, which CloudWatch uses as a dimension."""
    return arn.rpartition(":")[2]


def make_network_listener(arn: str, attributes: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Convert a new listener's record to a listener of a Network Load Balancer."""
    listener: dict[str, Any] = alb._listeners[arn]
    listener["ListenerArn"] = _rename(arn, "listener", alb._listeners, alb._listener_attrs)
    for rule_arn, rule in list(alb._rules.items()):
        if rule["ListenerArn"] == arn:
            del alb._rules[rule_arn]
    alb._listener_attrs[listener["ListenerArn"]] = _complete(LISTENER_ATTRIBUTES, attributes)
    return listener


def complete_target_group(arn: str, attributes: Iterable[Mapping[str, Any]] = ()) -> None:
    """Add the default attributes to a new TCP target group."""
    # By default only instance targets get the clients' addresses.
    preserve = str(alb._tgs[arn]["TargetType"] == "instance").lower()
    defaults = {**TARGET_GROUP_ATTRIBUTES, "preserve_client_ip.enabled": preserve}
    alb._tg_attrs[arn] = _complete(defaults, attributes)


def name_as_aws(arn: str) -> str:
    """Rename a new target group to an ARN with hexadecimal digits, as on AWS; return the ARN."""
    renamed = f"{arn.rpartition('/')[0]}/{alb._short_id()}"
    for store in (alb._tgs, alb._targets, alb._tg_attrs, alb._tags):
        if arn in store:
            store[renamed] = store.pop(arn)
    alb._tgs[renamed]["TargetGroupArn"] = renamed
    return renamed


def with_target_group_defaults(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return target group properties with the defaults of its protocol."""
    defaults = _TARGET_GROUP_DEFAULTS if is_layer_4(properties.get("Protocol")) else {}
    return {**defaults, **properties}


def check_group_unused(arn: str) -> None:
    """Reject the deletion of a target group that a listener forwards to.

    Raises:
        ApiError: `ResourceInUse`.
    """
    if any(forwards_to(listener, arn) for listener in alb._listeners.values()):
        raise ApiError(
            "ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule"
        )


def _rename(arn: str, kind: str, *stores: Any) -> str:
    renamed = arn.replace(f":{kind}/app/", f":{kind}/net/")
    for store in (*stores, alb._tags):
        if arn in store:
            store[renamed] = store.pop(arn)
    return renamed


def _complete(
    defaults: Mapping[str, str], given: Iterable[Mapping[str, Any]]
) -> list[dict[str, str]]:
    values = {str(attribute["Key"]): str(attribute["Value"]) for attribute in given}
    return [{"Key": key, "Value": value} for key, value in {**defaults, **values}.items()]


def install(*, delay: float) -> None:
    """Add Network Load Balancers to ministack's Elastic Load Balancing API.

    Args:
        delay: Seconds from the creation of a load balancer until it is active.
    """
    # On AWS the last part of an ARN is hexadecimal.
    alb._short_id = functools.partial(secrets.token_hex, 8)
    # ministack omits "targetgroup/".
    alb._target_group_full_name_from_arn = group_full_name
    alb._lb_xml = functools.partial(_load_balancer_xml, delay=delay)
    alb._tg_xml = _without_http(alb._tg_xml)
    actions = alb._ACTION_MAP
    for name, wrap in (
        ("CreateLoadBalancer", _creating_load_balancer),
        ("CreateTargetGroup", _creating_target_group),
        ("DescribeTargetGroups", _describing_target_groups),
        ("CreateListener", _creating_listener),
        ("SetSecurityGroups", _setting_security_groups),
        ("DeleteTargetGroup", _deleting_target_group),
        ("ModifyLoadBalancerAttributes", _modifying(LOAD_BALANCER_ATTRIBUTES)),
        ("ModifyTargetGroupAttributes", _modifying(TARGET_GROUP_ATTRIBUTES)),
        ("ModifyListenerAttributes", _modifying(LISTENER_ATTRIBUTES)),
    ):
        actions[name] = rendering_errors(wrap(actions[name]), alb._error)


def _creating_load_balancer(create: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        if alb._p(params, "Type") != "network":
            return create(params)
        check_subnets(alb._parse_member_list(params, "Subnets"))
        response = create(params)
        if response[0] != 200:
            return response
        (record,) = [
            r for r in alb._lbs.values() if r["LoadBalancerName"] == alb._p(params, "Name")
        ]
        record = make_network(record["LoadBalancerArn"], enforce=alb._p(params, _ENFORCE) or None)
        return alb._xml(
            200, "CreateLoadBalancer", f"<LoadBalancers>{alb._lb_xml(record)}</LoadBalancers>"
        )

    return handler


def _creating_target_group(create: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        flat = {name: alb._p(params, name) for name in params}
        response = create(with_target_group_defaults(flat))
        if response[0] == 200 and is_layer_4(flat.get("Protocol")):
            (record,) = [r for r in alb._tgs.values() if r["TargetGroupName"] == flat["Name"]]
            complete_target_group(record["TargetGroupArn"])
        return response

    return handler


def _describing_target_groups(describe: Handler) -> Handler:
    """Add pages, and reject a call with an unknown group."""

    def handler(params: Mapping[str, Any]) -> Any:
        for arn in alb._parse_member_list(params, "TargetGroupArns"):
            if arn not in alb._tgs:
                raise ApiError("TargetGroupNotFound", "One or more target groups not found")
        status, headers, body = describe(params)
        groups = _TARGET_GROUP.findall(body.decode())
        start = int(alb._p(params, "Marker") or 0)
        end = start + int(alb._p(params, "PageSize") or _LONGEST_PAGE)
        if status != 200 or (not start and end >= len(groups)):
            return status, headers, body
        marker = element("NextMarker", str(end) if end < len(groups) else None)
        return alb._xml(
            200,
            "DescribeTargetGroups",
            f"<TargetGroups>{''.join(groups[start:end])}</TargetGroups>{marker}",
        )

    return handler


def _creating_listener(create: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        known = set(alb._listeners)
        response = create(params)
        load_balancer = alb._lbs.get(alb._p(params, "LoadBalancerArn"))
        if response[0] != 200 or not is_network(load_balancer):
            return response
        (arn,) = set(alb._listeners) - known
        listener = make_network_listener(arn)
        return alb._xml(
            200, "CreateListener", f"<Listeners>{alb._listener_xml(listener)}</Listeners>"
        )

    return handler


def _setting_security_groups(set_groups: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        record = alb._lbs.get(alb._p(params, "LoadBalancerArn"))
        if record is not None and is_network(record) and not record["SecurityGroups"]:
            raise ApiError(
                "InvalidConfigurationRequest",
                "Security groups cannot be added to a Network Load Balancer that was created "
                "without them",
            )
        response = set_groups(params)
        if record is not None:
            set_enforcement(record, alb._p(params, _ENFORCE) or None)
        return response

    return handler


def _deleting_target_group(delete: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        check_group_unused(alb._p(params, "TargetGroupArn"))
        return delete(params)

    return handler


def _modifying(known: Mapping[str, str]) -> Callable[[Handler], Handler]:
    def wrap(modify: Handler) -> Handler:
        def handler(params: Mapping[str, Any]) -> Any:
            keys = [
                alb._p(params, name)
                for name in params
                if name.startswith("Attributes.member.") and name.endswith(".Key")
            ]
            check_attributes(keys, known)
            return modify(params)

        return handler

    return wrap


def _load_balancer_xml(record: Mapping[str, Any], *, delay: float) -> str:
    zones = [
        {"ZoneName": ec2._subnets[subnet]["AvailabilityZone"], "SubnetId": subnet}
        for subnet in record["Subnets"]
    ]
    copied = ("LoadBalancerArn", "LoadBalancerName", "DNSName", "CreatedTime", "Scheme", "VpcId")
    return element(
        "member",
        {name: record[name] for name in copied}
        | {
            "CanonicalHostedZoneId": "Z26RNL4JYFTOTI",
            "State": {"Code": "active" if is_active(record, delay) else "provisioning"},
            "Type": record["Type"],
            "AvailabilityZones": zones,
            "SecurityGroups": record["SecurityGroups"],
            "IpAddressType": record["IpAddressType"],
            _ENFORCE: record.get(_ENFORCE),
        },
        item="member",
    )


def _without_http(render: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """Omit the fields of HTTP health checks from a TCP target group."""

    def wrapped(record: Mapping[str, Any]) -> str:
        xml = render(record)
        if record["HealthCheckProtocol"] == "TCP":
            xml = xml.replace(element("HealthCheckPath", record["HealthCheckPath"]), "")
            xml = xml.replace(element("Matcher", record["Matcher"]), "")
        return xml

    return wrapped
