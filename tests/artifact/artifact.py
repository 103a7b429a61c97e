"""Building the stack's artifacts as a user does, and looking at what came out."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv" / "bin"


@dataclass(frozen=True, slots=True)
class Build:
    """What ``sam build`` left.

    Attributes:
        folder: The build folder, with a folder per logical ID.
        output: What the build printed.
    """

    folder: Path
    output: str

    @property
    def layer(self) -> Path:
        """What becomes /opt."""
        return self.folder / "TargetSyncLayer"

    @property
    def function(self) -> Path:
        """What becomes /var/task."""
        return self.folder / "ReconcileTargetsFunction"


def build(folder: Path, path: str = f"{TOOLS}{os.pathsep}{os.environ['PATH']}") -> Build:
    """Run ``sam build`` into a folder, with the search path of ``make build`` or another."""
    result = subprocess.run(
        [TOOLS / "sam", "build", "--build-dir", folder],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": path,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "SAM_CLI_TELEMETRY": "0",
        },
        umask=0o077,  # of a careful user, whose files nobody else can read
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return Build(folder, result.stdout)


def files(folder: Path) -> Iterator[Path]:
    """Every file under a folder, in a stable order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    """The content of every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(folder)
    }
