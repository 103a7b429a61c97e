"""Builds the artifacts of the stack as a user does."""

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
    """The result of ``sam build``.

    Attributes:
        folder: The build folder, with one folder for each logical ID.
        output: What the build printed.
    """

    folder: Path
    output: str

    @property
    def layer(self) -> Path:
        """The folder that becomes /opt."""
        return self.folder / "TargetSyncLayer"

    @property
    def function(self) -> Path:
        """The folder of the reconciler, which becomes /var/task."""
        return self.folder / "ReconcileTargetsFunction"


def build(folder: Path, path: str = f"{TOOLS}{os.pathsep}{os.environ['PATH']}") -> Build:
    """Run ``sam build`` into a folder.

    Args:
        folder: The build folder.
        path: The search path for programs; by default that of ``make build``.
    """
    result = subprocess.run(
        [TOOLS / "sam", "build", "--build-dir", folder],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": path,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "SAM_CLI_TELEMETRY": "0",
        },
        umask=0o077,  # some users let no other user read their files
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return Build(folder, result.stdout)


def files(folder: Path) -> Iterator[Path]:
    """Yield every file under a folder, sorted by path."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under a folder, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(folder)
    }
