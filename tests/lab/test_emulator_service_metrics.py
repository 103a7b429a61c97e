"""The metrics of AWS's services in the lab's AWS, and elapsed time."""

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

import pytest

from lab.addresses import AddressPlan, Endpoint, free_port
from tests.lab.emulator_process import (
    CONSUMER,
    PATIENCE,
    Emulator,
    create_vpc,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

TARGET = Endpoint(IPv4Address("10.0.1.11"), 5432)
#: The length of a minute in seconds.
MINUTE = 0.2
CODE = """
import json, os, time

def handler(event, context):
    if event.get("fails"):
        raise ValueError("on request")
    print(json.dumps({
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [{
                "Namespace": "Ours",
                "Dimensions": [["service"]],
                "Metrics": [{"Name": "Runs", "Unit": "Count"}],
            }],
        },
        "service": "one",
        "Runs": 1,
    }))
    return os.getpid()
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator with one address in its plan and a short minute."""
    loopback = Endpoint(IPv4Address("127.0.0.1"), free_port("127.0.0.1"))
    with running_emulator(
        tmp_path_factory.mktemp("emulator"),
        plan=AddressPlan({TARGET: loopback}),
        options=(
            f"--schedule-interval={MINUTE}",
            "--registration-delay=0",
            "--health-check-interval=0.05",
        ),
    ) as it:
        yield it


@dataclass(frozen=True)
class MetricReader:
    """The values of one metric, oldest first."""

    emulator: Emulator
    namespace: str
    name: str
    dimensions: Mapping[str, str]

    def values(self, statistic: str = "Sum", *, seconds: float = 3600) -> list[float]:
        now = datetime.fromtimestamp(time.time(), UTC)
        metric = {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": [{"Name": n, "Value": v} for n, v in self.dimensions.items()],
        }
        query = {"Id": "m0", "MetricStat": {"Metric": metric, "Period": 1, "Stat": statistic}}
        reply = self.emulator.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query],
            StartTime=now - timedelta(seconds=seconds),
            EndTime=now + timedelta(seconds=60),
        )
        return [value for result in reply["MetricDataResults"] for value in result["Values"]]


@pytest.fixture(scope="module")
def function(emulator: Emulator) -> str:
    """A function that fails on request, or writes a metric."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", CODE)
    role = emulator.client("iam").create_role(RoleName="runs", AssumeRolePolicyDocument="{}")
    emulator.client("lambda").create_function(
        FunctionName="runs",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return "runs"


def of_lambda(emulator: Emulator, name: str) -> MetricReader:
    return MetricReader(emulator, "AWS/Lambda", name, {"FunctionName": "runs"})


@dataclass(frozen=True)
class Balancer:
    """A load balancer with a target group."""

    emulator: Emulator
    arn: str
    group: str

    def hosts(self, name: str) -> MetricReader:
        dimensions = {
            "LoadBalancer": self.arn.partition(":loadbalancer/")[2],
            "TargetGroup": self.group.rpartition(":")[2],
        }
        return MetricReader(self.emulator, "AWS/NetworkELB", name, dimensions)


@pytest.fixture(scope="module")
def balancer(emulator: Emulator) -> Balancer:
    elb = emulator.client("elbv2")
    vpc, subnets = create_vpc(emulator)
    arn = elb.create_load_balancer(
        Name="orders", Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    group = elb.create_target_group(
        Name="orders", Protocol="TCP", Port=5432, VpcId=vpc, TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=arn,
        Protocol="TCP",
        Port=5432,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    return Balancer(emulator, arn, group)


def test_counts_hosts_by_health_once_there_is_a_target(
    emulator: Emulator, balancer: Balancer
) -> None:
    healthy, unhealthy = balancer.hosts("HealthyHostCount"), balancer.hosts("UnHealthyHostCount")
    queue = emulator.client("sqs").create_queue(QueueName="beside")["QueueUrl"]
    depth = MetricReader(
        emulator,
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        {"QueueName": queue.rpartition("/")[2]},
    )
    wait_until(depth.values)  # a minute has passed
    assert healthy.values() == []

    elb = emulator.client("elbv2")
    elb.register_targets(TargetGroupArn=balancer.group, Targets=[{"Id": str(TARGET.address)}])

    # No server listens at the address.
    wait_until(lambda: unhealthy.values("Maximum")[-1:] == [1.0])
    assert healthy.values("Maximum")[-1:] == [0.0]


def test_counts_each_attempt_as_a_run_and_each_failed_one_as_an_error(
    emulator: Emulator, function: str
) -> None:
    client = emulator.client("lambda")
    runs, errors = of_lambda(emulator, "Invocations"), of_lambda(emulator, "Errors")

    client.invoke(FunctionName=function, Payload=b"{}")
    assert (sum(runs.values()), sum(errors.values())) == (1, 0)

    # Lambda retries an asynchronous run twice.
    client.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"fails": true}')
    wait_until(lambda: sum(errors.values()) == 3)
    assert sum(runs.values()) == 4


def test_a_process_continues_after_an_error_of_its_handler(
    emulator: Emulator, function: str
) -> None:
    client = emulator.client("lambda")

    def run(payload: bytes) -> Any:
        return json.load(client.invoke(FunctionName=function, Payload=payload)["Payload"])

    first = run(b"{}")
    assert run(b'{"fails": true}')["errorType"] == "ValueError"
    assert run(b"{}") == first


def test_counts_a_throttled_invocation_as_a_throttle_and_not_as_a_run(
    emulator: Emulator, function: str
) -> None:
    client = emulator.client("lambda")
    runs, throttles = of_lambda(emulator, "Invocations"), of_lambda(emulator, "Throttles")
    before = sum(runs.values())
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=function, Payload=b"{}")

    client.delete_function_concurrency(FunctionName=function)
    assert (sum(runs.values()), sum(throttles.values())) == (before, 1)


def test_reports_the_number_of_messages_of_a_queue(emulator: Emulator) -> None:
    client = emulator.client("sqs")
    url = client.create_queue(QueueName="lost")["QueueUrl"]
    depth = MetricReader(
        emulator, "AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "lost"}
    )
    wait_until(lambda: depth.values("Maximum")[-1:] == [0.0])

    for _ in range(2):
        client.send_message(QueueUrl=url, MessageBody="{}")

    wait_until(lambda: depth.values("Maximum")[-1:] == [2.0])


def test_reports_the_age_of_the_oldest_message_of_a_queue(emulator: Emulator) -> None:
    client = emulator.client("sqs")
    url = client.create_queue(QueueName="late")["QueueUrl"]
    age = MetricReader(emulator, "AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "late"})
    client.send_message(QueueUrl=url, MessageBody="{}")
    emulator.admin.age_messages(url, 300)
    client.send_message(QueueUrl=url, MessageBody="{}")
    wait_until(lambda: max(age.values("Maximum"), default=0) >= 300)
    # Ageing the messages once more would make it 600.
    assert max(age.values("Maximum")) < 300 + PATIENCE


def test_elapsed_time_ages_the_metrics_of_functions_and_not_of_aws(
    emulator: Emulator, function: str
) -> None:
    ours = MetricReader(emulator, "Ours", "Runs", {"service": "one"})
    services = of_lambda(emulator, "Invocations")
    emulator.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    assert ours.values(seconds=600)
    before = services.values(seconds=600)

    emulator.admin.elapse(900)

    assert (ours.values(seconds=600), services.values(seconds=600)) == ([], before)
    assert ours.values()


def test_elapsed_time_ages_a_connection(emulator: Emulator, balancer: Balancer) -> None:
    ec2, consumer = emulator.client("ec2"), emulator.client("ec2", CONSUMER)
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer.arn], AcceptanceRequired=True
    )["ServiceConfiguration"]
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service["ServiceId"], AddAllowedPrincipals=[f"arn:aws:iam::{CONSUMER}:root"]
    )
    vpc = consumer.create_vpc(CidrBlock="10.200.0.0/16")["Vpc"]["VpcId"]
    consumer.create_vpc_endpoint(
        VpcId=vpc, ServiceName=service["ServiceName"], VpcEndpointType="Interface"
    )

    def created() -> Any:
        (connection,) = ec2.describe_vpc_endpoint_connections()["VpcEndpointConnections"]
        return connection["CreationTimestamp"]

    before = created()
    emulator.admin.elapse(600)
    assert before - created() == timedelta(seconds=600)
