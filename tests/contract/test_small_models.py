"""This project's models of AWS APIs say nothing that botocore's own models do not say."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from target_sync import aws
from target_sync.aws import make_client, use_small_models

MODELS = Path(aws.__file__).parent / "aws_models"
PATHS = sorted(MODELS.glob("*/*/service-2.json"))
#: What decides how a value is written to a request or read from a reply.
_WIRE = ("locationName", "queryName", "flattened", "resultWrapper")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parts[-3])
def test_each_operation_is_sent_and_read_as_botocore_does(path: Path) -> None:
    service, version = path.parts[-3:-1]
    loader = botocore.session.Session().get_component("data_loader")
    full = loader.load_service_model(service, "service-2", version)
    small = json.loads(path.read_text())

    assert small["metadata"].items() <= full["metadata"].items()
    for name, operation in small["operations"].items():
        theirs = full["operations"][name]
        assert operation["http"] == theirs["http"]
        for side in ("input", "output"):
            _assert_equal_on_the_wire(
                (small["shapes"], operation[side]), (full["shapes"], theirs[side]), f"{name} {side}"
            )


def _assert_equal_on_the_wire(ours: tuple[Any, Any], theirs: tuple[Any, Any], place: str) -> None:
    (our_shapes, our_member), (their_shapes, their_member) = ours, theirs
    for key in _WIRE:
        assert our_member.get(key) == their_member.get(key), f"{place}: {key}"
    our, their = our_shapes[our_member["shape"]], their_shapes[their_member["shape"]]
    for key in ("type", "required", "wrapper"):
        assert our.get(key) == their.get(key), f"{place}: {key}"
    if "member" in our:
        _assert_equal_on_the_wire(
            (our_shapes, our["member"]), (their_shapes, their["member"]), f"{place}[]"
        )
    for name, member in our.get("members", {}).items():
        assert name in their["members"], f"{place} has no {name}"
        _assert_equal_on_the_wire(
            (our_shapes, member), (their_shapes, their["members"][name]), f"{place}.{name}"
        )


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parts[-3])
def test_a_client_with_a_small_model_has_its_operations_only(path: Path) -> None:
    use_small_models()

    model = make_client(path.parts[-3]).meta.service_model
    assert set(model.operation_names) == set(json.loads(path.read_text())["operations"])


def test_an_api_without_a_small_model_has_every_operation() -> None:
    use_small_models()

    assert "Publish" in make_client("sns").meta.service_model.operation_names


def test_other_functions_have_every_operation() -> None:
    assert "DescribeVpcEndpointConnections" in make_client("ec2").meta.service_model.operation_names
