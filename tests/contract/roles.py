"""Functions of a template on the lab's AWS, with the policies of their roles."""

import io
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.emulator_process import Emulator
from tests.template.stack import Resolver, as_list, statements

ROOT = Path(__file__).parents[2]

UNENFORCED: Mapping[str, tuple[str, ...]] = {
    # Lambda writes the log with the role; the emulator writes it itself.
    "WriteLog": ("logs:CreateLogStream", "logs:PutLogEvents"),
    # Lambda sends the traces with the role; the emulator makes none.
    "SendTraces": ("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    # Lambda makes a function's network interfaces with the role; the emulator runs every function
    # on the machine's own network.
    "CreateInterfaces": ("ec2:CreateNetworkInterface",),
    "ChangeInterfaces": ("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
    "DeleteInterfaces": ("ec2:DeleteNetworkInterface",),
    "ReadInterfaces": ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
}
"""Actions that Lambda itself needs, by their statement. The emulator does not enforce them."""

#: Actions whose replies a container keeps, so that it makes no second call.
KEPT = frozenset({"rds:DescribeDBInstances"})


@dataclass(frozen=True)
class Permission:
    """One action of one statement of a role."""

    function: str
    situation: str
    statement: str
    action: str

    def __str__(self) -> str:
        return "-".join((self.function, self.situation, self.statement, self.action))

    def is_of_code(self, unenforced: Mapping[str, tuple[str, ...]]) -> bool:
        """Return whether the function's own code needs the permission."""
        return self.action not in unenforced.get(self.statement, ())


def policy(resolver: Resolver, function: str) -> list[dict[str, Any]]:
    """Return the statements of a function's role, including its separate policies."""
    properties = resolver.of_type("AWS::Lambda::Function").get(function)
    if properties is None:
        return []
    role = properties["Role"].removeprefix("<").removesuffix(".Arn>")
    return [dict(statement) for owner, statement in statements(resolver) if owner == role]


def permissions(resolver: Resolver, function: str, situation: str) -> list[Permission]:
    """Return the permissions of a function in a situation."""
    return [
        Permission(function, situation, statement["Sid"], action)
        for statement in policy(resolver, function)
        for action in as_list(statement["Action"])
    ]


def once(found: Iterable[Permission]) -> list[Permission]:
    """Return each permission once, in the first situation that has it."""
    first: dict[tuple[str, str, str], Permission] = {}
    for it in found:
        first.setdefault((it.function, it.statement, it.action), it)
    return list(first.values())


@dataclass(frozen=True)
class Functions:
    """Functions on the emulator. Each has its own role."""

    emulator: Emulator
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _archives: dict[str, bytes] = field(default_factory=dict)

    def create(self, function: str, properties: Mapping[str, Any], files: Mapping[str, str]) -> str:
        """Create a function with the template's properties, the layer and these files.

        It uses the dependencies of the emulator's interpreter. Lambda runs ``entry.handler``.
        """
        name = f"{function}-{next(self._numbers)}"
        self._archives[name] = packed({**_package(), **files})
        self.emulator.client("lambda").create_function(
            FunctionName=name,
            Runtime=properties["Runtime"],
            Role=self.role(name),
            Handler="entry.handler",
            Timeout=properties["Timeout"],
            Code={"ZipFile": self._archives[name]},
            Environment=properties["Environment"],
        )
        return name

    def role(self, name: str) -> str:
        """Create a role without permissions, and return its ARN."""
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = self.emulator.client("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=_document([trust])
        )
        return str(role["Role"]["Arn"])

    def allow(
        self, name: str, given: Iterable[Mapping[str, Any]], missing: Permission | None = None
    ) -> None:
        """Give a function these permissions without one action."""
        allowed = []
        for statement in given:
            actions = as_list(statement["Action"])
            if missing and statement["Sid"] == missing.statement:
                actions = [action for action in actions if action != missing.action]
            if actions:
                allowed.append({**statement, "Action": actions})
        self.emulator.client("iam").put_role_policy(
            RoleName=name, PolicyName="template", PolicyDocument=_document(allowed)
        )
        if missing and missing.action in KEPT:
            self.emulator.client("lambda").update_function_code(
                FunctionName=name, ZipFile=self._archives[name]
            )

    def invoke(self, name: str, payload: object) -> tuple[str, Any]:
        """Return the error of a run, or an empty text, and the document that it returned."""
        reply = self.emulator.client("lambda").invoke(
            FunctionName=name, Payload=json.dumps(payload)
        )
        document = json.loads(reply["Payload"].read())
        return (document["errorMessage"] if "FunctionError" in reply else ""), document


def packed(files: Mapping[str, str]) -> bytes:
    """Return an archive of these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return archive.getvalue()


def _package() -> Mapping[str, str]:
    layer = ROOT / "layers/target_sync"
    return {
        str(file.relative_to(layer)): file.read_text()
        for file in (layer / "target_sync").rglob("*.py")
    }


def _document(statements_: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements_})
