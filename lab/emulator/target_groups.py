"""The emulator's target groups: the API over `target_group`, and the health checker.

ministack keeps the records of target groups. The targets are here, because ministack has no
ports, no zones, no draining and only healthy targets.
"""

import logging
import math
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ministack.services import alb, ec2

from lab.addresses import AddressPlan, ReplacedFile
from lab.emulator.errors import ApiError, rendering_errors
from lab.emulator.outbound_rules import OutboundRules
from lab.emulator.scope import Scope
from lab.emulator.security_groups import outbound_rules
from lab.emulator.target_group import (
    EmulatedTargetGroup,
    GroupSettings,
    Instance,
    TargetHealth,
    TargetRequest,
)
from lab.emulator.wire import element

# Seconds between two passes of the health checker.
_CHECKER_PERIOD = 0.05
_PROBE_TIMEOUT = 2.0

#: The key of a Network Load Balancer's record with the time of its creation.
CREATED_AT = "_CreatedAt"

_logger = logging.getLogger("lab.targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTimes:
    """The times of target groups in seconds.

    Attributes:
        registration_delay: From registration to the first health check.
        interval: Between two checks of a target; None: each group's own.
        rule_delay: From a change of outbound rules to its effect.
        load_balancer_delay: From the creation of a load balancer until it is active.
    """

    registration_delay: float
    interval: float | None = None
    rule_delay: float = 0.0
    load_balancer_delay: float = 0.0


@dataclass(slots=True)
class TargetGroups:
    """Every target group of every account, by ARN."""

    plan: ReplacedFile[AddressPlan]
    times: TargetTimes
    _groups: dict[str, EmulatedTargetGroup] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, arn: str) -> EmulatedTargetGroup:
        """Return a group with its current settings.

        Raises:
            ApiError: `TargetGroupNotFound`.
        """
        settings = self._settings(arn)
        with self._lock:
            group = self._groups.get(arn)
            if group is None:
                group = EmulatedTargetGroup(settings, clock=time.monotonic, probe=self._probe)
                self._groups[arn] = group
        group.configure(settings)
        return group

    def run_health_checks(self) -> None:
        """Run the due checks, and remove deleted groups."""
        for arn in list(self._groups):
            try:
                group = self.get(arn)
            except ApiError:
                with self._lock:
                    self._groups.pop(arn, None)
            else:
                group.run_health_checks()

    def _probe(self, address: IPv4Address, port: int) -> bool:
        server = self.plan.content.locate(address, port)
        if server is None:
            return False
        try:
            socket.create_connection(server, timeout=_PROBE_TIMEOUT).close()
        except OSError:
            return False
        return True

    def _settings(self, arn: str) -> GroupSettings:
        record = find_record(arn)
        scope = Scope.of_arn(arn)
        attributes = group_attributes(arn)
        check_port = str(record["HealthCheckPort"])
        interval = self.times.interval or float(record["HealthCheckIntervalSeconds"])
        delay = self.times.load_balancer_delay
        # Until then the targets are unused, and their registration begins afterwards.
        balancers = [it for it in _balancers(scope, arn) if is_active(it, delay)]
        return GroupSettings(
            port=int(record["Port"]),
            subnets=_subnets(scope, str(record["VpcId"])),
            enabled_zones=_enabled_zones(scope, balancers),
            registration_delay=self.times.registration_delay,
            interval=interval,
            timeout=min(interval, float(record["HealthCheckTimeoutSeconds"])),
            healthy_threshold=int(record["HealthyThresholdCount"]),
            unhealthy_threshold=int(record["UnhealthyThresholdCount"]),
            health_check_port=int(check_port) if check_port.isdigit() else None,
            deregistration_delay=float(attributes["deregistration_delay.timeout_seconds"]),
            instances=_instances(scope) if record["TargetType"] == "instance" else None,
            outbound=_outbound_rules(scope, balancers),
            rule_delay=self.times.rule_delay,
        )


def find_record(arn: str) -> Mapping[str, Any]:
    """Return ministack's record of a target group of any account.

    Raises:
        ApiError: `TargetGroupNotFound`.
    """
    try:
        scope = Scope.of_arn(arn)
    except ValueError as error:
        raise ApiError("ValidationError", str(error)) from None
    record: Mapping[str, Any] | None = alb._tgs.get_scoped(scope.account, scope.region, arn)
    if record is None:
        raise ApiError("TargetGroupNotFound", f"Target group '{arn}' not found")
    return record


def group_attributes(arn: str) -> dict[str, str]:
    """Return the attributes of a target group of any account."""
    scope = Scope.of_arn(arn)
    stored = alb._tg_attrs.get_scoped(scope.account, scope.region, arn, [])
    return {str(attribute["Key"]): str(attribute["Value"]) for attribute in stored}


def _subnets(scope: Scope, vpc_id: str) -> dict[IPv4Network, str]:
    return {
        IPv4Network(subnet["CidrBlock"]): str(subnet["AvailabilityZone"])
        for subnet in ec2._subnets.values_scoped(scope.account, scope.region)
        if subnet["VpcId"] == vpc_id
    }


def _instances(scope: Scope) -> dict[str, Instance]:
    """Return the instances that are not terminated."""
    return {
        str(record["InstanceId"]): Instance(
            address=IPv4Address(record["PrivateIpAddress"]),
            zone=str(record["Placement"]["AvailabilityZone"]),
            state=str(record["State"]["Name"]),
        )
        for record in ec2._instances.values_scoped(scope.account, scope.region)
        if record["State"]["Name"] != "terminated"
    }


def _balancers(scope: Scope, arn: str) -> list[Mapping[str, Any]]:
    """Return the load balancers whose listeners forward to a group."""
    return [
        alb._lbs.get_scoped(scope.account, scope.region, listener["LoadBalancerArn"])
        for listener in alb._listeners.values_scoped(scope.account, scope.region)
        if forwards_to(listener, arn)
    ]


def is_active(balancer: Mapping[str, Any], delay: float) -> bool:
    """Return whether a load balancer was created this many seconds ago, or is no network one."""
    return bool(time.monotonic() >= balancer.get(CREATED_AT, -math.inf) + delay)


def _enabled_zones(scope: Scope, balancers: Iterable[Mapping[str, Any]]) -> frozenset[str] | None:
    zones = [
        str(ec2._subnets.get_scoped(scope.account, scope.region, subnet)["AvailabilityZone"])
        for balancer in balancers
        for subnet in balancer["Subnets"]
    ]
    return frozenset(zones) or None


def _outbound_rules(scope: Scope, balancers: Iterable[Mapping[str, Any]]) -> OutboundRules:
    """Return the rules of all security groups; a load balancer without groups has no limits."""
    ids = [id_ for balancer in balancers for id_ in balancer["SecurityGroups"]]
    found = [ec2._security_groups.get_scoped(scope.account, scope.region, id_) for id_ in ids]
    rules = [outbound_rules(group) for group in found if group is not None]
    return frozenset().union(*rules) if ids else None


def forwards_to(listener: Mapping[str, Any], group_arn: str) -> bool:
    """Return whether a listener's default action sends traffic to a target group."""
    return any(a.get("TargetGroupArn") == group_arn for a in listener["DefaultActions"])


class HealthChecker(threading.Thread):
    """Runs the health checks of all groups until it is stopped."""

    def __init__(self, groups: TargetGroups) -> None:
        super().__init__(name="health-checker", daemon=True)
        self._groups = groups
        self._stopped = threading.Event()

    def run(self) -> None:
        """Check until stopped. An error in one pass does not stop the next one."""
        while not self._stopped.wait(_CHECKER_PERIOD):
            try:
                self._groups.run_health_checks()
            except Exception:
                _logger.exception("the health checks failed; retrying")

    def stop(self) -> None:
        """End the thread and wait until it has ended."""
        self._stopped.set()
        self.join()


def install(groups: TargetGroups) -> None:
    """Serve the target actions of the Elastic Load Balancing API from `groups`."""

    def register(params: Mapping[str, Any]) -> Any:
        groups.get(alb._p(params, "TargetGroupArn")).register(_requests(params))
        return alb._empty("RegisterTargets")

    def deregister(params: Mapping[str, Any]) -> Any:
        groups.get(alb._p(params, "TargetGroupArn")).deregister(_requests(params))
        return alb._empty("DeregisterTargets")

    def describe(params: Mapping[str, Any]) -> Any:
        group = groups.get(alb._p(params, "TargetGroupArn"))
        descriptions = [_health_description(h) for h in group.describe(_requests(params))]
        return alb._xml(
            200,
            "DescribeTargetHealth",
            element("TargetHealthDescriptions", descriptions, item="member"),
        )

    for name, handler in (
        ("RegisterTargets", register),
        ("DeregisterTargets", deregister),
        ("DescribeTargetHealth", describe),
    ):
        alb._ACTION_MAP[name] = rendering_errors(handler, alb._error)


def _requests(params: Mapping[str, Any]) -> list[TargetRequest]:
    requests: list[TargetRequest] = []
    while address := alb._p(params, f"Targets.member.{len(requests) + 1}.Id"):
        prefix = f"Targets.member.{len(requests) + 1}"
        port = alb._p(params, f"{prefix}.Port")
        requests.append(
            TargetRequest(
                id=address,
                port=int(port) if port else None,
                availability_zone=alb._p(params, f"{prefix}.AvailabilityZone") or None,
            )
        )
    return requests


def _health_description(health: TargetHealth) -> dict[str, object]:
    return {
        "Target": {
            "Id": health.id,
            "Port": health.port,
            "AvailabilityZone": health.availability_zone,
        },
        "HealthCheckPort": health.health_check_port,
        "TargetHealth": {
            "State": health.state,
            "Reason": health.reason,
            "Description": health.description,
        },
    }
