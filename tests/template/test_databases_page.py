"""docs/databases.md lists every kind, and classifies each name as the code does."""

import pytest

from target_sync.endpoints.names import classify
from target_sync.model import DatabaseKind
from tests.template.pages import code_spans, read, sections, tables

PAGE = read("docs/databases.md")
KINDS = tables(PAGE)[0]


def test_lists_every_kind() -> None:
    assert {row[1].strip("`") for row in KINDS} == set(DatabaseKind)


def test_has_a_section_for_every_kind_in_the_order_of_the_table() -> None:
    assert list(sections(PAGE, 3)) == [row[1].strip("`") for row in KINDS]


@pytest.mark.parametrize("kind", DatabaseKind)
def test_a_section_names_the_source_and_the_limits(kind: DatabaseKind) -> None:
    text = sections(PAGE, 3)[kind]
    assert "- **Source**:" in text
    assert "- **Limits**:" in text


NAMES = [(name, row[1].strip("`")) for row in KINDS for name in code_spans(row[0])]


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_classifies_a_name_as_the_code_does(name: str, kind: str) -> None:
    if kind == DatabaseKind.EC2_ASG:
        assert name == f"DatabaseKind={kind}"
        return
    assert (
        classify(name.replace("…", "eu-west-1.rds.amazonaws.com"), None, "eu-west-1").kind == kind
    )


def test_shows_a_name_for_each_kind() -> None:
    assert {kind for _, kind in NAMES} == set(DatabaseKind)
