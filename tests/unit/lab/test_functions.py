"""How the lab's AWS runs functions."""

import pytest

from lab.emulator.functions import starting_again


class Worker:
    """One whose files are taken away so many times while it starts."""

    def __init__(self, lost: int) -> None:
        self.lost = lost

    def invoke(self, event: str) -> str:
        if self.lost:
            self.lost -= 1
            raise FileNotFoundError("code")
        return f"answer to {event}"


def test_a_worker_whose_files_an_update_took_away_starts_once_more() -> None:
    assert starting_again(Worker.invoke)(Worker(lost=1), "event") == "answer to event"


def test_a_worker_that_cannot_start_fails_in_the_end() -> None:
    with pytest.raises(FileNotFoundError):
        starting_again(Worker.invoke)(Worker(lost=2), "event")
