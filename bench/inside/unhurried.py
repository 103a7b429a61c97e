"""Sweeps that end after one audit, with few polls a second and calls without a limit.

A thousand real sweeps take more than 15 hours. The pools are so small that the first sweep starts
all of their threads.
"""

from functools import partial

from target_sync.fleet import planner, rate_limits, sweeper
from target_sync.fleet.polls import PollSchedule


class _ShortSweeper(sweeper.Sweeper):
    def _is_done(self) -> bool:
        """Whether the sweep has done some of everything, and nothing is in progress."""
        sweep = self._sweep
        idle = not (self._calls or self.planner.active or self.planner.waiting())
        return idle and sweep.listed and sweep.polls > 0 and sweep.runs.total() > 0


sweeper.Sweeper = _ShortSweeper  # type: ignore[misc]
sweeper.names_schedule = partial(PollSchedule, interval=1.0, per_second=20.0, most_at_once=1)
# These groups have no readers.
sweeper.readers_schedule = partial(PollSchedule, interval=1.0, per_second=1.0, most_at_once=0)
planner.AUDIT_SECONDS = 20.0
planner._RECENT_SECONDS = 0.0  # noqa: SLF001 - constants of the benchmark
rate_limits.ACCOUNT_QUOTA = rate_limits.Quota(1e9, 1e9)
rate_limits.QUOTAS = dict.fromkeys(rate_limits.Call, rate_limits.ACCOUNT_QUOTA)

# `build` imports the sweeper and its schedules by name, so they come first.
from target_sync.fleet import build  # noqa: E402

build.CALL_THREADS = 2
