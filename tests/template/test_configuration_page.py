"""docs/configuration.md lists every parameter of the template, and no other."""

import re
from typing import Any

import pytest

from tests.template.pages import code_spans, read, sections
from tests.template.stack import load

TEMPLATE = load()
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
PAGE = read("docs/configuration.md")
SECTIONS = sections(PAGE, 3)


def first_line(name: str) -> str:
    return SECTIONS[name].split("\n\n")[1]


def test_the_page_lists_all_parameters_in_the_order_of_the_console() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = {title: list(sections(text, 3)) for title, text in sections(PAGE, 2).items()}
    assert {title: names for title, names in listed.items() if names} == {
        group["Label"]["default"]: group["Parameters"] for group in groups
    }
    assert list(SECTIONS) == [name for group in groups for name in group["Parameters"]]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_page_states_the_default_of_the_template(name: str) -> None:
    line = re.match(
        r"(?:(Required)|Default: (?:(empty)|`(.+?)`))\. Example: `.+`$", first_line(name)
    )
    assert line
    required, empty, value = line.groups()
    if required:
        assert "Default" not in PARAMETERS[name]
    else:
        assert str(PARAMETERS[name]["Default"]) == ("" if empty else value)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_template_accepts_the_example(name: str) -> None:
    parameter = PARAMETERS[name]
    example = code_spans(first_line(name))[-1]
    assert re.fullmatch(parameter.get("AllowedPattern", ".+"), example)
    if "AllowedValues" in parameter:
        assert example in map(str, parameter["AllowedValues"])
    if "MinValue" in parameter:
        assert parameter["MinValue"] <= int(example) <= parameter["MaxValue"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_page_states_the_limits(name: str) -> None:
    parameter = PARAMETERS[name]
    spans = code_spans(SECTIONS[name])
    assert {str(value) for value in parameter.get("AllowedValues", [])} <= set(spans)
    for limit in ("MinValue", "MaxValue"):
        if limit in parameter:
            assert re.search(rf"\b{parameter[limit]}\b", SECTIONS[name])
