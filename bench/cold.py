"""Count the instructions of each artifact's cold start, and of a bare boto3 client's.

Each start is a fresh process of one interpreter, with the import path that Lambda gives it and
nothing else, the same environment and compiled packages. valgrind counts its instructions: they do
not depend on the load of the machine. A server on this machine with a certificate stands for AWS.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate, islice
from pathlib import Path

from bench.cold_page import BARE, CLUSTER, OURS, SYNC, Report, to_markdown
from lab.lambda_runtime.container import ENVIRONMENT
from lab.lambda_runtime.packages import LambdaPath, link_packages
from lab.lambda_runtime.stub_servers import AUTHORITIES, StubDns, StubElbV2

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".aws-sam" / "build"
FOLDER = ROOT / "docs" / "bench"
ADDRESS, PORT = "10.0.1.11", 5432
_MODELS = BUILD / "TargetSyncLayer" / "python" / "target_sync" / "aws_models"

BARE_CLIENT = 'import boto3; client = boto3.client("elbv2")'
CALL = 'client.describe_target_health(TargetGroupArn="arn")'
#: What the first invocation of a container runs before its first AWS call, after the import of the
#: handler, by the logical ID of the function. ProvisionStackFunction makes its clients later.
STARTS = {
    SYNC: "app._reconciler()",
    "ReportStatusFunction": (
        "from target_sync.status.build import status_collector; status_collector()"
    ),
    "ReviewConnectionsFunction": "from target_sync.connections.build import reviewer; reviewer()",
    "ProvisionStackFunction": (
        "from target_sync.provisioning.build import stack_provisioner;"
        ' stack_provisioner("arn:aws:lambda:eu-west-1:111122223333:function:bench")'
    ),
}
#: The start of the sync function, part by part. The rest is this project's own.
PARTS = {
    "botocore, with a client of the load balancer": (
        "import gc; gc.disable(); import botocore.session;"
        " session = botocore.session.get_session();"
        f" session.set_config_variable('data_path', {str(_MODELS)!r});"
        " session.create_client('elbv2')"
    ),
    "a client of EC2": "session.create_client('ec2')",
    "dnspython": "import dns.resolver",
    "Powertools": (
        "from aws_lambda_powertools.logging import Logger;"
        " from aws_lambda_powertools.metrics import Metrics; Logger(); Metrics()"
    ),
}
#: What switches a measure of the start off, by the measure.
OFF = {
    "`botocore.session` in place of boto3": (
        "import gc; gc.disable(); import boto3; from target_sync import aws;"
        " of_boto3 = lambda: boto3.Session(botocore_session=aws._session());"
        " aws.make_client = lambda name, config=None: of_boto3().client(name, config=config)"
    ),
    "no garbage collection before a run": "import gc; gc.disable = gc.freeze = lambda: None",
    "our models of the AWS APIs in place of botocore's": (
        "import gc; gc.disable(); from target_sync import aws; aws.use_small_models = lambda: None"
    ),
}
#: The switch, which every stack with a load balancer of its own has.
_SWITCH = {"OUTBOUND_RULES_GROUP": "sg-0123456789abcdef0", "STANDBY_TARGETS": "warm"}
_CLUSTER = {
    "DATABASE_KIND": "rds-cluster-writer",
    "DATABASE_IDENTIFIER": "orders",
    "DATABASE_ENDPOINT": "orders.cluster-abcdefghijkl.eu-west-1.rds.amazonaws.com",
}
FIRST_RUN = """
from types import SimpleNamespace
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
assert app.handler({}, context)["status"] == "in_sync"
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A process to count.

    Attributes:
        code: Its statements.
        path: Where they import from.
        environ: Its environment, in addition to that of the functions.
    """

    code: str
    path: LambdaPath
    environ: Mapping[str, str]

    def instructions(self) -> int:
        """Return the number that the process executes, the interpreter's included."""
        found = re.search(r"I\s+refs:\s+([\d,]+)", self.run(*_CACHEGRIND))
        if found is None:
            raise RuntimeError("cachegrind printed no count of instructions")
        return int(found[1].replace(",", ""))

    def run(self, *before: str, **environ: str) -> str:
        """Run with the search path as the only other setting, and return the standard error."""
        home = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.path)}
        return subprocess.run(
            [*before, sys.executable, "-S", "-c", self.code],
            cwd=self.path.task,
            env={**ENVIRONMENT, **self.environ, **home, **environ},
            check=True,
            capture_output=True,
            text=True,
        ).stderr

    def then(self, code: str) -> "Start":
        """Return the same start with more statements."""
        return replace(self, code=f"{self.code}\n{code}")


_CACHEGRIND = (
    *("valgrind", "--tool=cachegrind", "--cache-sim=no"),
    "--cachegrind-out-file=/dev/null",
)
_PACKAGES = ("boto3", "botocore", "aws-lambda-powertools", "dnspython")


def main() -> None:
    """Count, print the page and write it."""
    argparse.ArgumentParser(prog="python -m bench.cold", description=__doc__).parse_args()
    if not BUILD.is_dir() or shutil.which("valgrind") is None:
        sys.exit("The benchmark needs a build (`make build`) and valgrind.")
    with tempfile.TemporaryDirectory() as name:
        instructions = _counted(Path(name))
    report = Report(
        date=datetime.now(UTC).date().isoformat(),
        python=sys.version.split()[0],
        versions={name: version(name) for name in _PACKAGES},
        valgrind=subprocess.check_output(["valgrind", "--version"], text=True).strip(),
        authorities=AUTHORITIES.read_text().count("BEGIN CERTIFICATE"),
        **instructions,
    )
    page = to_markdown(report)
    print(page)
    (FOLDER / "cold.md").write_text(page)
    (FOLDER / "cold.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


def _counted(folder: Path) -> dict[str, dict[str, int]]:
    """Return the instructions by the field of the report and the name, without an interpreter's."""
    with StubElbV2() as aws, StubElbV2(replies=1) as closing, StubDns(ADDRESS) as dns:
        aws.targets.add((ADDRESS, PORT))
        bare, functions = _starts(folder, {**aws.environ, "RESOLVERS": dns.resolver})
        bare.run(PYTHONDONTWRITEBYTECODE="")  # keeps bytecode, and fills the disk's cache
        sync, call = functions[SYNC], bare.then(CALL)
        two, own = call.then(CALL), {"AWS_CA_BUNDLE": str(closing.certificate)}
        apart = replace(two, environ=closing.environ)
        starts: dict[str, dict[str, Start]] = {
            "starts": {
                BARE: bare,
                CLUSTER: replace(sync, environ={**sync.environ, **_CLUSTER}),
                **functions,
            },
            "parts": _steps(replace(sync, code="pass")),
            "without": {
                "bytecode": replace(sync, path=without_bytecode(sync.path, folder)),
                **{name: replace(sync, code=off).then(sync.code) for name, off in OFF.items()},
            },
            "first": {BARE: call, SYNC: sync.then(FIRST_RUN)},
            "calls": {
                "two": two,
                "apart": apart,
                "own": replace(apart, environ={**closing.environ, **own}),
            },
        }
        nothing = replace(bare, code="pass").instructions()
        counted = {
            section: {name: start.instructions() - nothing for name, start in of.items()}
            for section, of in starts.items()
        }
        counted["calls"]["one"] = counted["first"][BARE]
        counted["parts"][OURS] = counted["starts"][SYNC]
        return counted


def _steps(nothing: Start) -> dict[str, Start]:
    """Return a start with the first part, one with the first two, and so on."""
    starts = accumulate(PARTS.values(), Start.then, initial=nothing)
    return dict(zip(PARTS, islice(starts, 1, None), strict=True))


def _starts(folder: Path, environ: Mapping[str, str]) -> tuple[Start, dict[str, Start]]:
    """Return the bare client's, and those of the functions as they were built."""
    runtime, layer = link_packages(folder / "runtime"), BUILD / "TargetSyncLayer"
    nothing = folder / "nothing"
    nothing.mkdir()
    return Start(BARE_CLIENT, LambdaPath(nothing, nothing, runtime), environ), {
        name: Start(
            f"import app; {code}",
            LambdaPath(BUILD / name, layer, runtime),
            {**environ, **(_SWITCH if name == SYNC else {})},
        )
        for name, code in STARTS.items()
    }


def without_bytecode(path: LambdaPath, folder: Path) -> LambdaPath:
    """Copy a function and its layer without bytecode into a folder, and return their path."""
    ignore = shutil.ignore_patterns("__pycache__")
    task = shutil.copytree(path.task, folder / "task", ignore=ignore)
    layer = shutil.copytree(path.layer, folder / "layer", ignore=ignore)
    return replace(path, task=Path(task), layer=Path(layer))


if __name__ == "__main__":
    main()
