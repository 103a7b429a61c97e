"""The rows of the tables that repeat the templates: permissions, ports, grants, replacements."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stack import PSEUDO_PARAMETERS, as_list, expand

Row: TypeAlias = tuple[str, ...]

TEMPLATE = expand()
RESOURCES: Mapping[str, Mapping[str, Any]] = TEMPLATE["Resources"]
_CONDITIONS = {
    "ReviewsConnections": "with `AcceptanceRequired`",
    "AnyAccountIsTrusted": "an account is trusted",
    "FunctionInVpc": "with `FunctionSubnetIds`",
    "CreatesInterfaceEndpoints": "with `CreateInterfaceEndpoints`",
    "IsCluster": "clusters",
    "IsInstance": "EC2 instances",
    "IsRdsInstance": "RDS instances",
    "IsProxy": "RDS proxies",
    "IsRds": "RDS",
    "IsScalingGroup": "`ec2-asg`",
    "KeepsStandbyServing": "`StandbyTargets=serving`",
    "ReadsDatabaseInterfaces": "RDS instances, `StandbyTargets` not `none`",
    "ManagesDatabaseIngress": "with `ManageDatabaseIngress`",
    "CreatesLoadBalancer": "no `ExistingTargetGroupArn`",
    "HasSwitch": "no `ExistingTargetGroupArn`, not `ec2-asg`",
    "RejectsUntrusted": "with `RejectUntrusted`",
    "ReconcilesTargets": "not `ec2-asg`",
    "NotifiesPeople": "`AlarmTopicArn` or `AlarmEmail`",
}
"""The text of the pages for each condition of the template."""
#: The condition under which a resource has the second alternative of a condition.
_OTHERWISE = {"HasSwitch": "IsScalingGroup"}


def code(*texts: object) -> str:
    """Return texts as code, with commas."""
    return ", ".join(f"`{text}`" for text in texts)


def of_type(resource_type: str) -> dict[str, Mapping[str, Any]]:
    """Return the resources of a type, by logical ID."""
    return {name: found for name, found in RESOURCES.items() if found["Type"] == resource_type}


def permissions(role: str) -> list[Row]:
    """Return what a role may do: actions, resources, condition."""
    return [
        (
            code(*as_list(statement["Action"])),
            ", ".join(_shown(resource) for resource in as_list(statement["Resource"])),
            when,
        )
        for when, statement in _statements(role)
    ]


def security_group_rules() -> Iterator[Row]:
    """Yield every rule of every security group: owner, direction, ports, peer, condition."""
    for name, group in of_type("AWS::EC2::SecurityGroup").items():
        for way, key in (("in", "SecurityGroupIngress"), ("out", "SecurityGroupEgress")):
            for item in group["Properties"].get(key, []):
                for condition, rule in _alternatives(item, group["Condition"]):
                    yield code(name), way, *_opening(rule), _CONDITIONS[condition]
    for rule in of_type("AWS::EC2::SecurityGroupIngress").values():
        when = _CONDITIONS[rule["Condition"]]
        yield "the database's own", "in", *_opening(rule["Properties"]), when


def service_grants() -> Iterator[Row]:
    """Yield every service that a resource policy allows: service, action, resource, source."""
    for resource in RESOURCES.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Permission":
            yield (
                code(properties["Principal"]),
                code(properties["Action"]),
                _shown(properties["FunctionName"]),
                _shown(properties["SourceArn"]),
            )
        elif resource["Type"] in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
            for item in properties["PolicyDocument"]["Statement"]:
                _, statement = _conditional(item)
                (sources,) = statement["Condition"]["ArnEquals"].values()
                yield (
                    code(statement["Principal"]["Service"]),
                    code(statement["Action"]),
                    _shown(statement["Resource"]),
                    ", ".join(_shown(source) for source in as_list(sources)),
                )


def replacements() -> list[Row]:
    """Return what an update can replace: resource, property, origin of the property's value."""
    return [
        (code(name), code(path), code(*causes))
        for name in RESOURCES
        for path, causes in replacing_properties(name)
    ]


@cache
def replacing_properties(name: str) -> tuple[tuple[str, Row], ...]:
    """Return the properties of a resource whose change replaces it and that can change."""
    properties = RESOURCES[name].get("Properties", {})
    found = []
    for path in _create_only(RESOURCES[name]["Type"]):
        value: Any = properties
        for step in path.split("/"):
            value = value.get(step) if isinstance(value, Mapping) else None
        causes = tuple(dict.fromkeys(it for it in _references(value) if _changes(it)))
        if causes:
            found.append((path, causes))
    return tuple(sorted(found))


def _alternatives(rule: Any, condition: str) -> Iterator[tuple[str, Any]]:
    """Yield each rule that may stand here, with its condition."""
    if "Fn::If" not in rule:
        yield condition, rule
        return
    chosen, yes, no = rule["Fn::If"]
    yield chosen, yes
    yield _OTHERWISE[chosen], no


def _conditional(item: Any) -> tuple[str, Any]:
    """Return the pages' text for the condition of an item, and the item."""
    if "Fn::If" in item:
        condition, there, _ = item["Fn::If"]
        return _CONDITIONS[condition], there
    return "", item


def _shown(value: Any) -> str:
    """Return a resource or a number as the pages write it, without the common part of ARNs."""
    if not isinstance(value, dict):
        return code(value)
    ((function, argument),) = value.items()
    if function == "Fn::If":
        _, yes, no = argument
        return f"{_shown(yes)} or {_shown(no)}"
    if function == "Fn::Sub":
        return code(re.sub(r"^arn:.*?AccountId}:", "", argument))
    name = argument if isinstance(argument, str) else ".".join(argument)
    return code(name.removesuffix(".Arn"))


def _statements(role: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each statement of a role, with the text of its condition."""
    for inline in RESOURCES[role]["Properties"]["Policies"]:
        for item in as_list(inline["PolicyDocument"]["Statement"]):
            yield _conditional(item)
    for policy in of_type("AWS::IAM::Policy").values():
        if {"Ref": role} in policy["Properties"]["Roles"]:
            for item in policy["Properties"]["PolicyDocument"]["Statement"]:
                yield _CONDITIONS[policy["Condition"]], item


def _opening(rule: Mapping[str, Any]) -> Row:
    first, last = _shown(rule["FromPort"]), _shown(rule["ToPort"])
    ports = first if first == last else f"{first} to {last}"
    peer = _shown(rule.get("CidrIp") or rule["SourceSecurityGroupId"])
    return f"{rule['IpProtocol']} {ports}", peer


@cache
def _create_only(resource_type: str) -> Row:
    """Return the properties whose change replaces a resource; nested ones by their path."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(
        PSEUDO_PARAMETERS["AWS::Region"], resource_type
    ).schema
    pointers = schema.get("createOnlyProperties") or []
    return tuple(str(pointer).removeprefix("/properties/") for pointer in pointers)


def _references(value: Any) -> Iterator[str]:
    """Yield the names of the parameters, resources and attributes in a value."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, argument in value.items():
            if key in {"Ref", "Fn::GetAtt"}:
                yield argument if isinstance(argument, str) else ".".join(argument)
            elif key == "Condition" and isinstance(argument, str):
                yield from _references(TEMPLATE["Conditions"][argument])
            elif key == "Fn::If":
                yield from _references([TEMPLATE["Conditions"][argument[0]], argument[1:]])
            elif key == "Fn::Sub":
                yield from _placeholders(argument)
            else:
                yield from _references(argument)


def _placeholders(argument: Any) -> Iterator[str]:
    text, variables = (argument, {}) if isinstance(argument, str) else argument
    names = re.findall(r"\$\{([^}]+)\}", text)
    yield from (name for name in names if name not in variables)
    yield from _references(list(variables.values()))


def _changes(reference: str) -> bool:
    """Return whether an update can change the referenced value."""
    name, _, attribute = reference.partition(".")
    if name in TEMPLATE["Parameters"] or (name == "DatabaseLookup" and attribute):
        return True
    return name in RESOURCES and bool(replacing_properties(name))
