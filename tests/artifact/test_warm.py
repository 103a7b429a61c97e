"""Many runs in one container leave memory as it was; `make bench-warm` measures a thousand."""

import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.warm import Workload, measure, sweep_workload, sync_workload
from bench.warm_page import claims
from lab.lambda_runtime.packages import LambdaPath
from tests.artifact.artifact import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the figures come from /proc")


def test_200_runs_of_the_reconciler_leave_memory_as_it_was(
    lambda_path: LambdaPath, tmp_path: Path
) -> None:
    assert_memory_stays(sync_workload, lambda_path, tmp_path / "log", runs=200)


def test_many_sweeps_of_a_fleet_leave_memory_as_it_was(
    lambda_path: LambdaPath, tmp_path: Path
) -> None:
    task = shutil.copytree(ROOT / "functions" / "fleet_sweep", tmp_path / "task")
    assert_memory_stays(sweep_workload, replace(lambda_path, task=task), tmp_path / "log", runs=60)


def assert_memory_stays(
    workload: Callable[[LambdaPath, Path], AbstractContextManager[Workload]],
    path: LambdaPath,
    log: Path,
    runs: int,
) -> None:
    with workload(path, log) as begun:
        subject = measure("function", begun, runs=runs, stretch=runs // 4)
    made = list(claims([subject]))
    assert len(made) == 3
    assert [claim for claim in made if not claim.holds] == []
