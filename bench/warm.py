"""Measure memory, open files and threads over a thousand runs in one container.

Each built function starts once, under Lambda's runtime interface client, with stubs of AWS and DNS
on this machine. Then it gets one event after another. Linux only: the figures come from /proc.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.fleet_stub import ADDRESS, PORT, StubFleetAws, fleet_environment, groups
from bench.warm_page import Report, Stretch, Subject, claims, to_markdown
from lab.lambda_runtime.api import FunctionReply
from lab.lambda_runtime.container import RunningFunction, running, sync_environment
from lab.lambda_runtime.packages import LambdaPath, link_packages
from lab.lambda_runtime.stub_servers import StubDns, StubElbV2

ROOT = Path(__file__).resolve().parents[1]
BUILD, FLEET_BUILD = ROOT / ".aws-sam" / "build", ROOT / ".aws-sam" / "fleet" / "build"
FOLDER = ROOT / "docs" / "bench"
RUNS = 1_000
#: The number of measured runs at the start, in the middle and at the end.
STRETCH = 100
_INSIDE = Path(__file__).parent / "inside"
_COUNT_EVENT = {"counted": "blocks"}
#: Target groups of a fleet.
_GROUPS = 100
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True)
class Workload:
    """A function that waits, with the event of every run.

    Attributes:
        function: The function.
        event: The event of every run.
        check: Raises an error if a run did not do its work.
    """

    function: RunningFunction
    event: object
    check: Callable[[FunctionReply], None]

    def invoke(self) -> None:
        """Run once.

        Raises:
            RuntimeError: The run failed, or did not do its work.
        """
        reply = self.function.invoke(self.event)
        if reply.kind != "response":
            raise RuntimeError(f"a run ended as {reply.kind}: {reply.body}")
        self.check(reply)

    def blocks(self) -> int:
        """Return the number of memory blocks that Python has allocated, without garbage."""
        return int(self.function.invoke(_COUNT_EVENT).body)


def measure(name: str, workload: Workload, runs: int, stretch: int) -> Subject:
    """Run ``runs`` times, and measure the first, middle and last ``stretch`` runs."""
    between = (runs - 3 * stretch) // 2
    first = _measure_stretch(workload, stretch)
    for _ in range(between):
        workload.invoke()
    middle = _measure_stretch(workload, stretch)
    for _ in range(runs - between - 3 * stretch):
        workload.invoke()
    return Subject(name, runs, first, middle, _measure_stretch(workload, stretch))


def _measure_stretch(workload: Workload, runs: int) -> Stretch:
    home = Path("/proc") / str(workload.function.process.pid)
    pages, files, threads = list[int](), list[int](), list[int]()
    for _ in range(runs):
        workload.invoke()
        pages.append(int((home / "statm").read_text().split()[1]))
        files.append(len(list((home / "fd").iterdir())))
        threads.append(len(list((home / "task").iterdir())))
    return Stretch(
        rss_mib=round(statistics.median(pages) * _PAGE_MIB, 2),
        blocks=workload.blocks(),
        files=statistics.median_high(files),
        threads=statistics.median_high(threads),
    )


@contextmanager
def sync_workload(path: LambdaPath, log: Path) -> Iterator[Workload]:
    """ReconcileTargetsFunction of template.yaml: scheduled runs that find the group in sync."""
    with StubElbV2() as aws, StubDns(ADDRESS) as dns:
        aws.targets.add((ADDRESS, PORT))

        def check(reply: FunctionReply) -> None:
            if reply.body["status"] != "in_sync":
                raise RuntimeError(f"not in sync: {reply.body}")

        environ = sync_environment(aws, dns.resolver)
        with _counted(path, log, environ, "app.handler") as function:
            yield Workload(function, _event("schedule"), check)


@contextmanager
def sweep_workload(path: LambdaPath, log: Path) -> Iterator[Workload]:
    """FleetSweepFunction of fleet.yaml: a hundred groups, of which each short sweep audits some."""
    with StubFleetAws(groups(_GROUPS)) as aws, StubDns(ADDRESS) as dns:

        def check(reply: FunctionReply) -> None:
            found = reply.body["groups"]
            if (found["bound"], found["with_findings"]) != (_GROUPS, 0) or not reply.body["polls"]:
                raise RuntimeError(f"an unexpected sweep: {reply.body}")

        environ = {**fleet_environment(aws, dns.resolver), "COUNTED_FIRST": "unhurried"}
        with _counted(path, log, environ, "app.handler") as function:
            yield Workload(function, _event("schedule"), check)


@contextmanager
def _counted(
    path: LambdaPath, log: Path, environ: dict[str, str], handler: str
) -> Iterator[RunningFunction]:
    environ = {**environ, "COUNTED_HANDLER": handler}
    with running(path, log, environ, "counted.handler", before=[_INSIDE]) as function:
        if function.started != FunctionReply("ready"):
            raise RuntimeError(f"the function did not start: {log.read_text()}")
        yield function


def _event(name: str) -> object:
    payload: object = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return payload


@dataclass(frozen=True, slots=True)
class _Measured:
    """A function to measure: its build folder and its workload."""

    build: Path
    function: str
    workload: Callable[[LambdaPath, Path], AbstractContextManager[Workload]]


SUBJECTS = {
    "sync": _Measured(BUILD, "ReconcileTargetsFunction", sync_workload),
    "sweep of a fleet": _Measured(FLEET_BUILD, "FleetSweepFunction", sweep_workload),
}


def main() -> None:
    """Measure, print and write the page, and exit with an error if a figure grows."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = link_packages(folder / "runtime")
        subjects = tuple(
            _measured(name, runtime, folder / "log", arguments.runs) for name in SUBJECTS
        )
    report = Report(
        date=datetime.now(UTC).date().isoformat(),
        python=sys.version.split()[0],
        subjects=subjects,
    )
    page = to_markdown(report)
    print(page)
    if arguments.runs == RUNS:
        (FOLDER / "warm.md").write_text(page)
        (FOLDER / "warm.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    if not all(claim.holds for claim in claims(subjects)):
        sys.exit("A figure grows from run to run: see above.")


def _measured(name: str, runtime: Path, log: Path, runs: int) -> Subject:
    subject = SUBJECTS[name]
    path = LambdaPath(subject.build / subject.function, subject.build / "TargetSyncLayer", runtime)
    with subject.workload(path, log) as workload:
        return measure(name, workload, runs, STRETCH)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.warm", description=__doc__)
    parser.add_argument(
        "--runs",
        type=int,
        default=RUNS,
        help=f"number of runs (default {RUNS}); any other number writes no page",
    )
    arguments = parser.parse_args()
    if arguments.runs < 3 * STRETCH:
        parser.error(f"--runs must be at least {3 * STRETCH}")
    if not (BUILD.is_dir() and FLEET_BUILD.is_dir()):
        parser.error("there is no build; run `make build build-fleet` first")
    return arguments


if __name__ == "__main__":
    main()
