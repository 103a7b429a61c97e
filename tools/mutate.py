"""Make every small change to the planner and the state machine, and check that a test fails.

    make mutants

cosmic-ray changes copies of the tree. Exits with 1 if a mutant survives for which
docs/contributing/mutation.md has no reason.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements/mutation.txt"
VENV = REPOSITORY / "build/mutation"
PYTHON = VENV / "bin/python"
PAGE = REPOSITORY / "docs/contributing/mutation.md"
FOLDER = "layers/target_sync/target_sync/reconcile"
MUTATED = ("planner.py", "loop.py")
#: The quick tests come first, because they detect most mutants.
STAGES = (
    tuple(
        f"tests/unit/{name}"
        for name in ("test_model.py", "reconcile/test_planner.py", "reconcile/test_loop.py")
    ),
    tuple(
        f"tests/functional/test_{name}.py"
        for name in (
            *("runs", "continuous_polling", "serving_standby"),
            *("database_kinds", "failover_scenarios"),
        )
    ),
)
#: A mutant that never ends counts as detected. A stage takes some seconds.
STAGE_SECONDS = 120
NOT_COPIED = (".git", ".venv", ".aws-sam", ".hypothesis", "__pycache__", "build")


class Mutant(NamedTuple):
    """A file and its changed line, before and after."""

    file: str
    before: str
    after: str


def main() -> int:
    """Try every mutant of both files, and print the survivors."""
    if sys.argv[1:] == ["test"]:
        return run_stages()
    set_up()
    with ThreadPoolExecutor() as pool:
        surviving = [mutant for mutants in pool.map(survivors, MUTATED) for mutant in mutants]
    known = equivalents()
    unknown = [mutant for mutant in surviving if mutant not in known]
    for mutant in unknown:
        print(f"SURVIVES  {mutant.file}\n  - {mutant.before}\n  + {mutant.after}")
    for mutant in sorted(known - set(surviving)):
        print(f"in {PAGE.name}, but it does not survive: {mutant.file}: {mutant.after}")
    print(f"{len(surviving)} mutants survive, {len(unknown)} without a reason in {PAGE.name}")
    return 1 if unknown else 0


def run_stages() -> int:
    """Run the tests of one mutant. cosmic-ray calls this in its copy of the tree."""
    for files in STAGES:
        # The "ci" profile draws the same examples for each mutant and stores none. Otherwise one
        # example that fails by chance would seem to detect every later mutant.
        command = [
            *(sys.executable, "-m", "pytest", "-x", "-q", "--hypothesis-profile=ci"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"),
            *files,
        ]
        try:
            subprocess.run(command, timeout=STAGE_SECONDS, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return 1
    return 0


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


def survivors(file: str) -> list[Mutant]:
    """Return the mutants of a file that no test detects."""
    with tempfile.TemporaryDirectory() as directory:
        copy, session = Path(directory) / "copy", Path(directory) / "session.sqlite"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        compile_all(copy)
        config = Path(directory) / "cosmic-ray.toml"
        config.write_text(
            "[cosmic-ray]\n"
            f'module-path = "{FOLDER}/{file}"\n'
            f"timeout = {STAGE_SECONDS * len(STAGES) + 10}.0\n"
            "excluded-modules = []\n"
            f"test-command = \"'{PYTHON}' tools/mutate.py test\"\n"
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        cosmic_ray, both = VENV / "bin/cosmic-ray", [config, session]
        for step, files in (("baseline", [config]), ("init", both), ("exec", both)):
            subprocess.run([cosmic_ray, step, *files], cwd=copy, check=True)
        return survivors_in(session, file)


def compile_all(copy: Path) -> None:
    """Compile the modules once for the tests of all mutants."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    folders = ("layers", "functions", "lab", "tests")
    subprocess.run(
        [PYTHON, "-m", "compileall", "-q", *folders], cwd=copy, env=environment, check=True
    )


def survivors_in(session: Path, file: str) -> list[Mutant]:
    """Return the survivors of a session. Exit if a mutant was not tried."""
    query = (
        "select test_outcome, worker_outcome, diff from mutation_specs"
        " left join work_results using (job_id)"
    )
    with sqlite3.connect(session) as database:
        results = database.execute(query).fetchall()
    tried = [(outcome, diff) for outcome, worker, diff in results if worker == "NORMAL"]
    if len(tried) < len(results):
        raise SystemExit(f"{file}: {len(results) - len(tried)} mutants could not be tried")
    print(f"{file}: {len(results)} mutants tried")
    return [mutant_of(diff, file) for outcome, diff in tried if outcome == "SURVIVED"]


def mutant_of(diff: str, file: str) -> Mutant:
    """Return the mutant of a diff."""
    lines = diff[diff.index("@@") :].splitlines()
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Mutant(file, before, after)


def equivalents() -> set[Mutant]:
    """Return the mutants for which the page has a reason."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.read_text().splitlines()]
    cells = [[cell.strip(" `").replace(r"\|", "|") for cell in row] for row in rows]
    return {Mutant(*row[:3]) for row in cells if row and row[0] in MUTATED}


if __name__ == "__main__":
    sys.exit(main())
