"""The outbound rules that let a load balancer reach its targets, with the EC2 API.

The security group may have rules of others. A rule is ours if it allows TCP to the database's port
at one IPv4 address, and its description starts with our prefix. Every other rule is ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi, items_of
from target_sync.errors import AwsCallError
from target_sync.model import MARKER, OutboundRules, SwitchState, Target

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import IpPermissionTypeDef, SecurityGroupRuleTypeDef

#: The rules in one call. A group may have 60 outbound rules by default (VPC user guide, quotas).
CHUNK = 60

_PREFIX = "postgres-privatelink:"
_OPEN = f"{_PREFIX} open"
_MARKS: Mapping[SwitchState, str] = {
    SwitchState.PROVEN: f"{_PREFIX} the switch is proven",
    SwitchState.INEFFECTIVE: f"{_PREFIX} the switch is ineffective",
}
_STATES = {text: state for state, text in _MARKS.items()}
_DUPLICATE = "InvalidPermission.Duplicate"
_NOT_FOUND = "InvalidPermission.NotFound"
_EC2 = AwsApi("ec2")


@dataclass(frozen=True, slots=True)
class SecurityGroupRules:
    """Our rules in one security group. Implements ``target_sync.ports.OutboundRulesPort``."""

    client: "EC2Client"
    group_id: str
    port: int

    def describe(self) -> OutboundRules:
        """Return the open targets and the state, by one call for up to 1,000 rules."""
        operation = "DescribeSecurityGroupRules"

        def read() -> OutboundRules:
            rules = items_of(
                self.client,
                operation,
                "SecurityGroupRules",
                Filters=[{"Name": "group-id", "Values": [self.group_id]}],
            )
            ours = {
                address: rule["Description"]
                for rule in rules
                if (address := self._address_of(rule)) is not None
            }
            state = _STATES.get(ours.pop(MARKER, ""), SwitchState.UNPROVEN)
            return OutboundRules(frozenset(Target(a, self.port) for a in ours), state)

        return _EC2.call(operation, read)

    def open(self, targets: Sequence[Target]) -> None:
        """Authorize a rule for each target."""
        self._authorize([self._permission(t.address, _OPEN) for t in targets])

    def close(self, targets: Sequence[Target]) -> None:
        """Revoke the rule of each target."""
        self._revoke([self._permission(t.address) for t in targets])

    def mark(self, state: SwitchState) -> None:
        """Replace the rule that has the state. In between, the switch is unproven.

        If another run has marked a state in between, that one stays.
        """
        self._revoke([self._permission(MARKER)])
        if state in _MARKS:
            self._authorize([self._permission(MARKER, _MARKS[state])])

    def _address_of(self, rule: "SecurityGroupRuleTypeDef") -> IPv4Address | None:
        """Return the address that a rule of ours opens; None for any other rule."""
        is_ours = (
            rule["IsEgress"]
            and rule["IpProtocol"] == "tcp"
            and (rule["FromPort"], rule["ToPort"]) == (self.port, self.port)
            and rule.get("Description", "").startswith(_PREFIX)
            and "CidrIpv4" in rule
        )
        network = IPv4Network(rule["CidrIpv4"]) if is_ours else None
        is_one = network is not None and network.num_addresses == 1
        return network.network_address if network is not None and is_one else None

    def _permission(self, address: object, description: str = "") -> "IpPermissionTypeDef":
        described = {"Description": description} if description else {}
        return {
            "IpProtocol": "tcp",
            "FromPort": self.port,
            "ToPort": self.port,
            "IpRanges": [{"CidrIp": f"{address}/32", **described}],  # type: ignore[typeddict-item]
        }

    def _authorize(self, permissions: Sequence["IpPermissionTypeDef"]) -> None:
        method = self.client.authorize_security_group_egress
        self._call("AuthorizeSecurityGroupEgress", method, permissions, unless=_DUPLICATE)

    def _revoke(self, permissions: Sequence["IpPermissionTypeDef"]) -> None:
        method = self.client.revoke_security_group_egress
        self._call("RevokeSecurityGroupEgress", method, permissions, unless=_NOT_FOUND)

    def _call(
        self,
        operation: str,
        method: Callable[..., Any],
        permissions: Sequence["IpPermissionTypeDef"],
        *,
        unless: str,
    ) -> None:
        """Call with all permissions, or with one after another if there is nothing to do for one.

        A call with several permissions has no effect if it is wrong for one of them. ``unless`` is
        the code of this error.
        """
        for start in range(0, len(permissions), CHUNK):
            chunk = permissions[start : start + CHUNK]
            try:
                self._change(operation, method, chunk)
            except AwsCallError as error:
                if error.code != unless:
                    raise
                if len(chunk) > 1:
                    for permission in chunk:
                        self._call(operation, method, [permission], unless=unless)

    def _change(
        self,
        operation: str,
        method: Callable[..., Any],
        permissions: Sequence["IpPermissionTypeDef"],
    ) -> None:
        def read() -> None:
            if not method(GroupId=self.group_id, IpPermissions=permissions)["Return"]:
                raise ValueError("Return is not true")

        _EC2.call(operation, read)
