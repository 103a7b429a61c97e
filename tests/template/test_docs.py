"""The pages name only things that exist, and their tables are as the generator writes them."""

import json
import re
from functools import cache

import pytest

from lab.options import LabOptions
from target_sync.reconcile.planner import make_plan
from target_sync.reconcile.triggers import parse_trigger
from target_sync.status.checks.result import CheckState
from tests.support.events import load_event
from tests.support.scenario import A, B, Scenario
from tests.support.scenarios import OUTCOMES
from tests.template.pages import (
    PAGES,
    ROOT,
    anchors,
    blocks,
    code,
    code_spans,
    read,
    sections,
    tables,
    without_blocks,
)
from tests.template.stack import load
from tools.generate_docs import MARKED, TABLES, TO_WRITE, updated

README = read("README.md")
ARCHITECTURE = read("docs/contributing/architecture.md")
ADRS = sorted(path.name for path in (ROOT / "docs/contributing/adr").glob("[0-9]*.md"))

#: Names of foreign programs, APIs and metrics that the pages mention.
FOREIGN_NAMES = {
    "ActiveFlowCount",
    "ConcurrentExecutions",
    "NotAuthorizedForSourceException",
    "StackResourceDrift",
    "aws_lb_target_group_attachment",
    "keepalives_idle",
    "log_connections",
    "tcp_keepalives_idle",
}


@cache
def names_in_code() -> set[str]:
    """Return every word of the templates, the shipped code, the payloads and the project file."""
    files = [
        ROOT / "template.yaml",
        ROOT / "fleet.yaml",
        ROOT / "pyproject.toml",
        *ROOT.glob("layers/target_sync/target_sync/**/*.py"),
        *ROOT.glob("cost/*.py"),
        *ROOT.glob("drill/*.py"),
        *ROOT.glob("events/*.json"),
    ]
    return {word for file in files for word in re.findall(r"\w+", file.read_text())}


@pytest.mark.parametrize("page", PAGES)
def test_make_docs_would_change_no_page(page: str) -> None:
    text = read(page)
    assert updated(text) == text, "run `make docs`"
    assert f"| {TO_WRITE} |" not in text


def test_every_table_of_make_docs_is_on_a_page() -> None:
    assert {name for page in PAGES for _, name, _ in MARKED.findall(read(page))} == TABLES.keys()
    assert len(list(TABLES["failure-scenarios"]())) == len(OUTCOMES)


def test_make_docs_keeps_the_prose_of_a_row_and_asks_for_that_of_a_new_one() -> None:
    head = "<!-- generated: check-states -->\n| state | meaning |\n|---|---|\n"
    page = updated(f"{head}| `skipped` | ours |\n| `gone` | theirs |\n| `ok` | |\n")
    written = page.removeprefix(head).splitlines()
    assert written[0] == "| `skipped` | ours |"
    assert set(written[1:]) == {f"| `{state}` | {TO_WRITE} |" for state in CheckState} - {
        f"| `skipped` | {TO_WRITE} |"
    }


@pytest.mark.parametrize("page", PAGES)
def test_the_target_of_a_link_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", without_blocks(read(page))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{page} links to {link}"


@pytest.mark.parametrize("page", PAGES)
def test_a_make_target_exists(page: str) -> None:
    there = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code(read(page))))
    assert named <= there


@pytest.mark.parametrize("page", PAGES)
def test_a_path_in_the_repository_exists(page: str) -> None:
    folders = "bench|docs|events|functions|lab|layers|requirements|tests|tools"
    named = re.findall(rf"(?<![\w./-])(?:{folders})/[\w./-]*", code(read(page)))
    missing = [path for path in named if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_a_name_exists_in_the_code(page: str) -> None:
    camel, snake = r"(?:[A-Z]+[a-z]+){2,}", r"[a-z]+(?:_[a-z0-9]+)+"
    named = {span for span in code_spans(read(page)) if re.fullmatch(f"{camel}|{snake}", span)}
    assert named <= names_in_code() | FOREIGN_NAMES


def test_the_deploy_command_gives_parameters_that_exist_and_all_that_are_required() -> None:
    (command,) = (block for block in blocks(README, "sh") if "sam deploy" in block)
    given = set(re.findall(r"\b([A-Z]\w+)=", command))
    parameters = load()["Parameters"]
    required = {name for name, parameter in parameters.items() if "Default" not in parameter}
    assert required <= given <= parameters.keys()


def test_the_example_is_the_response_to_a_dry_run_after_a_failover() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    document = scenario.run(parse_trigger(load_event("manual-dry-run"))).to_document()
    (example,) = blocks(README, "json")
    assert json.loads(example) == json.loads(json.dumps(document))


def test_the_architecture_has_the_table_of_the_planner() -> None:
    docstring = " ".join((make_plan.__doc__ or "").split())
    for row in tables(sections(ARCHITECTURE, 2)["The planner"])[0]:
        assert " ".join(row) in docstring


def test_the_architecture_states_the_default_times_of_the_lab() -> None:
    described = [row[2] for row in tables(sections(ARCHITECTURE, 2)["The lab"])[1]]
    options = LabOptions()
    assert described == [
        f"{seconds:g} s"
        for seconds in (
            options.load_balancer_delay,
            options.registration_delay,
            options.health_check_interval,
            options.schedule_interval,
            options.rule_delay,
            options.dns_lag,
        )
    ]


def test_the_decisions_are_numbered_without_a_gap_and_listed() -> None:
    assert [name[:4] for name in ADRS] == [f"{n:04}" for n in range(1, len(ADRS) + 1)]
    assert re.findall(r"\]\((\d.*?)\)", read("docs/contributing/adr/README.md")) == ADRS


@pytest.mark.parametrize("name", ADRS)
def test_a_decision_has_its_five_parts(name: str) -> None:
    text = read(f"docs/contributing/adr/{name}")
    parts = sections(text, 2)
    assert list(parts) == ["Status", "Context", "Decision", "Consequences", "Alternatives"]
    assert text.startswith(f"# {name[:4]}: ")


def test_the_glossary_has_at_most_30_terms_in_order() -> None:
    (table,) = tables(read("docs/glossary.md"))
    terms = [term for term, _ in table]
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) <= 30
    assert "](docs/glossary.md)" in README
