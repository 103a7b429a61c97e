"""What ELB and EC2 know of target groups, for any number of them in few calls."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi, networks_of
from target_sync.fleet.model import GroupFacts
from target_sync.model import IPNetwork

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

_ELB, _EC2 = AwsApi("elasticloadbalancing"), AwsApi("ec2")
#: The most that the APIs give (ELBv2 API reference, DescribeTargetGroups, PageSize; EC2 API
#: reference, DescribeVpcs, MaxResults).
_GROUPS_PAGE, _VPCS_PAGE = 400, 1000
#: The group of a Lambda function has no port and no VPC, and no address is ever registered in it.
_NO_PORT, _NO_VPC = 0, ""


class ElbGroupFacts:
    """Target groups with their VPCs. Implements ``target_sync.fleet.ports.GroupFactsPort``.

    All of the account and Region are described, and those that nobody asked for left aside: a
    call that names a group which does not exist fails for all that it names.
    """

    def __init__(self, elb: "ElasticLoadBalancingv2Client", ec2: "EC2Client") -> None:
        self._elb = elb
        self._ec2 = ec2

    def facts(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """The facts of these groups, 400 in a call; of none, without a call.

        A group whose VPC is gone is missing, too: no target of it could be right.
        """
        wanted = frozenset(arns)
        if not wanted:
            return {}
        vpcs = self._vpcs()
        pages = self._elb.get_paginator("describe_target_groups").paginate(
            PaginationConfig={"PageSize": _GROUPS_PAGE}
        )
        return _ELB.read(
            "DescribeTargetGroups",
            lambda: {
                item["TargetGroupArn"]: _facts(item, vpcs)
                for page in pages
                for item in page["TargetGroups"]
                if item["TargetGroupArn"] in wanted and item.get("VpcId", _NO_VPC) in vpcs
            },
        )

    def _vpcs(self) -> Mapping[str, tuple[IPNetwork, ...]]:
        pages = self._ec2.get_paginator("describe_vpcs").paginate(
            PaginationConfig={"PageSize": _VPCS_PAGE}
        )
        found = _EC2.read(
            "DescribeVpcs",
            lambda: {vpc["VpcId"]: networks_of(vpc) for page in pages for vpc in page["Vpcs"]},
        )
        return {_NO_VPC: (), **found}


def _facts(item: Mapping[str, Any], vpcs: Mapping[str, tuple[IPNetwork, ...]]) -> GroupFacts:
    return GroupFacts(
        port=int(item.get("Port", _NO_PORT)),
        by_address=item["TargetType"] == "ip",
        vpc_networks=vpcs[item.get("VpcId", _NO_VPC)],
    )
