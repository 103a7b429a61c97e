"""Parses the tags of target groups: which group follows which database.

Everyone who may tag a target group can write these tags, so they are untrusted. Invalid tags cause
a finding on their group and affect no other group.
"""

from collections.abc import Mapping
from dataclasses import replace

from target_sync.endpoints.names import EndpointType, classify
from target_sync.environment import networks, whole_number
from target_sync.errors import RejectedInputError, SettingsError
from target_sync.fleet.model import (
    ENDPOINT_TAG,
    FLEET_KINDS,
    KIND_TAG,
    POLICY_TAG,
    TAG_PREFIX,
    Binding,
    Finding,
    FindingCode,
    GroupFacts,
    Limits,
    Tags,
)
from target_sync.model import (
    HIGHEST_PORT,
    TARGET_NETWORKS,
    DatabaseKind,
    IPNetwork,
    SyncPolicy,
)
from target_sync.targets.group_settings import (
    CROSS_ZONE,
    GROUP_ATTRIBUTES,
    HEALTH_CHECK,
    different,
    sentences,
    setting_back,
)

_USER_TAGS = (ENDPOINT_TAG, KIND_TAG, POLICY_TAG)


class _InvalidTagsError(Exception):
    """A group has no valid binding."""

    def __init__(self, detail: str, code: FindingCode = FindingCode.INVALID_TAG) -> None:
        super().__init__(detail)
        self.code = code


def read_listing(
    groups: Mapping[str, Tags], region: str, limits: Limits, facts: Mapping[str, GroupFacts]
) -> tuple[tuple[Binding, ...], tuple[Finding, ...]]:
    """Return the bindings in a listing, and a finding for each group without a valid one.

    A group without an endpoint tag is ignored. ``limits`` are the defaults of a policy tag;
    ``facts`` are those that ELB knows.
    """
    bindings, findings = list[Binding](), list[Finding]()
    for arn, tags in sorted(groups.items()):
        if ENDPOINT_TAG not in tags:
            continue
        try:
            bindings.append(_read(arn, tags, region, limits, facts.get(arn)))
        except _InvalidTagsError as error:
            findings.append(Finding(arn, error.code, str(error)))
    return tuple(bindings), tuple(findings)


def settings_finding(
    arn: str, region: str, attributes: Mapping[str, str], facts: GroupFacts
) -> Finding | None:
    """Return a finding if settings of a group differ from those of a stack; None if none does.

    ``attributes`` is empty while they are unknown.
    """
    expected: Mapping[str, object] = GROUP_ATTRIBUTES if attributes else {}
    if attributes.get(CROSS_ZONE) == "false":
        # Any other value leaves the decision to the load balancer.
        expected = {**expected, CROSS_ZONE: "true"}
    details = [
        *sentences(expected, attributes),
        *sentences(HEALTH_CHECK, facts.health_check),
    ]
    if not details:
        return None
    return Finding(
        arn,
        FindingCode.OTHER_SETTINGS,
        f"The fleet follows the group, but a failover is slow: {' '.join(details)}",
        setting_back(
            arn,
            region,
            different(expected, attributes),
            different(HEALTH_CHECK, facts.health_check),
        ),
    )


def _read(arn: str, tags: Tags, region: str, limits: Limits, facts: GroupFacts | None) -> Binding:
    known = _check_facts(arn, facts)
    for key in sorted(tags.keys() - _USER_TAGS):
        if key.strip().lower().startswith(TAG_PREFIX):
            raise _InvalidTagsError(
                f"The tag {key!r} is not one of {', '.join(_USER_TAGS)}: correct or remove it."
            )
    endpoint, kind = _endpoint(tags[ENDPOINT_TAG], tags.get(KIND_TAG), region)
    return Binding(
        arn=arn,
        endpoint=endpoint,
        kind=kind,
        policy=_policy(tags.get(POLICY_TAG, ""), _default_policy(kind, limits, known)),
        vpc_networks=known.vpc_networks,
    )


def _check_facts(arn: str, facts: GroupFacts | None) -> GroupFacts:
    if facts is None:
        raise _InvalidTagsError(
            f"{arn} does not exist any more. The tagging API still lists a deleted target group for"
            " some time. Create it again if it was deleted by mistake.",
            FindingCode.NOT_FOUND,
        )
    if not facts.has_ip_targets:
        raise _InvalidTagsError(
            f"{arn} does not have TargetType ip, and a fleet registers IP addresses: create a"
            f" target group of type ip, or remove the tag {ENDPOINT_TAG}.",
            FindingCode.WRONG_TARGET_TYPE,
        )
    return facts


def _default_policy(kind: DatabaseKind, limits: Limits, facts: GroupFacts) -> SyncPolicy:
    """Return the policy of a group without a policy tag."""
    of_kind = () if kind is DatabaseKind.HOSTNAME else facts.vpc_networks
    return SyncPolicy(
        port=facts.port,
        allowed_networks=limits.allowed_networks or of_kind or TARGET_NETWORKS,
        max_targets=limits.max_targets,
    )


def _endpoint(text: str, kind: str | None, region: str) -> tuple[str, DatabaseKind]:
    """Return the normalized name and its kind."""
    try:
        endpoint = classify(text, _kind(kind), region)
    except RejectedInputError as error:
        # The message names the parameters of a stack.
        message = str(error).replace("DatabaseEndpoint", ENDPOINT_TAG)
        raise _InvalidTagsError(message.replace("DatabaseKind", KIND_TAG)) from None
    # Its name does not contain the identifier of its cluster.
    if endpoint.type is EndpointType.CLUSTER_CUSTOM:
        raise _InvalidTagsError(
            f"The tag {ENDPOINT_TAG} has the custom endpoint {endpoint.endpoint}, whose chosen"
            " members cannot be followed: give the cluster's writer or reader endpoint."
        )
    if endpoint.kind is None or endpoint.kind not in FLEET_KINDS:
        raise _InvalidTagsError(
            f"The tag {ENDPOINT_TAG} has {text!r}, which is {endpoint.type}: a fleet follows DNS"
            " names only; register these targets yourself, or deploy a stack for them."
        )
    return endpoint.endpoint, endpoint.kind


def _kind(text: str | None) -> DatabaseKind | None:
    if text is None:
        return None
    if text not in FLEET_KINDS:
        raise _InvalidTagsError(
            f"The tag {KIND_TAG} has {text!r}: give one of {', '.join(FLEET_KINDS)}, or no tag."
        )
    return DatabaseKind(text)


def _policy(text: str, default: SyncPolicy) -> SyncPolicy:
    """Parse ``port=6432 max=2 networks=10.1.0.0/16+10.2.0.0/16``; tags cannot have commas."""
    given = dict[str, str]()
    for item in text.split():
        name, _, value = item.partition("=")
        if name not in {"port", "max", "networks"} or name in given or not value.strip("+"):
            raise _InvalidTagsError(
                f"The tag {POLICY_TAG} has {item!r}: give port=, max= or networks=, each once, for"
                " example port=6432 networks=10.1.0.0/16+10.2.0.0/16."
            )
        given[name] = value.replace("+", ",")
    most = default.max_targets
    try:
        return replace(
            default,
            port=whole_number(given, "port", HIGHEST_PORT, default=str(default.port)),
            max_targets=whole_number(given, "max", most, default=str(most)),
            allowed_networks=_networks(given, default.allowed_networks),
        )
    except SettingsError as error:
        raise _InvalidTagsError(f"The tag {POLICY_TAG}: {error}.") from None


def _networks(given: Mapping[str, str], allowed: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    """Return the given networks, which must be inside the allowed ones; or else the latter."""
    if "networks" not in given:
        return allowed
    narrowed = networks(given, "networks")
    for network in narrowed:
        # The versions are compared first, because subnet_of raises for IPv4 and IPv6.
        if not any(
            network.version == it.version and network.subnet_of(it)  # type: ignore[arg-type]
            for it in allowed
        ):
            raise SettingsError(f"{network} is outside the fleet's allowed networks")
    return narrowed
