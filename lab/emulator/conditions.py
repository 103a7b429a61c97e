"""Functions in a template's Conditions that ministack does not evaluate there.

Source: CloudFormation template reference, "Condition functions": Fn::Select, Fn::Split, Fn::Join
and pseudo parameters may be used in them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ministack.services.cloudformation import changesets, engine, handlers, stacks

from lab.emulator.scope import Scope

_TEXT_FUNCTIONS = frozenset({"Fn::Select", "Fn::Split", "Fn::Join"})


def install() -> None:
    """Evaluate text functions before ministack evaluates the conditions."""
    evaluate = _resolving(engine._evaluate_conditions)
    for module in (changesets, engine, handlers, stacks):
        module._evaluate_conditions = evaluate


def _resolving(evaluate: Callable[..., dict[str, bool]]) -> Callable[..., dict[str, bool]]:
    def wrapped(template: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, bool]:
        conditions = _resolved(template.get("Conditions", {}), _values(params))
        return evaluate({**template, "Conditions": conditions}, params)

    return wrapped


def _values(params: Mapping[str, Any]) -> dict[str, str]:
    scope = Scope.current()
    pseudo = {
        "AWS::AccountId": scope.account,
        "AWS::Partition": "aws",
        "AWS::Region": scope.region,
        "AWS::URLSuffix": "amazonaws.com",
    }
    return pseudo | {name: str(param["Value"]) for name, param in params.items()}


def _resolved(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_resolved(entry, values) for entry in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Ref"}:
        return values.get(node["Ref"], node)
    resolved = {name: _resolved(value, values) for name, value in node.items()}
    (name, argument), *others = resolved.items() or [("", None)]
    return resolved if others or name not in _TEXT_FUNCTIONS else _text(name, argument)


def _text(function: str, argument: Any) -> Any:
    first, second = argument
    if function == "Fn::Split":
        return str(second).split(first)
    # A list parameter is still one string.
    entries = second if isinstance(second, list) else [e.strip() for e in second.split(",")]
    if function == "Fn::Join":
        return str(first).join(entries)
    return engine._select(int(first), entries)
