"""The network interfaces of RDS, found by the EC2 API: which addresses are still the database's."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from target_sync.aws import AwsApi, make_client
from target_sync.config import Settings
from target_sync.errors import AwsAccessDeniedError, AwsCallError
from target_sync.model import IPAddress, StandbyCheck
from target_sync.ports import Standbys

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import NetworkInterfaceTypeDef

_OPERATION = "DescribeNetworkInterfaces"
_EC2 = AwsApi("ec2")
#: What RDS writes into the description of its interfaces. Seen everywhere, documented nowhere.
_DESCRIPTION = "RDSNetworkInterface"
#: Most values of one filter (EC2 user guide, *List and filter using the CLI and API*).
_MOST_VALUES = 200


@dataclass(frozen=True, slots=True)
class RdsNetworkInterfaces:
    """Confirms the addresses that RDS holds in the database's network.

    Implements ``target_sync.ports.Standbys``.

    An interface counts if an AWS service manages it (EC2 user guide, *Requester-managed network
    interfaces*), its description is that of RDS, and it is in the database's VPC and in every one
    of the database's security groups. It need not be attached: an address is nobody else's until
    its interface is deleted. No API tells whose interface it is, so another database of RDS in
    the same security groups looks the same.

    Attributes:
        client: A client of the EC2 API.
        vpc_id: The VPC of the database.
        security_groups: The IDs of the database's security groups, at least one.
    """

    client: "EC2Client"
    vpc_id: str
    security_groups: tuple[str, ...]

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        """Describe the interfaces that have these addresses: one call, none if there is none.

        Only IPv4 addresses are looked for; no other is ever confirmed.
        """
        wanted = sorted(str(address) for address in addresses if isinstance(address, IPv4Address))
        held: set[IPAddress] = set()
        try:
            for start in range(0, len(wanted), _MOST_VALUES):
                held |= self._held(wanted[start : start + _MOST_VALUES])
        except AwsAccessDeniedError as error:
            return _failed(error, f"Give the function's role the permission ec2:{_OPERATION}.")
        except AwsCallError as error:
            return _failed(error, "No target is removed for that; the next run asks again.")
        return StandbyCheck(confirmed=addresses & held)

    def _held(self, addresses: Sequence[str]) -> set[IPAddress]:
        """The addresses of the database's interfaces that have any of these."""

        def read() -> set[IPAddress]:
            reply = self.client.describe_network_interfaces(
                Filters=[
                    {"Name": "addresses.private-ip-address", "Values": addresses},
                    {"Name": "vpc-id", "Values": [self.vpc_id]},
                    {"Name": "description", "Values": [_DESCRIPTION]},
                    {"Name": "group-id", "Values": self.security_groups},
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

        return _EC2.read(_OPERATION, read)

    def _is_of_the_database(self, interface: "NetworkInterfaceTypeDef") -> bool:
        """Whether an interface is what was asked for; a filter alone is not trusted."""
        groups = {group["GroupId"] for group in interface["Groups"]}
        return (
            interface["RequesterManaged"] is True
            and interface["Description"] == _DESCRIPTION
            and interface["VpcId"] == self.vpc_id
            and groups.issuperset(self.security_groups)
        )


def _failed(error: AwsCallError, remedy: str) -> StandbyCheck:
    return StandbyCheck(failure=f"{str(error).rstrip('.')}. {remedy}")


def standbys_of(settings: Settings) -> Standbys:
    """Who knows whether an address is the database's, where its standby's target stays."""
    return RdsNetworkInterfaces(make_client("ec2"), settings.vpc_id, settings.security_groups)
