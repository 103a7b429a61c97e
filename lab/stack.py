"""Our own stack in the lab's AWS, by the real SAM CLI."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.aws import Account, Database, credentials
from lab.processes import Supervisor

_REPOSITORY = Path(__file__).parents[1]
_SHIPPED = ("template.yaml", "samconfig.toml", "functions", "layers")
_MINUTES = 60.0


class UnexpectedReplyError(Exception):
    """SAM or the function answered something that the lab cannot read; the message has it."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of the template at the top of the repository.

    SAM works on a copy of the project, so that two labs at once, and a user's own build, do
    not meet in one build folder.
    """

    supervisor: Supervisor
    account: Account
    name: str

    def build(self) -> None:
        """``sam build``.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines.
        """
        self._project.mkdir()
        for name in _SHIPPED:
            source = _REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self._project / name, ignore=ignored)
            else:
                shutil.copy2(source, self._project / name)
        self._sam("build")

    def deploy(self, database: Database, parameters: Mapping[str, str]) -> None:
        """``sam deploy`` for a database.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines.
        """
        overrides = {
            "DatabaseEndpoint": database.endpoint,
            "VpcId": database.vpc_id,
            "SubnetIds": ",".join(database.subnet_ids),
            **parameters,
        }
        self._sam(
            "deploy",
            "--no-progressbar",
            "--parameter-overrides",
            *(f"{key}={value}" for key, value in overrides.items()),
        )

    def delete(self) -> None:
        """``sam delete``.

        Raises:
            CommandFailedError: SAM failed; the message has its last lines.
        """
        self._sam("delete")

    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs by key."""
        cloudformation = self.account.session().client(
            "cloudformation", endpoint_url=self.account.endpoint_url
        )
        stack = cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}

    def resync(self, payload: Mapping[str, bool]) -> Mapping[str, Any]:
        """``sam remote invoke``: the resync that a person does by hand.

        Raises:
            CommandFailedError: The invocation failed.
            UnexpectedReplyError: The function did not answer with a JSON document.
        """
        printed = self._sam(
            "remote", "invoke", "SyncTargetsFunction", "--event", json.dumps(payload)
        )
        # SAM prints the function's log first, then its answer on a line of its own.
        for line in reversed(printed.splitlines()):
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if isinstance(answer, dict) and "status" in answer:
                return answer
        raise UnexpectedReplyError(f"sam remote invoke gave no document:\n{printed}")

    @property
    def _project(self) -> Path:
        return self.supervisor.work_dir / "project"

    def _sam(self, *arguments: str) -> str:
        sam = Path(sys.executable).parent
        environment = credentials(self.account.number)
        return self.supervisor.run(
            f"sam {' '.join(arguments[:2]).partition(' --')[0]}",
            [
                sam / "sam",
                *arguments,
                *(("--stack-name", self.name) if arguments[0] != "build" else ()),
                *("--config-env", "lab"),
            ],
            cwd=self._project,
            env={
                **environment,
                "AWS_ENDPOINT_URL": self.account.endpoint_url,
                "HOME": str(self.supervisor.work_dir),
                "PATH": f"{sam}:{environment['PATH']}",
                "SAM_CLI_TELEMETRY": "0",
                "NO_PROXY": "127.0.0.1,localhost",
            },
            timeout=5 * _MINUTES,
        )
