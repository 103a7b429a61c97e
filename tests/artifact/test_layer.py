import importlib.util
import io
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.artifact.artifact import Build, build, digests, files

MEBIBYTE = 1024 * 1024
NO_3_13 = "no CPython 3.13 on this machine, so the artifact has no bytecode"
UNCHECKED_HASH = 0b01
"""Flags of a .pyc that holds the hash of its source and is loaded without a check (PEP 552)."""


def test_the_layer_is_at_most_two_mebibytes_without_bytecode(built: Build) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files(built.layer):
            if path.suffix != ".pyc":
                archive.write(path, path.relative_to(built.layer))
    assert len(buffer.getvalue()) <= 2 * MEBIBYTE


def test_the_layer_holds_our_package_and_its_requirements_only(built: Build) -> None:
    assert {path.name for path in built.layer.iterdir()} == {"python"}
    names = {path.name.split("-")[0].removesuffix(".py") for path in built.layer.glob("python/*")}
    assert names - {"__pycache__"} == {
        "aws_lambda_powertools",
        "dns",
        "dnspython",
        "jmespath",
        "target_sync",
        "typing_extensions",
    }


def test_the_layer_holds_no_sdk(built: Build) -> None:
    names = {path.name for path in built.layer.rglob("*")}
    assert not {"boto3", "botocore", "s3transfer", "urllib3"} & names


def test_the_layer_holds_no_platform_specific_file(built: Build) -> None:
    assert not [path for path in files(built.layer) if path.suffix in {".so", ".pyd", ".dylib"}]


def test_every_requirement_keeps_its_version_and_licence(built: Build) -> None:
    for metadata in built.layer.glob("python/*.dist-info"):
        assert (metadata / "METADATA").is_file()
        assert [path for path in files(metadata) if "LICENSE" in path.name], metadata.name


def test_the_function_holds_its_handler_only(built: Build) -> None:
    sources = {path.name for path in files(built.function) if path.suffix != ".pyc"}
    assert sources == {"app.py"}


def test_every_user_can_read_the_artifact(built: Build) -> None:
    for folder in (built.layer, built.function):
        assert not [path for path in files(folder) if not path.stat().st_mode & stat.S_IROTH]


def test_every_module_is_compiled_for_the_runtime(built: Build, *, has_bytecode: bool) -> None:
    if not has_bytecode:
        pytest.skip(NO_3_13)
    for folder in (built.layer, built.function):
        for source in files(folder):
            if source.suffix == ".py":
                compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
                header = compiled.read_bytes()[:16]
                assert int.from_bytes(header[4:8], "little") == UNCHECKED_HASH, compiled
                assert header[8:] == importlib.util.source_hash(source.read_bytes()), compiled
                if sys.version_info[:2] == (3, 13):
                    assert header[:4] == importlib.util.MAGIC_NUMBER, compiled


def test_a_traceback_names_the_paths_in_lambda(built: Build, *, has_bytecode: bool) -> None:
    if not has_bytecode:
        pytest.skip(NO_3_13)
    for folder, mounted in ((built.layer, b"/opt/python/"), (built.function, b"/var/task/")):
        for path in files(folder):
            if path.suffix == ".pyc":
                content = path.read_bytes()
                assert mounted in content
                assert os.fsencode(folder) not in content


def test_the_same_source_gives_the_same_artifact(built: Build, tmp_path: Path) -> None:
    again = build(tmp_path / "again")
    assert digests(again.layer) == digests(built.layer)
    assert digests(again.function) == digests(built.function)


def test_the_stack_builds_on_a_machine_without_python_3_13(
    tmp_path: Path, built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default Python has another version, and the search path holds no other Python."""
    other = other_python()
    if other is None:
        pytest.skip("no Python 3 other than 3.13 with pip on this machine")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").symlink_to(other)
    for name in ("make", "sh", "find", "rm", "cp", "chmod", "git"):
        found = shutil.which(name)
        if found is not None:
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    elsewhere = build(tmp_path / "out", path=str(tools))
    assert "WARNING: no CPython 3.13 was found" in elsewhere.output
    without_bytecode = {
        name: digest for name, digest in digests(built.layer).items() if not name.endswith(".pyc")
    }
    assert digests(elsewhere.layer) == without_bytecode


def other_python() -> Path | None:
    """Return a Python 3 with pip whose version is not 3.13, or None."""
    probe = "import pip, sys; sys.exit(sys.version_info[:2] == (3, 13))"
    for folder in (Path("/usr/bin"), *sorted(Path.home().glob(".pyenv/versions/3.*/bin"))):
        # The real file: through two links a virtual environment would lose its packages.
        python = (folder / "python3").resolve()
        if python.exists() and subprocess.run([python, "-c", probe], check=False).returncode == 0:
            return python
    return None
