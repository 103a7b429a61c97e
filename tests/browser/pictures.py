"""The pictures of the widget in the documentation."""

from dataclasses import dataclass
from pathlib import Path

from tests.browser.states import STATES

FOLDER = Path(__file__).parents[2] / "docs/widget"


@dataclass(frozen=True)
class Picture:
    """A picture of a state in a theme, with a width in pixels."""

    state: str
    dark: bool
    width: int = 1180

    @property
    def name(self) -> str:
        """The file's name."""
        narrow = "-narrow" if self.width < 1180 else ""
        return f"{self.state}-{'dark' if self.dark else 'light'}{narrow}.png"


PICTURES = (
    *(Picture(state, dark) for state in STATES for dark in (False, True)),
    Picture("broken", dark=False, width=380),
)
