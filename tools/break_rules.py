"""Break each rule of the design, one at a time, and check that a test fails.

    make break-rules

A broken rule of the planner or the loop must fail in a random history, because no list of examples
is complete. Of the other rules, only those belong here that no operator of `make mutants` breaks.
Breaks are applied to a copy of the layer. Exits with 1 if no test notices a break, or if a break
does not apply to the code any more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LAYER = REPOSITORY / "layers/target_sync"
WITNESSES = 3
#: The rules of these files are broken for the histories, the others for the fast tests.
CORE = frozenset(f"reconcile/{name}.py" for name in ("planner", "tracks", "loop", "reconciler"))
#: As many as the tests replay, but with another seed.
_HISTORIES = ("--histories", "1000", "--seed", "7", "--no-shrink")
#: The exit codes if all tests passed, and if some failed. Other codes are errors.
_NOTICED_OR_NOT = (0, 1)


@dataclass(frozen=True)
class Break:
    """A rule, and the one or two changes to the code that break it."""

    rule: str
    file: str
    before: str
    after: str
    also_before: str = ""
    also_after: str = ""

    def applied(self, text: str) -> str:
        """Return the text of the file with the rule broken."""
        for before, after in ((self.before, self.after), (self.also_before, self.also_after)):
            if before and text.count(before) != 1:
                raise SystemExit(
                    f"{self.rule}: {self.file} must have this text once. Correct it:\n{before}"
                )
            text = text.replace(before, after) if before else text
        return text


BREAKS = [
    Break(
        "register first, deregister second",
        "reconcile/reconciler.py",
        "            if plan.to_register:\n",
        "            if plan.to_deregister:\n"
        "                self.target_group.deregister([c.target for c in plan.to_deregister])\n"
        "            if plan.to_register:\n",
    ),
    Break(
        "an empty observation removes nothing",
        "reconcile/planner.py",
        "        if not desired:\n",
        "        if False:\n",
    ),
    Break(
        "nothing leaves the group without a registered target",
        "reconcile/planner.py",
        "return bool(removed) and not (self.group.registered - removed) | added",
        "return False",
    ),
    Break(
        "deregister only when confirmed",
        "reconcile/planner.py",
        "            return since + window\n        if track.superseded",
        "            return since\n        if track.superseded",
    ),
    Break(
        "an immediate removal needs two sources that agree",
        "reconcile/planner.py",
        "        if self.observation.corroborated and track",
        "        if track",
    ),
    Break(
        "agreement on an older address removes nothing at once",
        "reconcile/planner.py",
        "self.observation.corroborated and track.superseded_since is not None:",
        "self.observation.corroborated:",
    ),
    Break(
        "agreement on a newer address removes at once",
        "reconcile/planner.py",
        "self.observation.corroborated and track.superseded_since is not None:",
        "False:",
    ),
    Break(
        "an announced target supersedes the desired one",
        "reconcile/tracks.py",
        "bool(newer - {track.naming})",
        "Naming.DESIRED in newer - {track.naming}",
    ),
    Break(
        "a target supersedes only those that are named otherwise",
        "reconcile/tracks.py",
        "bool(newer - {track.naming})",
        "bool(newer)",
    ),
    Break(
        "a target that may not be registered supersedes nothing",
        "reconcile/tracks.py",
        "if track.is_new and self.policy.allows(target.address)",
        "if track.is_new",
    ),
    Break(
        "a draining target is registered again only when confirmed",
        "reconcile/tracks.py",
        "            elif target in group.draining:\n",
        "            elif False:\n",
    ),
    Break(
        "a target that this run saw leave returns only when confirmed",
        "reconcile/tracks.py",
        "            elif track.is_registered:\n",
        "            elif False:\n",
    ),
    Break(
        "a target that this run removed returns only when confirmed",
        "reconcile/loop.py",
        "            tracks=self._tracks_after(changes, Membership.LEFT),\n",
        "",
    ),
    Break(
        "a return needs the confirm window",
        "reconcile/planner.py",
        "due = max(track.named_since, track.member_since) + self.tracks.confirm_window",
        "due = self.observation.at",
    ),
    Break(
        "a return waits since the target left",
        "reconcile/planner.py",
        "due = max(track.named_since, track.member_since) + self.tracks.confirm_window",
        "due = track.named_since + self.tracks.confirm_window",
    ),
    Break(
        "one observation to the contrary starts the confirm window again",
        "reconcile/tracks.py",
        "named_since=self.named_since if naming is self.naming else at,",
        "named_since=at if self.naming is None else self.named_since,",
    ),
    Break(
        "the confirm window is longer than the TTL",
        "reconcile/tracks.py",
        "self.longest_ttl + TTL_MARGIN_SECONDS",
        "0",
    ),
    Break(
        "a run remembers the longest TTL",
        "reconcile/tracks.py",
        "longest_ttl=max(self.longest_ttl, observation.ttl or 0)",
        "longest_ttl=observation.ttl or 0",
    ),
    Break(
        "too many addresses are rejected",
        "reconcile/planner.py",
        "        if len(desired) > policy.max_targets:\n",
        "        if False:\n",
    ),
    Break(
        "an address outside the allowed networks vetoes removals",
        "reconcile/planner.py",
        "        if outside:\n",
        "        if False:\n",
    ),
    Break(
        "a vetoed removal does not delay a registration",
        "reconcile/planner.py",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset({Phase.DEREGISTER}),",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset(Phase),",
    ),
    Break(
        "a run waits for no removal that is vetoed",
        "reconcile/planner.py",
        "{Reason.ABSENT_IN_BOTH_SOURCES, Reason.ABSENCE_CONFIRMED, Reason.ABSENCE_UNCONFIRMED}",
        "{Reason.ABSENT_IN_BOTH_SOURCES, Reason.ABSENCE_CONFIRMED}",
    ),
    Break(
        "an address that the second source changes to is registered at once",
        "reconcile/planner.py",
        "if track.is_new and self.tracks.policy.allows(target.address):",
        "if False:",
    ),
    Break(
        "an address that the second source named from the start is not registered",
        "reconcile/tracks.py",
        "is_announced = self.naming is Naming.CONTESTED and self.was_unknown",
        "is_announced = self.naming is Naming.CONTESTED",
    ),
    Break(
        "an announced address is never registered outside the allowed networks",
        "reconcile/planner.py",
        "if track.is_new and self.tracks.policy.allows(target.address):",
        "if track.is_new:",
    ),
    Break(
        "a target that only the second source names stays for 30 s",
        "reconcile/planner.py",
        "(window if track.was_desired else max(window, CONTEST_SECONDS))",
        "window",
    ),
    Break(
        "a contest lasts at least for the confirm window",
        "reconcile/planner.py",
        "(window if track.was_desired else max(window, CONTEST_SECONDS))",
        "(window if track.was_desired else CONTEST_SECONDS)",
    ),
    Break(
        "the previous writer stays for the confirm window only",
        "reconcile/planner.py",
        "(window if track.was_desired else max(window, CONTEST_SECONDS))",
        "max(window, CONTEST_SECONDS)",
    ),
    Break(
        "a superseded target stays for the confirm window only",
        "reconcile/planner.py",
        "        if track.superseded_since is not None:\n            return max(",
        "        if False:\n            return max(",
    ),
    Break(
        "a superseded target stays since it was found to be so",
        "reconcile/planner.py",
        "            return max(since, track.superseded_since) + window\n",
        "            return since + window\n",
    ),
    Break(
        "a target that another run just registered has a full confirm window",
        "reconcile/planner.py",
        "        since = max(track.named_since, track.member_since)\n",
        "        since = track.named_since\n",
    ),
    Break(
        "a dead standby that belongs to the database is kept",
        "reconcile/planner.py",
        "            return Change(target, Action.KEEP, Reason.STANDBY)\n",
        "            return None\n",
    ),
    Break(
        "an address that no longer belongs to the database is not kept",
        "reconcile/planner.py",
        "        if target.address not in check.confirmed:\n            return None\n",
        "",
    ),
    Break(
        "a failed standby check removes nothing",
        "reconcile/planner.py",
        "        if check.failure:\n",
        "        if False:\n",
    ),
    Break(
        "a former primary that stays healthy is removed",
        "reconcile/planner.py",
        "Action.DEREGISTER, Reason.NOT_A_STANDBY",
        "Action.KEEP, Reason.STANDBY",
    ),
    Break(
        "a former primary that stays healthy has a grace period",
        "reconcile/planner.py",
        "max(track.healthy_since + STANDBY_GRACE_SECONDS, self._removal_due(track))",
        "self._removal_due(track)",
    ),
    Break(
        "after the grace period a removal needs the confirm window",
        "reconcile/planner.py",
        "max(track.healthy_since + STANDBY_GRACE_SECONDS, self._removal_due(track))",
        "track.healthy_since + STANDBY_GRACE_SECONDS",
    ),
    Break(
        "a healthy standby is kept while a desired target is dead",
        "reconcile/tracks.py",
        "beside = undesired & group.healthy if all_alive else frozenset()",
        "beside = undesired & group.healthy",
    ),
    Break(
        "the grace period starts again when the standby is dead",
        "reconcile/tracks.py",
        "unbroken_since(track.healthy_since, at, holds=target in beside)",
        "first_time(track.healthy_since, at, holds=target in beside)",
    ),
    Break(
        "a standby is kept only on the database's port",
        "reconcile/planner.py",
        "if t.port == policy.port and policy.allows(t.address)",
        "if policy.allows(t.address)",
    ),
    Break(
        "a standby outside the allowed networks is not kept",
        "reconcile/planner.py",
        "if t.port == policy.port and policy.allows(t.address)",
        "if t.port == policy.port",
    ),
    Break(
        "standbys do not exceed the limit of targets",
        "reconcile/planner.py",
        "in_order(candidates)[:room]",
        "in_order(candidates)",
    ),
    Break(
        "the standby check covers undesired targets only",
        "reconcile/reconciler.py",
        "        undesired = undesired_targets(group, observation, self.policy)\n",
        "        undesired = group.registered\n",
    ),
    Break(
        "describe first, observe second",
        "reconcile/reconciler.py",
        "        try:\n            group = self.target_group.describe()\n",
        "        observation = self.endpoint.observe()\n"
        "        try:\n            group = self.target_group.describe()\n",
        "        observation = self.endpoint.observe()\n        snapshot = Snapshot(",
        "        snapshot = Snapshot(",
    ),
    Break(
        "a stale plan is not applied",
        "reconcile/loop.py",
        "        return now > self.newest.at + STALE_SECONDS\n",
        "        return False\n",
    ),
    Break(
        "a dry run changes nothing",
        "reconcile/loop.py",
        "        if config.dry_run:\n",
        "        if False:\n",
    ),
    Break(
        "a run changes nothing after its deadline",
        "reconcile/loop.py",
        "        if plan.has_calls and now < config.deadline:\n",
        "        if plan.has_calls:\n",
    ),
    Break(
        "a run waits for a confirmation",
        "reconcile/loop.py",
        "        if due is not None and due < config.deadline:\n",
        "        if False:\n",
    ),
    Break(
        "a run waits for no confirmation after its deadline",
        "reconcile/loop.py",
        "        if due is not None and due < config.deadline:\n",
        "        if due is not None:\n",
    ),
    Break(
        "a run stays until the new targets are healthy",
        "reconcile/loop.py",
        "        if self.changed and config.wait_for_healthy and not self.healthy and",
        "        if False and",
    ),
    Break(
        "a vetoed run does not wait for health",
        "reconcile/loop.py",
        "not self.healthy and not plan.vetoes:\n",
        "not self.healthy:\n",
    ),
    Break(
        "a run waits for health for five minutes",
        "reconcile/loop.py",
        "(since or 0.0) + HEALTHY_WITHIN_SECONDS",
        "config.deadline",
    ),
    Break(
        "a scheduled run watches while the sources disagree",
        "reconcile/loop.py",
        "        if self.newest.contested:\n            # Sources",
        "        if False:\n            # Sources",
    ),
    Break(
        "a watch ends once the change is followed",
        "reconcile/loop.py",
        "self.newest.at if self._is_over else config.watch_until",
        "config.watch_until",
    ),
    Break(
        "a watch that saw no change lasts",
        "reconcile/loop.py",
        "        is_followed = bool(self.registered) or self._addresses_changed\n",
        "        is_followed = True\n",
    ),
    Break(
        "a watch ends after another run made the change",
        "reconcile/loop.py",
        "        is_followed = bool(self.registered) or self._addresses_changed\n",
        "        is_followed = bool(self.registered)\n",
    ),
    Break(
        "a watch lasts until the targets are healthy",
        "reconcile/loop.py",
        "return is_followed and is_healthy and",
        "return is_followed and",
    ),
    Break(
        "a run continues while the sources disagree",
        "reconcile/loop.py",
        "is_healthy and not self.newest.disagreement\n",
        "is_healthy\n",
    ),
    Break(
        "between two snapshots a run only polls DNS",
        "reconcile/loop.py",
        "TakeSnapshot(at) if is_due else PollDns(at)\n",
        "TakeSnapshot(at)\n",
    ),
    Break(
        "the group is described every few seconds while a change is expected",
        "reconcile/loop.py",
        "        return stale_at if due is None else min(due, stale_at)\n",
        '        return float("inf") if due is None else min(due, stale_at)\n',
    ),
    Break(
        "a due confirmation needs a snapshot",
        "reconcile/loop.py",
        "        return stale_at if due is None else min(due, stale_at)\n",
        "        return stale_at\n",
    ),
    Break(
        "a changed observation in a DNS poll needs a snapshot",
        "reconcile/loop.py",
        "        if self.plan is None or not observation.says_the_same(self.newest):\n",
        "        if self.plan is None:\n",
    ),
    Break(
        "a removal is followed by a snapshot",
        "reconcile/loop.py",
        "due < self.run_config.deadline and not plan.to_deregister:\n",
        "due < self.run_config.deadline:\n",
    ),
    Break(
        "a run polls DNS after a registration until the removal is due",
        "reconcile/loop.py",
        "        if due is not None and due < self.run_config.deadline and not",
        "        if False and not",
    ),
    Break(
        "a scheduled run polls DNS",
        "reconcile/loop.py",
        "        if at < min(config.poll_until, config.deadline):\n",
        "        if False:\n",
    ),
    Break(
        "a run that polls DNS retries after failures",
        "reconcile/loop.py",
        "max(self._watch_until, config.poll_until)",
        "self._watch_until",
    ),
    Break(
        "a scheduled run polls DNS until the next run has started",
        "reconcile/reconciler.py",
        "(SCHEDULE_SECONDS + self.dns_poll_seconds if polls_dns else 0.0)",
        "(SCHEDULE_SECONDS if polls_dns else 0.0)",
    ),
    Break(
        "only a scheduled run polls DNS without an announced change",
        "reconcile/reconciler.py",
        "trigger.is_scheduled and self.dns_poll_seconds > 0",
        "self.dns_poll_seconds > 0",
    ),
    Break(
        "a scheduled run watches after it detected a change",
        "reconcile/reconciler.py",
        "if watches or trigger.is_scheduled else 0.0",
        "if watches else 0.0",
    ),
    Break(
        "a run watches after an event",
        "reconcile/reconciler.py",
        "(self.watch_seconds if watches else 0.0)",
        "0.0",
    ),
    Break(
        "a run watches after it detected a change",
        "reconcile/loop.py",
        "        return max(config.watch_until, self.detected_at + config.watch_seconds)\n",
        "        return config.watch_until\n",
    ),
    Break(
        "a changed address is a detected change",
        "reconcile/loop.py",
        "not plan.is_complete or self._addresses_changed or",
        "not plan.is_complete or",
    ),
    Break(
        "each failure in a row doubles the pause", "reconcile/loop.py", " * 2 ** (in_a_row - 1)", ""
    ),
    Break(
        "the pause after failures has a limit",
        "reconcile/loop.py",
        "min(config.iteration_seconds * 2 ** (in_a_row - 1), LONGEST_PAUSE_SECONDS)",
        "config.iteration_seconds * 2 ** (in_a_row - 1)",
    ),
    Break(
        "a snapshot with nothing to apply ends the row of failures",
        "reconcile/loop.py",
        "replace(state, failures_in_a_row=0).wait(plan)",
        "state.wait(plan)",
    ),
    Break(
        "a final error ends every run",
        "reconcile/loop.py",
        "        if error.retryable and at",
        "        if at",
    ),
    Break(
        "a failure raises",
        "reconcile/reconciler.py",
        "        if step.error is not None:\n            raise step.error\n",
        "",
    ),
    Break(
        "a vetoed run says so",
        "reconcile/loop.py",
        "        if plan.vetoes:\n            return RunStatus.VETOED\n",
        "",
    ),
    Break(
        "a run with a failed standby check is unfinished",
        "reconcile/loop.py",
        " or plan.has_failed_checks or self.newest.disagreement:",
        " or self.newest.disagreement:",
    ),
    Break(
        "a run whose sources disagree is unfinished",
        "reconcile/loop.py",
        " or plan.has_failed_checks or self.newest.disagreement:",
        " or plan.has_failed_checks:",
    ),
    Break(
        "the port is part of the identity",
        "model.py",
        "    address: IPAddress\n    port: int\n",
        "    address: IPAddress\n    port: int = __import__('dataclasses').field(compare=False)\n",
    ),
    Break(
        "a deregistration names the port",
        "targets/target_group.py",
        '{"Id": str(target.address), "Port": target.port}',
        '{"Id": str(target.address)}',
    ),
    Break(
        "one failed reader makes the whole observation fail",
        "endpoints/cluster.py",
        "                return observation\n            observations",
        "                continue\n            observations",
    ),
    Break(
        "a public address is never registered",
        "model.py",
        "return any(address in network for network in self.allowed_networks)",
        "return True",
    ),
    Break(
        "addresses of the other family are not registered",
        "model.py",
        "for a in addresses if a.version in policy.families)",
        "for a in addresses)",
    ),
    Break(
        "targets of the other family are not removed",
        "model.py",
        "{t for t in group.registered if t.address.version in policy.families}",
        "set(group.registered)",
    ),
    Break(
        "a metric counts runs that end unhealthy",
        "reconcile/result.py",
        "int(self.status is RunStatus.UNHEALTHY)",
        "0",
    ),
    Break(
        "states are compared without case",
        "model.py",
        "_STATES.get(text.lower(), cls.UNKNOWN)",
        "_STATES.get(text, cls.UNKNOWN)",
    ),
]

UNBROKEN = Break("nothing", "model.py", before="", after="")


def main() -> int:
    """Apply every break in turn, and print the tests that notice it."""
    if failing := failing_tests(UNBROKEN):
        raise SystemExit("These tests fail without a break:\n" + "\n".join(failing))
    unnoticed = 0
    for broken in BREAKS:
        witnesses = failing_tests(broken)
        unnoticed += not witnesses
        print(f"{'noticed' if witnesses else 'UNNOTICED':>9}  {broken.rule}")
        for witness in witnesses:
            print(f"           {witness}")
    print(f"{len(BREAKS) - unnoticed} of {len(BREAKS)} broken rules noticed")
    return 1 if unnoticed else 0


def failing_tests(broken: Break) -> list[str]:
    """Return what fails with a copy of the layer in which the rule is broken.

    The rules of the core must break a property. The other rules must break a fast test.
    """
    with tempfile.TemporaryDirectory() as directory:
        layer = Path(directory) / "layer"
        shutil.copytree(LAYER, layer, ignore=shutil.ignore_patterns("__pycache__"))
        source = layer / "target_sync" / broken.file
        source.write_text(broken.applied(source.read_text()))
        by_properties = broken.file in CORE or broken is UNBROKEN
        lines = _failing_properties(layer) if by_properties else []
        return lines if broken.file in CORE else [*lines, *_failing_fast_tests(layer)]


def _failing_properties(layer: Path) -> list[str]:
    run = _python(layer, "-m", "tests.properties", *_HISTORIES)
    return [line for line in run.stdout.splitlines() if line.startswith("round ")]


def _failing_fast_tests(layer: Path) -> list[str]:
    run = _python(
        layer,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not lab"),
        *("-o", f"pythonpath={REPOSITORY} {layer}", "--tb=no", "--no-header"),
        f"--maxfail={WITNESSES}",
        *("tests/unit", "tests/functional", "tests/contract/test_target_group.py"),
    )
    lines = run.stdout.splitlines()
    return [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]


def _python(layer: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{layer}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in _NOTICED_OR_NOT or "Traceback" in run.stderr:
        raise SystemExit(f"The tests could not be run:\n{run.stdout}{run.stderr}")
    return run


if __name__ == "__main__":
    sys.exit(main())
