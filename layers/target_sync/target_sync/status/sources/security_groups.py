"""Security groups and their rules, as the EC2 API tells them."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi
from target_sync.status.facts import Rule, SecurityGroup

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EC2 = AwsApi("ec2")


class Ec2SecurityGroups:
    """Implements ``target_sync.status.ports.SecurityGroupsPort``."""

    def __init__(self, client: "EC2Client") -> None:
        self._client = client

    def rules(self, ids: Iterable[str]) -> Mapping[str, SecurityGroup]:
        """These security groups by ID; one that does not exist is left out.

        They are filtered for and not named, because one missing name would fail the call.
        """
        wanted = sorted(set(ids))
        pages = self._client.get_paginator("describe_security_groups").paginate(
            Filters=[{"Name": "group-id", "Values": wanted}]
        )
        return _EC2.read(
            "DescribeSecurityGroups",
            lambda: {
                group["GroupId"]: SecurityGroup(
                    inbound=_rules(group["IpPermissions"]),
                    outbound=_rules(group["IpPermissionsEgress"]),
                )
                for page in pages
                for group in page["SecurityGroups"]
                if group["GroupId"] in wanted
            },
        )


def _rules(permissions: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            protocol=item["IpProtocol"],
            first_port=item.get("FromPort"),
            last_port=item.get("ToPort"),
            networks=tuple(
                ip_network(entry[key])
                for ranges, key in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"))
                for entry in item.get(ranges, ())
            ),
            groups=tuple(pair["GroupId"] for pair in item.get("UserIdGroupPairs", ())),
            prefix_lists=tuple(entry["PrefixListId"] for entry in item.get("PrefixListIds", ())),
        )
        for item in permissions
    )
