"""Runs the emulator for tests, in its own process and directory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from lab.addresses import AddressPlan, Ports, free_port
from lab.emulator.client import EmulatorAdmin

PROVIDER = "111111111111"
CONSUMER = "222222222222"
STRANGER = "333333333333"
REGION = "us-east-1"
#: The longest wait for a condition, in seconds, much longer than a busy machine needs.
PATIENCE = 300.0
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A running emulator."""

    url: str
    work_dir: Path
    ports: Ports
    process: subprocess.Popen[bytes]

    @property
    def admin(self) -> EmulatorAdmin:
        return EmulatorAdmin(self.url)

    def client(self, service: str, account: str = PROVIDER, region: str = REGION) -> Any:
        """Return a boto3 client of an account's root, without retries."""
        return _client(self.url, service, account, region)


@cache
def _client(url: str, service: str, account: str, region: str) -> Any:
    create: Any = _session().client
    return create(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key=account,
        config=Config(retries={"total_max_attempts": 1}),
    )


@cache
def _session() -> boto3.session.Session:
    """Return the session of all clients, because a session reads the data of a service once."""
    return boto3.session.Session()


@contextmanager
def running_emulator(
    directory: Path, *, plan: AddressPlan | None = None, options: tuple[str, ...] = ()
) -> Iterator[Emulator]:
    """Start an emulator, wait until it serves, and end it."""
    directory.mkdir(parents=True, exist_ok=True)
    plan_file = directory / "addresses.json"
    (plan or AddressPlan({})).save(plan_file)
    work_dir = directory / "work"
    work_dir.mkdir()
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "lab.emulator", f"--port={port}"]
    command += [f"--address-plan={plan_file}", f"--work-dir={work_dir}", *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2]
        )
    emulator = Emulator(
        url=f"http://127.0.0.1:{port}", work_dir=work_dir, ports=Ports(plan_file), process=process
    )
    try:
        wait_until(lambda: emulator.admin.is_ready() or process.poll() is not None)
        assert process.poll() is None, (directory / "log").read_text()
        yield emulator
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def create_vpc(emulator: Emulator) -> tuple[str, list[str]]:
    """Create a VPC with a subnet in each of two zones; return their ids."""
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab", start=1)
    ]
    return vpc, subnets


def wait_until(condition: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Wait for a condition and return its first true value."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition stayed false"
        time.sleep(0.02)
    return value


def child_processes(parent: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Return whether a process is alive, and not a zombie."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
