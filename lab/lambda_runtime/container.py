"""A built function in its own process, under Lambda's runtime interface client."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.lambda_runtime.api import FunctionReply, RuntimeApi
from lab.lambda_runtime.packages import LambdaPath
from lab.lambda_runtime.stub_servers import StubAws

ENDPOINT = "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"
TARGET_GROUP = (
    "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123456789abcdef"
)
#: Variables with which every function can start.
ENVIRONMENT = {
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com",
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": (
        "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/a/0123456789abcdef"
    ),
    "ALLOWED_NETWORKS": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10",
    "RESOLVERS": "",
    "EVENT_WATCH_DURATION_SECONDS": "300",
    # Of the other functions.
    "ACCEPTANCE_REQUIRED": "false",
    "ALLOWED_PRINCIPALS": "*",
    "CONSUMER_NETWORK": "10.0.0.0/8",
    "ENDPOINT_SERVICE_ID": "vpce-svc-0123456789abcdef0",
    "ENFORCE_INBOUND_RULES": "on",
    "FAILED_RUNS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111122223333/failed",
    "LOAD_BALANCER_ARN": (
        "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/a/0123456789abcdef"
    ),
    "MANAGES_INGRESS": "true",
    "REJECT_UNTRUSTED": "false",
    "SCHEDULE_NAME": "bench",
    "UNDELIVERED_EVENTS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111122223333/undelivered",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Sets and dictionaries are then the same in each process.
    "PYTHONHASHSEED": "0",
    # As on Lambda's read-only file system: what is not compiled stays so.
    "PYTHONDONTWRITEBYTECODE": "1",
}
# Only Python 3.13 uses the built bytecode; another version would write its own next to it.
_NO_OTHER_BYTECODE = {} if sys.version_info[:2] == (3, 13) else {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, slots=True)
class RunningFunction:
    """A function that waits for events.

    Attributes:
        started: ``ready``, or the error that ended its import.
        log: The file with its output.
    """

    api: RuntimeApi
    process: subprocess.Popen[bytes]
    started: FunctionReply
    log: Path

    def invoke(self, event: object) -> FunctionReply:
        """Send one event and wait for the reply."""
        return self.api.invoke(self.process, event)


@contextmanager
def running(
    path: LambdaPath,
    log: Path,
    environ: Mapping[str, str],
    handler: str = "app.handler",
    before: Sequence[Path] = (),
) -> Iterator[RunningFunction]:
    """Start a function, and end its process with the block.

    Args:
        path: Its import path.
        log: The file for its output.
        environ: Its environment, in addition to the variables that Lambda sets.
        handler: Module and name of the handler.
        before: Folders that precede the import path.
    """
    with RuntimeApi() as api, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "awslambdaric", handler],
            cwd=path.task,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([*map(str, before), str(path)]),
                "AWS_LAMBDA_RUNTIME_API": api.address,
                "LAMBDA_TASK_ROOT": str(path.task),
                "AWS_LAMBDA_FUNCTION_NAME": "reconcile-targets",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "AWS_LAMBDA_LOG_LEVEL": "INFO",
                "AWS_LAMBDA_LOG_GROUP_NAME": "reconcile-targets",
                "AWS_LAMBDA_LOG_STREAM_NAME": "1",
                "AWS_REGION": "eu-west-1",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                **_NO_OTHER_BYTECODE,
                **environ,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield RunningFunction(api, process, api.wait_for_start(process), log)
        finally:
            process.kill()
            process.wait()


def sync_environment(aws: StubAws, resolver: str) -> dict[str, str]:
    """Return the environment that template.yaml gives ReconcileTargetsFunction, with stubs for AWS.

    Args:
        aws: The stub of the AWS APIs.
        resolver: Address and port of the DNS server.
    """
    return {
        "DATABASE_KIND": "rds-instance",
        "DATABASE_ENDPOINT": ENDPOINT,
        "DATABASE_PORT": "5432",
        "TARGET_GROUP_ARN": TARGET_GROUP,
        "ALLOWED_NETWORKS": "10.0.0.0/8",
        "RESOLVERS": resolver,
        "EVENT_WATCH_DURATION_SECONDS": "10",
        "POWERTOOLS_SERVICE_NAME": "postgres-privatelink",
        "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        **aws.environ,
    }
