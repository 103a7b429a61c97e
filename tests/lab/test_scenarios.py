"""`python -m lab run` as its user meets it."""

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
#: AWS's own times are for `make lab`.
SHORTENED = {
    "failover-watch": ["--registration-delay=15"],
    "failover-serving-standby": ["--registration-delay=15"],
    "lost-event": ["--schedule-interval=15"],
}
#: What lasts longest is played first.
LONGEST = (
    "fleet",
    "faults",
    "updates",
    "lost-event",
    "failover-serving-standby",
    "failover-watch",
    "failover-cluster",
)


def test_every_kind_of_database_has_its_scenario() -> None:
    assert set(SCENARIOS) >= KINDS


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", "run", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    refused = play("mysql")
    assert refused.returncode == 2
    assert "rds-cluster-writer" in refused.stderr


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def playing(
    request: pytest.FixtureRequest, reports: Path, built: Path
) -> Iterator[Mapping[str, "Future[subprocess.CompletedProcess[str]]"]]:
    """The chosen scenarios, three at a time: they wait more than they work, and labs never meet."""
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "playing" in item.fixturenames
    ]
    chosen.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    with ThreadPoolExecutor(3) as pool:
        yield {
            name: pool.submit(
                play,
                name,
                f"--report={reports / name}.html",
                f"--built={built}",
                *SHORTENED.get(name, []),
            )
            for name in chosen
        }


@pytest.mark.lab
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_holds_its_expectations(
    playing: Mapping[str, "Future[subprocess.CompletedProcess[str]]"], reports: Path, name: str
) -> None:
    played = playing[name].result()
    assert played.returncode == 0, played.stdout + played.stderr
    assert "FAIL" not in played.stdout
    assert f"pass  {name}" in played.stdout
    assert f"{name}: sam delete leaves" in (reports / f"{name}.html").read_text()
