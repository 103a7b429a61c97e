"""The lab's AWS restarts workers."""

import pytest

from lab.emulator.functions import restarting


class Worker:
    """A worker whose files are missing at its first starts."""

    def __init__(self, missing: int) -> None:
        self.missing = missing

    def invoke(self, event: str) -> str:
        if self.missing:
            self.missing -= 1
            raise FileNotFoundError("code")
        return f"result of {event}"


def test_restarts_a_worker_once_if_its_files_are_missing() -> None:
    assert restarting(Worker.invoke)(Worker(missing=1), "event") == "result of event"


def test_raises_if_the_files_are_still_missing() -> None:
    with pytest.raises(FileNotFoundError):
        restarting(Worker.invoke)(Worker(missing=2), "event")
