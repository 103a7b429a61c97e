"""The import path of a built function in Lambda, made from packages of this machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

#: The packages of Lambda's python3.13 image beyond the standard library.
RUNTIME_DISTRIBUTIONS = ("boto3", "awslambdaric")
#: The packages of the layer (pyproject.toml, group ``layer``), for tests without a built layer.
LAYER_DISTRIBUTIONS = ("aws-lambda-powertools", "dnspython")


@dataclass(frozen=True, slots=True)
class LambdaPath:
    """The folders of a function; in Lambda /var/task, /opt/python and the image.

    Run it with ``python -S``, so that it can import nothing else of this machine.

    Attributes:
        task: The built function.
        layer: The built layer, which holds ``python/``.
        runtime: Links to the packages of the image, see :func:`link_packages`.
    """

    task: Path
    layer: Path
    runtime: Path

    def __str__(self) -> str:
        return os.pathsep.join(map(str, (self.task, self.layer / "python", self.runtime)))


def link_packages(folder: Path, distributions: tuple[str, ...] = RUNTIME_DISTRIBUTIONS) -> Path:
    """Fill a new folder with links to packages and their requirements, and return the folder.

    Raises:
        PackageNotFoundError: A package is not installed; ``make setup`` installs all of them.
    """
    folder.mkdir()
    for package in _with_requirements(distributions):
        names = {file.parts[0] for file in package.files or ()}
        for name in names - {"..", "__pycache__"}:
            (folder / name).symlink_to(str(package.locate_file(name)))
    return folder


def _with_requirements(names: tuple[str, ...]) -> Iterator[Distribution]:
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        yield found
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
