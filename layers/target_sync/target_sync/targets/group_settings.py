"""The settings of a target group on which following a failover rests.

The values are those of the template (a test compares them). docs/fleet.md gives the reasons.
"""

import re
from collections.abc import Iterator, Mapping

#: ELBv2 API reference, TargetGroupAttribute.
GROUP_ATTRIBUTES: Mapping[str, str] = {
    "deregistration_delay.timeout_seconds": "0",
    "deregistration_delay.connection_termination.enabled": "true",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "preserve_client_ip.enabled": "false",
    "proxy_protocol_v2.enabled": "false",
}
#: By the names of DescribeTargetGroups.
HEALTH_CHECK: Mapping[str, object] = {
    "HealthCheckProtocol": "TCP",
    "HealthCheckPort": "traffic-port",
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 4,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
}
PROXY_PROTOCOL = "proxy_protocol_v2.enabled"
PRESERVE_CLIENT_IP = "preserve_client_ip.enabled"
CROSS_ZONE = "load_balancing.cross_zone.enabled"


def different(expected: Mapping[str, object], actual: Mapping[str, object]) -> Mapping[str, object]:
    """Return the expected settings whose actual value is another one, or missing."""
    return {name: value for name, value in expected.items() if actual.get(name) != value}


def sentences(expected: Mapping[str, object], actual: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for each setting whose actual value is not the expected one."""
    for name, value in different(expected, actual).items():
        yield f"{name} is {actual.get(name, 'not set')}, but should be {value}."


def setting_back(
    arn: str, region: str, attributes: Mapping[str, object], health_check: Mapping[str, object]
) -> str:
    """Return the command that gives a group these settings; empty if there are none."""
    commands = []
    if attributes:
        commands.append(
            f"aws elbv2 modify-target-group-attributes --region {region} --target-group-arn {arn}"
            f" --attributes {pairs(attributes)}"
        )
    if health_check:
        options = " ".join(f"--{_option(name)} {value}" for name, value in health_check.items())
        commands.append(
            f"aws elbv2 modify-target-group --region {region} --target-group-arn {arn} {options}"
        )
    return " && ".join(commands)


def pairs(attributes: Mapping[str, object]) -> str:
    """Return attributes as the AWS CLI takes them."""
    return " ".join(f"Key={key},Value={value}" for key, value in attributes.items())


def _option(name: str) -> str:
    """Return the option of the AWS CLI for a parameter, such as ``HealthCheckPort``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
