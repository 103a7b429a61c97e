"""A SAM stack with all kinds of resources of the product, in the lab's AWS."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.emulator.messages import RdsEvent
from lab.leftovers import leftovers
from tests.lab.emulator_process import (
    CONSUMER,
    PATIENCE,
    REGION,
    Emulator,
    child_processes,
    create_vpc,
    is_running,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

SOURCE = Path(__file__).parent / "emulator_stack"
OPTIONS = ("--registration-delay=0.1", "--health-check-interval=0.1", "--schedule-interval=1")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The stack's folder, and calls of SAM."""

    emulator: Emulator
    folder: Path
    network: Mapping[str, str]

    def sam(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
            "AWS_ACCESS_KEY_ID": "111111111111",
            "AWS_SECRET_ACCESS_KEY": "111111111111",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.emulator.url,
            "HOME": str(self.folder),
            "SAM_CLI_TELEMETRY": "0",
            # SAM does not remove its empty folders.
            "TMPDIR": str(self.folder),
        }
        return subprocess.run(
            [str(Path(sys.executable).with_name("sam")), *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )

    def deploy(self, name: str = "orders") -> subprocess.CompletedProcess[str]:
        overrides = [f"{key}={value}" for key, value in self.network.items()]
        return self.sam(
            "deploy", f"--stack-name={name}", "--resolve-s3", "--capabilities=CAPABILITY_IAM",
            "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--on-failure=ROLLBACK",
            "--parameter-overrides", *overrides,
        )  # fmt: skip

    def delete(self, name: str = "orders") -> subprocess.CompletedProcess[str]:
        return self.sam("delete", f"--stack-name={name}", "--no-prompts", f"--region={REGION}")

    def outputs(self, name: str = "orders") -> dict[str, str]:
        (stack,) = self.emulator.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}

    def status(self, name: str = "orders") -> str:
        (stack,) = self.emulator.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return str(stack["StackStatus"])

    def invoke(self, action: str, *, asynchronous: bool = False) -> dict[str, Any]:
        reply = self.emulator.client("lambda").invoke(
            FunctionName=self.outputs()["FunctionName"],
            InvocationType="Event" if asynchronous else "RequestResponse",
            Payload=json.dumps({"action": action}),
        )
        return {"error": reply.get("FunctionError"), "body": reply["Payload"].read()}

    def events(self) -> list[dict[str, Any]]:
        """Return the events that the function printed."""
        logs = self.emulator.client("logs")
        found = logs.filter_log_events(logGroupName=self.outputs()["LogGroupName"])["events"]
        lines = [entry["message"].strip() for entry in found]
        return [json.loads(line)["event"] for line in lines if line.startswith('{"event"')]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("emulator"), options=OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def stack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = tmp_path_factory.mktemp("stack")
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    ec2 = emulator.client("ec2")
    vpc, subnets = create_vpc(emulator)
    group = ec2.create_security_group(GroupName="database", Description="database", VpcId=vpc)
    emulator.client("rds").create_db_instance(
        DBInstanceIdentifier="pg",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        MultiAZ=True,
        AllocatedStorage=20,
        MasterUsername="postgres",
        ManageMasterUserPassword=True,
    )
    network = {
        "VpcId": vpc,
        "SubnetIds": ",".join(subnets),
        "DatabaseSecurityGroupId": group["GroupId"],
    }
    made = Stack(emulator=emulator, folder=folder, network=network)
    deployed = made.deploy()
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    return made


def test_describing_targets_needs_a_policy_without_a_resource(stack: Stack) -> None:
    body = json.loads(stack.invoke("describe")["body"])
    assert body["errorType"] == "ClientError"
    assert "elasticloadbalancing:DescribeTargetHealth" in body["errorMessage"]


def test_a_failure_is_reported_as_lambda_reports_it(stack: Stack) -> None:
    reply = stack.invoke("fail")
    assert reply["error"] == "Unhandled"
    body = json.loads(reply["body"])
    assert (body["errorType"], body["errorMessage"]) == ("WrongServerError", "on request")
    (frame,) = body["stackTrace"]
    assert "in handler" in frame
    assert "app.py" in frame


def test_a_failed_asynchronous_run_reaches_the_failure_destination(stack: Stack) -> None:
    stack.invoke("fail", asynchronous=True)
    sqs = stack.emulator.client("sqs")
    url = stack.outputs()["FailedRunsUrl"]
    (message,) = wait_until(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages")
    )
    record = json.loads(message["Body"])
    assert record["requestPayload"] == {"action": "fail"}
    assert record["responsePayload"]["errorType"] == "WrongServerError"


def test_an_rds_event_has_the_form_of_aws(stack: Stack) -> None:
    stack.emulator.admin.emit(
        RdsEvent(
            identifier="pg",
            event_id="RDS-EVENT-0049",
            categories=("failover",),
            message="A Multi-AZ failover has completed.",
            prefixed=True,
        )
    )

    def delivered() -> list[dict[str, Any]]:
        return [event for event in stack.events() if event.get("source") == "aws.rds"]

    wait_until(delivered)
    (event,) = delivered()
    arn = f"arn:aws:rds:{REGION}:111111111111:db:pg"
    date = event["detail"].pop("Date")
    assert date.endswith("Z")
    assert len(event.pop("id")) == 36
    assert event.pop("time").endswith("Z")
    assert event == {
        "version": "0",
        "detail-type": "RDS DB Instance Event",
        "source": "aws.rds",
        "account": "111111111111",
        "region": REGION,
        "resources": [arn],
        "detail": {
            "EventCategories": ["failover"],
            "SourceType": "DB_INSTANCE",
            "SourceArn": arn,
            "Message": "A Multi-AZ failover has completed.",
            "SourceIdentifier": "rds:pg",
            "EventID": "RDS-EVENT-0049",
        },
    }


def test_rejects_a_customers_event_with_a_source_of_aws(stack: Stack) -> None:
    reply = stack.emulator.client("events").put_events(
        Entries=[{"Source": "aws.rds", "DetailType": "x", "Detail": "{}"}]
    )
    assert reply["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_a_schedule_sends_the_event_of_aws_or_its_literal_input(stack: Stack) -> None:
    def scheduled() -> list[dict[str, Any]]:
        return [event for event in stack.events() if event.get("source") == "aws.scheduler"]

    def literal() -> list[dict[str, Any]]:
        return [event for event in stack.events() if event == {"dry_run": True}]

    wait_until(lambda: scheduled() and literal())
    event = scheduled()[0]
    (schedule_arn,) = event["resources"]
    assert schedule_arn.startswith(f"arn:aws:scheduler:{REGION}:111111111111:schedule/default/")
    assert event["time"].endswith("Z")
    assert event["detail-type"] == "Scheduled Event"
    assert event["detail"] == "{}"
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources",
        "detail",
    }  # fmt: skip


def test_calls_are_counted(stack: Stack) -> None:
    stack.emulator.admin.clear_calls()
    stack.invoke("register")
    calls = stack.emulator.admin.calls()
    assert calls["elasticloadbalancing.RegisterTargets"] == 1
    assert calls["lambda.InvokeFunction"] == 1


def test_deletes_a_stack_completely_once_its_consumer_is_disconnected(stack: Stack) -> None:
    consumer = stack.emulator.client("ec2", CONSUMER)
    vpc = consumer.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    endpoint = consumer.create_vpc_endpoint(
        VpcId=vpc, VpcEndpointType="Interface", ServiceName=stack.outputs()["ServiceName"]
    )["VpcEndpoint"]["VpcEndpointId"]
    # The run outlives its function and its log group, and must not recreate them.
    stack.invoke("wait", asynchronous=True)
    failed = stack.delete()
    assert failed.returncode != 0
    assert stack.status() == "DELETE_FAILED"
    consumer.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    deleted = stack.delete()
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    found = leftovers(stack.emulator.client, ignore=[stack.network["DatabaseSecurityGroupId"]])
    assert found == []


def test_the_processes_of_functions_end_with_a_killed_emulator(tmp_path: Path) -> None:
    with running_emulator(tmp_path, options=OPTIONS) as other:
        worker = start_function(other)
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        wait_until(lambda: not is_running(worker))


def test_a_stopped_emulator_leaves_no_process_and_no_file(
    emulator: Emulator, tmp_path: Path
) -> None:
    with running_emulator(tmp_path, options=OPTIONS) as other:
        worker = start_function(other)
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(PATIENCE) == 0
        wait_until(lambda: not is_running(worker))
        assert list(other.work_dir.iterdir()) == []
    assert emulator.admin.is_ready(), "another emulator still runs"


def start_function(emulator: Emulator) -> int:
    """Start a long run of a function and return its process."""
    archive = shutil.make_archive(
        str(emulator.work_dir.parent / "waiting"), "zip", SOURCE / "waiting"
    )
    marker = emulator.work_dir.parent / "running"
    emulator.client("iam").create_role(RoleName="waiting", AssumeRolePolicyDocument="{}")
    client = emulator.client("lambda")
    client.create_function(
        FunctionName="waiting",
        Runtime="python3.13",
        Role="arn:aws:iam::111111111111:role/waiting",
        Handler="app.handler",
        Timeout=60,
        Environment={"Variables": {"MARKER": str(marker)}},
        Code={"ZipFile": Path(archive).read_bytes()},
    )
    client.invoke(FunctionName="waiting", InvocationType="Event")
    wait_until(marker.exists)
    (worker,) = child_processes(emulator.process.pid)
    return worker
