"""`python -m lab run`: every scenario."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.scenarios import SCENARIOS

REPOSITORY = Path(__file__).parents[2]
KINDS = {
    "rds-instance", "rds-cluster-writer", "rds-cluster-readers", "rds-proxy", "hostname", "static",
    "ec2-instance", "ec2-asg",
}  # fmt: skip
#: `make lab` uses AWS's own times.
SHORTENED = {
    "failover-watch": ["--registration-delay=15"],
    "failover-serving-standby": ["--registration-delay=15"],
    "failover-warm": ["--registration-delay=15"],
    "failover-warm-cluster": ["--registration-delay=15"],
    "lost-event": ["--schedule-interval=15"],
}
#: The longest scenarios start first.
LONGEST = (
    "fleet",
    "faults",
    "updates",
    "lost-event",
    "failover-warm-cluster",
    "failover-warm",
    "failover-serving-standby",
    "failover-watch",
    "failover-cluster",
)


def test_every_kind_of_database_has_a_scenario() -> None:
    assert set(SCENARIOS) >= KINDS


def run_lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", "run", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=6000,
    )


def test_rejects_an_unknown_scenario_and_lists_the_known_ones() -> None:
    rejected = run_lab("mysql")
    assert rejected.returncode == 2
    assert "rds-cluster-writer" in rejected.stderr


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, reports: Path, built: Path
) -> Iterator[Mapping[str, "Future[subprocess.CompletedProcess[str]]"]]:
    """The selected scenarios, three at once: they mostly wait, and labs do not share anything."""
    selected = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == request.path
        and "running" in item.fixturenames
    ]
    selected.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    with ThreadPoolExecutor(3) as pool:
        yield {
            name: pool.submit(
                run_lab,
                name,
                f"--report={reports / name}.html",
                f"--built={built}",
                *SHORTENED.get(name, []),
            )
            for name in selected
        }


@pytest.mark.lab
@pytest.mark.parametrize("name", SCENARIOS)
def test_all_expectations_of_a_scenario_hold(
    running: Mapping[str, "Future[subprocess.CompletedProcess[str]]"], reports: Path, name: str
) -> None:
    finished = running[name].result()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "FAIL" not in finished.stdout
    assert f"pass  {name}" in finished.stdout
    report = (reports / f"{name}.html").read_text()
    assert re.search(rf"{name}: (sam delete|the deletion) leaves", report)
