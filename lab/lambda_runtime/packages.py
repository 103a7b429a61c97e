"""The import path that the built function has in Lambda, made of this machine's parts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

#: What Lambda's python3.13 image brings along with the standard library.
RUNTIME_DISTRIBUTIONS = ("boto3", "awslambdaric")
#: What the layer brings (pyproject.toml, group ``layer``), for a test without a built layer.
LAYER_DISTRIBUTIONS = ("aws-lambda-powertools", "dnspython")


@dataclass(frozen=True, slots=True)
class LambdaPath:
    """Where the parts of a function lie; in Lambda /var/task, /opt/python and the image.

    Run it with ``python -S``, so that nothing else of this machine can be imported.

    Attributes:
        task: The built function.
        layer: The built layer, which holds ``python/``.
        runtime: Links to what the image brings, see :func:`link_packages`.
    """

    task: Path
    layer: Path
    runtime: Path

    def __str__(self) -> str:
        return os.pathsep.join(map(str, (self.task, self.layer / "python", self.runtime)))


def link_packages(folder: Path, distributions: tuple[str, ...] = RUNTIME_DISTRIBUTIONS) -> Path:
    """Fill a new folder with links to some packages, by default those of the Lambda image.

    What they require is linked too, and nothing else.

    Raises:
        PackageNotFoundError: One is not installed here; ``make setup`` installs them all.
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
