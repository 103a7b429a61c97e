"""Which target group follows which database, as its tags say.

Whoever may tag a target group writes this text, so it is untrusted. What cannot be read is a
finding on that group alone, and disturbs no other.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from target_sync.endpoints.names import classify
from target_sync.errors import RejectedInputError
from target_sync.fleet.model import (
    AUDIT_TAG,
    ENDPOINT_TAG,
    FLEET_KINDS,
    KIND_TAG,
    POLICY_TAG,
    PREFIX,
    RECORD_TAG,
    Binding,
    Finding,
    FindingCode,
    GroupFacts,
    Limits,
    ListedGroup,
    TaggedGroup,
)
from target_sync.model import (
    HIGHEST_PORT,
    TARGET_NETWORKS,
    AwsScope,
    DatabaseKind,
    IPNetwork,
    SyncPolicy,
)

_A_PERSONS = (ENDPOINT_TAG, KIND_TAG, POLICY_TAG)
_OURS = (RECORD_TAG, AUDIT_TAG)

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):elasticloadbalancing:(?P<region>[a-z0-9-]+)"
    r":(?P<account>[0-9]{12}):targetgroup/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}"
)
_NUMBER = re.compile(r"[0-9]{1,5}")
#: The texts of ``classify`` name the parameters of a stack; a fleet has tags instead.
_TAG_OF_PARAMETER = {"DatabaseEndpoint": ENDPOINT_TAG, "DatabaseKind": KIND_TAG}


class _UnreadableError(Exception):
    """What makes a binding unreadable."""

    def __init__(self, code: FindingCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def read_listing(
    groups: Iterable[TaggedGroup],
    place: AwsScope,
    limits: Limits,
    facts: Mapping[str, GroupFacts],
) -> tuple[tuple[ListedGroup, ...], tuple[Finding, ...]]:
    """The bindings in a listing, and a finding for each group whose tags are no binding.

    A group that is listed twice counts once, with the tags of both. One without an endpoint tag
    is not the fleet's and is left alone.

    Args:
        groups: The listing.
        place: Where the fleet is.
        limits: What holds where a policy tag says nothing.
        facts: What ELB says of the groups; of one that is missing it knows nothing.
    """
    tags = defaultdict[str, set[tuple[str, str]]](set)
    for group in groups:
        tags[group.arn] |= group.tags
    listed, findings = list[ListedGroup](), list[Finding]()
    for arn in sorted(tags):
        values = _by_key(tags[arn])
        if ENDPOINT_TAG not in values:
            continue
        try:
            listed.append(_read(arn, values, place, limits, facts.get(arn)))
        except _UnreadableError as error:
            findings.append(Finding(arn, error.code, str(error)))
    return tuple(listed), tuple(findings)


def _by_key(tags: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """The values of each of our keys."""
    values = defaultdict[str, list[str]](list)
    for key, value in sorted(tags):
        if key.strip().lower().startswith(PREFIX):
            values[key].append(value)
    return values


def _read(
    arn: str,
    values: Mapping[str, list[str]],
    place: AwsScope,
    limits: Limits,
    facts: GroupFacts | None,
) -> ListedGroup:
    _check_arn(arn, place)
    known = _check_facts(arn, facts)
    for key in values:
        if key not in (*_A_PERSONS, *_OURS):
            raise _UnreadableError(
                FindingCode.UNKNOWN_TAG,
                f"The tag {key!r} is none of {', '.join(_A_PERSONS)}: correct or remove it.",
            )
    endpoint, kind, policy = (_only(key, values) for key in _A_PERSONS)
    name, followed_as = _endpoint(endpoint or "", kind, place.region)
    # Two values of a text of our own cannot both hold; none does, and the group is verified.
    record, mark = ("" if len(texts := values.get(key, [""])) > 1 else texts[0] for key in _OURS)
    binding = Binding(
        arn=arn,
        endpoint=name,
        kind=followed_as,
        policy=_policy(policy or "", _default(followed_as, limits, known)),
        vpc_networks=known.vpc_networks,
    )
    return ListedGroup(binding, record, mark)


def _check_arn(arn: str, place: AwsScope) -> None:
    match = _ARN.fullmatch(arn)
    if match is None:
        raise _UnreadableError(
            FindingCode.NOT_A_TARGET_GROUP,
            f"{arn!r} is no target group: remove the tag {ENDPOINT_TAG} from it.",
        )
    here = (place.partition, place.region, place.account)
    if match.group("partition", "region", "account") != here:
        raise _UnreadableError(
            FindingCode.ELSEWHERE,
            f"{arn} is not in {place}: deploy a fleet there.",
        )


def _check_facts(arn: str, facts: GroupFacts | None) -> GroupFacts:
    if facts is None:
        raise _UnreadableError(
            FindingCode.GONE,
            f"{arn} does not exist any more and is still listed with its tags, as for some time"
            " after a target group is deleted: make it again if it was not to go.",
        )
    if not facts.by_address:
        raise _UnreadableError(
            FindingCode.NOT_BY_ADDRESS,
            f"{arn} does not have TargetType ip, and a fleet registers addresses: make a target"
            f" group of type ip, or remove the tag {ENDPOINT_TAG}.",
        )
    return facts


def _default(kind: DatabaseKind, limits: Limits, facts: GroupFacts) -> SyncPolicy:
    """What holds where the group's own policy tag says nothing."""
    of_kind = () if kind is DatabaseKind.HOSTNAME else facts.vpc_networks
    return SyncPolicy(
        port=facts.port,
        allowed_networks=limits.allowed_networks or of_kind or TARGET_NETWORKS,
        max_targets=limits.max_targets,
    )


def _only(key: str, values: Mapping[str, list[str]]) -> str | None:
    """The one value of a tag; None if there is no such tag."""
    found = values.get(key, [])
    if len(found) > 1:
        raise _UnreadableError(
            FindingCode.CONTRADICTION,
            f"The tag {key} is listed with the values {' and '.join(map(repr, found))}: leave one.",
        )
    return found[0] if found else None


def _endpoint(text: str, kind: str | None, region: str) -> tuple[str, DatabaseKind]:
    """The name in its normal form, and how it is followed."""
    try:
        subject = classify(text, _kind(kind), region)
    except RejectedInputError as refusal:
        raise _UnreadableError(FindingCode.BAD_ENDPOINT, _in_tags(str(refusal))) from None
    if subject.kind is None:
        raise _UnreadableError(
            FindingCode.BAD_ENDPOINT,
            f"The tag {ENDPOINT_TAG} has the custom endpoint {subject.endpoint}, whose chosen"
            f" members cannot be followed: give the cluster's writer or reader endpoint, or set"
            f" {KIND_TAG}.",
        )
    if subject.kind not in FLEET_KINDS:
        raise _UnreadableError(
            FindingCode.BAD_ENDPOINT,
            f"The tag {ENDPOINT_TAG} has {text!r}, which is {subject.type}: a fleet follows DNS"
            " names only; register these targets yourself, or deploy a stack for them.",
        )
    return subject.endpoint, subject.kind


def _kind(text: str | None) -> DatabaseKind | None:
    if text is None:
        return None
    if text not in FLEET_KINDS:
        raise _UnreadableError(
            FindingCode.BAD_KIND,
            f"The tag {KIND_TAG} has {text!r}: give one of {', '.join(FLEET_KINDS)}, or no tag.",
        )
    return DatabaseKind(text)


def _in_tags(text: str) -> str:
    for parameter, tag in _TAG_OF_PARAMETER.items():
        text = text.replace(parameter, tag)
    return text


def _policy(text: str, default: SyncPolicy) -> SyncPolicy:
    """``port=6432 max=2 networks=10.1.0.0/16+10.2.0.0/16``; a tag's value can have no comma."""
    given = dict[str, str]()
    for item in text.split():
        name, _, value = item.partition("=")
        if name not in {"port", "max", "networks"} or name in given:
            raise _bad_policy(item)
        given[name] = value
    policy = default
    if "port" in given:
        policy = replace(policy, port=_number(given["port"], HIGHEST_PORT))
    if "max" in given:
        policy = replace(policy, max_targets=_number(given["max"], default.max_targets))
    if "networks" in given:
        networks = tuple(_network(item, default) for item in given["networks"].split("+"))
        policy = replace(policy, allowed_networks=networks)
    return policy


def _number(text: str, highest: int) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= highest:
        raise _bad_policy(text, f" (a number from 1 to {highest})")
    return int(text)


def _network(text: str, default: SyncPolicy) -> IPNetwork:
    try:
        network = ip_network(text)
    except ValueError:
        raise _bad_policy(text) from None
    # Comparing versions first: subnet_of refuses to compare IPv4 with IPv6.
    if not any(
        network.version == allowed.version and network.subnet_of(allowed)  # type: ignore[arg-type]
        for allowed in default.allowed_networks
    ):
        raise _bad_policy(text, " (it is outside the fleet's allowed networks)")
    return network


def _bad_policy(item: str, why: str = "") -> _UnreadableError:
    return _UnreadableError(
        FindingCode.BAD_POLICY,
        f"The tag {POLICY_TAG} has {item!r}{why}: give port=, max= or networks=, each once, for"
        " example port=6432 networks=10.1.0.0/16+10.2.0.0/16.",
    )
