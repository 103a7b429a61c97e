"""The tagged target groups of this account and Region, as the AWS APIs describe them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from target_sync.aws import AwsApi, items_of, networks_of, port, text
from target_sync.errors import AwsCallError
from target_sync.fleet.bindings import read_listing, settings_finding
from target_sync.fleet.model import (
    ENDPOINT_TAG,
    Binding,
    Finding,
    FindingCode,
    GroupFacts,
    Limits,
    Tags,
)
from target_sync.model import IPNetwork
from target_sync.ports import Clock
from target_sync.targets.group_settings import HEALTH_CHECK

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
#: How long a container keeps the attributes of a group.
ATTRIBUTES_SECONDS = 21_600.0
#: The groups whose attributes a sweep reads. Each costs a call of the account's quota.
ATTRIBUTES_PER_SWEEP = 20


class GroupsPort(Protocol):
    """The target groups of an account and Region.

    Every method raises an ``AwsCallError``, which is retryable if the failure may pass.
    """

    def list_groups(self) -> Mapping[str, Tags]:
        """Return the tags, maybe some seconds old, of every group that has an endpoint tag."""

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """Return the facts of these groups, without the groups that do not exist."""

    def attributes(self, arn: str) -> Mapping[str, str]:
        """Return the attributes of a group; none if it does not exist."""


@dataclass(frozen=True, slots=True)
class AwsGroups:
    """Implements ``GroupsPort`` for the account and Region of the clients."""

    tagging: "ResourceGroupsTaggingAPIClient"
    elb: "ElasticLoadBalancingv2Client"
    ec2: "EC2Client"

    @_TAGGING.reads("GetResources")
    def list_groups(self) -> Mapping[str, Tags]:
        """Return the groups, 100 per call. If one page fails, the listing fails.

        The API may still list a deleted group, and may list without tags a group that had some.
        """
        items = items_of(
            self.tagging,
            "GetResources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": ENDPOINT_TAG}],
            ResourceTypeFilters=[_TARGET_GROUPS],
            PaginationConfig={"PageSize": _RESOURCES_PAGE},
        )
        return {text(item["ResourceARN"]): _tags(item) for item in items}

    def describe(self, arns: Collection[str]) -> Mapping[str, GroupFacts]:
        """Return the facts of these groups; no call if there are none.

        It describes all groups of the account and Region, 400 per call, because a call that names
        one deleted group fails. A group whose VPC was deleted is missing too.
        """
        asked = frozenset(arns)
        if not asked:
            return {}
        vpcs = self._vpcs()
        operation, size = "DescribeTargetGroups", {"PageSize": _GROUPS_PAGE}
        return _ELB.call(
            operation,
            lambda: {
                item["TargetGroupArn"]: _facts(item, vpcs)
                for item in items_of(self.elb, operation, "TargetGroups", PaginationConfig=size)
                if item["TargetGroupArn"] in asked and item.get("VpcId", _NO_VPC) in vpcs
            },
        )

    def attributes(self, arn: str) -> Mapping[str, str]:
        """Return the attributes of a group, by one call for this group alone."""
        found = _ELB.find(
            "DescribeTargetGroupAttributes",
            lambda: {
                item["Key"]: item["Value"]
                for item in self.elb.describe_target_group_attributes(TargetGroupArn=arn)[
                    "Attributes"
                ]
            },
        )
        return found or {}

    def _vpcs(self) -> Mapping[str, tuple[IPNetwork, ...]]:
        operation, size = "DescribeVpcs", {"PageSize": _VPCS_PAGE}
        found = _EC2.call(
            operation,
            lambda: {
                vpc["VpcId"]: networks_of(vpc)
                for vpc in items_of(self.ec2, operation, "Vpcs", PaginationConfig=size)
            },
        )
        return {_NO_VPC: (), **found}


@dataclass(slots=True, kw_only=True)
class BoundGroups:
    """The groups of this account and Region that are bound to a database.

    It caches the facts for the life of the container, because they cost calls of the account's
    quota: the same number for one group as for all.
    """

    groups: GroupsPort
    limits: Limits
    region: str
    clock: Clock
    #: The groups of the last description, their facts, and its time.
    _asked: frozenset[str] = field(default=frozenset(), init=False)
    _facts: Mapping[str, GroupFacts] = field(default_factory=dict, init=False)
    _described_at: float = field(default=-inf, init=False)
    #: The attributes of each group, and when they were read.
    _attributes: dict[str, tuple[float, Mapping[str, str]]] = field(
        default_factory=dict, init=False
    )

    def read(self) -> tuple[tuple[Binding, ...], tuple[Finding, ...]]:
        """Return the bound groups, and the findings on tagged groups without a binding.

        Raises:
            AwsCallError: A call to list the groups or to describe them failed.
        """
        groups = self.groups.list_groups()
        facts = self._describe(frozenset(groups))
        return read_listing(groups, self.region, self.limits, facts)

    def check_settings(self, bindings: Sequence[Binding]) -> tuple[Finding, ...]:
        """Return a finding for each bound group whose settings make a failover slow.

        A sweep reads the attributes of some groups only, and the first failure ends this. The
        findings of the others are those of the earlier sweeps of this container.
        """
        arns = [binding.arn for binding in bindings]
        self._attributes = {arn: it for arn, it in self._attributes.items() if arn in set(arns)}
        findings = []
        try:
            for arn in self._without_attributes(arns):
                self._attributes[arn] = self.clock.now(), self.groups.attributes(arn)
        except AwsCallError as error:
            if not error.retryable:
                detail = f"The attributes of the group are unknown: {error}"
                findings.append(Finding(arn, FindingCode.OTHER_SETTINGS, detail))
        for arn in arns:
            _, attributes = self._attributes.get(arn, (0.0, {}))
            if found := settings_finding(arn, self.region, attributes, self._facts[arn]):
                findings.append(found)
        return tuple(findings)

    def _without_attributes(self, arns: Sequence[str]) -> list[str]:
        """Return the groups whose attributes this sweep reads."""
        oldest = self.clock.now() - ATTRIBUTES_SECONDS
        due = [arn for arn in arns if self._attributes.get(arn, (-inf, {}))[0] <= oldest]
        return due[:ATTRIBUTES_PER_SWEEP]

    def _describe(self, arns: frozenset[str]) -> Mapping[str, GroupFacts]:
        """Return the facts of these groups, from memory unless they are too old there."""
        now, is_complete = self.clock.now(), arns <= self._facts.keys()
        lifetime = FACTS_SECONDS if is_complete else NOT_FOUND_SECONDS
        if not arns <= self._asked or now - self._described_at >= lifetime:
            facts = self.groups.describe(arns)
            self._asked, self._facts, self._described_at = arns, facts, now
        return self._facts


def _tags(item: Mapping[str, Any]) -> Tags:
    return {text(tag["Key"]): text(tag["Value"]) for tag in item.get("Tags", ())}


def _facts(item: Mapping[str, Any], vpcs: Mapping[str, tuple[IPNetwork, ...]]) -> GroupFacts:
    return GroupFacts(
        port=port(item["Port"]) if "Port" in item else _NO_PORT,
        has_ip_targets=item["TargetType"] == "ip",
        vpc_networks=vpcs[item.get("VpcId", _NO_VPC)],
        health_check={name: item.get(name) for name in HEALTH_CHECK},
    )
