"""The page about databases tells every kind, and tells each name apart as the code does."""

import pytest

from target_sync.endpoints.names import classify
from target_sync.model import DatabaseKind
from tests.template.pages import code_spans, read, sections, tables

PAGE = read("docs/databases.md")
KINDS, DEPLOYED = tables(PAGE)


def test_the_page_tells_every_kind() -> None:
    assert {row[1].strip("`") for row in KINDS} == set(DatabaseKind)


def test_the_page_tells_what_is_deployed_for_every_kind_in_order() -> None:
    assert [row[0] for row in DEPLOYED] == [row[1] for row in KINDS]


def test_every_kind_has_its_section_in_the_order_of_the_table() -> None:
    assert list(sections(PAGE, 3)) == [row[1].strip("`") for row in KINDS]


@pytest.mark.parametrize("kind", DatabaseKind)
def test_a_section_tells_what_is_asked_and_the_limits(kind: DatabaseKind) -> None:
    text = sections(PAGE, 3)[kind]
    assert "- **Asked**:" in text
    assert "- **Limits**:" in text


NAMES = [(name, row[1].strip("`")) for row in KINDS for name in code_spans(row[0])]


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_a_name_on_the_page_is_of_its_kind(name: str, kind: str) -> None:
    if kind == DatabaseKind.EC2_ASG:
        assert name == f"DatabaseKind={kind}"
        return
    assert (
        classify(name.replace("…", "eu-west-1.rds.amazonaws.com"), None, "eu-west-1").kind == kind
    )


def test_the_page_shows_a_name_for_each_kind() -> None:
    assert {kind for _, kind in NAMES} == set(DatabaseKind)
