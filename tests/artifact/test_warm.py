"""Runs in one container leave nothing behind; `make bench-warm` plays a thousand."""

import sys
from pathlib import Path

import pytest

from bench.runtime import LambdaPath
from bench.warm import measure, sync_course
from bench.warm_page import claims

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of /proc")


def test_two_hundred_runs_of_the_sync_leave_memory_as_it_was(
    lambda_path: LambdaPath, tmp_path: Path
) -> None:
    with sync_course(lambda_path, tmp_path / "log") as course:
        subject = measure("sync", course, runs=200, stretch=50)
    told = list(claims([subject]))
    assert len(told) == 3
    assert [claim for claim in told if not claim.holds] == []
