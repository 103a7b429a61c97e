"""The pictures in docs/widget: one for each state and theme, and all of them on the page."""

import re

import pytest
from PIL import Image

from tests.browser.pictures import FOLDER, PICTURES, Picture
from tests.browser.states import STATES
from tests.template.pages import read, sections

EACH = pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)


def test_each_state_has_a_picture_in_each_theme() -> None:
    assert {(p.state, p.dark) for p in PICTURES} == {
        (state, dark) for state in STATES for dark in (False, True)
    }
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(p.name for p in PICTURES)


@EACH
def test_a_picture_is_small(picture: Picture) -> None:
    path = FOLDER / picture.name
    assert path.stat().st_size <= 60_000
    with Image.open(path) as image:
        assert (image.format, image.width) == ("PNG", picture.width)


def test_the_page_shows_and_describes_every_picture() -> None:
    page = sections(read("docs/status.md"), 2)["The dashboard"]
    shown = re.findall(r"!\[(.*?)\]\(widget/(.*?)\)", page)
    assert sorted(name for _, name in shown) == sorted(p.name for p in PICTURES)
    assert all(len(text.split()) > 3 for text, _ in shown)
