"""A function that is still busy when the emulator ends."""

import time


def handler(_event: object, _context: object) -> None:
    time.sleep(50)
