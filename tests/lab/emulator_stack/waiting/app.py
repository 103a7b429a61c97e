"""A function that is still busy when the emulator ends."""

import os
import time
from pathlib import Path


def handler(_event: object, _context: object) -> None:
    Path(os.environ["MARKER"]).touch()
    time.sleep(50)
