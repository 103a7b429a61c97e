import pytest

from lab.lambda_runtime.packages import LambdaPath, link_packages
from tests.artifact.artifact import Build, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return build(tmp_path_factory.mktemp("build") / "out")


@pytest.fixture(scope="session")
def has_bytecode(built: Build) -> bool:
    """True if the build found a CPython 3.13."""
    return "no CPython 3.13 was found" not in built.output


@pytest.fixture(scope="session")
def lambda_path(built: Build, tmp_path_factory: pytest.TempPathFactory) -> LambdaPath:
    runtime = link_packages(tmp_path_factory.mktemp("runtime") / "packages")
    return LambdaPath(built.function, built.layer, runtime)
