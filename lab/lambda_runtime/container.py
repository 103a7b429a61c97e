"""A built function in a process of its own, under the runtime interface client of Lambda."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.lambda_runtime.api import Answer, RuntimeApi
from lab.lambda_runtime.packages import LambdaPath

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
# Only Lambda's Python finds the bytecode that was built; another would leave its own there.
_NO_OTHER_BYTECODE = {} if sys.version_info[:2] == (3, 13) else {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, slots=True)
class RunningFunction:
    """The function, waiting for events.

    Attributes:
        started: ``ready``, or the error with which its import ended.
        log: The file that holds all it has printed.
    """

    api: RuntimeApi
    process: subprocess.Popen[bytes]
    started: Answer
    log: Path

    def invoke(self, event: object) -> Answer:
        """Hand it one event and wait for its answer."""
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
        path: What it imports from.
        log: The file for what it prints.
        environ: Its environment, beside what Lambda itself sets.
        handler: Module and name.
        before: Further folders to import from.
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
                "AWS_LAMBDA_FUNCTION_NAME": "sync-targets",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "AWS_LAMBDA_LOG_LEVEL": "INFO",
                "AWS_LAMBDA_LOG_GROUP_NAME": "sync-targets",
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


def sync_environment(aws: str, resolver: str) -> dict[str, str]:
    """The environment that template.yaml gives the sync function, with stubs in place of AWS.

    Args:
        aws: The URL of the stub of the AWS APIs.
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
        "AWS_ENDPOINT_URL": aws,
    }
