"""Runs in one container leave nothing behind; `make bench-warm` plays a thousand."""

import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.warm import Course, measure, sweep_course, sync_course, worker_course
from bench.warm_page import claims
from lab.lambda_runtime.packages import LambdaPath
from tests.artifact.artifact import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of /proc")


@pytest.mark.parametrize("course", [sync_course, worker_course])
def test_two_hundred_runs_leave_memory_as_it_was(
    course: Callable[[LambdaPath, Path], AbstractContextManager[Course]],
    lambda_path: LambdaPath,
    tmp_path: Path,
) -> None:
    """Both doors are in the artifact of the sync function."""
    assert_memory_stays(course, lambda_path, tmp_path / "log", runs=200)


def test_sixty_sweeps_of_a_fleet_leave_memory_as_it_was(
    lambda_path: LambdaPath, tmp_path: Path
) -> None:
    """Its artifact is the door alone, beside the same layer."""
    door = shutil.copytree(ROOT / "functions" / "fleet_sweep", tmp_path / "door")
    path = replace(lambda_path, task=door)
    assert_memory_stays(sweep_course, path, tmp_path / "log", runs=60)


def assert_memory_stays(
    course: Callable[[LambdaPath, Path], AbstractContextManager[Course]],
    path: LambdaPath,
    log: Path,
    runs: int,
) -> None:
    with course(path, log) as begun:
        subject = measure("function", begun, runs=runs, stretch=runs // 4)
    told = list(claims([subject]))
    assert len(told) == 3
    assert [claim for claim in told if not claim.holds] == []
