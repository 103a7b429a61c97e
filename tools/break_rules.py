"""Break each rule of the design on purpose and see that a test fails.

    make break-rules

Each break is applied to a copy of the layer; the working tree is never changed. Exits with 1
when a break goes unnoticed.
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
#: How pytest ends when all tests passed, and when some failed. Anything else says nothing.
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
        """The text of the file with the rule broken."""
        for before, after in ((self.before, self.after), (self.also_before, self.also_after)):
            if before and text.count(before) != 1:
                raise SystemExit(f"{self.rule}: {self.file} has no such code (any more):\n{before}")
            text = text.replace(before, after) if before else text
        return text


BREAKS = [
    Break(
        "register first, deregister second",
        "synchronizer.py",
        "            if plan.to_register:\n",
        "            if plan.to_deregister:\n"
        "                self.target_group.deregister([v.target for v in plan.to_deregister])\n"
        "            if plan.to_register:\n",
    ),
    Break(
        "draining is not registered",
        "model.py",
        "t.target for t in self.targets if t.state is not TargetState.DRAINING",
        "t.target for t in self.targets",
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
        "an empty answer removes nothing",
        "reconcile/planner.py",
        "        if not wanted:\n",
        "        if False:\n",
    ),
    Break(
        "nothing leaves the group without a registered target",
        "reconcile/planner.py",
        "return bool(leaving) and not (self.group.registered - leaving) | coming",
        "return False",
    ),
    Break(
        "deregister only when confirmed",
        "reconcile/planner.py",
        "        if due <= self.now or Phase.DEREGISTER in refused:\n",
        "        if True:\n",
    ),
    Break(
        "a removal at once takes two sources that agree",
        "reconcile/planner.py",
        "        if self.observations[-1].corroborated and ",
        "        if ",
    ),
    Break(
        "two sources that agree on what was there before remove nothing at once",
        "reconcile/planner.py",
        " and self._is_outdated(target):\n",
        ":\n",
    ),
    Break(
        "a reader that cannot be looked up makes the whole look fail",
        "endpoints/cluster.py",
        "                return answer\n            answers",
        "                continue\n            answers",
    ),
    Break(
        "a target outside the VPC is registered for every zone",
        "targets/target_group.py",
        'described["AvailabilityZone"] = _EVERY_ZONE',
        "pass",
    ),
    Break(
        "re-register a draining target only when confirmed",
        "reconcile/planner.py",
        "        if due <= self.now:\n            return Verdict(target, Action.REGISTER",
        "        if True:\n            return Verdict(target, Action.REGISTER",
    ),
    Break(
        "the confirm window is longer than the TTL",
        "reconcile/planner.py",
        "max(ttls, default=0) + TTL_MARGIN_SECONDS",
        "0",
    ),
    Break(
        "what a run remembers has the longest TTL of what it forgets",
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
        "a loopback address is never registered, whatever the networks say",
        "model.py",
        "address.is_loopback\n",
        "False\n",
    ),
    Break(
        "addresses of the other family are not registered",
        "reconcile/planner.py",
        "for a in addresses if a.version in policy.families)",
        "for a in addresses)",
    ),
    Break(
        "targets of the other family are not removed",
        "reconcile/planner.py",
        "{t for t in group.registered if t.address.version in policy.families}",
        "set(group.registered)",
    ),
    Break(
        "too many addresses are refused",
        "reconcile/planner.py",
        "        if len(wanted) > self.policy.max_targets:\n",
        "        if False:\n",
    ),
    Break(
        "a right registration is not held up by a vetoed removal",
        "reconcile/planner.py",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset({Phase.DEREGISTER}),",
        "OUTSIDE_ALLOWED_NETWORKS,\n                frozenset(Phase),",
    ),
    Break(
        "what the second source changes to is registered before the name says so",
        "reconcile/planner.py",
        "            if self._is_announced(target) and",
        "            if False and",
    ),
    Break(
        "what the second source named from the start is not registered",
        "reconcile/planner.py",
        "            and any(o.second is not None and target.address not in o.second"
        " for o in self._past)\n",
        "",
    ),
    Break(
        "an announcement counts for the confirm window only",
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
        "what the second source alone names stays for the confirm window of the dispute",
        "reconcile/planner.py",
        "self._contested_until(target) if contested else self._gone_at(target)",
        "self._gone_at(target)",
    ),
    Break(
        "a run goes on while the sources disagree",
        "reconcile/loop.py",
        " and not self.disputed\n        if (followed",
        "\n        if (followed",
    ),
    Break(
        "a dispute arms a scheduled run",
        "reconcile/loop.py",
        "        if self._contested:\n            # A dispute",
        "        if False:\n            # A dispute",
    ),
    Break(
        "a run whose sources disagree says that it is not finished",
        "reconcile/loop.py",
        " or plan.doubts or self.disputed:",
        " or plan.doubts:",
    ),
    Break(
        "a standby that is dead and the database's own is kept",
        "reconcile/planner.py",
        "            return Verdict(target, Action.KEEP, Reason.STANDBY)\n",
        "            return None\n",
    ),
    Break(
        "a standby is kept only where that was chosen",
        "reconcile/planner.py",
        "        if not (self.policy.serving_standby and check and",
        "        if not (check and",
    ),
    Break(
        "an address that is not the database's any more is not kept",
        "reconcile/planner.py",
        "        if target.address not in check.confirmed:\n            return None\n",
        "",
    ),
    Break(
        "while nobody can say whose an address is, it stays",
        "reconcile/planner.py",
        "        if check.failure:\n",
        "        if False:\n",
    ),
    Break(
        "a run that could not find out whose an address is says so",
        "reconcile/loop.py",
        " or plan.doubts or self.disputed:",
        " or self.disputed:",
    ),
    Break(
        "a former primary that goes on answering leaves",
        "reconcile/planner.py",
        "        return _removal(target, Reason.NO_STANDBY, refused)\n",
        "        return Verdict(target, Action.KEEP, Reason.STANDBY)\n",
    ),
    Break(
        "a former primary that answers has a grace",
        "reconcile/planner.py",
        "max(since + STANDBY_GRACE_SECONDS, self._gone_at(target))",
        "self._gone_at(target)",
    ),
    Break(
        "what another run has just registered has a confirm window of its own",
        "reconcile/planner.py",
        "max(since, self.evidence.registered_since.get(target, since)) + self.window",
        "since + self.window",
    ),
    Break(
        "a target that this run saw leave comes back when that is confirmed",
        "reconcile/planner.py",
        "        absent_since = self.evidence.absent_since.get(target, -inf)\n",
        "        absent_since = -inf\n",
    ),
    Break(
        "a second source that was silent did not speak against an address",
        "reconcile/planner.py",
        "            o.second is not None\n            and target.address in o.addresses\n"
        "            and newest.difference(o.addresses, o.second)\n",
        "            target.address in o.addresses\n"
        "            and newest.difference(o.addresses, o.second or ())\n",
    ),
    Break(
        "a plan that is old is not carried out",
        "reconcile/loop.py",
        "        return now > self.observations[-1].at + STALE_SECONDS\n",
        "        return False\n",
    ),
    Break(
        "a standby that answers while the right target is dead is kept",
        "reconcile/planner.py",
        "    if any(t.state in _DEAD for t in group.targets if t.target in wanted):\n"
        "        return frozenset()\n",
        "",
    ),
    Break(
        "a standby is kept on our port only",
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
        "kept standbys have no more room than the targets that are allowed",
        "reconcile/planner.py",
        "in_order(fitting)[:room]",
        "in_order(fitting)",
    ),
    Break(
        "only what the answer does not explain is asked about",
        "synchronizer.py",
        "        outside = targets_outside(group, observation, self.policy)\n",
        "        outside = group.registered\n",
    ),
    Break(
        "describe first, observe second",
        "synchronizer.py",
        "        try:\n            group = self.target_group.describe()\n",
        "        observation = self.endpoint.observe()\n"
        "        try:\n            group = self.target_group.describe()\n",
        "        observation = self.endpoint.observe()\n        look = Look(",
        "        look = Look(",
    ),
    Break(
        "between two looks only the endpoint is asked",
        "reconcile/loop.py",
        " else Poll(at)\n",
        " else LookAgain(at)\n",
    ),
    Break(
        "while something is to be expected the group is described every few seconds",
        "reconcile/loop.py",
        "        stale_at = self.described_at + DESCRIBE_SECONDS\n",
        '        stale_at = float("inf")\n',
    ),
    Break(
        "a confirmation that is due is looked at",
        "reconcile/loop.py",
        "        return min(due, stale_at)\n",
        "        return stale_at\n",
    ),
    Break(
        "an answer that changed in a poll is looked at",
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
        "a run never goes past its time",
        "reconcile/loop.py",
        "        if plan.changes_something and now < self.assignment.deadline:\n",
        "        if plan.changes_something:\n",
    ),
    Break(
        "a completed event settles a group that has been right for a while",
        "reconcile/loop.py",
        " or self._settled(now):",
        ":",
    ),
    Break(
        "only a completed event settles",
        "reconcile/loop.py",
        "            self.assignment.settles\n            and ",
        "            ",
    ),
    Break(
        "a group that was wrong in between settles anew",
        "reconcile/loop.py",
        "right_since=_since(self.right_since, now, healthy and plan.is_complete)",
        "right_since=_since(self.right_since, now, True)",
    ),
    Break(
        "a vigil goes on polling",
        "reconcile/loop.py",
        "        if now + task.poll_seconds < min(task.vigil_until, task.deadline):\n",
        "        if False:\n",
    ),
    Break(
        "a vigil outlives failures",
        "reconcile/loop.py",
        "max(self._armed_until, self.assignment.vigil_until)",
        "self._armed_until",
    ),
    Break(
        "a vigil lasts until the next run may have started",
        "synchronizer.py",
        "(SCHEDULE_SECONDS + self.poll_seconds if keeps_vigil else 0.0)",
        "(SCHEDULE_SECONDS if keeps_vigil else 0.0)",
    ),
    Break(
        "only a scheduled run keeps a vigil",
        "synchronizer.py",
        "trigger.is_scheduled and self.poll_seconds > 0",
        "self.poll_seconds > 0",
    ),
    Break(
        "what a scheduled run finds arms it",
        "synchronizer.py",
        "if watches or trigger.is_scheduled else 0.0",
        "if watches else 0.0",
    ),
    Break(
        "what a run finds arms it",
        "reconcile/loop.py",
        "        return max(task.watch_until, self.detected_at + task.watch_seconds)\n",
        "        return task.watch_until\n",
    ),
    Break(
        "failures in a row are longer and longer apart",
        "reconcile/loop.py",
        " * 2 ** (in_a_row - 1)",
        "",
    ),
    Break(
        "a failure raises",
        "synchronizer.py",
        "        if error is not None:\n            raise error\n",
        "",
    ),
    Break(
        "an event keeps the run looking",
        "synchronizer.py",
        "(self.watch_seconds if watches else 0.0)",
        "0.0",
    ),
    Break(
        "a run that ends unhealthy is seen in the metrics",
        "observability.py",
        "int(result.status is Status.UNHEALTHY)",
        "0",
    ),
    Break(
        "an account that is not on the list is never accepted",
        "connections/decisions.py",
        "    if connection.owner in policy.trusted_accounts:\n",
        "    if True:\n",
    ),
    Break(
        "only a request is answered",
        "connections/decisions.py",
        "    if not connection.is_request:\n",
        "    if False:\n",
    ),
    Break(
        "states are compared without case",
        "connections/decisions.py",
        "_STATES.get(text.lower(), cls.UNKNOWN)",
        "_STATES.get(text, cls.UNKNOWN)",
    ),
    Break(
        "an answer whose reply was lost counts as given",
        "connections/reviewer.py",
        "                given.append(decision)\n            elif",
        "                left.append((decision, error))\n            elif",
    ),
]

UNBROKEN = Break("nothing", "synchronizer.py", before="", after="")


def main() -> int:
    """Apply every break in turn; print which test noticed it."""
    if failing := failing_tests(UNBROKEN):
        raise SystemExit("These fail although nothing is broken:\n" + "\n".join(failing))
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
    """Run the fast tests over a copy of the layer with the rule broken."""
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
