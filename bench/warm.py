"""What a thousand runs in one container leave behind: memory, open files, threads, and time.

Each function is started once, as it was built, under Lambda's runtime interface client, with stubs
of AWS and of DNS on this machine. Then it gets one event after another. Linux only: the figures
of its process are those of /proc.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.fleet_stub import ADDRESS, PORT, StubFleetAws, batch, fleet_environment, groups
from bench.warm_page import Report, Stretch, Subject, claims, to_markdown
from lab.lambda_runtime.api import Answer
from lab.lambda_runtime.container import RunningFunction, running, sync_environment
from lab.lambda_runtime.packages import LambdaPath, link_packages
from lab.lambda_runtime.stub_servers import StubDns, StubElbV2
from lab.simulation.queues import BATCH

ROOT = Path(__file__).resolve().parents[1]
BUILD, FLEET_BUILD = ROOT / ".aws-sam" / "build", ROOT / ".aws-sam" / "fleet" / "build"
FOLDER = ROOT / "docs" / "bench"
RUNS = 1_000
#: Runs at the beginning, in the middle and at the end.
STRETCH = 100
_INSIDE = Path(__file__).parent / "inside"
_QUESTION = {"counted": "blocks"}
#: Target groups of a fleet.
_GROUPS = 100
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True)
class Course:
    """A function that waits, and what it is to be given.

    Attributes:
        function: The function.
        event: What it gets at every run.
        check: Raises if a run did not do its work.
    """

    function: RunningFunction
    event: object
    check: Callable[[Answer], None]

    def invoke(self) -> float:
        """One run; answers with its seconds, from the event to the answer.

        Raises:
            RuntimeError: It failed, or did not do its work.
        """
        began = time.perf_counter()
        answer = self.function.invoke(self.event)
        seconds = time.perf_counter() - began
        if answer.kind != "response":
            raise RuntimeError(f"a run ended as {answer.kind}: {answer.body}")
        self.check(answer)
        return seconds

    def blocks(self) -> int:
        """How many pieces of memory Python has allocated in it, without what is garbage."""
        return int(self.function.invoke(_QUESTION).body)


@dataclass(slots=True)
class _Figures:
    """Those of one stretch, run by run."""

    rss_mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note(self, process: int, seconds: float) -> None:
        """Look at the process after a run."""
        home = Path("/proc") / str(process)
        resident = int((home / "statm").read_text().split()[1])
        self.rss_mib.append(resident * _PAGE_MIB)
        self.files.append(len(list((home / "fd").iterdir())))
        self.threads.append(len(list((home / "task").iterdir())))
        self.seconds.append(seconds)


def measure(name: str, course: Course, runs: int, stretch: int) -> Subject:
    """Run so often, and look at the first, middle and last so many runs."""
    between = (runs - 3 * stretch) // 2
    first = _stretch(course, stretch)
    for _ in range(between):
        course.invoke()
    middle = _stretch(course, stretch)
    for _ in range(runs - between - 3 * stretch):
        course.invoke()
    return Subject(name, runs, first, middle, _stretch(course, stretch))


def _stretch(course: Course, runs: int) -> Stretch:
    figures = _Figures()
    for _ in range(runs):
        figures.note(course.function.process.pid, course.invoke())
    return Stretch.of(**asdict(figures), blocks=course.blocks())


@contextmanager
def sync_course(path: LambdaPath, log: Path) -> Iterator[Course]:
    """The sync function of template.yaml, at scheduled runs that find all in order."""
    with StubElbV2() as aws, StubDns(ADDRESS) as dns:
        aws.targets.add((ADDRESS, PORT))

        def check(answer: Answer) -> None:
            if answer.body["status"] != "in_sync":
                raise RuntimeError(f"not in sync: {answer.body}")

        environ = sync_environment(aws.url, dns.resolver)
        with _counted(path, log, environ, "app.handler") as function:
            yield Course(function, _event("schedule"), check)


@contextmanager
def sweep_course(path: LambdaPath, log: Path) -> Iterator[Course]:
    """The sweep of fleet.yaml, over a hundred groups of which the audit comes to some."""
    with StubFleetAws(groups(_GROUPS)) as aws, StubDns(ADDRESS) as dns:

        def check(answer: Answer) -> None:
            told = answer.body["groups"]
            if (told["bound"], told["with_findings"]) != (_GROUPS, 0) or not told["audited"]:
                raise RuntimeError(f"another sweep than was meant: {answer.body}")

        environ = fleet_environment(aws.url, dns.resolver)
        with _counted(path, log, environ, "app.handler") as function:
            yield Course(function, _event("schedule"), check)


@contextmanager
def worker_course(path: LambdaPath, log: Path) -> Iterator[Course]:
    """The worker of fleet.yaml, with batches of orders on groups that are right."""
    audited = groups(BATCH)
    with StubFleetAws(audited) as aws, StubDns(ADDRESS) as dns:

        def check(answer: Answer) -> None:
            if answer.body != {"batchItemFailures": []}:
                raise RuntimeError(f"not carried out: {answer.body}")

        environ = {**fleet_environment(aws.url, dns.resolver), "COUNTED_FIRST": "unhurried"}
        with _counted(path, log, environ, "app.handler") as function:
            yield Course(function, batch(audited), check)


@contextmanager
def _counted(
    path: LambdaPath, log: Path, environ: dict[str, str], handler: str
) -> Iterator[RunningFunction]:
    environ = {**environ, "COUNTED_HANDLER": handler}
    with running(path, log, environ, "counted.handler", before=[_INSIDE]) as function:
        if function.started != Answer("ready"):
            raise RuntimeError(f"it did not start: {log.read_text()}")
        yield function


def _event(name: str) -> object:
    payload: object = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return payload


@dataclass(frozen=True, slots=True)
class _Measured:
    """A function to be measured: where it was built, and how it is run."""

    build: Path
    function: str
    course: Callable[[LambdaPath, Path], AbstractContextManager[Course]]


SUBJECTS = {
    "sync": _Measured(BUILD, "ReconcileTargetsFunction", sync_course),
    "sweep of a fleet": _Measured(FLEET_BUILD, "FleetSweepFunction", sweep_course),
    "worker of a fleet": _Measured(FLEET_BUILD, "FleetWorkerFunction", worker_course),
}


def main() -> None:
    """Measure, print the page, keep it, and fail if something grows."""
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
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 1),
        subjects=subjects,
    )
    page = to_markdown(report)
    print(page)
    if arguments.runs == RUNS:
        (FOLDER / "warm.md").write_text(page)
        (FOLDER / "warm.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    if not all(claim.holds for claim in claims(subjects)):
        sys.exit("Something grows from run to run: see above.")


def _measured(name: str, runtime: Path, log: Path, runs: int) -> Subject:
    subject = SUBJECTS[name]
    path = LambdaPath(subject.build / subject.function, subject.build / "TargetSyncLayer", runtime)
    with subject.course(path, log) as course:
        return measure(name, course, runs, STRETCH)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.warm", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=RUNS, help=f"({RUNS}); any other number writes no page"
    )
    arguments = parser.parse_args()
    if arguments.runs < 3 * STRETCH:
        parser.error(f"at least {3 * STRETCH} runs")
    if not (BUILD.is_dir() and FLEET_BUILD.is_dir()):
        parser.error("there is no build; run `make build build-fleet` first")
    return arguments


if __name__ == "__main__":
    main()
