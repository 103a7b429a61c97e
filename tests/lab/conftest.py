from collections.abc import Iterator

import pytest

from lab.processes import Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running
