"""Make small changes to the code, and check that a test fails for each.

    make mutants
    make mutants MUTANTS_OPTIONS="status targets --sample 100 --seed 7"

cosmic-ray makes the mutants. Each is tried in a copy of the tree, in a process that has already
imported the libraries. Exits with 1 if a mutant survives for which docs/contributing/mutation.md
has no reason.
"""

import argparse
import ast
import difflib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements/mutation.txt"
VENV = REPOSITORY / "build/mutation"
PYTHON = VENV / "bin/python"
PAGE = REPOSITORY / "docs/contributing/mutation.md"
FOLDER = "layers/target_sync/target_sync"
NOT_COPIED = (".git", ".venv", ".aws-sam", ".hypothesis", "__pycache__", "build")
#: The "ci" profile draws the same examples for each mutant and stores none. Otherwise one example
#: that fails by chance would seem to detect every later mutant.
PYTEST_OPTIONS = (
    *("-x", "-q", "-m", "not lab", "--hypothesis-profile=ci"),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
#: A mutant whose tests never end counts as detected. The limits are many times the CPU time without
#: a mutant, and a wall time for tests that wait, so that a busy machine detects none.
MOST_TIMES, LEAST_CPU_SECONDS, WALL_SECONDS = 10, 20, 900.0
TIMED_OUT = (-signal.SIGXCPU, -signal.SIGKILL)
#: `is` compares with None or a member of an enumeration in this code, where `==` is the same.
NO_OPERATORS = frozenset(
    {"core/ReplaceComparisonOperator_Is_Eq", "core/ReplaceComparisonOperator_IsNot_NotEq"}
)
#: Imports for mypy, options of dataclasses (values have a unit test), keyword-only markers.
NO_LINES = re.compile(r"TYPE_CHECKING|@dataclass\(|(^|\s)\*,")


class Area(NamedTuple):
    """Modules, and the tests that cover them. The later tests run if all earlier ones pass."""

    modules: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/{name}" for name in names)


AREAS: Mapping[str, Area] = {
    "reconcile": Area(
        ("reconcile/planner.py", "reconcile/tracks.py", "reconcile/loop.py"),
        (
            _tests(
                *("unit/test_model.py", "unit/reconcile/test_planner.py"),
                "unit/reconcile/test_loop.py",
            ),
            _tests(
                *("functional/test_runs.py", "functional/test_continuous_polling.py"),
                *("functional/test_serving_standby.py", "functional/test_database_kinds.py"),
                *("functional/test_warm_targets.py", "functional/test_failover_scenarios.py"),
            ),
        ),
    ),
    "shared": Area(
        ("aws.py", "config.py", "endpoint_service.py", "environment.py", "model.py", "sqs.py"),
        (
            _tests("unit/test_*.py", "unit/reconcile", "unit/status", "unit/connections"),
            _tests(
                *("contract/test_target_group.py", "contract/test_endpoint_service.py"),
                *("contract/test_database_catalog.py", "contract/test_status_sources.py"),
                *("contract/test_fleet_*.py", "contract/test_where_requests_go.py"),
                *("functional/test_runs.py", "functional/test_reconcile_targets.py"),
                *("functional/test_database_kinds.py", "functional/test_serving_standby.py"),
            ),
        ),
    ),
    "targets": Area(
        ("targets/*.py",),
        (
            _tests("unit/targets", "contract/test_target_group.py"),
            _tests("contract/test_network_interfaces.py", "contract/test_outbound_rules.py"),
            _tests("functional/test_warm_targets.py", "functional/test_switch_proof.py"),
            _tests("contract/test_provisioning.py", "contract/test_fleet_groups.py"),
            _tests("functional/test_provision_stack*.py", "functional/test_serving_standby.py"),
        ),
    ),
    "endpoints": Area(
        ("endpoints/*.py",),
        (
            _tests("unit/endpoints", "unit/provisioning", "contract/test_cluster_endpoints.py"),
            _tests("contract/test_dns_endpoint.py", "contract/test_authoritative_lookup.py"),
            _tests("functional/test_database_kinds.py"),
        ),
    ),
    "provisioning": Area(
        ("provisioning/**/*.py",),
        (
            _tests("unit/provisioning", "functional/test_provision_stack.py"),
            _tests("contract/test_provisioning.py", "contract/test_database_catalog.py"),
            _tests("functional/test_provision_stack_build.py"),
        ),
    ),
    "connections": Area(
        ("connections/*.py",),
        (_tests("unit/connections", "functional/test_review_connections.py"),),
    ),
    "status": Area(
        ("status/**/*.py",),
        (
            _tests("unit/status"),
            _tests("contract/test_status_sources.py", "functional/test_report_status.py"),
        ),
    ),
    "notifications": Area(
        ("notifications/*.py", "reconcile/messages.py"),
        (
            _tests("contract/test_notifications.py", "functional/test_notifications.py"),
            _tests("functional/test_review_connections.py", "functional/test_reconcile_targets.py"),
        ),
    ),
    "fleet": Area(
        ("fleet/*.py",),
        (
            _tests("unit/fleet"),
            _tests("contract/test_fleet_*.py", "functional/test_throttling_counter.py"),
            _tests("functional/test_fleet_*.py"),
        ),
    ),
}


class Candidate(NamedTuple):
    """A mutant by its file below `FOLDER`, its operator, and its place among the operator's."""

    file: str
    operator: str
    occurrence: int


class Mutant(NamedTuple):
    """A file and its changed line, before and after."""

    file: str
    before: str
    after: str


class Stage(NamedTuple):
    """Files and folders of tests, and the seconds of CPU after which they count as never ending."""

    tests: list[str]
    seconds: int


class Result(NamedTuple):
    """A mutant that was tried: whether it survived, and whether its tests took too long."""

    mutant: Mutant
    survived: bool
    timed_out: bool


def main() -> int:
    """Try mutants of each given area, and print the survivors."""
    options = _options()
    if Path(sys.prefix) != VENV:
        set_up()
        os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606 - our own script
    try_one = partial(try_area, sample=options.sample, seed=options.seed)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.workers, mp_context=context, max_tasks_per_child=1
    ) as processes:
        results = [it for found in processes.map(try_one, options.areas) for it in found]
    return report(results, is_sample=options.sample is not None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", choices=[*AREAS, []], default=list(AREAS))
    parser.add_argument("--sample", type=int, help="mutants of each area; default: all")
    parser.add_argument("--seed", type=int, default=1, help="draws the sample; default: 1")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="areas at a time")
    return parser.parse_args()


def set_up() -> None:
    """Create the locked environment of cosmic-ray and the tests, unless it exists."""
    stamp = VENV / "locked.txt"
    if stamp.exists() and stamp.read_text() == LOCK.read_text():
        return
    uv = REPOSITORY / ".venv/bin/uv"
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV], check=True)
    subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", PYTHON),
            *("--require-hashes", "-r", LOCK),
        ],
        check=True,
    )
    stamp.write_text(LOCK.read_text())


def report(results: Sequence[Result], *, is_sample: bool) -> int:
    """Print the figures of each file, and return the exit status."""
    known = explained()
    surviving = {result.mutant for result in results if result.survived}
    tried = Counter(result.mutant.file for result in results)
    for file, count in tried.items():
        here = [it for it in results if it.mutant.file == file]
        survived = [it.mutant for it in here if it.survived]
        print(
            f"{file}: {count} tried, {len(survived)} survived,"
            f" {sum(it in known for it in survived)} explained,"
            f" {sum(it.timed_out for it in here)} timed out"
        )
    if not is_sample:
        for mutant in sorted(it for it in known - surviving if it.file in tried):
            print(f"in {PAGE.name}, but it does not survive: {mutant.file}: {mutant.after}")
    unknown = surviving - known
    print(f"{len(surviving)} mutants survive, {len(unknown)} without a reason in {PAGE.name}")
    return 1 if unknown else 0


def explained() -> set[Mutant]:
    """Return the mutants for which the page has a reason."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.read_text().splitlines()]
    cells = [[cell.strip(" `").replace(r"\|", "|") for cell in row] for row in rows]
    explained_rows = [row for row in cells if len(row) == len(Mutant._fields) + 1]
    return {Mutant(*row[:-1]) for row in explained_rows if row[0].endswith(".py")}


# --------------------------------------------------------------- in the environment of cosmic-ray


def try_area(name: str, *, sample: int | None, seed: int) -> list[Result]:
    """Try all mutants of an area, or a sample, in a copy of the tree."""
    area, known = AREAS[name], explained()
    results = []
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        os.chdir(copy)
        stages = [prepare(found(stage)) for stage in area.stages]
        files = found(f"{FOLDER}/{pattern}" for pattern in area.modules)
        candidates = [it for file in files for it in candidates_of(file)]
        if sample is not None and sample < len(candidates):
            candidates = random.Random(seed).sample(candidates, sample)  # noqa: S311 - no secret
        for candidate in candidates:
            result = try_candidate(candidate, stages)
            if result is None:
                continue
            results.append(result)
            if result.survived and result.mutant not in known:
                mutant = result.mutant
                print(
                    f"SURVIVES  {mutant.file}\n  - {mutant.before}\n  + {mutant.after}", flush=True
                )
    return results


def found(patterns: Iterable[str]) -> list[str]:
    """Return the files and folders of these patterns, below the current folder."""
    here = Path()
    paths = [str(path) for pattern in patterns for path in sorted(here.glob(pattern))]
    if not paths:
        raise SystemExit(f"no file has any of these names: {', '.join(patterns)}")
    return paths


def prepare(tests: list[str]) -> Stage:
    """Run the tests without a mutant, and import the libraries that they import."""
    listed = Path("modules.json")
    if run_tests(tests, listed=listed) != 0:
        raise SystemExit(f"these tests fail without a mutant: {' '.join(tests)}")
    for name in json.loads(listed.read_text()):
        with suppress(Exception):
            importlib.import_module(name)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run_tests(tests) != 0:
        raise SystemExit(f"these tests fail after the import of libraries: {' '.join(tests)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Stage(tests, max(LEAST_CPU_SECONDS, int(MOST_TIMES * used)))


def run_tests(
    tests: Sequence[str], *, seconds: int = resource.RLIM_INFINITY, listed: Path | None = None
) -> int:
    """Run tests in a new process, and return pytest's exit status, or minus the signal.

    Args:
        tests: Files and folders.
        seconds: The CPU time for all of them.
        listed: The file for the names of the imported libraries, if they are wanted.
    """
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        # The bytecode of a mutant must not serve another one, which may have its size and time.
        sys.dont_write_bytecode = listed is None
        status = pytest.main([*PYTEST_OPTIONS, *tests])
        if listed is not None:
            listed.write_text(json.dumps(libraries()))
        os._exit(status)
    timer = threading.Timer(WALL_SECONDS, os.killpg, [child, signal.SIGKILL])
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return os.waitstatus_to_exitcode(status)


def libraries() -> list[str]:
    """Return the names of the imported modules that are not in the copy of the tree."""
    copy = Path.cwd()
    return [
        name
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None)) and not Path(file).is_relative_to(copy)
    ]


def candidates_of(file: str) -> Iterator[Candidate]:
    """Yield every mutant of a file, without those that no test of behaviour can detect."""
    # Only the environment of this tool has cosmic-ray.
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415
    from cosmic_ray.plugins import get_operator, operator_names  # noqa: PLC0415

    source = Path(file).read_text()
    lines, annotations = source.splitlines(), annotations_in(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        if name in NO_OPERATORS or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        starts = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(starts):
            is_in_annotation = any(first <= start < last for first, last in annotations)
            if not is_in_annotation and not NO_LINES.search(lines[start[0] - 1]):
                yield Candidate(file, name, occurrence)


def annotations_in(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the start and the end of each annotation: line and column."""
    nodes = (
        annotation
        for node in ast.walk(ast.parse(source))
        for name in ("annotation", "returns")
        if (annotation := getattr(node, name, None)) is not None
    )
    return [((it.lineno, it.col_offset), (it.end_lineno, it.end_col_offset)) for it in nodes]


def try_candidate(candidate: Candidate, stages: Sequence[Stage]) -> Result | None:
    """Make a mutant, and run the stages until a test fails. Return None if it is no Python."""
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415 - as above
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415

    source = Path(candidate.file).read_text()
    code = mutate_code(source, get_operator(candidate.operator)(), candidate.occurrence)
    try:
        compile(code, candidate.file, "exec")
    except SyntaxError:
        return None
    return try_code(candidate.file, code, stages)


def try_code(file: str, code: str, stages: Sequence[Stage]) -> Result:
    """Run the stages with other code in a file, until a test fails."""
    path = Path(file)
    original, times = path.read_text(), path.stat()
    path.write_text(code)
    status = 0
    for stage in stages:
        status = status or run_tests(stage.tests, seconds=stage.seconds)
    path.write_text(original)
    # Its bytecode stays valid.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    mutant = mutant_of(file.removeprefix(f"{FOLDER}/"), original, code)
    return Result(mutant, survived=status == 0, timed_out=status in TIMED_OUT)


def mutant_of(file: str, before: str, after: str) -> Mutant:
    """Return the mutant that a change of the code makes."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    changed = list(diff)[2:]
    return Mutant(
        file, *(" ".join(it[1:].strip() for it in changed if it.startswith(sign)) for sign in "-+")
    )


if __name__ == "__main__":
    sys.exit(main())
