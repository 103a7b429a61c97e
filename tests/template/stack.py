"""The template as CloudFormation sees it: parsed, expanded by SAM, its functions resolved."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3.session
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"

PARAMETERS = {
    "DatabaseEndpoint": "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com",
    "VpcId": "vpc-0a1b2c3d4e5f60718",
    "SubnetIds": "subnet-0a1b2c3d4e5f60718,subnet-1a2b3c4d5e6f70819",
}
"""What a user has to give."""

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "postgres-privatelink",
}

_is_list = re.compile(r"List<.*>|CommaDelimitedList").fullmatch


@cache
def _parsed() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return template


def load() -> dict[str, Any]:
    """The template as written, with short function tags in their long form."""
    return copy.deepcopy(_parsed())


@cache
def _expanded() -> dict[str, Any]:
    template = load()
    for resource in template["Resources"].values():
        # What `sam package` does: the transform accepts no local paths.
        for key in ("CodeUri", "ContentUri"):
            if key in resource["Properties"]:
                resource["Properties"][key] = "s3://bucket/key"
    session = boto3.session.Session(region_name=PSEUDO_PARAMETERS["AWS::Region"])
    translator = Translator(None, Parser(), boto_session=session)
    expanded: dict[str, Any] = translator.translate(template, parameter_values={})
    return expanded


def expand() -> dict[str, Any]:
    """The template after the SAM transform, as CloudFormation creates it."""
    return copy.deepcopy(_expanded())


PURE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Fn::Equals": lambda one, other: one == other,
    "Fn::Join": lambda separator, items: separator.join(items),
    "Fn::Not": lambda condition: not condition,
    "Fn::Select": lambda index, items: items[int(index)],
    "Fn::Split": lambda separator, text: text.split(separator),
}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Evaluates intrinsic functions; a resource becomes ``<Id>``, its attribute ``<Id.Attr>``.

    Attributes:
        given: Parameter values that differ from :data:`PARAMETERS` and the defaults.
        pseudo: Values of the pseudo parameters.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    pseudo: Mapping[str, str] = field(default_factory=lambda: PSEUDO_PARAMETERS)

    def resolve(self, value: Any) -> Any:
        """The value with every function in it evaluated."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._evaluate(name, argument)
        return {key: self.resolve(item) for key, item in value.items()}

    def _evaluate(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._ref(argument)
        if name == "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self._condition(condition) else no)
        if name == "Fn::Sub":
            text, variables = (argument, {}) if isinstance(argument, str) else argument
            return self._substitute(text, self.resolve(variables))
        return PURE_FUNCTIONS[name](*self.resolve(argument))

    def _condition(self, name: str) -> bool:
        return bool(self.resolve(load()["Conditions"][name]))

    def _ref(self, name: str) -> Any:
        if name in self.pseudo:
            return self.pseudo[name]
        parameter = load()["Parameters"].get(name)
        if parameter is None:
            return f"<{name}>"
        text = str({**PARAMETERS, **self.given}.get(name, parameter.get("Default")))
        return text.split(",") if _is_list(parameter["Type"]) else text

    def _substitute(self, text: str, variables: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            return str(variables[name] if name in variables else self._ref(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text)


def resources(resource_type: str) -> dict[str, dict[str, Any]]:
    """Properties of the expanded template's resources of one type, by logical ID."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in expand()["Resources"].items()
        if resource["Type"] == resource_type
    }
