import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.cold import without_bytecode
from lab.lambda_runtime.api import FunctionReply
from lab.lambda_runtime.container import ENDPOINT, RunningFunction, running, sync_environment
from lab.lambda_runtime.packages import LambdaPath
from lab.lambda_runtime.stub_servers import StubDns, StubElbV2
from tests.artifact.artifact import ROOT, Build, digests

ADDRESS = "10.0.1.11"


@pytest.fixture
def target_group() -> Iterator[StubElbV2]:
    with StubElbV2() as stub:
        yield stub


@pytest.fixture
def name_server() -> Iterator[StubDns]:
    with StubDns(ADDRESS) as stub:
        yield stub


@pytest.fixture
def settings(target_group: StubElbV2, name_server: StubDns) -> dict[str, str]:
    return sync_environment(target_group, name_server.resolver)


@pytest.fixture
def function(
    lambda_path: LambdaPath, settings: dict[str, str], tmp_path: Path
) -> Iterator[RunningFunction]:
    with running(lambda_path, tmp_path / "log", settings) as function:
        assert function.started == FunctionReply("ready"), function.log.read_text()
        yield function


def event(name: str) -> object:
    payload: object = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return payload


def test_a_run_without_changes_makes_one_call_and_one_dns_query(
    function: RunningFunction, target_group: StubElbV2, name_server: StubDns
) -> None:
    target_group.targets.add((ADDRESS, 5432))
    for number in (1, 2):  # the second in the same container
        response = function.invoke(event("schedule"))
        assert response.kind == "response", response.body
        assert target_group.calls == ["DescribeTargetHealth"] * number
        assert name_server.queries == [f"{ENDPOINT}."] * number


def test_a_missing_target_is_registered(function: RunningFunction, target_group: StubElbV2) -> None:
    response = function.invoke(event("schedule"))
    assert response.kind == "response", response.body
    assert target_group.targets == {(ADDRESS, 5432)}


def test_a_dry_run_changes_nothing(function: RunningFunction, target_group: StubElbV2) -> None:
    response = function.invoke(event("manual-dry-run"))
    assert response.kind == "response", response.body
    assert target_group.calls == ["DescribeTargetHealth"]
    assert target_group.targets == set()


def test_an_unknown_key_in_a_payload_is_an_error_that_names_it(
    function: RunningFunction, target_group: StubElbV2
) -> None:
    response = function.invoke({"dryrun": True})
    assert response.kind == "error"
    assert response.body["errorType"] == "TriggerError"
    assert "'dryrun'" in response.body["errorMessage"]
    assert target_group.calls == []


def test_a_missing_setting_is_an_error_that_names_it(
    lambda_path: LambdaPath, settings: dict[str, str], tmp_path: Path
) -> None:
    del settings["TARGET_GROUP_ARN"]
    with running(lambda_path, tmp_path / "log", settings) as function:
        response = function.invoke(event("schedule"))
    assert response.kind == "error"
    assert "TARGET_GROUP_ARN" in response.body["errorMessage"]


def test_an_error_at_import_is_reported(
    lambda_path: LambdaPath, settings: dict[str, str], tmp_path: Path
) -> None:
    without_layer = LambdaPath(lambda_path.task, tmp_path, lambda_path.runtime)
    with running(without_layer, tmp_path / "log", settings) as function:
        assert function.started.kind == "init error"
    assert function.started.body["errorType"] == "Runtime.ImportModuleError"
    assert "target_sync" in function.started.body["errorMessage"]


def test_the_log_is_json_with_one_record_and_the_metrics(
    function: RunningFunction, target_group: StubElbV2
) -> None:
    """The log format of Lambda is JSON, as in the template."""
    target_group.targets.add((ADDRESS, 5432))
    response = function.invoke(event("schedule"))
    lines = [json.loads(line) for line in function.log.read_text().splitlines()]
    (record,) = [line for line in lines if "result" in line]
    (metrics,) = [line for line in lines if "_aws" in line]
    assert (record["level"], record["service"]) == ("INFO", "postgres-privatelink")
    assert record["result"] == response.body
    (definition,) = metrics["_aws"]["CloudWatchMetrics"]
    assert definition["Namespace"] == "PostgresPrivateLink"
    assert metrics["SyncSucceeded"] == [1.0]


def test_the_function_runs_from_a_read_only_tree(
    built: Build, lambda_path: LambdaPath, settings: dict[str, str], tmp_path: Path
) -> None:
    """Root may write anywhere, so the test compares the files before and after."""
    before = {folder: digests(folder) for folder in (built.layer, built.function)}
    with (
        read_only(built.layer),
        read_only(built.function),
        running(lambda_path, tmp_path / "log", settings) as function,
    ):
        assert function.invoke(event("schedule")).kind == "response"
    assert {folder: digests(folder) for folder in before} == before


def test_the_function_runs_without_bytecode(
    lambda_path: LambdaPath, settings: dict[str, str], tmp_path: Path
) -> None:
    """A build without CPython 3.13 has none, and another Python ignores it."""
    with running(without_bytecode(lambda_path, tmp_path), tmp_path / "log", settings) as function:
        assert function.invoke(event("schedule")).kind == "response"


def test_the_function_sends_nothing_to_a_server_that_it_does_not_trust(
    lambda_path: LambdaPath, settings: dict[str, str], target_group: StubElbV2, tmp_path: Path
) -> None:
    del settings["AWS_CA_BUNDLE"]
    with running(lambda_path, tmp_path / "log", settings) as function:
        response = function.invoke(event("schedule"))
    assert response.kind == "error"
    assert "certificate verify failed" in response.body["errorMessage"]
    assert target_group.calls == []


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    for path, mode in modes.items():
        path.chmod(mode & ~writable)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
