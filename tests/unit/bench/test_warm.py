"""What is claimed of warm runs, and that the page is that of its figures."""

import json
import re
from dataclasses import replace

import pytest

from bench.warm import FOLDER
from bench.warm_page import ARENA_MIB, BLOCKS, Report, Stretch, Subject, claims, to_markdown

FIRST = Stretch(rss_mib=48.0, blocks=1_000, files=7, threads=1)
SUBJECT = Subject("sync", 1_000, FIRST, FIRST, FIRST)


def committed() -> Report:
    document = json.loads((FOLDER / "warm.json").read_text())
    subjects = tuple(
        Subject(s["name"], s["runs"], *(Stretch(**s[name]) for name in ("first", "middle", "last")))
        for s in document.pop("subjects")
    )
    return Report(**document, subjects=subjects)


def test_runs_that_leave_nothing_hold_every_claim() -> None:
    assert [claim.holds for claim in claims([SUBJECT])] == [True] * 3


@pytest.mark.parametrize(
    ("last", "claim"),
    [
        (replace(FIRST, rss_mib=FIRST.rss_mib + ARENA_MIB + 0.1), 0),
        (replace(FIRST, blocks=FIRST.blocks + BLOCKS + 1), 1),
        (replace(FIRST, files=FIRST.files + 1), 2),
        (replace(FIRST, threads=FIRST.threads + 1), 2),
    ],
)
def test_what_grows_breaks_its_claim(last: Stretch, claim: int) -> None:
    document = claims([replace(SUBJECT, last=last)])
    assert [number for number, each in enumerate(document) if not each.holds] == [claim]


def test_every_claim_holds_in_the_committed_figures() -> None:
    document = list(claims(committed().subjects))
    assert len(document) == 3 * len(committed().subjects) > 0
    assert [claim.text for claim in document if not claim.holds] == []


def test_the_page_is_that_of_the_committed_figures() -> None:
    page = (FOLDER / "warm.md").read_text()
    assert re.search(r"Made by `make bench-warm` on \d{4}-\d\d-\d\d:", page)
    assert to_markdown(committed()) == page


def test_of_each_function_a_thousand_runs_were_made() -> None:
    assert {subject.runs for subject in committed().subjects} == {1_000}
