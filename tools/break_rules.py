"""Break each rule of the design, one at a time, and check that a test fails.

    make break-rules

Only breaks that no operator of `make mutants` makes belong here. Breaks are applied to a copy of
the layer. Exits with 1 if no test notices a break, or if a break does not apply to the code any
more.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LAYER = REPOSITORY / "layers/target_sync"
WITNESSES = 3
#: pytest's exit codes if all tests passed, and if some failed. Other codes are errors.
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
        "        if due <= self.now or Phase.DEREGISTER in vetoed:\n",
        "        if True:\n",
    ),
    Break(
        "an immediate removal needs two sources that agree",
        "reconcile/planner.py",
        "        if self.observations[-1].corroborated and ",
        "        if ",
    ),
    Break(
        "agreement on an older address removes nothing at once",
        "reconcile/planner.py",
        " and self._is_superseded(target):\n",
        ":\n",
    ),
    Break(
        "one failed reader makes the whole observation fail",
        "endpoints/cluster.py",
        "                return observation\n            observations",
        "                continue\n            observations",
    ),
    Break(
        "re-register a draining target only when confirmed",
        "reconcile/planner.py",
        "        if due <= self.now:\n            return Change(target, Action.REGISTER",
        "        if True:\n            return Change(target, Action.REGISTER",
    ),
    Break(
        "the confirm window is longer than the TTL",
        "reconcile/planner.py",
        "max(ttls, default=0) + TTL_MARGIN_SECONDS",
        "0",
    ),
    Break(
        "a condensed series keeps its longest TTL",
        "reconcile/loop.py",
        "replace(newest, ttl=max(ttls, default=None))",
        "newest",
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
        "too many addresses are rejected",
        "reconcile/planner.py",
        "        if len(desired) > self.policy.max_targets:\n",
        "        if False:\n",
    ),
    Break(
        "a vetoed removal does not delay a registration",
        "reconcile/planner.py",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset({Phase.DEREGISTER}),",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset(Phase),",
    ),
    Break(
        "an address that the second source changes to is registered at once",
        "reconcile/planner.py",
        "            if self._is_announced(target) and",
        "            if False and",
    ),
    Break(
        "an address that the second source named from the start is not registered",
        "reconcile/planner.py",
        "            and any(o.second is not None and target.address not in o.second"
        " for o in self._past)\n",
        "",
    ),
    Break(
        "an announcement expires after the confirm window",
        "reconcile/planner.py",
        "            and self._contested_until(target) > self.now\n",
        "",
    ),
    Break(
        "an announced address is never registered outside the allowed networks",
        "reconcile/planner.py",
        "            self.policy.allows(target.address)\n            and any(o.second",
        "            True\n            and any(o.second",
    ),
    Break(
        "a target that only the second source names stays while the sources disagree",
        "reconcile/planner.py",
        "self._contested_until(target) if contested else self._absence_confirmed_at(target)",
        "self._absence_confirmed_at(target)",
    ),
    Break(
        "a run continues while the sources disagree",
        "reconcile/loop.py",
        "        if self.sources_disagree:\n            return False\n",
        "",
    ),
    Break(
        "a scheduled run watches while the sources disagree",
        "reconcile/loop.py",
        "        if self._contested:\n            # Sources",
        "        if False:\n            # Sources",
    ),
    Break(
        "a run whose sources disagree is unfinished",
        "reconcile/loop.py",
        " or plan.has_failed_checks or self.sources_disagree:",
        " or plan.has_failed_checks:",
    ),
    Break(
        "a dead standby that belongs to the database is kept",
        "reconcile/planner.py",
        "            return Change(target, Action.KEEP, Reason.STANDBY)\n",
        "            return None\n",
    ),
    Break(
        "a standby is kept only if the policy says so",
        "reconcile/planner.py",
        "        if not (self.policy.serving_standby and check and",
        "        if not (check and",
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
        "a run with a failed standby check is unfinished",
        "reconcile/loop.py",
        " or plan.has_failed_checks or self.sources_disagree:",
        " or self.sources_disagree:",
    ),
    Break(
        "a former primary that stays healthy is removed",
        "reconcile/planner.py",
        "        return _removal(target, Reason.NOT_A_STANDBY, vetoed)\n",
        "        return Change(target, Action.KEEP, Reason.STANDBY)\n",
    ),
    Break(
        "a former primary that stays healthy has a grace period",
        "reconcile/planner.py",
        "max(since + STANDBY_GRACE_SECONDS, self._absence_confirmed_at(target))",
        "self._absence_confirmed_at(target)",
    ),
    Break(
        "a target that another run just registered has a full confirm window",
        "reconcile/planner.py",
        "max(since, self.evidence.registered_since.get(target, since)) + self.window",
        "since + self.window",
    ),
    Break(
        "a target that this run saw leave returns only when confirmed",
        "reconcile/planner.py",
        "        absent_since = self.evidence.absent_since.get(target, -inf)\n",
        "        absent_since = -inf\n",
    ),
    Break(
        "a second source without a reply does not contradict an address",
        "reconcile/planner.py",
        "            o.second is not None\n            and target.address in o.addresses\n"
        "            and newest.difference(o.addresses, o.second)\n",
        "            target.address in o.addresses\n"
        "            and newest.difference(o.addresses, o.second or ())\n",
    ),
    Break(
        "a stale plan is not applied",
        "reconcile/loop.py",
        "        return now > self.observations[-1].at + STALE_SECONDS\n",
        "        return False\n",
    ),
    Break(
        "a healthy standby is kept while a desired target is dead",
        "reconcile/planner.py",
        "    if any(t.state in _DEAD for t in group.targets if t.target in desired):\n"
        "        return frozenset()\n",
        "",
    ),
    Break(
        "a standby is kept only on the database's port",
        "reconcile/planner.py",
        "if t.port == self.policy.port and self.policy.allows(t.address)",
        "if self.policy.allows(t.address)",
    ),
    Break(
        "a standby outside the allowed networks is not kept",
        "reconcile/planner.py",
        "if t.port == self.policy.port and self.policy.allows(t.address)",
        "if t.port == self.policy.port",
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
        "between two snapshots a run only polls DNS",
        "reconcile/loop.py",
        ">= self._snapshot_due_at(plan) else PollDns(at)\n",
        ">= self._snapshot_due_at(plan) else TakeSnapshot(at)\n",
    ),
    Break(
        "the group is described every few seconds while a change is expected",
        "reconcile/loop.py",
        "        stale_at = self.described_at + DESCRIBE_SECONDS\n",
        '        stale_at = float("inf")\n',
    ),
    Break(
        "a due confirmation needs a snapshot",
        "reconcile/loop.py",
        "        return min(due, stale_at)\n",
        "        return stale_at\n",
    ),
    Break(
        "a changed observation in a DNS poll needs a snapshot",
        "reconcile/loop.py",
        "        if self.plan is None or not same:\n",
        "        if self.plan is None:\n",
    ),
    Break(
        "a run stays until the new targets are healthy",
        "reconcile/loop.py",
        "        if self.changed and wait and not self.healthy and not plan.vetoes:\n",
        "        if False:\n",
    ),
    Break(
        "a run changes nothing after its deadline",
        "reconcile/loop.py",
        "        if plan.has_calls and now < self.run_config.deadline:\n",
        "        if plan.has_calls:\n",
    ),
    Break(
        "a run after a completed change ends once the group is stable",
        "reconcile/loop.py",
        "            and now >= self.in_sync_since + STABLE_SECONDS\n",
        "            and False\n",
    ),
    Break(
        "only a completed change makes a group stable",
        "reconcile/loop.py",
        "            self.run_config.change_completed\n            and ",
        "            ",
    ),
    Break(
        "drift restarts the time until a group is stable",
        "reconcile/loop.py",
        "(self.in_sync_since, now, healthy and plan.is_complete)",
        "(self.in_sync_since, now, True)",
    ),
    Break(
        "a scheduled run polls DNS",
        "reconcile/loop.py",
        "        if now + config.dns_poll_seconds < min(config.poll_until, config.deadline):\n",
        "        if False:\n",
    ),
    Break(
        "a run that polls DNS retries after failures",
        "reconcile/loop.py",
        "max(self._watch_until, self.run_config.poll_until)",
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
        "a run watches after it detected a change",
        "reconcile/loop.py",
        "        return max(config.watch_until, self.detected_at + config.watch_seconds)\n",
        "        return config.watch_until\n",
    ),
    Break(
        "each failure in a row doubles the pause",
        "reconcile/loop.py",
        " * 2 ** (in_a_row - 1)",
        "",
    ),
    Break(
        "a failure raises",
        "reconcile/reconciler.py",
        "        if error is not None:\n            raise error\n",
        "",
    ),
    Break(
        "a run watches after an event",
        "reconcile/reconciler.py",
        "(self.watch_seconds if watches else 0.0)",
        "0.0",
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
    """Return the fast tests that fail with a copy of the layer in which the rule is broken."""
    with tempfile.TemporaryDirectory() as directory:
        layer = Path(directory) / "layer"
        shutil.copytree(LAYER, layer, ignore=shutil.ignore_patterns("__pycache__"))
        source = layer / "target_sync" / broken.file
        source.write_text(broken.applied(source.read_text()))
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not lab"),
                *("-o", f"pythonpath={REPOSITORY} {layer}", "--tb=no", "--no-header"),
                f"--maxfail={WITNESSES}",
                *("tests/unit", "tests/functional", "tests/contract/test_target_group.py"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode not in _NOTICED_OR_NOT:
        raise SystemExit(f"{broken.rule}: the tests could not be run:\n{run.stdout}{run.stderr}")
    lines = run.stdout.splitlines()
    return [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]


if __name__ == "__main__":
    sys.exit(main())
