"""The figures of the cold start: how they are held against the bare client's."""

from dataclasses import replace

from bench.cold_page import Part, Report, Row, to_markdown

BARE = Row.of("bare", 1_000_000_000, 1_000_000_000, [0.2, 0.1, 0.3], [0.2, 0.1, 0.3])
SYNC = Row.of("sync", 1_250_000_000, 1_000_000_000, [0.5, 0.3, 0.1], [0.2, 0.1, 0.3])
REPORT = Report(
    date="2026-11-22",
    python="3.13.0",
    versions={"botocore": "1"},
    valgrind="valgrind-3",
    cores=2,
    load=0.5,
    repetitions=3,
    rows=(BARE, SYNC),
    parts=(
        Part("botocore", "AWS", 900_000_000, 0.9),
        Part("the loader", "ours", -50_000_000, -0.05),
        Part("the rest", "ours", 400_000_000, 0.4),
    ),
)


def test_medians_and_instructions_are_held_against_those_of_the_bare_client() -> None:
    assert Row("sync", 1_250_000_000, 1.25, 300.0, 1.5) == SYNC
    assert "| sync | 1,250 | 1.25 | 300 ms | 1.50 |" in to_markdown(REPORT)


def test_the_parts_add_up() -> None:
    assert "| **together** | 1,250 | 1.25 | |" in to_markdown(REPORT)


def test_the_page_says_that_nothing_was_counted_without_valgrind() -> None:
    timed = Row.of("sync", None, None, [0.3], [0.2])
    page = to_markdown(replace(REPORT, valgrind=None, rows=(timed,), parts=()))
    assert "| sync | not counted |  | 300 ms | 1.50 |" in page
    assert "there was no valgrind" in page


def test_the_page_says_if_the_interpreter_could_not_use_the_shipped_bytecode() -> None:
    assert "ran without it" not in to_markdown(REPORT)
    assert "ran without it" in to_markdown(replace(REPORT, python="3.12.1"))
