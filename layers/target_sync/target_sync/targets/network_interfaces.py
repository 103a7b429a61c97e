"""Recognizes the standby's addresses by the network interfaces of RDS, with the EC2 API."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from target_sync.aws import AwsApi, items_of
from target_sync.config import Settings
from target_sync.errors import AwsAccessDeniedError, AwsCallError
from target_sync.model import CandidateList, IPAddress, StandbyCheck

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, NetworkInterfaceTypeDef

_OPERATION = "DescribeNetworkInterfaces"
_EC2 = AwsApi("ec2")
#: The description that RDS gives its interfaces. This is observed, and not documented.
_DESCRIPTION = "RDSNetworkInterface"
#: Most values of one filter (EC2 user guide, *List and filter using the CLI and API*).
_MOST_VALUES = 200
_PERMISSION = f"Give the function's role the permission ec2:{_OPERATION}."


@dataclass(frozen=True, slots=True)
class RdsNetworkInterfaces:
    """Confirms the addresses of RDS's interfaces in the database's network.

    Implements ``target_sync.ports.Standbys`` and ``target_sync.ports.Candidates``.

    An interface counts under three conditions. An AWS service manages it (EC2 user guide,
    *Requester-managed network interfaces*), it has RDS's description, and it is in the database's
    VPC and in all of the database's security groups. It does not have to be attached, because its
    address stays reserved until the interface is deleted. No API names the database of an
    interface, so another RDS database in the same security groups counts too.

    Attributes:
        security_groups: The IDs of the database's security groups, at least one.
        subnets: The IDs of the subnets of the database's subnet group; empty if not known.
    """

    client: "EC2Client"
    vpc_id: str
    security_groups: tuple[str, ...]
    subnets: tuple[str, ...] = ()

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Describe the interfaces with these addresses, in one call for up to 200 of them.

        Only IPv4 addresses can be confirmed.
        """
        texts = sorted(str(address) for address in addresses if isinstance(address, IPv4Address))
        owned: set[IPAddress] = set()
        try:
            for start in range(0, len(texts), _MOST_VALUES):
                owned |= self._owned(texts[start : start + _MOST_VALUES])
        except AwsAccessDeniedError as error:
            return StandbyCheck(failure=_sentences(error, _PERMISSION))
        except AwsCallError as error:
            remedy = "Therefore no target is removed. The next run checks again."
            return StandbyCheck(failure=_sentences(error, remedy))
        return StandbyCheck(confirmed=addresses & owned)

    def addresses(self, serving: frozenset[IPAddress]) -> CandidateList:
        """List the addresses of the database's interfaces, those in another zone first.

        The standby of an instance is in another zone than its primary (RDS user guide, *Multi-AZ DB
        instance deployments*).
        """
        try:
            zones = _EC2.call(_OPERATION, self._zones)
        except AwsAccessDeniedError as error:
            return CandidateList(failure=_sentences(error, _PERMISSION))
        except AwsCallError as error:
            return CandidateList(failure=_sentences(error, "The warm targets stay as they are."))
        serving_zones = {zones[address] for address in serving if address in zones}
        ordered = sorted(zones, key=lambda address: (zones[address] in serving_zones, int(address)))
        return CandidateList(addresses=tuple(a for a in ordered if a not in serving))

    def _zones(self) -> dict[IPAddress, str]:
        """Return the addresses of the database's interfaces, each with its zone."""
        subnets = [{"Name": "subnet-id", "Values": self.subnets}] if self.subnets else []
        filters = [*self._filters(), *subnets]
        return {
            ip_address(entry["PrivateIpAddress"]): interface["AvailabilityZone"]
            for interface in items_of(self.client, _OPERATION, "NetworkInterfaces", Filters=filters)
            if self._is_of_the_database(interface)
            for entry in interface["PrivateIpAddresses"]
        }

    def _filters(self) -> Sequence["FilterTypeDef"]:
        return [
            {"Name": "vpc-id", "Values": [self.vpc_id]},
            {"Name": "description", "Values": [_DESCRIPTION]},
            {"Name": "group-id", "Values": self.security_groups},
        ]

    def _owned(self, addresses: Sequence[str]) -> set[IPAddress]:
        """Return the addresses of the database's interfaces that have any of these addresses."""

        def read() -> set[IPAddress]:
            reply = self.client.describe_network_interfaces(
                Filters=[
                    {"Name": "addresses.private-ip-address", "Values": addresses},
                    *self._filters(),
                ]
            )
            if reply.get("NextToken"):
                raise ValueError("it is only the first page")
            return {
                ip_address(entry["PrivateIpAddress"])
                for interface in reply["NetworkInterfaces"]
                if self._is_of_the_database(interface)
                for entry in interface["PrivateIpAddresses"]
            }

        return _EC2.call(_OPERATION, read)

    def _is_of_the_database(self, interface: "NetworkInterfaceTypeDef") -> bool:
        """Check the interface again, and do not rely on the filters alone."""
        groups = {group["GroupId"] for group in interface["Groups"]}
        return (
            interface["RequesterManaged"] is True
            and interface["Description"] == _DESCRIPTION
            and interface["VpcId"] == self.vpc_id
            and groups.issuperset(self.security_groups)
        )


def _sentences(error: AwsCallError, remedy: str) -> str:
    return f"{str(error).rstrip('.')}. {remedy}"


def network_interfaces_of(client: "EC2Client", settings: Settings) -> RdsNetworkInterfaces:
    """Return what recognizes the addresses of an RDS instance."""
    return RdsNetworkInterfaces(client, settings.vpc_id, settings.security_groups, settings.subnets)
