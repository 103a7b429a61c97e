"""What each artifact costs at a cold start, next to a bare ``boto3.client("elbv2")``.

Each is started in fresh processes of one interpreter, from the import path that Lambda gives it
and nothing else, with the same environment and compiled packages. Instructions are counted by
valgrind, where there is one: they do not depend on the load of the machine.
Lambda's own start (sandbox, download, interpreter) is not in the figures, and neither is its
slower CPU: only the ratios mean something.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.cold_page import Part, Report, Row, to_markdown
from lab.lambda_runtime.container import ENVIRONMENT
from lab.lambda_runtime.packages import LambdaPath, link_packages

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".aws-sam" / "build"
FOLDER = ROOT / "docs" / "bench"

BARE_CLIENT = 'import boto3; boto3.client("elbv2")'
# What the first invocation of a container runs before its first AWS call, after the import of the
# handler, by the logical ID of the function. ProvisionStackFunction makes its clients later.
ARTIFACTS = {
    "ReconcileTargetsFunction": "from target_sync.reconcile.build import reconciler; reconciler()",
    "ReportStatusFunction": (
        "from target_sync.status.build import status_collector; status_collector()"
    ),
    "ReviewConnectionsFunction": "from target_sync.connections.build import reviewer; reviewer()",
    "ProvisionStackFunction": (
        "from target_sync.provisioning.build import stack_provisioner;"
        ' stack_provisioner("arn:aws:lambda:eu-west-1:111122223333:function:bench")'
    ),
}
SYNC = "ReconcileTargetsFunction"
#: The parts of the start of ReconcileTargetsFunction, and their packages. Each step adds to the
#: steps before it, except the second: it makes the client of the first step in our way.
STEPS = {
    "botocore": (
        'import botocore.session; botocore.session.get_session().create_client("elbv2")',
        "botocore",
    ),
    "our loader of botocore's data, and our errors": (
        'from target_sync.aws import make_client; make_client("elbv2")',
        "ours: skips the folders of other services, and the table of endpoints",
    ),
    "Logger and Metrics": (
        "from aws_lambda_powertools import Logger, Metrics; Logger(); Metrics()",
        "Powertools for AWS Lambda",
    ),
    "DNS": ("import dns.exception, dns.message, dns.nameserver, dns.resolver", "dnspython"),
}
#: The remaining part of the start.
REST = (
    "the rest",
    "ours: the data classes, less the garbage collection of the other steps",
)
_TIMED = """
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure.

    Attributes:
        name: How the table calls it.
        code: The statements that are measured.
        path: Where they import from.
    """

    name: str
    code: str
    path: LambdaPath

    def seconds(self) -> float:
        """Those of one cold start, in a process of its own, without the interpreter's."""
        return float(self._run(_TIMED.format(self.code)).stdout)

    def instructions(self) -> int:
        """Those that a process with this code executes, the interpreter's included."""
        tool = (
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        )
        found = re.search(r"I\s+refs:\s+([\d,]+)", self._run(self.code, before=tool).stderr)
        if found is None:
            raise RuntimeError("cachegrind printed no count of instructions")
        return int(found[1].replace(",", ""))

    def import_times(self) -> str:
        """What ``python -X importtime`` prints."""
        return self._run(self.code, "-X", "importtime").stderr

    def compile(self) -> None:
        """Let Python keep the bytecode of what this imports, and fill the disk's cache."""
        self._run(self.code, environ={"PYTHONDONTWRITEBYTECODE": ""})

    def _run(
        self,
        code: str,
        *options: str,
        before: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run with the search path as the only setting of the environment."""
        home = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.path)}
        return subprocess.run(
            [*before, sys.executable, "-S", *options, "-c", code],
            cwd=self.path.task,
            env={**ENVIRONMENT, **home, **(environ or {})},
            check=True,
            capture_output=True,
            text=True,
        )


@dataclass(frozen=True, slots=True)
class Variants:
    """Everything that is measured.

    Attributes:
        empty: An interpreter that does nothing.
        bare: What the others are measured against.
        artifacts: The functions as they were built.
        sources: The sync function with the shipped bytecode taken away.
    """

    empty: Variant
    bare: Variant
    artifacts: tuple[Variant, ...]
    sources: Variant

    @property
    def compared(self) -> tuple[Variant, ...]:
        """The rows of the table."""
        return (self.bare, *self.artifacts, self.sources)

    @property
    def steps(self) -> tuple[Variant, ...]:
        """Return the parts of the start of ReconcileTargetsFunction."""
        path, steps = self.artifacts[0].path, list[Variant]()
        for name, (code, _) in STEPS.items():
            before = [step.code for step in steps[1:]]
            steps.append(Variant(name, "; ".join([*before[-1:], code]), path))
        return tuple(steps)


def main() -> None:
    """Measure, print the page and keep it."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        variants = _variants(Path(folder))
        variants.bare.compile()
        if arguments.packages:
            _print_import_times(variants.artifacts[0])
            return
        report = _report(variants, arguments.repetitions)
    page = to_markdown(report)
    print(page)
    (FOLDER / "cold.md").write_text(page)
    (FOLDER / "cold.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cold", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=30, help="timed runs of each (30)")
    parser.add_argument(
        "--packages", action="store_true", help="show each package's share of one import instead"
    )
    arguments = parser.parse_args()
    if not BUILD.is_dir():
        parser.error("there is no build; run `make build` first")
    return arguments


def _variants(folder: Path) -> Variants:
    runtime = link_packages(folder / "runtime")
    layer = BUILD / "TargetSyncLayer"
    bare = LambdaPath(_empty(folder / "task"), _empty(folder / "layer"), runtime)
    sources = LambdaPath(
        _without_bytecode(BUILD / SYNC, folder / "task-sources"),
        _without_bytecode(layer, folder / "layer-sources"),
        runtime,
    )
    return Variants(
        empty=Variant("interpreter", "pass", bare),
        bare=Variant("bare boto3 client", BARE_CLIENT, bare),
        artifacts=tuple(
            Variant(name, f"import app; {code}", LambdaPath(BUILD / name, layer, runtime))
            for name, code in ARTIFACTS.items()
        ),
        sources=Variant(f"{SYNC} without bytecode", f"import app; {ARTIFACTS[SYNC]}", sources),
    )


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _without_bytecode(source: Path, copy: Path) -> Path:
    return Path(shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__")))


def _report(variants: Variants, repetitions: int) -> Report:
    counted = shutil.which("valgrind") is not None
    nothing = variants.empty.instructions() if counted else 0

    def net(those: Iterable[Variant]) -> list[int | None]:
        return [variant.instructions() - nothing if counted else None for variant in those]

    seconds = _timed(variants.compared, repetitions)
    instructions = net(variants.compared)
    steps = [*net(variants.steps), instructions[1]]
    return Report(
        date=datetime.now(UTC).date().isoformat(),
        python=sys.version.split()[0],
        versions={name: version(name) for name in ("boto3", "botocore", *_LAYER)},
        valgrind=_valgrind() if counted else None,
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 1),
        repetitions=repetitions,
        rows=tuple(
            Row.of(variant.name, count, instructions[0], times, seconds[0])
            for variant, count, times in zip(variants.compared, instructions, seconds, strict=True)
        ),
        parts=_parts(steps, instructions[0]),
    )


_LAYER = ("aws-lambda-powertools", "dnspython")


def _valgrind() -> str:
    said = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True)
    return said.stdout.strip()


def _timed(variants: Sequence[Variant], repetitions: int) -> list[list[float]]:
    """The seconds of each, one after another in each round, so that all have the same weather."""
    for variant in variants:
        variant.seconds()  # fills the disk's cache, which Lambda's image has warm too
    rounds = [[variant.seconds() for variant in variants] for _ in range(repetitions)]
    return [list(times) for times in zip(*rounds, strict=True)]


def _parts(steps: Sequence[int | None], bare: int | None) -> tuple[Part, ...]:
    names = [*((name, owner) for name, (_, owner) in STEPS.items()), REST]
    parts, before = list[Part](), 0
    for (name, owner), count in zip(names, steps, strict=True):
        if count is None or bare is None:
            return ()
        parts.append(Part(name, owner, count - before, round((count - before) / bare, 3)))
        before = count
    return tuple(parts)


def _print_import_times(variant: Variant) -> None:
    """Add up each package's own share of ``python -X importtime``."""
    shares: Counter[str] = Counter()
    lines = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", variant.import_times(), re.M)
    for own, module in lines:
        package = module.partition(".")[0]
        shares["standard library" if package in sys.stdlib_module_names else package] += int(own)
    for package, microseconds in shares.most_common():
        print(f"{package:<28}{microseconds / 1000:>7.0f} ms")


if __name__ == "__main__":
    main()
