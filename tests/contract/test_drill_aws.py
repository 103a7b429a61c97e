"""The drill's calls to AWS, against the lab's AWS."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address

import boto3.session
import pytest

from drill.aws import Aws
from drill.decisions import FailoverCall
from lab.emulator.messages import RdsEvent, RdsSource
from lab.rds_control_plane import FailoverHook
from target_sync.errors import RejectedInputError
from target_sync.model import Target
from tests.lab.emulator_process import PROVIDER, REGION, Emulator, running_emulator, wait_until

pytestmark = pytest.mark.lab

BALANCER = "net/orders/0123456789abcdef"
BALANCER_ARN = f"arn:aws:elasticloadbalancing:us-east-1:111111111111:loadbalancer/{BALANCER}"
RESULT = {
    "trigger": {"kind": "rds_event", "event_id": "RDS-EVENT-0013", "occurred_at": 1000.5},
    "age_seconds": 0.5,
    "status": "synced",
    "registered": [{"target": "10.0.2.12:5432"}],
    "deregistered": [],
    "failures": 0,
    "seconds": {"to_detect": 2.0, "to_register": 2.25, "to_healthy": 95.0},
}


@pytest.fixture(scope="module")
def hook() -> Iterator[FailoverHook]:
    with FailoverHook() as server:
        yield server


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, hook: FailoverHook) -> Iterator[Emulator]:
    directory = tmp_path_factory.mktemp("emulator")
    with running_emulator(directory, options=(f"--rds-failover-hook={hook.url}",)) as running:
        rds = running.client("rds")
        rds.create_db_instance(
            DBInstanceIdentifier="orders",
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            MultiAZ=True,
            AllocatedStorage=20,
            MasterUsername="lab",
            ManageMasterUserPassword=True,
        )
        rds.create_db_cluster(
            DBClusterIdentifier="shop",
            Engine="aurora-postgresql",
            MasterUsername="lab",
            ManageMasterUserPassword=True,
        )
        for number in (1, 2):
            rds.create_db_instance(
                DBInstanceIdentifier=f"shop-{number}",
                DBClusterIdentifier="shop",
                DBInstanceClass="db.t4g.medium",
                Engine="aurora-postgresql",
            )
        yield running


@pytest.fixture
def aws(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    return Aws(
        boto3.session.Session(
            aws_access_key_id=PROVIDER, aws_secret_access_key=PROVIDER, region_name=REGION
        )
    )


def test_returns_a_stack_and_rejects_an_unknown_one(emulator: Emulator, aws: Aws) -> None:
    cloudformation = emulator.client("cloudformation")
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    cloudformation.create_stack(StackName="topics", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="topics", WaiterConfig={"Delay": 1}
    )
    described, resources = aws.stack("topics")
    assert described["StackName"] == "topics"
    assert resources["Topic"].type == "AWS::SNS::Topic"
    assert ":topics-Topic-" in resources["Topic"].id
    assert aws.clock_ahead is not None
    with pytest.raises(RejectedInputError, match="there is no stack nowhere"):
        aws.stack("nowhere")


def test_returns_a_database_or_none(aws: Aws) -> None:
    orders, shop = aws.instance("orders"), aws.cluster("shop")
    assert orders is not None
    assert shop is not None
    assert orders["MultiAZ"]
    assert len(shop["DBClusterMembers"]) == 2
    assert aws.instance("nowhere") is None
    assert aws.cluster("nowhere") is None


@pytest.mark.parametrize(
    ("operation", "arguments", "request_"),
    [
        (
            "RebootDBInstance",
            {"DBInstanceIdentifier": "orders", "ForceFailover": True},
            {"db_instance_identifier": "orders"},
        ),
        (
            "FailoverDBCluster",
            {"DBClusterIdentifier": "shop"},
            {"db_cluster_identifier": "shop", "target_db_instance_identifier": "shop-2"},
        ),
    ],
)
def test_each_call_starts_a_failover(
    aws: Aws,
    hook: FailoverHook,
    operation: str,
    arguments: dict[str, str],
    request_: dict[str, str],
) -> None:
    aws.fail_over(FailoverCall(operation=operation, arguments=arguments, database="x", outage=""))
    assert wait_until(hook.next_request) == request_


def test_returns_the_events_of_one_database_since_a_time(emulator: Emulator, aws: Aws) -> None:
    since = time.time()
    for identifier, source in (("shop", RdsSource.CLUSTER), ("orders", RdsSource.INSTANCE)):
        emulator.admin.emit(
            RdsEvent(
                identifier=identifier,
                event_id="RDS-EVENT-0071",
                categories=("failover",),
                message=f"{identifier} failed over",
                source=source,
            )
        )
    (event,) = aws.events("db-cluster", "shop", since=since)
    assert (event.message, event.categories) == ("shop failed over", ("failover",))
    assert not list(aws.events("db-cluster", "shop", since=time.time()))


def test_reads_the_records_of_runs_from_the_log(emulator: Emulator, aws: Aws) -> None:
    logs, now = emulator.client("logs"), int(time.time() * 1000)
    logs.create_log_group(logGroupName="sync")
    logs.create_log_stream(logGroupName="sync", logStreamName="one")
    lines = (
        "sync run ended, in a line that is no record",
        json.dumps({"message": "iteration"}),
        json.dumps({"message": "sync run ended", "result": RESULT}),
    )
    logs.put_log_events(
        logGroupName="sync",
        logStreamName="one",
        logEvents=[{"timestamp": now, "message": line} for line in lines],
    )
    (record,) = aws.runs("sync", since=now / 1000 - 1)
    assert (record.started_at, record.detected_at, record.registered_at) == (1001, 1002.5, 1002.75)
    assert not list(aws.runs("sync", since=now / 1000 + 60))


def test_reads_the_open_targets_of_a_security_group(emulator: Emulator, aws: Aws) -> None:
    group = emulator.client("ec2").create_security_group(GroupName="rules", Description="rules")
    rules = aws.outbound_rules(group["GroupId"], 5432)
    assert not rules.describe().open
    target = Target(ip_address("10.0.1.11"), 5432)
    rules.open([target])
    assert rules.describe().open == {target}


def test_returns_the_minutes_with_new_flows_of_one_load_balancer(
    emulator: Emulator, aws: Aws
) -> None:
    minute = time.time() // 60 * 60
    for at, name, value in ((minute - 120, BALANCER, 3), (minute - 60, "net/other/0", 9)):
        emulator.client("cloudwatch").put_metric_data(
            Namespace="AWS/NetworkELB",
            MetricData=[
                {
                    "MetricName": "NewFlowCount",
                    "Dimensions": [{"Name": "LoadBalancer", "Value": name}],
                    "Timestamp": datetime.fromtimestamp(at, UTC),
                    "Value": value,
                }
            ],
        )
    assert aws.flows(BALANCER_ARN, since=minute - 180) == ((minute - 120, 3),)
