"""Parse a template, expand it with SAM and resolve its functions, as CloudFormation does."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from tools.expand_template import translate

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
FLEET_TEMPLATE = ROOT / "fleet.yaml"

PARAMETERS = {"DatabaseEndpoint": "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"}
"""The required parameters."""

NETWORK = {
    "VpcId": "vpc-0a1b2c3d4e5f60718",
    "SubnetIds": "subnet-0a1b2c3d4e5f60718,subnet-1a2b3c4d5e6f70819",
}
"""The further parameters of a database outside AWS."""

_CLUSTER = "cluster-abcdefghijkl.eu-west-1.rds.amazonaws.com"
_IN_VPC = {"FunctionSubnetIds": "subnet-0a1b2c3d4e5f60718", "CreateInterfaceEndpoints": "true"}

SITUATIONS: Mapping[str, Mapping[str, str]] = {
    "rds-instance": {},
    "rds-cluster-writer": {"DatabaseEndpoint": f"orders.{_CLUSTER}"},
    "rds-cluster-readers": {"DatabaseEndpoint": f"orders.{_CLUSTER.replace('-', '-ro-', 1)}"},
    "rds-proxy": {"DatabaseEndpoint": f"orders.{_CLUSTER.replace('cluster', 'proxy', 1)}"},
    "hostname": {"DatabaseEndpoint": "db.corp.example", **NETWORK},
    "static": {"DatabaseEndpoint": "192.168.7.1,192.168.7.2", **NETWORK},
    "ec2-instance": {"DatabaseEndpoint": "i-0a1b2c3d4e5f60718", **NETWORK},
    "ec2-asg": {"DatabaseEndpoint": "Databases_1", "DatabaseKind": "ec2-asg", **NETWORK},
    "acceptance": {"AcceptanceRequired": "true"},
    "rejection": {
        "AcceptanceRequired": "true",
        "RejectUntrusted": "true",
        "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
    },
    "no dashboard": {"Dashboard": "false"},
    "mail address": {"AlarmEmail": "on-call@example.com"},
    "function in the VPC, mail address": {"AlarmEmail": "on-call@example.com", **_IN_VPC},
    "existing target group": {
        "ExistingTargetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:111122223333:"
        "targetgroup/theirs/0123456789abcdef"
    },
    "function in the VPC": _IN_VPC,
    "cluster, function in the VPC": {"DatabaseEndpoint": f"orders.{_CLUSTER}", **_IN_VPC},
    "instance, function in the VPC": {
        "DatabaseEndpoint": "i-0a1b2c3d4e5f60718",
        **_IN_VPC,
        **NETWORK,
    },
    "serving standby": {"StandbyTargets": "serving"},
    "serving standby, function in the VPC": {"StandbyTargets": "serving", **_IN_VPC},
    "no warm targets": {"StandbyTargets": "none"},
    "boundary": {
        "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
        "AcceptanceRequired": "true",
    },
}
"""Parameters that make every condition of the template both true and false."""

_FLEET_IN_VPC = {
    "FunctionSubnetIds": "subnet-0a1b2c3d4e5f60718",
    "FunctionSecurityGroupIds": "sg-0a1b2c3d4e5f60718",
}
FLEET_SITUATIONS: Mapping[str, Mapping[str, str]] = {
    "by default": {},
    "in a VPC": _FLEET_IN_VPC,
    "with all options": {
        **_FLEET_IN_VPC,
        "AlarmTopicArn": SITUATIONS["rejection"]["AlarmTopicArn"],
        "PermissionsBoundaryArn": SITUATIONS["boundary"]["PermissionsBoundaryArn"],
    },
}
"""The same for the fleet."""

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/postgres-privatelink/"
    "0a1b2c3d-4e5f-4a6b-8c7d-8e9f0a1b2c3d",
    "AWS::StackName": "postgres-privatelink",
}


@cache
def _parsed(path: Path) -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(path.read_text())
    return template


def load(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return the template with short function tags in their long form."""
    return copy.deepcopy(_parsed(path))


@cache
def _expanded(path: Path) -> dict[str, Any]:
    template = load(path)
    for resource in template["Resources"].values():
        # As `sam package` does, because the transform accepts no local paths.
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                resource["Properties"][key] = "s3://bucket/key"
    return translate(template)


def expand(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return the template after the SAM transform."""
    return copy.deepcopy(_expanded(path))


PURE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Fn::And": lambda *conditions: all(conditions),
    "Fn::Contains": lambda items, item: item in items,
    "Fn::Equals": lambda one, other: str(one) == str(other),
    "Fn::Join": lambda separator, items: separator.join(items),
    "Fn::Not": lambda condition: not condition,
    "Fn::Or": lambda *conditions: any(conditions),
    "Fn::Select": lambda index, items: items[int(index)],
    "Fn::Split": lambda separator, text: text.split(separator),
}
_NO_VALUE = object()


@dataclass(frozen=True, slots=True)
class Resolver:
    """Evaluates intrinsic functions; a resource becomes ``<Id>``, its attribute ``<Id.Attr>``.

    Attributes:
        given: Parameter values that differ from :data:`PARAMETERS` and the defaults.
        pseudo: Values of the pseudo parameters.
        attributes: Values of attributes of resources, by ``Id.Attr``.
        path: The template.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    pseudo: Mapping[str, str] = field(default_factory=lambda: PSEUDO_PARAMETERS)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: Path = TEMPLATE

    def created(self) -> dict[str, dict[str, Any]]:
        """Return the expanded resources whose condition is true, resolved, by logical ID."""
        return {
            logical_id: self.resolve(
                {key: value for key, value in resource.items() if key != "Condition"}
            )
            for logical_id, resource in _expanded(self.path)["Resources"].items()
            if self._holds(resource)
        }

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Return the properties of the created resources of one type, by logical ID."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.created().items()
            if resource["Type"] == resource_type
        }

    def outputs(self) -> dict[str, Any]:
        """Return the values of the outputs."""
        return {
            name: self.resolve(output["Value"])
            for name, output in _parsed(self.path)["Outputs"].items()
            if self._holds(output)
        }

    def violations(self) -> list[str]:
        """Return the messages of the rules that these parameters violate."""
        return [
            assertion["AssertDescription"]
            for rule in _parsed(self.path)["Rules"].values()
            if self.resolve(rule.get("RuleCondition", True))
            for assertion in rule["Assertions"]
            if not self.resolve(assertion["Assert"])
        ]

    def resolve(self, value: Any) -> Any:
        """Evaluate every function in a value."""
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._evaluate(name, argument)
            if name == "Condition" and isinstance(argument, str):
                return self.condition(argument)
        members = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in members.items() if item is not _NO_VALUE}

    def condition(self, name: str) -> bool:
        """Return whether a condition of the template is true."""
        return bool(self.resolve(_parsed(self.path)["Conditions"][name]))

    def _holds(self, part: Mapping[str, Any]) -> bool:
        return "Condition" not in part or self.condition(part["Condition"])

    def _evaluate(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._ref(argument)
        if name == "Fn::GetAtt":
            attribute = ".".join(argument)
            return self.attributes.get(attribute, f"<{attribute}>")
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self.condition(condition) else no)
        if name == "Fn::Sub":
            text, variables = (argument, {}) if isinstance(argument, str) else argument
            return self._substitute(text, self.resolve(variables))
        arguments = self.resolve(as_list(argument))
        if name == "Fn::FindInMap":
            return reduce(getitem, arguments, _parsed(self.path)["Mappings"])
        return PURE_FUNCTIONS[name](*arguments)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        parameter = _parsed(self.path)["Parameters"].get(name)
        if parameter is None:
            return self.attributes.get(name, f"<{name}>")
        return str({**PARAMETERS, **self.given}.get(name, parameter.get("Default")))

    def _substitute(self, text: str, variables: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            return str(variables[name] if name in variables else self._ref(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text)


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, and any other value as a list of one item."""
    return value if isinstance(value, list) else [value]


def resources(resource_type: str, path: Path = TEMPLATE) -> dict[str, dict[str, Any]]:
    """Return the properties of the expanded resources of one type, by logical ID."""
    return {
        logical_id: resource.get("Properties", {})
        for logical_id, resource in expand(path)["Resources"].items()
        if resource["Type"] == resource_type
    }


def policies(situation: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each statement of the roles of a stack, with the logical ID of its role."""
    return statements(Resolver(SITUATIONS[situation]))


def statements(resolver: Resolver) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each statement of the roles of a stack, with the logical ID of its role."""
    shared = resolver.of_type("AWS::IAM::ManagedPolicy")
    found = [
        (role, policy["PolicyDocument"])
        for policy in resolver.of_type("AWS::IAM::Policy").values()
        for role in policy["Roles"]
    ]
    for role, properties in resolver.of_type("AWS::IAM::Role").items():
        found += [(role, policy["PolicyDocument"]) for policy in properties.get("Policies", [])]
        # Without the managed policies of AWS.
        own = {arn.strip("<>") for arn in properties.get("ManagedPolicyArns", [])} & shared.keys()
        found += [(role, shared[policy]["PolicyDocument"]) for policy in own]
    for role, document in found:
        for statement in as_list(document["Statement"]):
            yield role.strip("<>"), statement
