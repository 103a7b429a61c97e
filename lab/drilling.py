"""`make drill`'s command, run by a user of the lab's AWS who may do what drill/policy.json says."""

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
_MOMENT = re.compile(r"^ *(-?[\d.]+) s  (\S.*?)  ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDrill:
    """A drill in a process of its own.

    Attributes:
        process: The process.
        log: What it says.
        report: Where its report goes.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    report: Path

    @property
    def output(self) -> str:
        """What it said so far."""
        return self.log.read_text()

    @property
    def moments(self) -> Mapping[str, float]:
        """The moments that it told live, by name: seconds from the cause; the first of a name."""
        told: dict[str, float] = {}
        for seconds, name in _MOMENT.findall(self.output):
            told.setdefault(name, float(seconds))
        return told

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end."""
        return self.process.poll() is not None

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Driller:
    """Who drills.

    Attributes:
        environment: Its credentials, and where AWS is.
        folder: Where the logs and the reports go.
        options: What every drill is given.
    """

    environment: Mapping[str, str]
    folder: Path
    options: tuple[str, ...] = ()

    @contextmanager
    def drilling(
        self, stack: str, *options: str, typed: str = "", by_make: bool = False
    ) -> Iterator[RunningDrill]:
        """Drill a stack while the block lasts.

        Args:
            stack: Which one.
            options: What this drill is given besides.
            typed: What the person types, and no more.
            by_make: Whether by `make drill`, which has one exit status for all that is not 0.
        """
        number = len(list(self.folder.glob("drill-*.log")))
        log, report = self.folder / f"drill-{number}.log", self.folder / f"drill-{number}.html"
        given = [f"--report={report}", *self.options, *options]
        command = [sys.executable, "-m", "drill", "--stack", stack, *given]
        if by_make:
            # The set-up is done: nobody is to make the environment anew in which this runs.
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
    """The environment in which an account's root drills."""
    return {**credentials(account.number), "AWS_ENDPOINT_URL": account.endpoint_url}


def minimal_user(account: Account, *, stack: str, database: str, region: str) -> Mapping[str, str]:
    """Create a user who may do what the policy says, and return the environment of its drills."""
    iam = account.session().client("iam", endpoint_url=account.endpoint_url)
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
