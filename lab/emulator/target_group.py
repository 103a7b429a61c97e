"""A target group of a Network Load Balancer, as AWS documents it.

It has no I/O: the caller passes the clock and the health probe. Docstrings name the assumptions
where AWS documents nothing.

Sources: Elastic Load Balancing API reference (RegisterTargets, DeregisterTargets,
DescribeTargetHealth, TargetHealth) and the Network Load Balancer guide, "Register targets",
"Health checks for target groups" and "Update the security groups for your Network Load Balancer":
if outbound rules block the health checks of a target, the target is unhealthy.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from lab.emulator.errors import ApiError
from lab.emulator.outbound_rules import OutboundRules, RulesInEffect, allowed

# The networks of IP targets outside the VPC.
_PRIVATE_NETWORKS = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
# "Targets per target group", Network Load Balancer quotas.
_MAX_TARGETS = 1000
ALL_ZONES = "all"


class TargetState(StrEnum):
    """The values of `TargetHealth.State` in a TCP target group."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRequest:
    """One `TargetDescription` of a request."""

    id: str
    port: int | None = None
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The identity of a target: the same address on another port is another target.

    The ID is an IPv4 address, or an instance ID in a group of instance targets.
    """

    id: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An EC2 instance in a group of instance targets."""

    address: IPv4Address
    zone: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """One `TargetHealthDescription`, with more for the data plane.

    Attributes:
        address: The address of the target.
        allowed: Whether outbound rules allow new connections to it.
    """

    id: str
    port: int
    address: IPv4Address | None
    availability_zone: str | None
    health_check_port: int | None
    state: TargetState
    reason: str | None = None
    description: str | None = None
    allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """The settings of a target group. Times are seconds.

    Attributes:
        port: The port of a target that is registered without a port.
        subnets: The subnets of the group's VPC and their zones.
        enabled_zones: The zones of the load balancer; None: no load balancer uses the group.
        registration_delay: The time from registration to the first health check. AWS documents
            "a few minutes"; others measured 90 to 180 s.
        interval: Time between two health checks of one target.
        timeout: The time after which a health check without a reply has failed; at most an
            interval.
        health_check_port: None is `traffic-port`: each target is checked on its own port.
        deregistration_delay: `deregistration_delay.timeout_seconds`.
        instances: The instances of the account, for a group of instance targets. None: the
            targets are IP addresses.
        outbound: The outbound rules of the load balancer's security groups.
        rule_delay: The time from a change of these rules to its effect. AWS documents "a small
            delay".
    """

    port: int
    subnets: Mapping[IPv4Network, str]
    enabled_zones: frozenset[str] | None
    registration_delay: float
    interval: float
    healthy_threshold: int
    unhealthy_threshold: int
    health_check_port: int | None = None
    deregistration_delay: float
    instances: Mapping[str, Instance] | None = None
    timeout: float = 0.0
    outbound: OutboundRules = None
    rule_delay: float = 0.0

    def address_of(self, target: Target) -> IPv4Address:
        """Return the address of a target; for an instance its primary private address."""
        return (
            IPv4Address(target.id) if self.instances is None else self.instances[target.id].address
        )

    def zone_of(self, address: IPv4Address) -> str | None:
        """Return the zone of the VPC subnet that holds an address, None outside the VPC."""
        return next((zone for net, zone in self.subnets.items() if address in net), None)


@dataclass(slots=True, eq=False)
class _Registration:
    """A registered target and its health checks."""

    target: Target
    zone: str
    checks_from: float
    next_check: float
    healthy: bool | None = None
    streak_kind: bool = False
    streak: int = 0
    drained_at: float | None = None

    def record(self, *, passed: bool, settings: GroupSettings) -> None:
        """Count one health check; the health changes after enough equal results in a row."""
        if passed != self.streak_kind:
            self.streak_kind = passed
            self.streak = 0
        self.streak += 1
        needed = settings.healthy_threshold if passed else settings.unhealthy_threshold
        if self.streak >= needed:
            self.healthy = passed


class EmulatedTargetGroup:
    """The targets of one group. Safe to use from several threads.

    Args:
        settings: The settings; `configure` replaces them.
        clock: Monotonic seconds.
        probe: Returns whether a TCP connection to an address and port succeeds.
    """

    def __init__(
        self,
        settings: GroupSettings,
        *,
        clock: Callable[[], float],
        probe: Callable[[IPv4Address, int], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._probe = probe
        self._lock = threading.RLock()
        self._registrations: dict[Target, _Registration] = {}
        self._outbound = RulesInEffect(clock, settings.outbound)
        # The blocked checks that have not failed yet, in the order of their ends.
        self._unanswered: deque[tuple[float, _Registration]] = deque()

    def configure(self, settings: GroupSettings) -> None:
        """Replace the settings. The targets of a group that is now in use begin registration."""
        with self._lock:
            came_into_use = self._settings.enabled_zones is None is not settings.enabled_zones
            self._settings = settings
            self._outbound.change(settings.outbound, 0 if came_into_use else settings.rule_delay)
            if came_into_use:
                for target, old in list(self._registrations.items()):
                    if old.drained_at is None:
                        self._registrations[target] = self._begin(target, old.zone)

    def register(self, requests: Sequence[TargetRequest]) -> None:
        """Register all targets of a request, or none. A repeated registration changes nothing.

        A draining target becomes `initial` again. AWS documents only that a Network Load Balancer
        allows this; the full registration time is our assumption, the slow case.

        Raises:
            ApiError: `ValidationError` for a malformed address or a zone that does not
                fit, `InvalidTarget` for an address that no IP target may have or a stopped
                instance, `TooManyTargets`.
        """
        with self._lock:
            self._drop_gone()
            new = {self._target(request): self._zone(request) for request in requests}
            if len(self._registrations.keys() | new.keys()) > _MAX_TARGETS:
                raise ApiError(
                    "TooManyTargets", f"A target group can hold up to {_MAX_TARGETS} targets"
                )
            for target, zone in new.items():
                present = self._registrations.get(target)
                if present is None or present.drained_at is not None:
                    self._registrations[target] = self._begin(target, zone)

    def deregister(self, requests: Sequence[TargetRequest]) -> None:
        """Start to drain targets. Absent and draining targets do not change.

        Raises:
            ApiError: `ValidationError` for a malformed address.
        """
        with self._lock:
            self._drop_gone()
            leaving = self._clock() + self._settings.deregistration_delay
            for target in [self._target(request) for request in requests]:
                present = self._registrations.get(target)
                if present is not None and present.drained_at is None:
                    present.drained_at = leaving

    def describe(self, requests: Sequence[TargetRequest] = ()) -> list[TargetHealth]:
        """Return the health of these targets, or of all, also draining ones.

        Raises:
            ApiError: `ValidationError` for a malformed address.
        """
        with self._lock:
            self._drop_gone()
            named: Iterable[Target] = [
                self._target(request) for request in requests
            ] or self._registrations
            return [self._health(target) for target in named]

    def run_health_checks(self) -> None:
        """Probe every target whose check is due. Call it several times per interval.

        A check that outbound rules block when it starts gets no reply and fails after the
        time-out, although AWS's retransmissions may pass a rule that opens meanwhile.
        """
        self._fail_unanswered()
        for registration, port in self._due():
            address = self._settings.address_of(registration.target)
            blocked = not self._allows(address, port)
            passed = not blocked and self._probe(address, port)
            with self._lock:
                if blocked:
                    fails_at = self._clock() + self._settings.timeout
                    self._unanswered.append((fails_at, registration))
                else:
                    registration.record(passed=passed, settings=self._settings)
        self._fail_unanswered()

    def _fail_unanswered(self) -> None:
        with self._lock:
            while self._unanswered and self._unanswered[0][0] <= self._clock():
                _, registration = self._unanswered.popleft()
                registration.record(passed=False, settings=self._settings)

    def _allows(self, address: IPv4Address, port: int) -> bool:
        with self._lock:
            return allowed(self._outbound.current(), address, port)

    def _begin(self, target: Target, zone: str) -> _Registration:
        start = self._clock() + self._settings.registration_delay
        return _Registration(target=target, zone=zone, checks_from=start, next_check=start)

    def _due(self) -> list[tuple[_Registration, int]]:
        with self._lock:
            self._drop_gone()
            now = self._clock()
            due = [
                registration
                for registration in self._registrations.values()
                if registration.next_check <= now
                and registration.drained_at is None
                and self._receives_traffic(registration)
            ]
            for registration in due:
                registration.next_check = now + self._settings.interval
            return [(registration, self._check_port(registration)) for registration in due]

    def _drop_gone(self) -> None:
        """Remove drained targets and terminated instances, which AWS deregisters."""
        now, instances = self._clock(), self._settings.instances
        gone = [
            target
            for target, registration in self._registrations.items()
            if (registration.drained_at is not None and registration.drained_at <= now)
            or (instances is not None and target.id not in instances)
        ]
        for target in gone:
            del self._registrations[target]

    def _check_port(self, registration: _Registration) -> int:
        return self._settings.health_check_port or registration.target.port

    def _stopped_state(self, registration: _Registration) -> str | None:
        """Return the state of a stopped instance target; None for a running one."""
        if self._settings.instances is None:
            return None
        state = self._settings.instances[registration.target.id].state
        return None if state == "running" else state

    def _receives_traffic(self, registration: _Registration) -> bool:
        if self._stopped_state(registration):
            return False
        zones = self._settings.enabled_zones
        return zones is not None and (registration.zone == ALL_ZONES or registration.zone in zones)

    def _target(self, request: TargetRequest) -> Target:
        port = self._settings.port if request.port is None else request.port
        if self._settings.instances is not None:
            if not request.id.startswith("i-"):
                raise ApiError("ValidationError", f"Instance ID '{request.id}' is not valid")
            return Target(request.id, port)
        try:
            return Target(str(IPv4Address(request.id)), port)
        except AddressValueError:
            raise ApiError(
                "ValidationError", f"The IP address '{request.id}' is not a valid IPv4 address"
            ) from None

    def _zone(self, request: TargetRequest) -> str:
        """Return the zone of a new target, which inside the VPC follows from its address."""
        if self._settings.instances is not None:
            return self._instance_zone(request.id, self._settings.instances)
        address = IPv4Address(request.id)
        found = self._settings.zone_of(address)
        given = request.availability_zone
        if found is None and not any(address in network for network in _PRIVATE_NETWORKS):
            raise ApiError(
                "InvalidTarget",
                f"The IP address '{address}' is neither in a subnet of the VPC nor in a private "
                "network that a target may be in",
            )
        if found is None and given is None:
            raise ApiError(
                "ValidationError",
                f"The Availability Zone is required for IP address '{address}' "
                "because it is not in the VPC",
            )
        if found is not None and given not in (None, found):
            raise ApiError(
                "ValidationError",
                f"The IP address '{address}' is within the VPC, and cannot have its "
                f"Availability Zone overridden to '{given}' from '{found}'",
            )
        return found or given or ALL_ZONES

    def _instance_zone(self, instance_id: str, instances: Mapping[str, Instance]) -> str:
        instance = instances.get(instance_id)
        if instance is None or instance.state != "running":
            raise ApiError(
                "InvalidTarget",
                "The following targets are not in a running state and cannot be registered: "
                f"'{instance_id}'",
            )
        return instance.zone

    def _health(self, target: Target) -> TargetHealth:
        registration = self._registrations.get(target)
        if registration is None:
            state, reason, description = _NOT_REGISTERED
        else:
            state, reason, description = self._condition(registration)
        address = self._settings.address_of(target) if registration else None
        return TargetHealth(
            id=target.id,
            port=target.port,
            address=address,
            availability_zone=self._shown_zone(registration),
            health_check_port=self._check_port(registration) if registration else None,
            state=state,
            reason=reason,
            description=description,
            allowed=address is not None and self._allows(address, target.port),
        )

    def _shown_zone(self, registration: _Registration | None) -> str | None:
        """Return the zone in a response; None for instance targets."""
        if registration is None or self._settings.instances is not None:
            return None
        return registration.zone

    def _condition(self, registration: _Registration) -> "_Condition":
        if registration.drained_at is not None:
            return _DRAINING
        return self._unused_reason(registration) or self._checked(registration)

    def _unused_reason(self, registration: _Registration) -> "_Condition | None":
        if self._settings.enabled_zones is None:
            return _GROUP_NOT_IN_USE
        stopped = self._stopped_state(registration)
        if stopped:
            text = f"Target is in the {stopped} state"
            return (TargetState.UNUSED, "Target.InvalidState", text)
        return None if self._receives_traffic(registration) else _ZONE_NOT_ENABLED

    def _checked(self, registration: _Registration) -> "_Condition":
        if self._clock() < registration.checks_from:
            return _REGISTERING
        if registration.healthy is None:
            return _FIRST_CHECKS
        return _HEALTHY if registration.healthy else _UNHEALTHY


_Condition = tuple[TargetState, str | None, str | None]

_HEALTHY: _Condition = (TargetState.HEALTHY, None, None)
_UNHEALTHY: _Condition = (
    TargetState.UNHEALTHY,
    "Target.FailedHealthChecks",
    "Health checks failed",
)
_REGISTERING: _Condition = (
    TargetState.INITIAL,
    "Elb.RegistrationInProgress",
    "Target registration is in progress",
)
_FIRST_CHECKS: _Condition = (
    TargetState.INITIAL,
    "Elb.InitialHealthChecking",
    "Initial health checks in progress",
)
_DRAINING: _Condition = (
    TargetState.DRAINING,
    "Target.DeregistrationInProgress",
    "Target deregistration is in progress",
)
_NOT_REGISTERED: _Condition = (
    TargetState.UNUSED,
    "Target.NotRegistered",
    "Target is not registered to the target group",
)
_GROUP_NOT_IN_USE: _Condition = (
    TargetState.UNUSED,
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
_ZONE_NOT_ENABLED: _Condition = (
    TargetState.UNUSED,
    "Target.NotInUse",
    "Target is in an Availability Zone that is not enabled for the load balancer",
)
