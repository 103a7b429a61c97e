import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.processes import Supervisor
from lab.stack import Project


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as running:
        yield running


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, built once by SAM."""
    folder = tmp_path_factory.mktemp("built") / "project"
    with Supervisor() as building:
        project = Project(building)
        project.start_build().result()
        shutil.move(project.folder, folder)
    return folder
