"""Draw the pictures of the widget for docs/widget.

    make screenshots

They show the states of the browser tests. Each has at most 256 colours, so that it is small.
"""

import io
import shutil
import sys

from PIL import Image

from tests.browser.chromium import chromium, dashboard, show
from tests.browser.pictures import FOLDER, PICTURES
from tests.browser.states import STATES


def main() -> int:
    """Draw every picture again."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with chromium() as browser:
        for picture in PICTURES:
            with dashboard(browser, picture.width) as page:
                show(page, STATES[picture.state], dark=picture.dark)
                drawn = page.locator(".ppl").screenshot()
            with Image.open(io.BytesIO(drawn)) as image:
                small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                small.save(FOLDER / picture.name, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
