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
        "core/model.py",
        "t.target for t in self.targets if t.state is not TargetState.DRAINING",
        "t.target for t in self.targets",
    ),
    Break(
        "the port is part of the identity",
        "core/model.py",
        "    address: IPAddress\n    port: int\n",
        "    address: IPAddress\n    port: int = __import__('dataclasses').field(compare=False)\n",
    ),
    Break(
        "a deregistration names the port",
        "adapters/target_groups.py",
        '{"Id": str(target.address), "Port": target.port}',
        '{"Id": str(target.address)}',
    ),
    Break(
        "an empty answer removes nothing",
        "core/planning.py",
        "    if not newest.addresses:\n",
        "    if False:\n",
    ),
    Break(
        "nothing leaves the group without a registered target",
        "core/planning.py",
        "return bool(leaving) and not (group.registered - leaving) | coming",
        "return False",
    ),
    Break(
        "deregister only when confirmed",
        "core/planning.py",
        "        elif due > observations[-1].at:\n",
        "        elif False:\n",
    ),
    Break(
        "a removal at once takes two sources that agree",
        "core/planning.py",
        "        elif observations[-1].corroborated and ",
        "        elif ",
    ),
    Break(
        "two sources that agree on what was there before remove nothing at once",
        "core/planning.py",
        " and _is_outdated(target, wanted, group, observations):\n",
        ":\n",
    ),
    Break(
        "sources that disagree keep both writers",
        "adapters/rds.py",
        "addresses=by_name.addresses | by_topology.addresses,",
        "addresses=by_topology.addresses,",
    ),
    Break(
        "a run goes on while the sources disagree",
        "core/convergence.py",
        " and not self.disputed\n",
        "\n",
    ),
    Break(
        "a reader that cannot be looked up makes the whole look fail",
        "adapters/rds.py",
        "                return answer\n            answers",
        "                continue\n            answers",
    ),
    Break(
        "a target outside the VPC is registered for every zone",
        "adapters/target_groups.py",
        'described["AvailabilityZone"] = _EVERY_ZONE',
        "pass",
    ),
    Break(
        "re-register a draining target only when confirmed",
        "core/planning.py",
        "            if due <= observations[-1].at:\n",
        "            if True:\n",
    ),
    Break(
        "the confirm window is longer than the TTL",
        "core/planning.py",
        "max(ttls, default=0) + TTL_MARGIN_SECONDS",
        "0",
    ),
    Break(
        "a public address is never registered",
        "core/model.py",
        "return any(address in network for network in self.allowed_networks)",
        "return True",
    ),
    Break(
        "a loopback address is never registered, whatever the networks say",
        "core/model.py",
        "address.is_loopback\n",
        "False\n",
    ),
    Break(
        "too many addresses are refused",
        "core/planning.py",
        "    if len(newest.addresses) > policy.max_targets:\n",
        "    if False:\n",
    ),
    Break(
        "a right registration is not held up by a vetoed removal",
        "core/planning.py",
        "OUTSIDE_ALLOWED_NETWORKS,\n            frozenset({Phase.DEREGISTER}),",
        "OUTSIDE_ALLOWED_NETWORKS,\n            frozenset(Phase),",
    ),
    Break(
        "describe first, observe second",
        "synchronizer.py",
        "        try:\n            group = self.target_group.describe()\n",
        "        observation = self.endpoint.observe()\n"
        "        try:\n            group = self.target_group.describe()\n",
        "look = Look(group, self.endpoint.observe())",
        "look = Look(group, observation)",
    ),
    Break(
        "a run stays until the new targets are healthy",
        "core/convergence.py",
        "        if self.changed and wait and not self.healthy and not plan.vetoes:\n",
        "        if False:\n",
    ),
    Break(
        "a run never goes past its time",
        "core/convergence.py",
        "        if plan.changes_something and now < self.assignment.deadline:\n",
        "        if plan.changes_something:\n",
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
        "self.watch_seconds if trigger.announces_a_change else 0.0",
        "0.0",
    ),
    Break(
        "an account that is not on the list is never accepted",
        "core/connections.py",
        "    if connection.owner in policy.trusted_accounts:\n",
        "    if True:\n",
    ),
    Break(
        "only a request is answered",
        "core/connections.py",
        "    if not connection.is_request:\n",
        "    if False:\n",
    ),
    Break(
        "states are compared without case",
        "core/connections.py",
        "_STATES.get(text.lower(), cls.UNKNOWN)",
        "_STATES.get(text, cls.UNKNOWN)",
    ),
    Break(
        "an answer whose reply was lost counts as given",
        "connections/answering.py",
        "                given.append(decision)\n            elif",
        "                left.append((decision, error))\n            elif",
    ),
]


def main() -> int:
    """Apply every break in turn; print which test noticed it."""
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
    lines = run.stdout.splitlines()
    return [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]


if __name__ == "__main__":
    sys.exit(main())
