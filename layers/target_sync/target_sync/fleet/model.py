"""The words of a fleet as values: what is listed, what is bound to what, what is wrong.

Apart from ``bindings``, which reads them out of tags: a worker gets them read, and must not pay
at its cold start for what it takes to read a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from target_sync.model import DatabaseKind, IPNetwork, SyncPolicy

PREFIX = "privatelink-sync:"
#: What a person writes: the database's name; and, if need be, its kind and the policy.
ENDPOINT_TAG, KIND_TAG, POLICY_TAG = PREFIX + "endpoint", PREFIX + "kind", PREFIX + "policy"
#: What the fleet itself writes: the record of the last verified state, and how far the audit is.
RECORD_TAG, AUDIT_TAG = PREFIX + "verified", PREFIX + "audited"

#: The kinds that a name in a tag can have; the others have no name to follow.
FLEET_KINDS = (
    DatabaseKind.RDS_INSTANCE,
    DatabaseKind.RDS_CLUSTER_WRITER,
    DatabaseKind.RDS_CLUSTER_READERS,
    DatabaseKind.RDS_PROXY,
    DatabaseKind.HOSTNAME,
)

#: What is asked of a name. Groups that ask the same share the answer.
EndpointKey: TypeAlias = tuple[DatabaseKind, str]


@dataclass(frozen=True, slots=True)
class TaggedGroup:
    """One line of the listing.

    Attributes:
        arn: The target group.
        tags: Its tags as pairs of key and value, so that a contradiction can be seen.
    """

    arn: str
    tags: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What ELB says of a target group, which stays as it is for as long as the group is there.

    Attributes:
        port: The group's own: where its targets are unless a tag says otherwise.
        by_address: Whether its targets are addresses (``TargetType`` ``ip``).
        vpc_networks: The networks of its VPC.
    """

    port: int
    by_address: bool
    vpc_networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for every group of a fleet. A tag may narrow it, never widen it.

    Attributes:
        allowed_networks: Where targets may be; if empty, what a stack of one database takes:
            the group's VPC for a database of RDS, any private network for another name.
        max_targets: The most targets of a group.
    """

    allowed_networks: tuple[IPNetwork, ...] = ()
    max_targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A target group and the database that it follows.

    Attributes:
        vpc_networks: The networks of the group's VPC; empty if every target lies in it.
    """

    arn: str
    endpoint: str
    kind: DatabaseKind
    policy: SyncPolicy
    vpc_networks: tuple[IPNetwork, ...] = ()

    @property
    def question(self) -> EndpointKey:
        """What has to be asked for it."""
        return self.kind, self.endpoint

    @property
    def identifier(self) -> str:
        """How RDS knows an instance or a cluster: the first label of its name."""
        return self.endpoint.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A binding, and the texts that the fleet itself has left on the group; empty if none."""

    binding: Binding
    record: str
    mark: str


class FindingCode(StrEnum):
    """Why a group is not followed, or not now."""

    NOT_A_TARGET_GROUP = "not_a_target_group"
    ELSEWHERE = "elsewhere"
    CONTRADICTION = "contradiction"
    UNKNOWN_TAG = "unknown_tag"
    BAD_ENDPOINT = "bad_endpoint"
    BAD_KIND = "bad_kind"
    BAD_POLICY = "bad_policy"
    #: ELB does not know the group: it was deleted, and the listing is behind.
    GONE = "gone"
    #: Its targets are instances, functions or load balancers.
    NOT_BY_ADDRESS = "not_by_address"
    #: The name gave no answer in this sweep.
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one target group, in a sentence that says what to do."""

    arn: str
    code: FindingCode
    detail: str

    def to_document(self) -> Mapping[str, str]:
        """The finding as it stands in a record."""
        return {"arn": self.arn, "code": self.code.value, "detail": self.detail}


class WorkReason(StrEnum):
    """Why a group needs work; the most urgent first."""

    ANSWER_CHANGED = "answer_changed"
    UNVERIFIED = "unverified"
    AUDIT = "audit"
