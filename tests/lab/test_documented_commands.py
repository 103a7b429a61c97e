"""Every command of the pages is typed as it is written, against a stack in the lab's AWS.

One stack is deployed, by the README's own commands, in a copy of the repository. An entry of the
runbook gets the fault that it is about, and its commands have to end it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from lab.addresses import AddressPlan, Endpoint
from lab.aws import Account, Consumer, create_database, credentials
from lab.dns_server import Zone
from lab.environment import PROVIDER, STRANGER, Lab
from lab.loopback_server import LoopbackServer
from lab.options import LabOptions
from lab.processes import Supervisor
from lab.scenarios.base import DBT
from tests.lab.emulator_process import wait_until
from tests.support.shell import Command, Shell, commands
from tests.template.pages import PAGES, ROOT, read
from tests.template.stack import load

pytestmark = pytest.mark.lab

REGION, STACK = "eu-west-1", "orders-privatelink"
#: The fleet's page deploys it, before the runbook is read.
FLEET = "postgres-privatelink-fleet"
WRITER = Endpoint(IPv4Address("10.0.1.11"), 5432)
#: No schedule starts the function while a fault is looked at.
TIMES = LabOptions(schedule_interval=3600)
#: What the README types before any page is read on, and no page again.
FIRST = ("make build", ".venv/bin/sam deploy --stack-name orders-privatelink")
RUNBOOK = "docs/runbook.md"

#: What a person replaces by something of his own.
STANDS_FOR: Mapping[str, Callable[["Reader"], str]] = {
    "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com": lambda reader: reader.endpoint,
    "<commit>": lambda _: "HEAD",
    "vpc-0a1b2c3d4e5f60718": lambda reader: reader.vpc,
    "<FailedWorkItemsQueueUrl>": lambda reader: reader.outputs_of(FLEET)["FailedWorkItemsQueueUrl"],
}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Why a command is not run here, and the file that runs it or what it is made of, by a word."""

    why: str
    file: str
    word: str


ELSEWHERE: Mapping[str, Elsewhere] = {
    "make test": Elsewhere("it would run itself", ".ci/run", "make test"),
    "make check": Elsewhere("a part of `make test`", ".github/workflows/ci.yml", "make check"),
    "make format": Elsewhere(
        "the same tools look in `make check`", "Makefile", "ruff format --check"
    ),
    "make demo": Elsewhere(
        "a lab of its own, and a job of the CI", ".github/workflows/ci.yml", "make demo"
    ),
    "make screenshots": Elsewhere(
        "the tests of the widget show the same states", "tests/browser/test_widget.py", "states"
    ),
    "make histories": Elsewhere(
        "a million histories; the tests play some of them",
        "tests/properties/test_histories.py",
        "make histories",
    ),
    "make bench": Elsewhere(
        "100,000 failovers for each strategy; the tests simulate some",
        "tests/unit/bench/test_simulation.py",
        "simulat",
    ),
    "make bench-fleet": Elsewhere(
        "5,000 groups; the tests simulate some", "tests/unit/bench/test_fleet.py", "measure("
    ),
    "make bench-warm": Elsewhere(
        "a thousand runs of each function; the tests make some",
        "tests/artifact/test_warm.py",
        "runs=",
    ),
    "make mutants": Elsewhere(
        "too long; run by hand, and its result is on the page",
        "docs/contributing/mutation.md",
        "make mutants",
    ),
    "make drill STACK=orders-privatelink REGION=eu-west-1 DRILL_OPTIONS=--observe": Elsewhere(
        "it waits for a failover; a scenario sets one off", "lab/scenarios/drill.py", "--observe"
    ),
    **{
        command.name: Elsewhere(
            "the lab has no organization", "tests/template/test_stack_set.py", "expand_template"
        )
        for command in commands("docs/fleet.md", read("docs/fleet.md"))
        if command.section == "Many accounts and Regions"
    },
    f".venv/bin/sam delete --stack-name {FLEET} --region eu-west-1": Elsewhere(
        "the runbook needs it; the fleet's scenario ends with it",
        "lab/scenarios/fleet.py",
        "fleet.stack.delete()",
    ),
    ".venv/bin/sam delete --stack-name orders-privatelink --region eu-west-1": Elsewhere(
        "nothing would be left; every scenario ends with it", "lab/scenarios/base.py", "sam delete"
    ),
}

#: What is typed where a command asks. Every other one is answered with yes.
GUIDED = ".venv/bin/sam deploy --guided --stack-name orders-privatelink --region eu-west-1"
ANSWERS: Mapping[str, Callable[["Reader"], str]] = {
    # Stack, Region, the one parameter without a default, defaults, nothing saved, not deployed.
    GUIDED: lambda it: "\n\n" + it.endpoint + "\n" * (len(load()["Parameters"]) + 3) + "n\nn\n",
}

#: Commands for a stack that this one is not, and with what words it is refused.
REFUSED = {
    # The reader's shell says yes, which is not the database's name.
    "make drill": r"Nothing was touched\.",
    "aws cloudformation continue-update-rollback": "cannot be called from current stack status",
}

#: What a command prints, by an expression for its beginning.
PRINTS = {
    GUIDED: "Deploy this changeset",
    "make help": r"(?m)^demo +Run the main job",
    ".venv/bin/sam list stack-outputs": "support@getdbt.com|ConsumerRequest",
    ".venv/bin/sam remote invoke ReportStatusFunction": r"The connection path works\.",
    ".venv/bin/sam remote invoke ReconcileTargetsFunction": r'"status": ?"',
    ".venv/bin/sam remote invoke ReviewConnectionsFunction": r'"status": ?"no_requests"',
    r".venv/bin/sam logs .* ago'$": "sync run ended",
    "aws scheduler list-schedules": '"State": "(ENABLED|DISABLED)"',
    "aws rds describe-db-instances": r"orders",
    "aws lambda get-account-settings": "ConcurrentExecutions",
    ".venv/bin/sam remote invoke FleetSweepFunction": r'"bound": ?1',
    # Nothing has failed.
    "aws sqs receive-message .*<FailedWorkItemsQueueUrl>": "",
    "aws sqs receive-message": '"Body": "{}"',
    "aws sqs get-queue-attributes": '"ApproximateNumberOfMessages": "[01]"',
    "aws ec2 describe-vpc-endpoint-connections": STRANGER,
    "aws cloudformation describe-stack-drift-detection-status": "DETECTION_COMPLETE",
    "aws logs get-query-results": '"status": "Complete"',
}


COMMANDS = {page: list(commands(page, read(page))) for page in PAGES}
#: What changes the clone comes last.
LAST = "CONTRIBUTING.md"
TYPED = sorted((page for page in PAGES if COMMANDS[page]), key=lambda page: (page == LAST, page))
TYPED_FIRST = {c.name: c for c in COMMANDS["README.md"] if c.name.startswith(FIRST)}


def _is_typed(command: Command) -> bool:
    return command.name not in {*TYPED_FIRST, *ELSEWHERE}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who has the repository, an account, and a database in it.

    Attributes:
        account: Acts in the Region of the pages.
        zone: The names that the stack's functions see.
        folder: A copy of the repository.
        environment: Of the reader's shell.
        endpoint: The database's name.
    """

    account: Account
    zone: Zone
    folder: Path
    environment: Mapping[str, str]
    endpoint: str

    def deploys(self) -> None:
        """Follow the README until the stack is there."""
        shell = Shell(self.folder, self.environment)
        for command in TYPED_FIRST.values():
            self.types(command, shell)

    def types(self, command: Command, shell: Shell) -> None:
        """Type a command as it is written and see that it does what it should."""
        text = command.text
        for word, own in STANDS_FOR.items():
            if word in text:
                text = text.replace(word, own(self))
        answers = ANSWERS[command.name](self) if command.name in ANSWERS else "y\n"
        outcome = shell.run(text, answers=answers)
        words = _of(command, REFUSED)
        assert (outcome.status == 0) == (words is None), f"{command}\n{outcome.printed}"
        shown = words or _of(command, PRINTS) or ""
        assert re.search(shown, outcome.printed), f"{command}: no {shown}\n{outcome.printed}"

    @property
    def consumer(self) -> Consumer:
        """Who is connected, unless the test is about that."""
        return Consumer(replace(self.account, number=DBT))

    def client(self, service: str) -> Any:
        """A client of the reader's account."""
        make: Any = self.account.session().client
        return make(service, endpoint_url=self.account.endpoint_url)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.outputs_of(STACK)

    def outputs_of(self, name: str) -> Mapping[str, str]:
        """The outputs of a stack."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def vpc(self) -> str:
        """The database's VPC."""
        (database,) = self.client("rds").describe_db_instances()["DBInstances"]
        return str(database["DBSubnetGroup"]["VpcId"])

    def resource(self, name: str) -> str:
        """The physical ID of a resource of the stack."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=STACK, LogicalResourceId=name
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def state(self, step: str) -> str:
        """What the status says of a step now."""
        checks = self._invoke("ReportStatusFunctionName")["checks"]
        (check,) = [check for check in checks if check["id"] == step]
        return str(check["state"])

    def syncs(self) -> None:
        """Do what the schedule does each minute elsewhere."""
        assert self._invoke("ReconcileTargetsFunctionName")["status"] == "in_sync"

    def _invoke(self, output: str) -> Any:
        answer = self.client("lambda").invoke(FunctionName=self.outputs[output], Payload="{}")
        return json.load(answer["Payload"])


def _of(command: Command, table: Mapping[str, str]) -> str | None:
    return next((says for start, says in table.items() if re.match(start, command.name)), None)


@dataclass(frozen=True, slots=True)
class Fault:
    """What an entry of the runbook is about.

    Attributes:
        step: The step of the status that it breaks.
        break_: Breaks it, and returns what puts right what the commands do not.
        heals: Whether the commands of the entry do it alone.
    """

    step: str
    break_: Callable[[Reader], Callable[[], object]]
    heals: bool = True


def _nothing() -> None:
    """The commands put everything right."""


def _name_is_gone(reader: Reader) -> Callable[[], object]:
    reader.zone.remove(reader.endpoint)
    return lambda: reader.zone.set_address(reader.endpoint, [str(WRITER.address)])


def _database_is_public(reader: Reader) -> Callable[[], object]:
    rds = reader.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier="orders", PubliclyAccessible=True)
    reader.zone.set_address(reader.endpoint, ["198.51.100.7"])

    def made_private() -> None:
        (database,) = rds.describe_db_instances()["DBInstances"]
        assert not database["PubliclyAccessible"]
        reader.zone.set_address(reader.endpoint, [str(WRITER.address)])

    return made_private


def _target_is_gone(reader: Reader) -> Callable[[], object]:
    _change_targets(reader, "deregister_targets", str(WRITER.address))
    return _nothing


def _target_too_many(reader: Reader) -> Callable[[], object]:
    _change_targets(reader, "register_targets", "10.0.1.99")
    return _nothing


def _change_targets(reader: Reader, action: str, address: str) -> None:
    change = getattr(reader.client("elbv2"), action)
    group = reader.outputs["TargetGroupArn"]
    change(TargetGroupArn=group, Targets=[{"Id": address, "Port": WRITER.port}])


def _proxy_protocol_is_on(reader: Reader) -> Callable[[], object]:
    reader.client("elbv2").modify_target_group_attributes(
        TargetGroupArn=reader.outputs["TargetGroupArn"],
        Attributes=[{"Key": "proxy_protocol_v2.enabled", "Value": "true"}],
    )
    return _nothing


def _listener_is_gone(reader: Reader) -> Callable[[], object]:
    reader.client("elbv2").delete_listener(ListenerArn=reader.resource("DatabaseListener"))
    return _nothing


def _zones_are_not_crossed(reader: Reader) -> Callable[[], object]:
    reader.client("elbv2").modify_load_balancer_attributes(
        LoadBalancerArn=reader.resource("LoadBalancer"),
        Attributes=[{"Key": "load_balancing.cross_zone.enabled", "Value": "false"}],
    )
    return _nothing


def _security_groups_are_closed(reader: Reader) -> Callable[[], object]:
    """Of the load balancer, which then needs all that its entry has."""
    ec2, group = reader.client("ec2"), reader.outputs["LoadBalancerSecurityGroupId"]
    _revoke(ec2, group, egress=True)
    _revoke(ec2, group, egress=False)
    reader.client("elbv2").set_security_groups(
        LoadBalancerArn=reader.resource("LoadBalancer"),
        SecurityGroups=[group],
        EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic="on",
    )
    return _nothing


def _database_is_closed(reader: Reader) -> Callable[[], object]:
    (database,) = reader.client("rds").describe_db_instances()["DBInstances"]
    (group,) = database["VpcSecurityGroups"]
    _revoke(reader.client("ec2"), group["VpcSecurityGroupId"], egress=False)
    return _nothing


def _revoke(ec2: Any, group: str, *, egress: bool) -> None:
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    ids = [
        rule["SecurityGroupRuleId"]
        for rule in rules["SecurityGroupRules"]
        if rule["IsEgress"] == egress
    ]
    revoke = ec2.revoke_security_group_egress if egress else ec2.revoke_security_group_ingress
    revoke(GroupId=group, SecurityGroupRuleIds=ids)


def _service_stands_elsewhere(reader: Reader) -> Callable[[], object]:
    """AWS refuses that as long as somebody is connected."""
    elbv2, ec2 = reader.client("elbv2"), reader.client("ec2")
    ours = reader.resource("LoadBalancer")
    (balancer,) = elbv2.describe_load_balancers(LoadBalancerArns=[ours])["LoadBalancers"]
    subnets = [zone["SubnetId"] for zone in balancer["AvailabilityZones"]]
    (other,) = elbv2.create_load_balancer(
        Name="other", Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"]
    service = {"ServiceId": reader.outputs["EndpointServiceId"]}
    for connection in ec2.describe_vpc_endpoint_connections()["VpcEndpointConnections"]:
        reader.consumer.disconnect(connection["VpcEndpointId"])
    ec2.modify_vpc_endpoint_service_configuration(
        **service,
        AddNetworkLoadBalancerArns=[other["LoadBalancerArn"]],
        RemoveNetworkLoadBalancerArns=[ours],
    )

    def remove_other() -> None:
        ec2.modify_vpc_endpoint_service_configuration(
            **service, RemoveNetworkLoadBalancerArns=[other["LoadBalancerArn"]]
        )
        elbv2.delete_load_balancer(LoadBalancerArn=other["LoadBalancerArn"])
        reader.consumer.connect(reader.outputs["EndpointServiceName"])

    return remove_other


def _nobody_is_allowed(reader: Reader) -> Callable[[], object]:
    ec2, service = reader.client("ec2"), {"ServiceId": reader.outputs["EndpointServiceId"]}
    allowed = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    ec2.modify_vpc_endpoint_service_permissions(
        **service, RemoveAllowedPrincipals=[entry["Principal"] for entry in allowed]
    )
    return _nothing


def _a_stranger_waits(reader: Reader) -> Callable[[], object]:
    ec2, service = reader.client("ec2"), {"ServiceId": reader.outputs["EndpointServiceId"]}
    principal = [f"arn:aws:iam::{STRANGER}:root"]
    (before,) = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=list(service.values()))[
        "ServiceConfigurations"
    ]
    ec2.modify_vpc_endpoint_service_permissions(**service, AddAllowedPrincipals=principal)
    ec2.modify_vpc_endpoint_service_configuration(**service, AcceptanceRequired=True)
    stranger = Consumer(replace(reader.account, number=STRANGER))
    endpoint = stranger.connect(reader.outputs["EndpointServiceName"])

    def leave() -> None:
        stranger.disconnect(endpoint)
        ec2.modify_vpc_endpoint_service_permissions(**service, RemoveAllowedPrincipals=principal)
        ec2.modify_vpc_endpoint_service_configuration(
            **service, AcceptanceRequired=before["AcceptanceRequired"]
        )

    return leave


def _schedule_is_off(reader: Reader) -> Callable[[], object]:
    scheduler = reader.client("scheduler")
    found = scheduler.get_schedule(Name=reader.resource("ReconcileTargetsFunctionEveryMinute"))
    given = ("Name", "Description", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{name: found[name] for name in given}, State="DISABLED")

    def is_as_it_was() -> None:
        now = scheduler.get_schedule(Name=found["Name"])
        assert {**now, "LastModificationDate": None, "ResponseMetadata": None} == {
            **found,
            "LastModificationDate": None,
            "ResponseMetadata": None,
        }

    return is_as_it_was


def _message_in(output: str) -> Callable[[Reader], Callable[[], object]]:
    def put(reader: Reader) -> Callable[[], object]:
        reader.client("sqs").send_message(QueueUrl=reader.outputs[output], MessageBody="{}")
        return _nothing

    return put


#: By the headings of the runbook. Without one the commands are typed where nothing is broken.
FAULTS = {
    "Failed runs": Fault("dead-letter-queues", _message_in("FailedRunsQueueUrl")),
    "Undelivered events": Fault("dead-letter-queues", _message_in("UndeliveredEventsQueueUrl")),
    "Connection waiting": Fault("endpoint-connections", _a_stranger_waits, heals=False),
    "endpoint-name": Fault("endpoint-name", _name_is_gone, heals=False),
    "allowed-addresses": Fault("allowed-addresses", _database_is_public, heals=False),
    "target-health": Fault("target-health", _target_is_gone),
    "drift": Fault("drift", _target_too_many),
    "target-group": Fault("target-group", _proxy_protocol_is_on),
    "listener": Fault("listener", _listener_is_gone),
    "load-balancer": Fault("load-balancer", _zones_are_not_crossed),
    "load-balancer-security-group": Fault(
        "load-balancer-security-group", _security_groups_are_closed
    ),
    "database-security-group": Fault("database-security-group", _database_is_closed),
    "endpoint-service": Fault("endpoint-service", _service_stands_elsewhere),
    "allowed-principals": Fault("allowed-principals", _nobody_is_allowed),
    "endpoint-connections": Fault("endpoint-connections", _a_stranger_waits),
    "schedule": Fault("schedule", _schedule_is_off),
}


@contextmanager
def _broken(reader: Reader, fault: Fault | None) -> Iterator[None]:
    """Break what the commands of the block are for, and see that they put it right."""
    if fault is None:
        yield
        return
    restore = fault.break_(reader)
    assert reader.state(fault.step) == "broken"
    yield
    if fault.heals:
        wait_until(lambda: reader.state(fault.step) != "broken")
    restore()
    wait_until(lambda: reader.state(fault.step) in {"ok", "warning"})


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Supervisor() as supervisor, LoopbackServer(BaseHTTPRequestHandler) as database:
        plan = AddressPlan({WRITER: Endpoint(IPv4Address("127.0.0.1"), database.port)})
        with Lab.start(supervisor, TIMES, plan) as lab:
            account = replace(lab.provider, region=REGION)
            endpoint = create_database(account, "orders").endpoint
            lab.zone.set_address(endpoint, [str(WRITER.address)])
            reader = Reader(
                account=account,
                zone=lab.zone,
                folder=_clone(supervisor.work_dir),
                environment=_environment(supervisor.work_dir, account.endpoint_url),
                endpoint=endpoint,
            )
            reader.deploys()
            reader.consumer.connect(reader.outputs["EndpointServiceName"])
            yield reader


def _clone(work_dir: Path) -> Path:
    """Copy the repository with what is not committed yet, and clone the copy."""
    origin, folder = work_dir / "origin", work_dir / "clone"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, origin / name, follow_symlinks=False)
    _git(origin, "init", "--quiet", "--initial-branch=main")
    _git(origin, "add", "--all")
    me = ("-c", "user.name=Reader", "-c", "user.email=reader@example.com")
    _git(origin, *me, "commit", "--quiet", "--no-verify", "--message=All of it")
    _git(origin, "clone", "--quiet", str(origin), str(folder))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def _environment(work_dir: Path, endpoint_url: str) -> Mapping[str, str]:
    """An AWS CLI and credentials; no Region, because each command has to name it."""
    tools = work_dir / "bin"
    tools.mkdir()
    # Version 1 of the CLI goes to AWS's own address for SQS unless it is told on the command line.
    real = Path(sys.executable).parent / "aws"
    script = f'#!/bin/sh\nexec "{real}" --endpoint-url "{endpoint_url}" "$@"\n'
    (tools / "aws").write_text(script)
    (tools / "aws").chmod(0o755)
    found = credentials(PROVIDER)
    return {
        **{name: value for name, value in found.items() if name != "AWS_DEFAULT_REGION"},
        "AWS_ENDPOINT_URL": endpoint_url,
        "HOME": str(work_dir),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SAM_CLI_POLL_DELAY": "0.5",
        "SAM_CLI_TELEMETRY": "0",
        "TMPDIR": str(work_dir),
        "NO_PROXY": "127.0.0.1,localhost",
    }


@pytest.mark.parametrize("page", TYPED)
def test_the_commands_of_a_page_work_as_they_are_written(reader: Reader, page: str) -> None:
    reader.syncs()
    shell = Shell(reader.folder, reader.environment)
    for section, found in groupby(COMMANDS[page], key=lambda command: command.section):
        with _broken(reader, FAULTS.get(section) if page == RUNBOOK else None):
            for command in filter(_is_typed, found):
                reader.types(command, shell)


def test_nothing_is_listed_here_that_is_on_no_page() -> None:
    names = [command.name for found in COMMANDS.values() for command in found]
    assert set(names) >= ELSEWHERE.keys() | ANSWERS.keys()
    for start in [*PRINTS, *REFUSED, *FIRST]:
        assert any(re.match(start, name) for name in names), start
    for word in STANDS_FOR:
        assert any(word in name for name in names), word
    assert {command.section for command in COMMANDS[RUNBOOK]} >= FAULTS.keys()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_not_typed_here_is_run_or_made_good_elsewhere(name: str) -> None:
    assert ELSEWHERE[name].word in (ROOT / ELSEWHERE[name].file).read_text()
