"""What a new container imports and reads before its first call to AWS.

Each container is a process of its own; `make bench-cold` measures what it costs.
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
from botocore.exceptions import UnknownServiceError

from lab.lambda_runtime.container import ENVIRONMENT
from lab.lambda_runtime.packages import LAYER_DISTRIBUTIONS, RUNTIME_DISTRIBUTIONS, link_packages
from target_sync.aws import make_client

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:fleet"
#: Prints the names of all modules, and whose data folders were listed to find a service.
CONTAINER = """
import json, os, sys
from pathlib import Path

listed = []
sys.addaudithook(lambda event, args: listed.append(args[0]) if event == "os.listdir" else None)
import app
exec(sys.argv[1])
data = Path(sys.modules["botocore"].__file__).parent / "data"
services = {Path(os.fspath(path)).name for path in listed if Path(os.fspath(path)).parent == data}
print(json.dumps({"modules": sorted(sys.modules), "services": sorted(services)}))
"""
#: What makes a container ready for its first call, by the function's folder.
READY = {
    "reconcile_targets": "from target_sync.reconcile.build import reconciler; reconciler()",
    "fleet_sweep": f"from target_sync.fleet.sweep_build import sweeper; sweeper('{FUNCTION}')",
    "fleet_watch": f"from target_sync.fleet.sweep_build import watcher; watcher('{FUNCTION}')",
}
FLEET_ENVIRONMENT = {
    "SIGNING_KEY": "a secret of this deployment",
    "WORK_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo",
    "EVENT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
    "EVENT_WATCH_DURATION_SECONDS": "120",
}


@dataclass(frozen=True, slots=True)
class Started:
    """A container that is ready for its first call.

    Attributes:
        modules: The modules that it has imported.
        packages: The packages of others among them, by their first names.
        services: The services whose folder of botocore's data it has listed.
    """

    modules: frozenset[str]
    packages: frozenset[str]
    services: frozenset[str]


def start(
    packages: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    function: str = "reconcile_targets",
) -> Started:
    """Start a function with these settings besides those of the bench."""
    path = (ROOT / "functions" / function, ROOT / "layers" / "target_sync", packages)
    result = subprocess.run(
        # Without site, which may import for tools such as coverage.
        [sys.executable, "-S", "-c", CONTAINER, READY[function]],
        env={**ENVIRONMENT, **environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        check=True,
        capture_output=True,
        text=True,
    )
    seen = json.loads(result.stdout)
    names = {module.partition(".")[0] for module in seen["modules"]}
    ours = {"__main__", "app", "target_sync"}
    return Started(
        modules=frozenset(seen["modules"]),
        packages=frozenset(names - sys.stdlib_module_names - ours),
        services=frozenset(seen["services"]),
    )


#: What botocore takes along.
SDK = {"botocore", "dateutil", "jmespath", "six", "urllib3"}
REPORTING = {"aws_lambda_powertools", "typing_extensions"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that Lambda's image and the layer bring, and no others of this machine."""
    folder = tmp_path_factory.mktemp("packages") / "linked"
    return link_packages(folder, RUNTIME_DISTRIBUTIONS + LAYER_DISTRIBUTIONS)


@pytest.fixture(scope="module")
def started(packages: Path) -> Started:
    """A container for an RDS instance, with everything as it is by default."""
    return start(packages)


def test_a_container_imports_the_sdk_the_reporting_and_dns_and_no_other_package(
    started: Started,
) -> None:
    assert started.packages == SDK | REPORTING | {"dns"}


@pytest.mark.parametrize(
    "module",
    [
        "multiprocessing",  # comes with boto3
        "target_sync.endpoints.authoritative",
        "target_sync.endpoints.ec2",
        "target_sync.notifications.sender",
        "target_sync.targets.network_interfaces",
        "target_sync.endpoints.cluster",
        "target_sync.endpoints.failures",
        "target_sync.notifications.messages",
        "target_sync.notifications",
    ],
)
def test_a_container_does_not_import_what_only_other_stacks_and_runs_need(
    started: Started, module: str
) -> None:
    assert module not in started.modules


@pytest.mark.parametrize(
    ("kind", "endpoint"), [("static", "10.0.1.11"), ("ec2-instance", "i-0123456789abcdef0")]
)
def test_a_database_without_a_name_costs_no_import_of_dns(
    packages: Path, kind: str, endpoint: str
) -> None:
    container = start(packages, {"DATABASE_KIND": kind, "DATABASE_ENDPOINT": endpoint})
    assert container.packages == SDK | REPORTING


def test_a_container_looks_for_no_service_but_its_own(started: Started) -> None:
    assert started.services == {"elbv2"}


@pytest.mark.parametrize("function", ["fleet_sweep", "fleet_watch"])
def test_the_sweep_and_the_watch_import_no_more_and_look_for_their_own_services(
    packages: Path, function: str
) -> None:
    container = start(packages, FLEET_ENVIRONMENT, function)
    assert container.packages == SDK | REPORTING | {"dns"}
    assert container.services == {"ec2", "elbv2", "resourcegroupstaggingapi", "sqs"}


def test_a_service_that_botocore_does_not_know_is_still_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(UnknownServiceError, match="elbv3"):
        make_client("elbv3")


def test_all_clients_share_what_botocore_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    loaders = {id(make_client(service)._loader) for service in ("elbv2", "ec2")}  # noqa: SLF001
    assert len(loaders) == 1


def test_what_the_sync_imports_is_never_searched_for_garbage_and_the_rest_is() -> None:
    code = "import gc, app; print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    path = (ROOT / "functions" / "reconcile_targets", ROOT / "layers" / "target_sync")
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.pathsep.join(map(str, path))},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "True True\n"
