"""The handler of the sweep, over moto's AWS, with its threads."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import boto3
import pytest
from moto import mock_aws

from functions.fleet_sweep import app
from target_sync.endpoints.dns import DnsResolver
from target_sync.errors import AwsUnavailableError
from target_sync.fleet import build
from target_sync.fleet.model import ENDPOINT_TAG
from target_sync.model import Observation
from tests.support.events import context
from tests.unit.fleet.builders import A

REGION, NETWORK, PORT = "eu-west-1", "10.0.0.0/16", 6432
NAME = f"orders.abcdefghijkl.{REGION}.rds.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Account:
    """An account with one tagged target group."""

    group: str

    @property
    def targets(self) -> list[tuple[str, int]]:
        """Return the addresses and ports of its targets."""
        found = boto3.client("elbv2", REGION).describe_target_health(TargetGroupArn=self.group)
        return [
            (it["Target"]["Id"], it["Target"]["Port"]) for it in found["TargetHealthDescriptions"]
        ]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Account]:
    def resolve(_: DnsResolver, name: str) -> Observation:
        return Observation(name=name, addresses=frozenset({A}), source="dns", ttl=5, at=monotonic())

    monkeypatch.setattr(DnsResolver, "resolve", resolve)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    # Powertools keeps one logger per service, with its first output stream.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    with mock_aws():
        vpc = boto3.client("ec2", REGION).create_vpc(CidrBlock=NETWORK)["Vpc"]["VpcId"]
        (group,) = boto3.client("elbv2", REGION).create_target_group(
            Name="orders",
            TargetType="ip",
            Protocol="TCP",
            Port=PORT,
            VpcId=vpc,
            Tags=[{"Key": ENDPOINT_TAG, "Value": NAME}],
        )["TargetGroups"]
        build.sweeper.cache_clear()
        yield Account(group["TargetGroupArn"])


def test_sweeps_register_the_address_of_a_tagged_group(account: Account) -> None:
    # Several short sweeps, because a busy machine may do little in one of them.
    for _ in range(100):
        # It may not even list the groups in one of them.
        with suppress(AwsUnavailableError):
            document = app.handler({}, context(6.0))
            found = {finding["code"] for finding in document["findings"]}  # type: ignore[attr-defined]
            assert (found, document["dry_run"]) == ({"other_settings"}, False)
        if account.targets:
            break

    assert account.targets == [(str(A), PORT)]


def test_a_dry_run_changes_nothing(account: Account) -> None:
    document = app.handler({"dry_run": True}, context(60.0))

    assert document["groups"]["bound"] == 1  # type: ignore[index]
    assert account.targets == []
