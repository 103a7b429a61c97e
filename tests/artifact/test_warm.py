"""Runs in one container leave nothing behind; `make bench-warm` plays a thousand."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.runtime import LambdaPath
from bench.warm import Course, measure, sync_course, worker_course
from bench.warm_page import claims

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of /proc")


@pytest.mark.parametrize("course", [sync_course, worker_course])
def test_two_hundred_runs_leave_memory_as_it_was(
    course: Callable[[LambdaPath, Path], AbstractContextManager[Course]],
    lambda_path: LambdaPath,
    tmp_path: Path,
) -> None:
    """Both doors are in the artifact of the sync function."""
    with course(lambda_path, tmp_path / "log") as begun:
        subject = measure("function", begun, runs=200, stretch=50)
    told = list(claims([subject]))
    assert len(told) == 3
    assert [claim for claim in told if not claim.holds] == []
