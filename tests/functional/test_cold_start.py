"""The modules and the service data that a new container loads before its first call to AWS.

Each container is a separate process. `make bench-cold` counts the instructions.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from lab.lambda_runtime.container import ENVIRONMENT
from lab.lambda_runtime.packages import LAYER_DISTRIBUTIONS, RUNTIME_DISTRIBUTIONS, link_packages
from target_sync.aws import make_client

ROOT = Path(__file__).resolve().parents[2]
#: Prints the names of all modules, and of the services whose models botocore opened.
CONTAINER = """
import json, os, sys
from pathlib import Path

opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
import app
exec(sys.argv[1])
files = [Path(name) for name in opened if isinstance(name, (str, os.PathLike))]
services = {file.parts[-3] for file in files if file.name.startswith("service-2.json")}
print(json.dumps({"modules": sorted(sys.modules), "services": sorted(services)}))
"""
#: The code that prepares a container for its first call, by the function's folder.
READY = {
    "reconcile_targets": "from target_sync.reconcile.build import reconciler; reconciler()",
    "fleet_sweep": "from target_sync.fleet.build import sweeper; sweeper()",
}


@dataclass(frozen=True, slots=True)
class Started:
    """A container that is ready for its first call.

    Attributes:
        modules: The imported modules.
        packages: The imported third-party packages.
        services: The services whose model botocore opened.
    """

    modules: frozenset[str]
    packages: frozenset[str]
    services: frozenset[str]


def start(
    packages: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    function: str = "reconcile_targets",
) -> Started:
    """Start a function with the environment of the bench and these additional variables."""
    path = (ROOT / "functions" / function, ROOT / "layers" / "target_sync", packages)
    result = subprocess.run(
        # Without the site module, which imports tools such as coverage.
        [sys.executable, "-S", "-c", CONTAINER, READY[function]],
        env={**ENVIRONMENT, **environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = json.loads(result.stdout)
    names = {module.partition(".")[0] for module in loaded["modules"]}
    ours = {"__main__", "app", "target_sync"}
    return Started(
        modules=frozenset(loaded["modules"]),
        packages=frozenset(names - sys.stdlib_module_names - ours),
        services=frozenset(loaded["services"]),
    )


#: botocore and its dependencies.
SDK = {"botocore", "dateutil", "jmespath", "six", "urllib3"}
REPORTING = {"aws_lambda_powertools", "typing_extensions"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages of Lambda's image and of the layer only."""
    folder = tmp_path_factory.mktemp("packages") / "linked"
    return link_packages(folder, RUNTIME_DISTRIBUTIONS + LAYER_DISTRIBUTIONS)


@pytest.fixture(scope="module")
def started(packages: Path) -> Started:
    """Return a container for an RDS instance with the default settings."""
    return start(packages)


def test_a_container_imports_only_the_sdk_powertools_and_dns(started: Started) -> None:
    assert started.packages == SDK | REPORTING | {"dns"}


@pytest.mark.parametrize(
    ("kind", "endpoint"), [("static", "10.0.1.11"), ("ec2-instance", "i-0123456789abcdef0")]
)
def test_a_database_without_a_name_does_not_import_dns(
    packages: Path, kind: str, endpoint: str
) -> None:
    container = start(packages, {"DATABASE_KIND": kind, "DATABASE_ENDPOINT": endpoint})
    assert container.packages == SDK | REPORTING


def test_a_container_loads_notifications_only_when_it_has_one(started: Started) -> None:
    assert not any(name.startswith("target_sync.notifications") for name in started.modules)


def test_a_container_loads_only_the_services_that_it_calls(started: Started) -> None:
    assert started.services == {"elbv2"}


def test_the_fleet_loads_only_what_it_needs(packages: Path) -> None:
    container = start(packages, function="fleet_sweep")
    assert container.packages == SDK | REPORTING | {"dns"}
    assert container.services == {"ec2", "elbv2", "resourcegroupstaggingapi"}


def test_all_clients_share_one_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    loaders = {id(make_client(service)._loader) for service in ("elbv2", "ec2")}  # noqa: SLF001
    assert len(loaders) == 1


#: Builds no reconciler, as with wrong settings.
UNBUILT = """
import contextlib, gc, app

def reconciler():
    print("building:", gc.isenabled())
    raise ValueError

app.reconciler = reconciler
with contextlib.suppress(ValueError):
    app.handler({}, None)
print("then:", gc.isenabled(), gc.get_freeze_count() > 50_000)
"""


def test_garbage_is_collected_as_soon_as_the_reconciler_is_built_or_not() -> None:
    path = (ROOT / "functions" / "reconcile_targets", ROOT / "layers" / "target_sync")
    result = subprocess.run(
        [sys.executable, "-c", UNBUILT],
        env={"PYTHONPATH": os.pathsep.join(map(str, path))},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "building: False\nthen: True True\n"
