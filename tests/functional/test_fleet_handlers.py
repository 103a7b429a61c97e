"""The handlers of the sweep and of the watch, over moto's AWS."""

import json
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.fleet_sweep import app as fleet_sweep
from functions.fleet_watch import app as fleet_watch
from target_sync.endpoints.dns import DnsResolver
from target_sync.fleet import sweep_build
from target_sync.fleet.model import ENDPOINT_TAG, WorkReason
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, read_work_item
from target_sync.model import Observation
from tests.support.events import context
from tests.support.fleet_scenario import SWEEP_TIMEOUT
from tests.unit.fleet.builders import A

REGION, NETWORK, PORT = "eu-west-1", "10.0.0.0/16", 6432
NAME = f"orders.abcdefghijkl.{REGION}.rds.amazonaws.com"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:fleet"


class Account:
    """An account with one tagged target group and the queues of a fleet."""

    def __init__(self) -> None:
        vpc = boto3.client("ec2", REGION).create_vpc(CidrBlock=NETWORK)["Vpc"]["VpcId"]
        (group,) = boto3.client("elbv2", REGION).create_target_group(
            Name="orders",
            TargetType="ip",
            Protocol="TCP",
            Port=PORT,
            VpcId=vpc,
            Tags=[{"Key": ENDPOINT_TAG, "Value": NAME}],
        )["TargetGroups"]
        self.group = group["TargetGroupArn"]
        self.sqs = boto3.client("sqs", REGION)
        self.work_items = self.sqs.create_queue(
            QueueName="orders.fifo", Attributes={"FifoQueue": "true"}
        )["QueueUrl"]
        self.events = self.sqs.create_queue(QueueName="events")["QueueUrl"]

    def received(self) -> list[Any]:
        """Return the work items in the queue."""
        messages = self.sqs.receive_message(QueueUrl=self.work_items, MaxNumberOfMessages=10)
        return [read_work_item(message["Body"]) for message in messages.get("Messages", [])]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Account]:
    def resolve(_: DnsResolver, name: str) -> Observation:
        return Observation(name=name, addresses=frozenset({A}), source="dns", ttl=5, at=0.0)

    monkeypatch.setattr(DnsResolver, "resolve", resolve)
    with mock_aws():
        account = Account()
        environment = {
            "AWS_DEFAULT_REGION": REGION,
            "SIGNING_KEY": "a secret of this deployment",
            "WORK_QUEUE_URL": account.work_items,
            "EVENT_QUEUE_URL": account.events,
            # Powertools keeps one logger per service, with its first output stream.
            "POWERTOOLS_SERVICE_NAME": request.node.name,
            "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
        }
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        sweep_build.sweeper.cache_clear()
        sweep_build.watcher.cache_clear()
        yield account


def test_a_sweep_sends_an_unverified_group_to_the_workers(account: Account) -> None:
    document = fleet_sweep.handler({}, context(SWEEP_TIMEOUT, FUNCTION))

    assert document["findings"] == []
    work_item, cursor = account.received()
    assert isinstance(work_item, SyncWorkItem)
    assert (work_item.arn, work_item.reason) == (account.group, WorkReason.UNVERIFIED)
    assert isinstance(cursor, CursorWorkItem)
    assert cursor.arn == account.group
    assert (work_item.binding.endpoint, work_item.binding.policy.port) == (NAME, PORT)
    assert work_item.binding.policy.allowed_networks == (ip_network(NETWORK),)


def test_a_watch_sends_the_groups_of_the_events_database(account: Account) -> None:
    body = {"source": "aws.rds", "detail": {"SourceIdentifier": "orders"}}
    batch = {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(body)}]}

    # Enough time for one iteration.
    document = fleet_watch.handler(batch, context(15.5, FUNCTION))

    assert (document["databases"], document["work_items"]) == (1, 1)
    (work_item,) = account.received()
    assert (work_item.arn, work_item.reason) == (account.group, WorkReason.ADDRESSES_CHANGED)
