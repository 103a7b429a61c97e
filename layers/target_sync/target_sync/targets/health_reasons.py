"""The meaning of AWS's reason codes for the health of a target, and a remedy for each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthReason:
    """What a reason code means, and what to do about it, in sentences."""

    meaning: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.meaning} {self.remedy}"


_NO_CONNECTION = HealthReason(
    "The load balancer cannot open a TCP connection to it.",
    "Check the likely causes in this order: the database's security group or firewall does not"
    " allow the load balancer on this port (ManageDatabaseIngress=true adds the rule if the stack"
    " knows the group), DatabasePort is wrong, or the server is not running.",
)
_NOT_YET = HealthReason(
    "AWS is still registering it, which can take some minutes.", "Wait until it is healthy."
)
#: ELBv2 API reference, TargetHealth, Reason.
_REASONS: Mapping[str, HealthReason] = {
    "Elb.RegistrationInProgress": _NOT_YET,
    "Elb.InitialHealthChecking": _NOT_YET,
    "Elb.InternalError": HealthReason(
        "AWS reports an internal error of the load balancer.", "Check again later."
    ),
    "Target.FailedHealthChecks": _NO_CONNECTION,
    "Target.Timeout": _NO_CONNECTION,
    "Target.NotInUse": HealthReason(
        "No listener uses the target group, or the load balancer has no subnet in the target's"
        " Availability Zone.",
        "Let a listener forward to the group, or add a subnet of that zone to SubnetIds.",
    ),
    "Target.IpUnusable": HealthReason(
        "Its address belongs to a load balancer.", "Correct DatabaseEndpoint."
    ),
    "Target.InvalidState": HealthReason(
        "The instance is stopped or terminated.", "Start it, or deploy with another one."
    ),
}
_OTHER = HealthReason(
    "AWS gives no known reason.", "Check the health of the target group in the EC2 console."
)


def explain(reason: str) -> HealthReason:
    """Return the meaning and the remedy of a reason code."""
    return _REASONS.get(reason, _OTHER)
