"""Runs the command of `make drill` as a user with the permissions of drill/policy.json."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.aws import Account, credentials

_REPOSITORY = Path(__file__).parents[1]
_MOMENT = re.compile(r'<td class="name">(.+?)</td><td class="number">(-?[\d.]+) s</td>')


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDrill:
    """A drill in a process.

    Attributes:
        process: The process.
        log: The file with its output.
        report: The path of its report.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    report: Path

    @property
    def output(self) -> str:
        """Its output until now."""
        return self.log.read_text()

    @property
    def moments(self) -> Mapping[str, float]:
        """The moments of its report: seconds from the cause by name; the first of each name.

        The report has more exact times than what was printed during the failover.
        """
        moments: dict[str, float] = {}
        for name, seconds in _MOMENT.findall(self.report.read_text()):
            moments.setdefault(name, float(seconds))
        return moments

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def interrupt(self) -> None:
        """Send Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillUser:
    """A user who runs drills.

    Attributes:
        environment: The environment variables with credentials and the endpoint of AWS.
        folder: The folder of logs and reports.
        options: The options of every drill.
    """

    environment: Mapping[str, str]
    folder: Path
    options: tuple[str, ...] = ()

    @contextmanager
    def start_drill(
        self, stack: str, *options: str, typed: str = "", by_make: bool = False
    ) -> Iterator[RunningDrill]:
        """Run a drill; kill it at the end of the block if it still runs.

        Args:
            stack: The stack's name.
            options: Further options.
            typed: The standard input.
            by_make: Whether to run `make drill`, whose exit status is 2 for every other than 0.
        """
        number = len(list(self.folder.glob("drill-*.log")))
        log, report = self.folder / f"drill-{number}.log", self.folder / f"drill-{number}.html"
        given = [f"--report={report}", *self.options, *options]
        command = [sys.executable, "-m", "drill", "--stack", stack, *given]
        if by_make:
            # Do not rebuild the environment that runs this code.
            make = ["make", "--no-print-directory", "--old-file=setup", "drill"]
            command = [*make, f"STACK={stack}", f"DRILL_OPTIONS={' '.join(given)}"]
        path = f"{_REPOSITORY / 'layers/target_sync'}:{_REPOSITORY}"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command,
                cwd=_REPOSITORY,
                start_new_session=True,
                env={**self.environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                if process.stdin is not None:
                    process.stdin.write(typed.encode())
                    process.stdin.close()
                yield RunningDrill(process=process, log=log, report=report)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def root(account: Account) -> Mapping[str, str]:
    """Return the environment variables for drills by an account's root."""
    return {**credentials(account.number), "AWS_ENDPOINT_URL": account.endpoint_url}


def minimal_user(account: Account, *, stack: str, database: str, region: str) -> Mapping[str, str]:
    """Create a user with the policy; return the environment variables for its drills."""
    iam = account.client("iam")
    policy = (_REPOSITORY / "drill/policy.json").read_text()
    names = {"ACCOUNT": account.number, "REGION": region, "STACK": stack, "DATABASE": database}
    for word, value in names.items():
        policy = re.sub(rf"\b{word}\b", value, policy)
    iam.create_user(UserName="driller")
    iam.put_user_policy(UserName="driller", PolicyName="drill", PolicyDocument=policy)
    key = iam.create_access_key(UserName="driller")["AccessKey"]
    return {
        **root(account),
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "NO_PROXY": os.environ.get("NO_PROXY", "127.0.0.1"),
    }
