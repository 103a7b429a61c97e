"""The tagged target groups of this account and Region, as the AWS APIs describe them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi, networks_of
from target_sync.fleet.bindings import read_listing
from target_sync.fleet.model import (
    ENDPOINT_TAG,
    Binding,
    Finding,
    GroupFacts,
    Limits,
    TaggedGroup,
)
from target_sync.fleet.ports import GroupFactsPort, TaggedGroupsPort
from target_sync.model import AwsScope, IPNetwork
from target_sync.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client
    from mypy_boto3_resourcegroupstaggingapi.client import ResourceGroupsTaggingAPIClient

_TAGGING, _ELB, _EC2 = AwsApi("tagging"), AwsApi("elasticloadbalancing"), AwsApi("ec2")
_TARGET_GROUPS = "elasticloadbalancing:targetgroup"
#: The largest pages (tagging API reference, GetResources, ResourcesPerPage; ELBv2 API reference,
#: DescribeTargetGroups, PageSize; EC2 API reference, DescribeVpcs, MaxResults).
_RESOURCES_PAGE, _GROUPS_PAGE, _VPCS_PAGE = 100, 400, 1000
#: The group of a Lambda function has no port and no VPC.
_NO_PORT, _NO_VPC = 0, ""
#: How long a container keeps the facts of groups. A VPC's networks may change.
FACTS_SECONDS = 900.0
#: How long a container takes a group for deleted, unless a new group causes another call.
NOT_FOUND_SECONDS = 300.0


class TaggedGroups:
    """Every target group of the client's account and Region with an endpoint tag.

    Implements ``target_sync.fleet.ports.TaggedGroupsPort``. The API may still list a deleted group,
    and may list without tags a group that once had some.
    """

    def __init__(self, client: "ResourceGroupsTaggingAPIClient") -> None:
        self._client = client

    def list_groups(self) -> Sequence[TaggedGroup]:
        """Return the groups, 100 per call. If one page fails, the listing fails."""
        pages = self._client.get_paginator("get_resources").paginate(
            TagFilters=[{"Key": ENDPOINT_TAG}],
            ResourceTypeFilters=[_TARGET_GROUPS],
            PaginationConfig={"PageSize": _RESOURCES_PAGE},
        )
        return _TAGGING.read(
            "GetResources",
            lambda: [_group(it) for page in pages for it in page["ResourceTagMappingList"]],
        )


class ElbGroupFacts:
    """Target groups and their VPCs. Implements ``target_sync.fleet.ports.GroupFactsPort``.

    It describes all groups of the account and Region: a call that names one deleted group fails for
    all groups that it names.
    """

    def __init__(self, elb: "ElasticLoadBalancingv2Client", ec2: "EC2Client") -> None:
        self._elb = elb
        self._ec2 = ec2

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """Return the facts of these groups, 400 per call; no call if there are none.

        A group whose VPC was deleted is missing too.
        """
        asked = frozenset(arns)
        if not asked:
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
                if item["TargetGroupArn"] in asked and item.get("VpcId", _NO_VPC) in vpcs
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


@dataclass(frozen=True, slots=True)
class _CachedFacts:
    """The facts of the groups that one call asked for."""

    asked: frozenset[str]
    facts: Mapping[str, GroupFacts]
    at: float

    def covers(self, arns: frozenset[str], now: float) -> bool:
        """Return whether these groups need no further call."""
        complete = arns <= self.facts.keys()
        lifetime = FACTS_SECONDS if complete else NOT_FOUND_SECONDS
        return arns <= self.asked and now - self.at < lifetime


@dataclass(slots=True, kw_only=True)
class BoundGroups:
    """The groups of this account and Region that are bound to a database.

    It caches the facts for the life of the container, because they cost calls of the account's
    quota: the same number for one group as for all.
    """

    tagged_groups: TaggedGroupsPort
    facts: GroupFactsPort
    limits: Limits
    scope: AwsScope
    clock: Clock
    _cache: _CachedFacts = field(default=_CachedFacts(frozenset(), {}, float("-inf")), init=False)

    def read(self) -> tuple[tuple[Binding, ...], tuple[Finding, ...]]:
        """Return the bound groups, and the findings on tagged groups without a binding.

        Raises:
            AwsCallError: A call to list the groups or to describe them failed.
        """
        groups = self.tagged_groups.list_groups()
        arns = frozenset(group.arn for group in groups)
        now = self.clock.now()
        if not self._cache.covers(arns, now):
            self._cache = _CachedFacts(arns, self.facts.describe(arns), now)
        return read_listing(groups, self.scope, self.limits, self._cache.facts)


def _group(item: Mapping[str, Any]) -> TaggedGroup:
    tags = frozenset((tag["Key"], tag["Value"]) for tag in item.get("Tags", ()))
    return TaggedGroup(item["ResourceARN"], tags)


def _facts(item: Mapping[str, Any], vpcs: Mapping[str, tuple[IPNetwork, ...]]) -> GroupFacts:
    return GroupFacts(
        port=int(item.get("Port", _NO_PORT)),
        has_ip_targets=item["TargetType"] == "ip",
        vpc_networks=vpcs[item.get("VpcId", _NO_VPC)],
    )
