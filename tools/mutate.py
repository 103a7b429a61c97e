"""Change the planner and the state machine in every small way and see that a test fails.

    make mutants

cosmic-ray makes the changes in copies of the tree; the working tree is never changed. Exits with
1 when a mutant lives that docs/mutation.md does not give a reason for.
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
PAGE = REPOSITORY / "docs/mutation.md"
CORE = "layers/target_sync/target_sync/core"
MUTATED = ("planning.py", "convergence.py")
#: The quick tests first: most mutants need no more.
STAGES = (
    ("test_model.py", "test_planner.py", "test_loop.py"),
    (
        *("test_runs.py", "test_continuous_polling.py", "test_serving_standby.py"),
        *("test_database_kinds.py", "test_failover_scenarios.py"),
    ),
)
FOLDERS = ("tests/unit", "tests/functional")
#: A mutant that never ends counts as noticed. A stage takes some seconds.
STAGE_SECONDS = 120
NOT_COPIED = (".git", ".venv", ".aws-sam", ".hypothesis", "__pycache__", "build")


class Mutant(NamedTuple):
    """A file and its one changed line, before and after."""

    file: str
    before: str
    after: str


def main() -> int:
    """Try every mutant of both files; print those that live."""
    if sys.argv[1:] == ["test"]:
        return run_stages()
    set_up()
    with ThreadPoolExecutor() as pool:
        living = [mutant for found in pool.map(survivors, MUTATED) for mutant in found]
    known = equivalents()
    unknown = [mutant for mutant in living if mutant not in known]
    for mutant in unknown:
        print(f"LIVES  {mutant.file}\n  - {mutant.before}\n  + {mutant.after}")
    for mutant in sorted(known - set(living)):
        print(f"in {PAGE.name}, but it does not live: {mutant.file}: {mutant.after}")
    print(f"{len(living)} mutants live, {len(unknown)} of them without a reason in {PAGE.name}")
    return 1 if unknown else 0


def run_stages() -> int:
    """Run the tests as cosmic-ray does for each mutant, in the copy that it has changed."""
    for folder, files in zip(FOLDERS, STAGES, strict=True):
        # The "ci" profile draws the same examples for each mutant and remembers none of another:
        # a property that fails by chance would else seem to notice every mutant from then on.
        command = [
            *(sys.executable, "-m", "pytest", "-x", "-q", "--hypothesis-profile=ci"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"),
            *(f"{folder}/{file}" for file in files),
        ]
        try:
            subprocess.run(command, timeout=STAGE_SECONDS, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return 1
    return 0


def set_up() -> None:
    """Make the locked environment of cosmic-ray and the tests, unless it is there."""
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
    """The mutants of one file of the core that no test notices."""
    with tempfile.TemporaryDirectory() as directory:
        copy, session = Path(directory) / "copy", Path(directory) / "session.sqlite"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        compile_all(copy)
        config = Path(directory) / "cosmic-ray.toml"
        config.write_text(
            "[cosmic-ray]\n"
            f'module-path = "{CORE}/{file}"\n'
            f"timeout = {STAGE_SECONDS * len(STAGES) + 10}.0\n"
            "excluded-modules = []\n"
            f"test-command = \"'{PYTHON}' tools/mutate.py test\"\n"
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        cosmic_ray, both = VENV / "bin/cosmic-ray", [config, session]
        for step, files in (("baseline", [config]), ("init", both), ("exec", both)):
            subprocess.run([cosmic_ray, step, *files], cwd=copy, check=True)
        return living_in(session, file)


def compile_all(copy: Path) -> None:
    """Compile once what every mutant's tests import."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    folders = ("layers", "functions", "lab", "tests")
    subprocess.run(
        [PYTHON, "-m", "compileall", "-q", *folders], cwd=copy, env=environment, check=True
    )


def living_in(session: Path, file: str) -> list[Mutant]:
    """The survivors of a session, of which every mutant must have been tried."""
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
    """The mutant that a diff makes."""
    lines = diff[diff.index("@@") :].splitlines()
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Mutant(file, before, after)


def equivalents() -> set[Mutant]:
    """The mutants that the page gives a reason for."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.read_text().splitlines()]
    cells = [[cell.strip(" `").replace(r"\|", "|") for cell in row] for row in rows]
    return {Mutant(*row[:3]) for row in cells if row and row[0] in MUTATED}


if __name__ == "__main__":
    sys.exit(main())
