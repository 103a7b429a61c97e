"""`python -m lab demo`: the whole demo, and the death of its servers."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.emulator_process import child_processes, is_running, wait_until

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
DEPLOYING = "sam deploy of the template"
WRITING = "A client writes numbered rows"


@dataclass(frozen=True)
class RunningDemo:
    """A demo in a process, with its own temporary folder."""

    process: subprocess.Popen[bytes]
    log: Path
    temporary: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.output or self.process.poll() is not None, patience=1200)
        assert line in self.output, self.output

    def processes(self) -> list[int]:
        """The demo's processes, the demo itself first."""
        found = [self.process.pid]
        for pid in found:
            found += child_processes(pid)
        return found

    def folder(self) -> Path:
        """The lab's folder, from the command lines of its processes."""
        lines = " ".join(_command_line(pid) for pid in self.processes())
        (folder,) = set(re.findall(r"/\S*?/privatelink-lab-\w+", lines))
        return Path(folder)

    def server(self, command: str) -> int:
        """The process whose command line matches a pattern."""
        (pid,) = [pid for pid in self.processes()[1:] if re.search(command, _command_line(pid))]
        return pid


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


@contextmanager
def demo(tmp_path: Path, *options: str) -> Iterator[RunningDemo]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    log = tmp_path / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab", "demo", f"--report={tmp_path / 'report.html'}", *options],
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
    running = RunningDemo(process, log, temporary)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(300)


def test_the_demo_holds_from_deployment_to_deletion(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.wait_for(DEPLOYING)
        folder = running.folder()
        wait_until(lambda: running.process.poll() is not None, patience=2800)

    assert running.process.returncode == 0, running.output
    assert re.search(r"(\d+) of \1 expectations hold", running.output)
    summary = running.output.partition("Report: ")[2]
    assert re.search(r"Failover 1: .* writes were interrupted for \d+\.\d\d s", summary)
    assert re.search(r"Failover 2: .* writes were interrupted for \d+\.\d\d s", summary)
    assert "With StandbyTargets=none the load balancer would have had to register it" in summary
    assert "every acknowledged row is present" in (tmp_path / "report.html").read_text()
    assert not list(running.temporary.iterdir())
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "name", "moment"),
    [
        (r"postgres-a/data", "PostgreSQL a", DEPLOYING),
        (r"postgres-b/data", "PostgreSQL b", DEPLOYING),
        (r"-m lab\.dns_server", "DNS server", DEPLOYING),
        (r"-m lab\.emulator ", "AWS emulator", DEPLOYING),
        (r"-m lab\.dataplane", "NLB data plane", WRITING),
    ],
)
def test_the_death_of_a_server_ends_the_demo_and_leaves_nothing(
    tmp_path: Path, built: Path, command: str, name: str, moment: str
) -> None:
    with demo(tmp_path, f"--built={built}") as running:
        running.wait_for(moment)
        processes, folder = running.processes(), running.folder()
        os.kill(running.server(command), signal.SIGKILL)
        wait_until(lambda: running.process.poll() is not None)

    assert running.process.returncode == 1, running.output
    assert f"The lab stopped: the {name} ended unexpectedly (signal 9)" in running.output
    assert "Traceback" not in running.output
    wait_until(lambda: not any(map(is_running, processes)))
    assert not folder.exists()


def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, built: Path) -> None:
    with demo(tmp_path, f"--built={built}") as running:
        running.wait_for(DEPLOYING)
        processes, folder = running.processes(), running.folder()
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: running.process.poll() is not None)

    assert running.process.returncode == 130, running.output
    assert "Traceback" not in running.output
    wait_until(lambda: not any(map(is_running, processes)))
    assert not folder.exists()


@pytest.mark.parametrize("value", ["-1", "soon", "nan", "inf"])
def test_rejects_an_invalid_time(tmp_path: Path, value: str) -> None:
    with demo(tmp_path, f"--dns-lag={value}") as running:
        running.process.wait(300)

    assert running.process.returncode == 2
    assert "argument --dns-lag" in running.output
