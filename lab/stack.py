"""The stack in the lab's AWS, managed by the real SAM CLI."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from lab.aws import Account, credentials
from lab.processes import CommandFailedError, Supervisor

_REPOSITORY = Path(__file__).parents[1]
_SHIPPED = ("template.yaml", "fleet.yaml", "samconfig.toml", "functions", "layers")
_BUILD = ".aws-sam"
_TIMEOUT = 1800.0
_KEPT_FIELDS = (
    "Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target", "State",
)  # fmt: skip
_RESULT_START, _REPORT_START = '{"status"', '{"healthy"'


class UnexpectedReplyError(Exception):
    """The lab cannot read the reply of SAM or of the function; the message contains it."""


class Project:
    """A copy of the project for SAM, so that each lab has a build folder of its own.

    Args:
        supervisor: Runs SAM; the project is below its folder.
        built: A project whose build is used, read only; None: SAM builds this one.
        environment: The environment of ``samconfig.toml``, which names the template.
    """

    def __init__(
        self, supervisor: Supervisor, *, built: Path | None = None, environment: str = "lab"
    ) -> None:
        self._supervisor = supervisor
        self._built = built
        self._environment = environment
        self.folder = supervisor.work_dir / f"project-{environment}"

    def start_build(self) -> Future[None]:
        """Begin ``sam build``; the future's result may raise ``CommandFailedError``."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="sam build")
        future = pool.submit(self._build)
        # An interrupted lab does not wait: the supervisor ends the process.
        pool.shutdown(wait=False)
        return future

    def sam(self, *arguments: str, environment: Mapping[str, str]) -> str:
        """Run a SAM command in the project and return what it printed.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines.
        """
        tools = Path(sys.executable).parent
        # The command's words, without its options.
        words = takewhile(lambda word: not word.startswith("-"), arguments)
        return self._supervisor.run(
            f"sam {' '.join(words)}",
            [tools / "sam", *arguments, "--config-env", self._environment],
            cwd=self.folder,
            env={
                **environment,
                "HOME": str(self._supervisor.work_dir),
                "PATH": f"{tools}:{environment['PATH']}",
                # The interval in which SAM polls CloudFormation; default: 5 seconds.
                "SAM_CLI_POLL_DELAY": "0.5",
                "SAM_CLI_TELEMETRY": "0",
                # SAM does not remove its empty folders.
                "TMPDIR": str(self._supervisor.work_dir),
                "NO_PROXY": "127.0.0.1,localhost",
            },
            timeout=_TIMEOUT,
        )

    def _build(self) -> None:
        self.folder.mkdir()
        for name in _SHIPPED:
            source = _REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.folder / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy2(source, self.folder / name)
        if self._built is not None:
            (self.folder / _BUILD).symlink_to(self._built.resolve() / _BUILD)
            return
        self.sam("build", environment=os.environ)


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of the template at the top of the repository."""

    project: Project
    account: Account
    name: str

    def deploy(self, parameters: Mapping[str, str]) -> None:
        """``sam deploy`` with these parameters.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines and the failed resources.
        """
        try:
            self._sam(
                "deploy",
                "--no-progressbar",
                "--parameter-overrides",
                *(f"{key}={value}" for key, value in parameters.items()),
            )
        except CommandFailedError as error:
            raise CommandFailedError("\n".join([str(error), *self._failures()])) from error

    def delete(self) -> None:
        """``sam delete``.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines.
        """
        # SAM does not read this option from its configuration file.
        self._sam("delete", "--no-prompts")

    def outputs(self) -> Mapping[str, str]:
        """Return the stack's outputs by key."""
        cloudformation = self.account.client("cloudformation")
        stack = cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}

    def _failures(self) -> list[str]:
        """Return the failed resources with CloudFormation's reasons."""
        cloudformation = self.account.client("cloudformation")
        try:
            events = cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        except ClientError:
            return []  # CloudFormation rejected a parameter or rule and created no stack
        return [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED")
        ]

    def schedule_switched_off(self) -> AbstractContextManager[None]:
        """Disable the stack's schedule during a `with` block, as an operator may."""
        return self._schedule_with(State="DISABLED")

    def schedule_slowed_down(self) -> AbstractContextManager[None]:
        """Set the rate of the stack's schedule to a year during a `with` block."""
        return self._schedule_with(ScheduleExpression="rate(365 days)")

    @contextmanager
    def _schedule_with(self, **changes: str) -> Iterator[None]:
        scheduler = self.account.client("scheduler")
        function = self.outputs()["ReconcileTargetsFunctionName"]
        (found,) = [
            schedule
            for schedule in scheduler.list_schedules()["Schedules"]
            if schedule["Target"]["Arn"].endswith(f":{function}")
        ]
        schedule: Mapping[str, Any] = scheduler.get_schedule(
            Name=found["Name"], GroupName=found["GroupName"]
        )
        # An update sets every field; a missing field gets its default.
        kept: dict[str, Any] = {name: schedule[name] for name in _KEPT_FIELDS}
        scheduler.update_schedule(**kept | changes)
        try:
            yield
        finally:
            scheduler.update_schedule(**kept)

    def resync(self, payload: Mapping[str, bool]) -> Mapping[str, Any]:
        """Resync with ``sam remote invoke``; return the function's result.

        Raises:
            CommandFailedError: The invocation failed.
            UnexpectedReplyError: The reply is no JSON document.
        """
        return self._invoke("ReconcileTargetsFunction", payload, _RESULT_START)

    def status(self) -> Mapping[str, Any]:
        """Return the status report, from ``sam remote invoke``.

        Raises:
            CommandFailedError: The invocation failed.
            UnexpectedReplyError: The reply is no JSON document.
        """
        return self._invoke("ReportStatusFunction", {}, _REPORT_START)

    def _invoke(self, function: str, payload: Mapping[str, bool], begins: str) -> Mapping[str, Any]:
        """Invoke a function; return its result, which begins with the given text."""
        printed = self._sam("remote", "invoke", function, "--event", json.dumps(payload))
        # SAM prints the function's log first and the result last.
        start = printed.rfind(begins)
        if start < 0:
            raise UnexpectedReplyError(f"sam remote invoke gave no document:\n{printed}")
        document: dict[str, Any] = json.loads(printed[start:])
        return document

    def _sam(self, *arguments: str) -> str:
        return self.project.sam(
            *arguments,
            *("--stack-name", self.name),
            environment={
                **credentials(self.account.number),
                "AWS_ENDPOINT_URL": self.account.endpoint_url,
            },
        )
