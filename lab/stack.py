"""The stack in the lab's AWS, managed by the real SAM CLI or with CloudFormation's API."""

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
_BUILD, _PACKAGE = ".aws-sam", ".aws-sam/package"
_BUCKET, _TEMPLATE = "packages", "template.json"
#: Seconds between two polls of CloudFormation.
_POLL = 0.1
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
        self.supervisor = supervisor
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
        return self.supervisor.run(
            f"sam {' '.join(words)}",
            [tools / "sam", *arguments, "--config-env", self._environment],
            cwd=self.folder,
            env={
                **environment,
                "HOME": str(self.supervisor.work_dir),
                "PATH": f"{tools}:{environment['PATH']}",
                # The interval in which SAM polls CloudFormation; default: 5 seconds.
                "SAM_CLI_POLL_DELAY": "0.5",
                "SAM_CLI_TELEMETRY": "0",
                # SAM does not remove its empty folders.
                "TMPDIR": str(self.supervisor.work_dir),
                "NO_PROXY": "127.0.0.1,localhost",
            },
            timeout=_TIMEOUT,
        )

    def package(self) -> Path:
        """Package and expand the built stack once; return the folder, see `lab.packaging`.

        Raises:
            CommandFailedError: The packaging failed.
        """
        folder = self.folder / _PACKAGE
        if not folder.exists():
            self.supervisor.run(
                "package",
                [
                    *(sys.executable, "-m", "lab.packaging", self.folder / _BUILD / "build"),
                    *(folder / _TEMPLATE, _BUCKET),
                ],
                cwd=_REPOSITORY,
                # The SAM CLI does not remove its temporary folders.
                env={**os.environ, "TMPDIR": str(self.supervisor.work_dir)},
            )
        return folder

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
        """Return the stack's outputs by key; empty if there is no stack."""
        return {o["OutputKey"]: o["OutputValue"] for o in self.described().get("Outputs", ())}

    def resource(self, logical_id: str) -> str:
        """Return the physical ID of a resource of the stack."""
        found = self.account.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def described(self) -> Mapping[str, Any]:
        """Return the stack as CloudFormation describes it; empty if there is no stack."""
        cloudformation = self.account.client("cloudformation")
        try:
            description: Mapping[str, Any]
            (description,) = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return {}
        return description

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
        # SAM prints the function's log before the result.
        start = printed.rfind(begins)
        if start < 0:
            raise UnexpectedReplyError(f"sam remote invoke gave no document:\n{printed}")
        # The end of the log may follow.
        document: dict[str, Any]
        document, _ = json.JSONDecoder().raw_decode(printed, start)
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


class ApiStack(Stack):
    """The same stack, managed with CloudFormation's API.

    The processes of the SAM CLI need more CPU time than the rest of a scenario.
    """

    def deploy(self, parameters: Mapping[str, str]) -> None:
        """Create or update the stack. Like ``sam deploy``, an update keeps other parameters.

        Raises:
            CommandFailedError: CloudFormation failed; the message has the failed resources.
        """
        cloudformation = self.account.client("cloudformation")
        kept = {entry["ParameterKey"] for entry in self.described().get("Parameters", ())}
        deploy = cloudformation.update_stack if kept else cloudformation.create_stack
        if not kept:
            self._upload()
        try:
            deploy(
                StackName=self.name,
                TemplateURL=f"{self.account.endpoint_url}/{_BUCKET}/{_TEMPLATE}",
                Parameters=[
                    *({"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()),
                    *(
                        {"ParameterKey": k, "UsePreviousValue": True}
                        for k in kept - parameters.keys()
                    ),
                ],
                Capabilities=["CAPABILITY_IAM"],
            )
        except ClientError as error:
            raise CommandFailedError(str(error)) from error
        if self._final_status() not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise CommandFailedError("\n".join(self._failures()))

    def delete(self) -> None:
        """Delete the stack.

        Raises:
            CommandFailedError: A resource could not be deleted.
        """
        self.account.client("cloudformation").delete_stack(StackName=self.name)
        if self._final_status():
            raise CommandFailedError("\n".join(self._failures()))

    def _final_status(self) -> str:
        """Wait for the end of the change; return the status, empty if there is no stack."""

        def status() -> str:
            return str(self.described().get("StackStatus", ""))

        self.project.supervisor.wait_until(
            lambda: not status().endswith("_IN_PROGRESS"),
            what=f"the change of {self.name} to end",
            timeout=_TIMEOUT,
            interval=_POLL,
        )
        return status()

    def _upload(self) -> None:
        """Upload the packaged build."""
        s3 = self.account.client("s3")
        s3.create_bucket(Bucket=_BUCKET)
        for file in self.project.package().iterdir():
            s3.put_object(Bucket=_BUCKET, Key=file.name, Body=file.read_bytes())
