"""The values of the fleet: tagged groups, bindings, findings and reasons for runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from target_sync.model import DatabaseKind, IPNetwork, SyncPolicy

TAG_PREFIX = "privatelink-sync:"
#: Tags that the user writes: the database's name and, optionally, its kind and the policy.
ENDPOINT_TAG = TAG_PREFIX + "endpoint"
KIND_TAG = TAG_PREFIX + "kind"
POLICY_TAG = TAG_PREFIX + "policy"

#: The kinds of database that have a DNS name to follow.
FLEET_KINDS = (
    DatabaseKind.RDS_INSTANCE,
    DatabaseKind.RDS_CLUSTER_WRITER,
    DatabaseKind.RDS_CLUSTER_READERS,
    DatabaseKind.RDS_PROXY,
    DatabaseKind.HOSTNAME,
)

#: The tags of a target group.
Tags: TypeAlias = Mapping[str, str]
#: A kind and a name. Groups with the same key share their polls.
EndpointKey: TypeAlias = tuple[DatabaseKind, str]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """The properties of a target group that one call returns for all groups.

    Attributes:
        port: The group's port, which its targets have unless the policy tag gives another.
        has_ip_targets: Whether its ``TargetType`` is ``ip``.
        vpc_networks: The networks of its VPC.
        health_check: The settings of `targets.group_settings.HEALTH_CHECK`, by their names there.
    """

    port: int
    has_ip_targets: bool
    vpc_networks: tuple[IPNetwork, ...]
    health_check: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of every group of a fleet. A policy tag may narrow them, never widen them.

    Attributes:
        allowed_networks: The networks that targets may be in. If empty, the group's VPC for a
            database of RDS and any private network for another name, as in a stack of one database.
        max_targets: The most targets of a group.
    """

    allowed_networks: tuple[IPNetwork, ...] = ()
    max_targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A target group and the database that it follows.

    Attributes:
        vpc_networks: The networks of the group's VPC; empty if every target is in the VPC.
    """

    arn: str
    endpoint: str
    kind: DatabaseKind
    policy: SyncPolicy
    vpc_networks: tuple[IPNetwork, ...] = ()

    @property
    def endpoint_key(self) -> EndpointKey:
        """The key of the endpoint to observe."""
        return self.kind, self.endpoint


class FindingCode(StrEnum):
    """Why the fleet does not follow a group, cannot at the moment, or follows it slowly."""

    INVALID_TAG = "invalid_tag"
    #: The tagging API lists the group, but ELB does not know it: it was deleted.
    NOT_FOUND = "not_found"
    #: The targets are instances, functions or load balancers.
    WRONG_TARGET_TYPE = "wrong_target_type"
    #: The last observation of the endpoint failed.
    LOOKUP_FAILED = "lookup_failed"
    #: The fleet follows the group, but its settings make a failover slow.
    OTHER_SETTINGS = "other_settings"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with one target group.

    Attributes:
        detail: It says what to do.
        command: The command for this, for a shell; empty if there is none.
    """

    arn: str
    code: FindingCode
    detail: str
    command: str = ""

    def to_document(self) -> Mapping[str, str]:
        """Return the finding as JSON."""
        return {
            "arn": self.arn,
            "code": self.code.value,
            "detail": self.detail,
            "command": self.command,
        }


class RunReason(StrEnum):
    """Why a group gets a run; the most urgent reason first."""

    ADDRESSES_CHANGED = "addresses_changed"
    #: This container has not verified the group, or its last run did not end in sync.
    UNVERIFIED = "unverified"
    AUDIT = "audit"
