"""How long a run continues, and what it does next, checked at each of its steps.

The rules are those of docs/contributing/architecture.md, *The loop*. They do not use the loop.
"""

from dataclasses import dataclass
from math import inf

from target_sync.model import RunStatus
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.triggers import SyncTrigger
from tests.properties.history import History
from tests.properties.rules import RuleChecker

DESCRIBE_SECONDS = 6.0
HEALTHY_WITHIN_SECONDS = 300.0
SCHEDULE_SECONDS = 60.0
PAUSES = (1.0, 2.0, 4.0)
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Due:
    """What a run must do next, and when."""

    what: str
    at: float


class WaitChecker:
    """Checks the steps of one run."""

    def __init__(
        self, rules: RuleChecker, history: History, trigger: SyncTrigger, started_at: float
    ) -> None:
        watches = trigger.announces_a_change
        polls = trigger.is_scheduled and history.dns_poll_seconds > 0
        self._rules = rules
        self._trigger = trigger
        self._watch_until = started_at + (history.watch_seconds if watches else 0.0)
        self._watch_seconds = history.watch_seconds if watches or trigger.is_scheduled else 0.0
        self._poll_seconds = history.dns_poll_seconds
        self._poll_until = started_at + SCHEDULE_SECONDS + self._poll_seconds if polls else -inf
        self._described_at, self._due_at = -inf, inf
        self._is_vetoed = self._is_blocked = False
        self._detected_at: float | None = None
        self._registered_at: float | None = None
        self._has_registered = self._has_changed = False
        self._is_removing = False
        self._failures = 0
        self._is_refreshed, self._pool_due_at = False, inf
        self.next = Due("snapshot", started_at)

    def check(self, what: str, now: float) -> None:
        """Check that the run does what is due."""
        expected = self.next
        if expected.what == "change" and self._rules.is_stale(now):
            expected = Due("snapshot", now)
        assert what == expected.what, f"{what} instead of {expected}"
        assert now >= expected.at - _ROUNDING, f"{what} at {now} instead of {expected}"

    def check_status(self, status: RunStatus) -> None:
        """Check how a run ended."""
        assert status is self._status(), f"ended as {status} and not as {self._status()}"

    def check_times(self, run: RunState) -> None:
        """Check when a run says that it detected and made a change."""
        assert run.detected_at == self._detected_at, f"detected at {self._detected_at}"
        assert run.registered_at == self._registered_at, f"registered at {self._registered_at}"

    # What happened

    def after_snapshot(self) -> None:
        rules, now = self._rules, self._rules.newest.at
        self._described_at, self._due_at, self._is_vetoed = now, rules.due_at, rules.is_vetoed
        self._is_blocked = rules.has_failed_check or rules.has_no_effect
        self._is_removing = bool(rules.owed[1])
        is_found = (
            any(rules.owed) or rules.due_at < inf or self._has_moved or rules.newest.contested
        )
        if self._detected_at is None and is_found:
            self._detected_at = now
        if self._trigger.dry_run:
            self.next = Due("end", now)
        elif any(rules.owed) and now < rules.deadline:
            self.next = Due("change", now)
        else:
            self._failures = 0
            self.next = self._wait()

    def after_poll(self, *, same: bool) -> None:
        now = self._rules.newest.at
        self.next = self._wait() if same else Due("snapshot", now)

    def after_registration(self, now: float) -> None:
        self._has_registered, self._registered_at = True, now
        self._after_change()

    def after_deregistration(self) -> None:
        self._after_change()

    def _after_change(self) -> None:
        rules = self._rules
        self._has_changed, self._failures = True, 0
        if any(rules.owed):
            self.next = Due("change", rules.newest.at)
        elif self._due_at <= rules.newest.at:
            self.next = Due("snapshot", rules.newest.at)
        elif self._due_at < rules.deadline and not self._is_removing:
            self.next = self._wait()
        else:
            self.next = Due("snapshot", rules.newest.at + 1)

    def after_failure(self, now: float, *, retryable: bool) -> None:
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        until = min(max(self._until_detected, self._poll_until), self._rules.deadline)
        retries = retryable and now + pause < until
        self.next = Due("snapshot", now + pause) if retries else Due("failure", now)

    def before_refresh(self) -> None:
        """Check that nothing else is due, and that the pool was not refreshed before."""
        rules, now = self._rules, self._rules.newest.at
        assert not self._trigger.dry_run, "a dry run changes nothing"
        assert not any(rules.owed), "a change is due"
        assert self._due_at == inf, "a change is to be confirmed"
        assert now < rules.deadline, "no time is left"
        waits = now + 1 < min(self._until(), rules.deadline)
        assert not waits, "the run waits for something"
        assert not self._is_refreshed or self._pool_due_at <= now, "refreshed twice"

    def after_refresh(self, due_at: float | None) -> None:
        self._is_refreshed, self._pool_due_at = True, inf if due_at is None else due_at
        self.next = self._wait()

    # What the rules say

    @property
    def _has_moved(self) -> bool:
        observations = self._rules.observations
        return observations[0].addresses != observations[-1].addresses

    @property
    def _until_detected(self) -> float:
        detected = -inf if self._detected_at is None else self._detected_at
        return max(self._watch_until, detected + self._watch_seconds)

    @property
    def _is_healthy(self) -> bool:
        desired = self._rules.desired
        return bool(desired) and desired <= self._rules.views[-1].healthy

    def _wait(self) -> Due:
        rules, now = self._rules, self._rules.newest.at
        if now + 1 < min(self._until(), rules.deadline):
            is_due = now + 1 >= min(self._due_at, self._described_at + DESCRIBE_SECONDS)
            return Due("snapshot" if is_due else "poll", now + 1)
        poll_at = now + self._poll_seconds
        if poll_at < min(self._poll_until, rules.deadline):
            return Due("snapshot" if poll_at >= self._pool_due_at else "poll", poll_at)
        return Due("end", now)

    def _until(self) -> float:
        """Return until when the run observes every second."""
        rules, waits = self._rules, self._trigger.wait_for_healthy
        if self._due_at < rules.deadline:
            return inf
        is_open = not self._is_healthy and not self._is_vetoed and not self._is_blocked
        if self._has_changed and waits and is_open:
            since = self._detected_at if self._registered_at is None else self._registered_at
            return max(self._watch_until, (since or 0.0) + HEALTHY_WITHIN_SECONDS)
        if rules.newest.contested:
            return self._until_detected
        is_over = self._has_registered or self._has_moved
        is_over = is_over and (self._is_healthy or not waits) and not rules.newest.disagreement
        return -inf if is_over else self._watch_until

    def _status(self) -> RunStatus:
        rules = self._rules
        if self._trigger.dry_run:
            return RunStatus.DRY_RUN
        if self._is_vetoed:
            return RunStatus.VETOED
        is_open = any(rules.owed) or self._due_at < inf or self._is_blocked
        if is_open or rules.newest.disagreement:
            return RunStatus.UNFINISHED
        if not self._has_changed:
            return RunStatus.IN_SYNC
        is_healthy = self._is_healthy or not self._trigger.wait_for_healthy
        return RunStatus.SYNCED if is_healthy else RunStatus.UNHEALTHY
