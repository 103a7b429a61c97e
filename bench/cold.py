"""What the artifact costs at a cold start, next to a bare ``boto3.client("elbv2")``.

Both are imported in fresh processes of the same interpreter, in turn, from the import path that
Lambda gives them and nothing else; a third variant has the shipped bytecode taken away. Lambda's
own start (sandbox, download, interpreter) is not in the figures, and neither is its slower CPU:
only the ratio means something.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.runtime import LambdaPath, link_runtime_packages

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".aws-sam" / "build"

BARE_CLIENT = 'import boto3; boto3.client("elbv2")'
# What the first invocation of a container needs before its first call to AWS.
ARTIFACT = "import app; from target_sync.wiring import synchronizer; synchronizer()"
_TIMED = """
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""

ENVIRONMENT = {
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com",
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": (
        "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/a/0123456789abcdef"
    ),
    "ALLOWED_NETWORKS": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10",
    "RESOLVERS": "",
    "WATCH_SECONDS": "300",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
    # As on Lambda's read-only file system: what is not compiled stays so.
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to measure.

    Attributes:
        name: How the table calls it.
        code: The statements that are timed.
        path: Where they import from.
    """

    name: str
    code: str
    path: LambdaPath

    def command(self, *options: str) -> list[str]:
        """The process that prints the seconds of one cold import."""
        return [sys.executable, "-S", *options, "-c", _TIMED.format(self.code)]

    def environment(self) -> Mapping[str, str]:
        """Nothing of ours but the search path, so that nobody's settings count."""
        return {**ENVIRONMENT, "PATH": os.environ["PATH"], "PYTHONPATH": str(self.path)}

    def measure(self) -> float:
        """Seconds of one cold import, in a process of its own."""
        result = subprocess.run(
            self.command(),
            cwd=self.path.task,
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return float(result.stdout)


def main() -> None:
    """Measure and print the table and the ratio."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        variants = _variants(Path(folder))
        if arguments.packages:
            _, artifact, _ = variants
            _print_import_times(artifact)
        else:
            _print_table(variants, _measure(variants, arguments.repetitions))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cold", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=30, help="runs of each (30)")
    parser.add_argument(
        "--packages", action="store_true", help="show each package's share of one import instead"
    )
    arguments = parser.parse_args()
    if not BUILD.is_dir():
        parser.error("there is no build; run `make build` first")
    return arguments


def _variants(folder: Path) -> tuple[Variant, Variant, Variant]:
    runtime = link_runtime_packages(folder / "runtime")
    built = LambdaPath(BUILD / "SyncTargetsFunction", BUILD / "TargetSyncLayer", runtime)
    bare = LambdaPath(_empty(folder / "task"), _empty(folder / "layer"), runtime)
    sources = LambdaPath(
        _without_bytecode(built.task, folder / "task-sources"),
        _without_bytecode(built.layer, folder / "layer-sources"),
        runtime,
    )
    return (
        Variant("bare boto3 client", BARE_CLIENT, bare),
        Variant("artifact", ARTIFACT, built),
        Variant("artifact without bytecode", ARTIFACT, sources),
    )


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _without_bytecode(source: Path, copy: Path) -> Path:
    return Path(shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__")))


def _measure(variants: Sequence[Variant], repetitions: int) -> Sequence[Sequence[float]]:
    for variant in variants:
        variant.measure()  # fills the disk cache, which Lambda's image has warm too
    rounds = [[variant.measure() for variant in variants] for _ in range(repetitions)]
    return list(zip(*rounds, strict=True))


def _print_table(variants: Sequence[Variant], measured: Sequence[Sequence[float]]) -> None:
    print(f"Python {sys.version.split()[0]}, {len(measured[0])} fresh processes each, in turn")
    if sys.version_info[:2] != (3, 13):
        print("The shipped bytecode is for Python 3.13: here the artifact runs without it.")
    print(f"{'':<28}{'median':>10}{'min':>10}{'ratio of medians':>20}")
    reference = statistics.median(measured[0])
    for variant, seconds in zip(variants, measured, strict=True):
        median = statistics.median(seconds)
        print(
            f"{variant.name:<28}{median * 1000:>7.0f} ms{min(seconds) * 1000:>7.0f} ms"
            f"{median / reference:>20.2f}"
        )


def _print_import_times(variant: Variant) -> None:
    """Add up each package's own share of ``python -X importtime``."""
    result = subprocess.run(
        variant.command("-X", "importtime"),
        cwd=variant.path.task,
        env=variant.environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    shares: Counter[str] = Counter()
    for own, module in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", result.stderr, re.M):
        package = module.partition(".")[0]
        shares["standard library" if package in sys.stdlib_module_names else package] += int(own)
    for package, microseconds in shares.most_common():
        print(f"{package:<28}{microseconds / 1000:>7.0f} ms")


if __name__ == "__main__":
    main()
