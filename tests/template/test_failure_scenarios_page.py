"""docs/failure-scenarios.md has every story as its test tells and proves it, and no other."""

from collections.abc import Iterator

from tests.functional import test_continuous_polling, test_failover_scenarios, test_serving_standby
from tests.support.scenarios import STORIES, Story
from tests.template.pages import read, sections, tables

MODULES = (test_failover_scenarios, test_continuous_polling, test_serving_standby)
PAGE = "docs/failure-scenarios.md"


def _rows() -> Iterator[list[str]]:
    for module in MODULES:
        for name, told in STORIES.items():
            if hasattr(module, name):
                behaviour = name.removeprefix("test_").replace("_", " ")
                yield [
                    told.told,
                    behaviour,
                    f"{told.refused:g} s",
                    f"{told.wrong:g} s",
                    _shown(told),
                ]


def _shown(told: Story) -> str:
    stamps = [
        f"no `{name.removeprefix('no ')}`" if name.startswith("no ") else f"`{name}`"
        for name in told.shows
    ]
    return ", ".join(stamps)


def test_the_page_tells_every_story_as_its_test_does() -> None:
    expected = list(_rows())
    assert len(expected) == len(STORIES)
    (told,) = tables(sections(read(PAGE), 2)["The stories"])
    missing = "\n".join("| " + " | ".join(row) + " |" for row in expected if row not in told)
    assert told == expected, f"rows for {PAGE}:\n{missing}"
