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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LAYER = REPOSITORY / "layers/target_sync"
WITNESSES = 3
#: The rules of these files are broken for the histories, the others for the fast tests.
CORE = frozenset(f"reconcile/{name}.py" for name in ("planner", "tracks", "loop", "reconciler"))
_FAST_TESTS = ("tests/unit", "tests/functional", "tests/contract/test_target_group.py")
#: Histories that are too rare for chance.
_SMALL_HISTORIES = "tests/properties/test_small_histories.py"
#: More than the tests replay: a rare history may be missing among a thousand.
_HISTORIES = ("--histories", "12000", "--seed", "7", "--no-shrink")
#: The exit codes if all tests passed, and if some failed. Other codes are errors.
_NOTICED_OR_NOT = (0, 1)


@dataclass(frozen=True)
class Break:
    """A rule, and the one or two changes to the code that break it."""

    file: str
    rule: str
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


_BREAKS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "reconcile/reconciler.py": [
        (
            "register first, deregister second",
            "            if plan.to_register:\n",
            (
                "            if plan.to_deregister:\n"
                "                self.target_group.deregister([c.target for c in "
                "plan.to_deregister])\n"
                "            if plan.to_register:\n"
            ),
        ),
        (
            "the standby check covers undesired targets only",
            "        undesired = undesired_targets(group, observation, self.policy)\n",
            "        undesired = group.registered\n",
        ),
        (
            "describe first, observe second",
            "        try:\n            group = self.target_group.describe()\n",
            (
                "        observation = self.endpoint.observe()\n"
                "        try:\n            group = self.target_group.describe()\n"
            ),
            "        observation = self.endpoint.observe()\n        snapshot = Snapshot(",
            "        snapshot = Snapshot(",
        ),
        (
            "a scheduled run polls DNS until the next run has started",
            "(SCHEDULE_SECONDS + self.dns_poll_seconds if polls_dns else 0.0)",
            "(SCHEDULE_SECONDS if polls_dns else 0.0)",
        ),
        (
            "only a scheduled run polls DNS without an announced change",
            "trigger.is_scheduled and self.dns_poll_seconds > 0",
            "self.dns_poll_seconds > 0",
        ),
        (
            "a scheduled run watches after it detected a change",
            "if watches or trigger.is_scheduled else 0.0",
            "if watches else 0.0",
        ),
        ("a run watches after an event", "(self.watch_seconds if watches else 0.0)", "0.0"),
        (
            "a failure raises",
            "        if step.error is not None:\n            raise step.error\n",
            "",
        ),
    ],
    "reconcile/planner.py": [
        (
            "an empty observation removes nothing",
            "        if not desired:\n",
            "        if False:\n",
        ),
        (
            "nothing leaves the group until it lists a desired target",
            "return not self.group.registered.isdisjoint(self.tracks.desired)",
            "return True",
        ),
        (
            "a removal waits for a target that this run registers",
            "            if any(map(self._brings_a_target, changes)):\n",
            "            if False:\n",
        ),
        (
            "a removal waits for a target that this run has registered",
            "return track.requested is Membership.REGISTERED and not track.is_registered",
            "return False",
        ),
        (
            "no removal waits for a target that no run registers",
            "return track.requested is Membership.REGISTERED and not track.is_registered",
            "return True",
        ),
        (
            "the same change is not repeated at once",
            "due = track.requested_at + pause\n",
            "due = track.requested_at\n",
        ),
        (
            "each repetition waits twice as long",
            "confirm_seconds * 2 ** (track.requests - 1)",
            "confirm_seconds",
        ),
        (
            "a change is repeated a few times only",
            "        if track.requests >= MOST_REQUESTS:\n",
            "        if False:\n",
        ),
        (
            "deregister only when confirmed",
            "            return since + window\n        if track.superseded",
            "            return since\n        if track.superseded",
        ),
        (
            "an immediate removal needs two sources that agree",
            "        if self.observation.corroborated and track",
            "        if track",
        ),
        (
            "agreement on an older address removes nothing at once",
            "self.observation.corroborated and track.superseded_since is not None:",
            "self.observation.corroborated:",
        ),
        (
            "agreement on a newer address removes at once",
            "self.observation.corroborated and track.superseded_since is not None:",
            "False:",
        ),
        (
            "a return needs the confirm window",
            "due = max(track.named_since, track.member_since) + self.tracks.confirm_window",
            "due = self.observation.at",
        ),
        (
            "a return waits since the target left",
            "due = max(track.named_since, track.member_since) + self.tracks.confirm_window",
            "due = track.named_since + self.tracks.confirm_window",
        ),
        (
            "too many addresses are rejected",
            "        if len(desired) > policy.max_targets:\n",
            "        if False:\n",
        ),
        (
            "an address outside the allowed networks vetoes removals",
            "        if outside:\n",
            "        if False:\n",
        ),
        (
            "a vetoed removal does not delay a registration",
            "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset({Phase.DEREGISTER}),",
            "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset(Phase),",
        ),
        (
            "a run waits for no removal that is vetoed",
            "Reason.ABSENCE_CONFIRMED, Reason.ABSENCE_UNCONFIRMED),",
            "Reason.ABSENCE_CONFIRMED),",
        ),
        (
            "an address that the second source changes to is registered at once",
            "if track.is_new and self.tracks.policy.allows(target.address):",
            "if False:",
        ),
        (
            "an announced address is never registered outside the allowed networks",
            "if track.is_new and self.tracks.policy.allows(target.address):",
            "if track.is_new:",
        ),
        (
            "a target that only the second source names stays for 30 s",
            "(window if track.was_desired else max(window, CONTEST_SECONDS))",
            "window",
        ),
        (
            "a contest lasts at least for the confirm window",
            "(window if track.was_desired else max(window, CONTEST_SECONDS))",
            "(window if track.was_desired else CONTEST_SECONDS)",
        ),
        (
            "the previous writer stays for the confirm window only",
            "(window if track.was_desired else max(window, CONTEST_SECONDS))",
            "max(window, CONTEST_SECONDS)",
        ),
        (
            "a superseded target stays for the confirm window only",
            "        if track.superseded_since is not None:\n            return max(",
            "        if False:\n            return max(",
        ),
        (
            "a superseded target stays since it was found to be so",
            "            return max(since, track.superseded_since) + window\n",
            "            return since + window\n",
        ),
        (
            "a target that another run just registered has a full confirm window",
            "        since = max(track.named_since, track.member_since)\n",
            "        since = track.named_since\n",
        ),
        (
            "a dead standby that belongs to the database is kept",
            "            return Change(target, Action.KEEP, Reason.STANDBY)\n",
            "            return None\n",
        ),
        (
            "an address that no longer belongs to the database is not kept",
            "        if target.address not in check.confirmed:\n            return None\n",
            "",
        ),
        (
            "a failed standby check removes nothing",
            "        if check.failure:\n",
            "        if False:\n",
        ),
        (
            "a former primary that stays healthy is removed",
            "Action.DEREGISTER, Reason.NOT_A_STANDBY",
            "Action.KEEP, Reason.STANDBY",
        ),
        (
            "a former primary that stays healthy has a grace period",
            "max(track.healthy_since + STANDBY_GRACE_SECONDS, self._removal_due(track))",
            "self._removal_due(track)",
        ),
        (
            "after the grace period a removal needs the confirm window",
            "max(track.healthy_since + STANDBY_GRACE_SECONDS, self._removal_due(track))",
            "track.healthy_since + STANDBY_GRACE_SECONDS",
        ),
        (
            "a standby is kept only on the database's port",
            "if t.port == policy.port and policy.allows(t.address)",
            "if policy.allows(t.address)",
        ),
        (
            "a standby outside the allowed networks is not kept",
            "if t.port == policy.port and policy.allows(t.address)",
            "if t.port == policy.port",
        ),
        (
            "standbys do not exceed the limit of targets",
            "in_order(candidates)[:room]",
            "in_order(candidates)",
        ),
    ],
    "reconcile/tracks.py": [
        (
            "an announced target supersedes the desired one",
            "bool(newer - {track.naming})",
            "Naming.DESIRED in newer - {track.naming}",
        ),
        (
            "a target supersedes only those that are named otherwise",
            "bool(newer - {track.naming})",
            "bool(newer)",
        ),
        (
            "a target that may not be registered supersedes nothing",
            "if track.is_new and self.policy.allows(target.address)",
            "if track.is_new",
        ),
        (
            "a draining target is registered again only when confirmed",
            "            elif target in draining:\n",
            "            elif False:\n",
        ),
        (
            "a target that this run saw leave returns only when confirmed",
            "            elif track.is_registered:\n",
            "            elif False:\n",
        ),
        (
            "one observation to the contrary starts the confirm window again",
            "since = self.named_since if naming is self.naming else at",
            "since = at if self.naming is None else self.named_since",
        ),
        ("the confirm window is longer than the TTL", "ttl + TTL_MARGIN_SECONDS", "0"),
        (
            "the confirm window is longer than the TTL of an alias that changed",
            "for a in self.aliases.values() if a.since >= track.named_since)",
            "for a in ())",
        ),
        (
            "an alias that did not change does not lengthen the confirm window",
            " for a in self.aliases.values() if a.since >= track.named_since)",
            " for a in self.aliases.values())",
        ),
        (
            "an alias that refers to another name has changed",
            "if before is None or before.target != alias.target:",
            "if before is None:",
        ),
        (
            "a run remembers the longest TTL of an alias",
            "longest_ttl=max(before.longest_ttl, alias.ttl)",
            "longest_ttl=alias.ttl",
        ),
        (
            "a change in the other direction is no repetition",
            "self.requests + 1 if membership is self.requested else 1",
            "self.requests + 1",
        ),
        (
            "a run remembers the longest TTL",
            "longest_ttl=max(self.longest_ttl, observation.ttl or 0)",
            "longest_ttl=observation.ttl or 0",
        ),
        (
            "an address that the second source named from the start is not registered",
            "is_announced = self.naming is Naming.CONTESTED and self.was_unknown",
            "is_announced = self.naming is Naming.CONTESTED",
        ),
        (
            "a healthy standby is kept while a desired target is dead",
            "beside = undesired & group.healthy if all_alive else frozenset()",
            "beside = undesired & group.healthy",
        ),
        (
            "the grace period starts again when the standby is dead",
            "unbroken_since(self.healthy_since, at, holds=is_beside_alive)",
            "first_time(self.healthy_since, at, holds=is_beside_alive)",
        ),
    ],
    "reconcile/loop.py": [
        (
            "a target that this run removed returns only when confirmed",
            "            tracks=self._tracks_after(changes, Membership.LEFT),\n",
            "",
        ),
        (
            "a stale plan is not applied",
            "        return now > self.newest.at + STALE_SECONDS\n",
            "        return False\n",
        ),
        ("a dry run changes nothing", "        if config.dry_run:\n", "        if False:\n"),
        (
            "a run changes nothing after its deadline",
            "        if plan.has_calls and now < config.deadline:\n",
            "        if plan.has_calls:\n",
        ),
        (
            "a run waits for a confirmation",
            "        if due is not None and due < config.deadline:\n",
            "        if False:\n",
        ),
        (
            "a run waits for no confirmation after its deadline",
            "        if due is not None and due < config.deadline:\n",
            "        if due is not None:\n",
        ),
        (
            "a run stays until the new targets are healthy",
            "        if self.changed and config.wait_for_healthy and is_open:\n",
            "        if False:\n",
        ),
        (
            "a vetoed run does not wait for health",
            "not self.healthy and not plan.vetoes and not plan.is_blocked\n",
            "not self.healthy and not plan.is_blocked\n",
        ),
        (
            "a run whose changes have no effect does not wait for health",
            "not self.healthy and not plan.vetoes and not plan.is_blocked\n",
            "not self.healthy and not plan.vetoes\n",
        ),
        (
            "a removal that waits for a registration gets a snapshot at once",
            "        if due is not None and due <= self.newest.at:\n",
            "        if False:\n",
        ),
        (
            "a run waits for health for five minutes",
            "(since or 0.0) + HEALTHY_WITHIN_SECONDS",
            "config.deadline",
        ),
        (
            "a scheduled run watches while the sources disagree",
            "        if self.newest.contested:\n            # Sources",
            "        if False:\n            # Sources",
        ),
        (
            "a watch ends once the change is followed",
            "self.newest.at if self._is_over else config.watch_until",
            "config.watch_until",
        ),
        (
            "a watch that saw no change lasts",
            "        is_followed = bool(self.registered) or self._addresses_changed\n",
            "        is_followed = True\n",
        ),
        (
            "a watch ends after another run made the change",
            "        is_followed = bool(self.registered) or self._addresses_changed\n",
            "        is_followed = bool(self.registered)\n",
        ),
        (
            "a watch lasts until the targets are healthy",
            "return is_followed and is_healthy and",
            "return is_followed and",
        ),
        (
            "a run continues while the sources disagree",
            "is_healthy and not self.newest.disagreement\n",
            "is_healthy\n",
        ),
        (
            "between two snapshots a run only polls DNS",
            "waiting_for(reason), TakeSnapshot(at) if is_due else PollDns(at)\n",
            "waiting_for(reason), TakeSnapshot(at)\n",
        ),
        (
            "the group is described every few seconds while a change is expected",
            "        return stale_at if due is None else min(due, stale_at)\n",
            '        return float("inf") if due is None else min(due, stale_at)\n',
        ),
        (
            "a due confirmation needs a snapshot",
            "        return stale_at if due is None else min(due, stale_at)\n",
            "        return stale_at\n",
        ),
        (
            "a changed observation in a DNS poll needs a snapshot",
            "        if self.plan is None or not observation.says_the_same(self.newest):\n",
            "        if self.plan is None:\n",
        ),
        (
            "a removal is followed by a snapshot",
            "due < self.run_config.deadline and not plan.to_deregister:\n",
            "due < self.run_config.deadline:\n",
        ),
        (
            "a run polls DNS after a registration until the removal is due",
            "        if due is not None and due < self.run_config.deadline and not",
            "        if False and not",
        ),
        (
            "a scheduled run polls DNS",
            "        if at < min(config.poll_until, config.deadline):\n",
            "        if False:\n",
        ),
        (
            "a run that polls DNS retries after failures",
            "max(self._watch_until, config.poll_until)",
            "self._watch_until",
        ),
        (
            "a run watches after it detected a change",
            "        return max(config.watch_until, self.detected_at + config.watch_seconds)\n",
            "        return config.watch_until\n",
        ),
        (
            "a changed address is a detected change",
            "not plan.is_complete or self._addresses_changed or",
            "not plan.is_complete or",
        ),
        ("each failure in a row doubles the pause", " * 2 ** (in_a_row - 1)", ""),
        (
            "the pause after failures has a limit",
            "min(config.iteration_seconds * 2 ** (in_a_row - 1), LONGEST_PAUSE_SECONDS)",
            "config.iteration_seconds * 2 ** (in_a_row - 1)",
        ),
        (
            "a snapshot with nothing to apply ends the row of failures",
            "replace(state, failures_in_a_row=0).wait(plan)",
            "state.wait(plan)",
        ),
        ("a final error ends every run", "        if error.retryable and at", "        if at"),
        (
            "a vetoed run says so",
            "        if plan.vetoes:\n            return RunStatus.VETOED\n",
            "",
        ),
        (
            "a run with a failed standby check is unfinished",
            " or plan.is_blocked or self.newest.disagreement:",
            " or self.newest.disagreement:",
        ),
        (
            "a run whose sources disagree is unfinished",
            " or plan.is_blocked or self.newest.disagreement:",
            " or plan.is_blocked:",
        ),
    ],
    "model.py": [
        (
            "the port is part of the identity",
            "IPAddress\n    port: int\n",
            "IPAddress\n    port: int = __import__('dataclasses').field(compare=False)\n",
        ),
        (
            "a public address is never registered",
            "return any(address in network for network in self.allowed_networks)",
            "return True",
        ),
        (
            "addresses of the other family are not registered",
            "for a in addresses if a.version in policy.families)",
            "for a in addresses)",
        ),
        (
            "targets of the other family are not removed",
            "{t for t in group.registered if t.address.version in policy.families}",
            "set(group.registered)",
        ),
        (
            "states are compared without case",
            "_STATES.get(text.lower(), cls.UNKNOWN)",
            "_STATES.get(text, cls.UNKNOWN)",
        ),
    ],
    "targets/target_group.py": [
        (
            "a deregistration names the port",
            '{"Id": str(target.address), "Port": target.port}',
            '{"Id": str(target.address)}',
        )
    ],
    "endpoints/cluster.py": [
        (
            "one failed reader makes the whole observation fail",
            "                return observation\n            observations",
            "                continue\n            observations",
        )
    ],
    "reconcile/result.py": [
        ("a metric counts runs that end unhealthy", "int(self.status is RunStatus.UNHEALTHY)", "0")
    ],
}
"""For each file its rules, each with the texts before and after the break, and maybe two more."""

BREAKS = [Break(file, *texts) for file, breaks in _BREAKS.items() for texts in breaks]

UNBROKEN = Break("model.py", "nothing", before="", after="")


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
        if broken.file in CORE:
            return _failing(layer, _SMALL_HISTORIES) or _failing_histories(layer)
        fast = _failing(layer, *_FAST_TESTS)
        return fast if broken is not UNBROKEN else [*fast, *_failing_histories(layer)]


def _failing_histories(layer: Path) -> list[str]:
    run = _python(layer, "-m", "tests.properties", *_HISTORIES)
    return [line for line in run.stdout.splitlines() if line.startswith("round ")]


def _failing(layer: Path, *paths: str) -> list[str]:
    run = _python(
        layer,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not lab"),
        *("-o", f"pythonpath={REPOSITORY} {layer}", "--tb=no", "--no-header"),
        f"--maxfail={WITNESSES}",
        *paths,
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
