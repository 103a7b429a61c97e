"""docs/upgrading.md lists what an update replaces, according to the schemas of CloudFormation."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.pages import read, sections, tables
from tests.template.stack import PSEUDO_PARAMETERS, expand

PAGE = read("docs/upgrading.md")
TEMPLATE = expand()
RESOURCES: Mapping[str, Mapping[str, Any]] = TEMPLATE["Resources"]
LOOKUP = "DatabaseLookup"


@cache
def _create_only(resource_type: str) -> tuple[str, ...]:
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
            if key == "Ref":
                yield argument
            elif key == "Fn::GetAtt":
                yield argument if isinstance(argument, str) else ".".join(argument)
            elif key == "Fn::If":
                yield from _references(_condition(argument[0]))
                yield from _references(argument[1:])
            elif key == "Fn::Sub":
                yield from _placeholders(argument)
            else:
                yield from _references(argument)


def _placeholders(argument: Any) -> Iterator[str]:
    text, variables = (argument, {}) if isinstance(argument, str) else argument
    for part in text.split("${")[1:]:
        name = part.split("}")[0]
        if name not in variables:
            yield name
    yield from _references(list(variables.values()))


def _condition(name: str) -> Any:
    """Return a condition with the conditions that it refers to written out."""

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(item) for item in value]
        if isinstance(value, dict):
            if list(value) == ["Condition"]:
                return _condition(value["Condition"])
            return {key: expanded(item) for key, item in value.items()}
        return value

    return expanded(TEMPLATE["Conditions"][name])


def _changes(reference: str) -> bool:
    """Return whether an update can change the referenced value."""
    name, _, attribute = reference.partition(".")
    if name in TEMPLATE["Parameters"] or (name == LOOKUP and attribute):
        return True
    return name in RESOURCES and bool(_reasons(name))


@cache
def _reasons(name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the create-only properties of a resource that may change, with their origins."""
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


def _replaced() -> list[list[str]]:
    return [
        [f"`{name}`", f"`{path}`", ", ".join(f"`{cause}`" for cause in causes)]
        for name in RESOURCES
        for path, causes in _reasons(name)
    ]


def test_the_page_lists_exactly_what_an_update_replaces() -> None:
    (table,) = tables(sections(PAGE, 2)["What is replaced"])
    expected = _replaced()
    assert expected
    rows = "\n".join("| " + " | ".join([*row, "…"]) + " |" for row in expected)
    assert [row[:3] for row in table] == expected, f"rows for docs/upgrading.md:\n{rows}"
    assert all(row[3] for row in table)


def test_no_update_replaces_the_endpoint_service() -> None:
    for name in ("EndpointService", "EndpointServicePermissions", "LoadBalancer"):
        assert RESOURCES[name]["Properties"]
        assert not _reasons(name)


def test_the_page_names_the_runtime_of_the_functions() -> None:
    runtimes = {
        resource["Properties"]["Runtime"]
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    assert [f"`{runtime}`" in sections(PAGE, 2)["The runtime"] for runtime in runtimes] == [True]
