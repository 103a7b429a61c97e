"""Runs every command of the pages as written, against a stack in the lab's AWS.

The README's commands deploy the stack from a copy of the repository. For each entry of the runbook
the tests cause its fault, and its commands must end the fault.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from lab.packaging import package
from lab.processes import Supervisor
from lab.scenarios.base import DBT
from target_sync.model import SwitchState, Target
from target_sync.targets.outbound_rules import SecurityGroupRules
from tests.lab.emulator_process import wait_until
from tests.support.shell import Command, Shell, commands
from tests.template.pages import PAGES, ROOT, read
from tests.template.stack import load

pytestmark = pytest.mark.lab

REGION, STACK = "eu-west-1", "orders-privatelink"
#: The stack of docs/fleet.md, whose commands run before those of the runbook.
FLEET = "postgres-privatelink-fleet"
WRITER = Endpoint(IPv4Address("10.0.1.11"), 5432)
#: No schedule runs the function during a fault.
TIMES = LabOptions(schedule_interval=3600)
#: The README's commands that run first, and only once.
FIRST = ("make build", ".venv/bin/sam deploy --stack-name orders-privatelink")
RUNBOOK = "docs/runbook.md"

#: The placeholders of the pages.
PLACEHOLDERS: Mapping[str, Callable[["Reader"], str]] = {
    "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com": lambda reader: reader.endpoint,
    "<commit>": lambda _: "HEAD",
    "vpc-0a1b2c3d4e5f60718": lambda reader: reader.vpc,
}


@dataclass(frozen=True, slots=True)
class RunElsewhere:
    """The reason why a command does not run here, and a file with a word that covers it."""

    reason: str
    file: str
    word: str


RUN_ELSEWHERE: Mapping[str, RunElsewhere] = {
    "make test": RunElsewhere("it would run this test", ".ci/run", "make test"),
    "make check": RunElsewhere("a part of `make test`", ".github/workflows/ci.yml", "make check"),
    "make quick": RunElsewhere("a part of `make check`", "Makefile", "quick-tests:"),
    "make format": RunElsewhere(
        "`make check` runs the same tools", "Makefile", "ruff format --check"
    ),
    "make demo": RunElsewhere(
        "it starts another lab; a job of the CI runs it", ".github/workflows/ci.yml", "make demo"
    ),
    "make screenshots": RunElsewhere(
        "the tests of the widget show the same states", "tests/browser/test_widget.py", "states"
    ),
    "make docs": RunElsewhere(
        "a test compares its tables with the pages", "tests/template/test_docs.py", "make docs"
    ),
    "make histories": RunElsewhere(
        "a million histories; the tests replay some of them",
        "tests/properties/test_histories.py",
        "make histories",
    ),
    "make bench": RunElsewhere(
        "100,000 failovers for each strategy; the tests simulate some",
        "tests/unit/bench/test_simulation.py",
        "simulat",
    ),
    "make bench-fleet": RunElsewhere(
        "5,000 groups; the tests simulate some", "tests/unit/bench/test_fleet.py", "measure("
    ),
    "make bench-warm": RunElsewhere(
        "a thousand runs of each function; the tests make some",
        "tests/artifact/test_warm.py",
        "runs=",
    ),
    "make mutants": RunElsewhere(
        "too long; its result is on the page", "docs/contributing/mutation.md", "make mutants"
    ),
    "make drill STACK=orders-privatelink REGION=eu-west-1 DRILL_OPTIONS=--observe": RunElsewhere(
        "it waits for a failover; a scenario has one", "lab/scenarios/drill.py", "--observe"
    ),
    **{
        command.name: RunElsewhere(
            "the lab has no organization", "tests/template/test_stack_set.py", "expand_template"
        )
        for command in commands("docs/fleet.md", read("docs/fleet.md"))
        if command.section == "Many accounts and Regions"
    },
    f".venv/bin/sam delete --stack-name {FLEET} --region eu-west-1": RunElsewhere(
        "the runbook needs the stack; the fleet's scenario deletes it",
        "lab/scenarios/fleet.py",
        "fleet.stack.delete()",
    ),
    ".venv/bin/sam delete --stack-name orders-privatelink --region eu-west-1": RunElsewhere(
        "later pages need the stack; the demo deletes it", "lab/demo.py", "sam delete"
    ),
}

#: The input of commands that ask. The input of all others is "y".
GUIDED = ".venv/bin/sam deploy --guided --stack-name orders-privatelink --region eu-west-1"
INPUTS: Mapping[str, Callable[["Reader"], str]] = {
    # Stack, Region, the one parameter without a default, defaults, nothing saved, not deployed.
    GUIDED: lambda reader: (
        "\n\n" + reader.endpoint + "\n" * (len(load()["Parameters"]) + 3) + "n\nn\n"
    )
}

#: Commands that fail on this stack, and their error.
FAILING = {
    # The input is not the database's name.
    "make drill": r"Nothing was changed\.",
    "aws cloudformation continue-update-rollback": "cannot be called from current stack status",
}

#: The expected output of commands, by a pattern for their beginning.
PRINTS = {
    GUIDED: "Deploy this changeset",
    "make help": r"(?m)^demo +Show the main job",
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
    "aws sqs receive-message": '"Body": "{}"',
    "aws sqs get-queue-attributes": '"ApproximateNumberOfMessages": "[01]"',
    "aws ec2 describe-vpc-endpoint-connections": STRANGER,
    "aws cloudformation describe-stack-drift-detection-status": "DETECTION_COMPLETE",
    "aws logs get-query-results": '"status": "Complete"',
}


COMMANDS = {page: list(commands(page, read(page))) for page in PAGES}
#: The page whose commands change the clone.
LAST = "CONTRIBUTING.md"
PAGES_WITH_COMMANDS = sorted(
    (page for page in PAGES if COMMANDS[page]), key=lambda page: (page == LAST, page)
)
RUN_FIRST = {c.name: c for c in COMMANDS["README.md"] if c.name.startswith(FIRST)}


def _runs_here(command: Command) -> bool:
    return command.name not in {*RUN_FIRST, *RUN_ELSEWHERE}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of the pages, with the repository, an account and a database.

    Attributes:
        account: The account, in the Region of the pages.
        zone: The DNS zone of the stack's functions.
        folder: A copy of the repository.
        environment: The environment variables of the reader's shell.
        endpoint: The database's name.
    """

    account: Account
    zone: Zone
    folder: Path
    environment: Mapping[str, str]
    endpoint: str

    def deploy(self) -> None:
        """Deploy the stack with the README's commands."""
        shell = Shell(self.folder, self.environment)
        for command in RUN_FIRST.values():
            self.run(command, shell)

    def run(self, command: Command, shell: Shell) -> None:
        """Run a command as written and check its exit status and output."""
        text = command.text
        for word, value in PLACEHOLDERS.items():
            if word in text:
                text = text.replace(word, value(self))
        given = INPUTS[command.name](self) if command.name in INPUTS else "y\n"
        outcome = shell.run(text, typed=given)
        error = _of(command, FAILING)
        assert (outcome.status == 0) == (error is None), f"{command}\n{outcome.printed}"
        shown = error or _of(command, PRINTS) or ""
        assert re.search(shown, outcome.printed), f"{command}: no {shown}\n{outcome.printed}"

    @property
    def consumer(self) -> Consumer:
        """The connected consumer."""
        return Consumer(replace(self.account, number=DBT))

    def client(self, service: str) -> Any:
        """Return a client of the reader's account."""
        return self.account.client(service)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def vpc(self) -> str:
        """The database's VPC."""
        (database,) = self.client("rds").describe_db_instances()["DBInstances"]
        return str(database["DBSubnetGroup"]["VpcId"])

    def resource(self, name: str) -> str:
        """Return the physical ID of a resource of the stack."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=STACK, LogicalResourceId=name
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def state(self, check_id: str) -> str:
        """Return the state of a status check."""
        checks = self._invoke("ReportStatusFunctionName")["checks"]
        (check,) = [check for check in checks if check["id"] == check_id]
        return str(check["state"])

    def sync(self) -> None:
        """Run the reconciler, as the schedule would."""
        assert self._invoke("ReconcileTargetsFunctionName")["status"] == "in_sync"

    def _invoke(self, output: str) -> Any:
        reply = self.client("lambda").invoke(FunctionName=self.outputs[output], Payload="{}")
        return json.load(reply["Payload"])


def _of(command: Command, table: Mapping[str, str]) -> str | None:
    return next((text for start, text in table.items() if re.match(start, command.name)), None)


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of an entry of the runbook.

    Attributes:
        check: The ID of the status check that the fault breaks.
        break_: Causes the fault; may return a function that restores the rest.
        heals: Whether the commands of the entry alone end the fault.
        state: The state of the check during the fault.
    """

    check: str
    break_: Callable[[Reader], Callable[[], object] | None]
    heals: bool = True
    state: str = "broken"


def _remove_name(reader: Reader) -> Callable[[], object]:
    reader.zone.remove(reader.endpoint)
    return lambda: reader.zone.set_address(reader.endpoint, [str(WRITER.address)])


def _make_database_public(reader: Reader) -> Callable[[], object]:
    rds = reader.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier="orders", PubliclyAccessible=True)
    reader.zone.set_address(reader.endpoint, ["198.51.100.7"])

    def check_private() -> None:
        (database,) = rds.describe_db_instances()["DBInstances"]
        assert not database["PubliclyAccessible"]
        reader.zone.set_address(reader.endpoint, [str(WRITER.address)])

    return check_private


def _remove_target(reader: Reader) -> None:
    _change_targets(reader, "deregister_targets", str(WRITER.address))


def _add_target(reader: Reader) -> None:
    """Register and open a target. A closed one gets no traffic, so it is no drift."""
    group = reader.resource("OutboundRulesSecurityGroup")
    foreign = Target(WRITER.address + 88, WRITER.port)
    SecurityGroupRules(reader.client("ec2"), group, WRITER.port).open([foreign])
    _change_targets(reader, "register_targets", str(foreign.address))


def _change_targets(reader: Reader, action: str, address: str) -> None:
    change = getattr(reader.client("elbv2"), action)
    group = reader.outputs["TargetGroupArn"]
    change(TargetGroupArn=group, Targets=[{"Id": address, "Port": WRITER.port}])


def _switch_proxy_protocol_on(reader: Reader) -> None:
    reader.client("elbv2").modify_target_group_attributes(
        TargetGroupArn=reader.outputs["TargetGroupArn"],
        Attributes=[{"Key": "proxy_protocol_v2.enabled", "Value": "true"}],
    )


def _delete_listener(reader: Reader) -> None:
    reader.client("elbv2").delete_listener(ListenerArn=reader.resource("DatabaseListener"))


def _switch_cross_zone_off(reader: Reader) -> None:
    reader.client("elbv2").modify_load_balancer_attributes(
        LoadBalancerArn=reader.resource("LoadBalancer"),
        Attributes=[{"Key": "load_balancing.cross_zone.enabled", "Value": "false"}],
    )


def _close_load_balancer(reader: Reader) -> None:
    """Close the load balancer for clients, so that its entry needs all its commands."""
    groups = _groups(reader)
    _revoke(reader.client("ec2"), groups[0], egress=False)
    _set_groups(reader, groups, enforcement="on")


def _groups(reader: Reader) -> list[str]:
    rules_group = reader.resource("OutboundRulesSecurityGroup")
    return [reader.outputs["LoadBalancerSecurityGroupId"], rules_group]


def _set_groups(reader: Reader, groups: Sequence[str], *, enforcement: str) -> None:
    reader.client("elbv2").set_security_groups(
        LoadBalancerArn=reader.resource("LoadBalancer"),
        SecurityGroups=groups,
        EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=enforcement,
    )


def _close_targets(reader: Reader) -> None:
    """Remove the rules that open the targets, and their group from the load balancer."""
    groups = _groups(reader)
    _revoke(reader.client("ec2"), groups[1], egress=True)
    _set_groups(reader, groups[:1], enforcement="off")


def _make_switch_ineffective(reader: Reader) -> None:
    group = reader.resource("OutboundRulesSecurityGroup")
    rules = SecurityGroupRules(reader.client("ec2"), group, WRITER.port)
    rules.mark(SwitchState.INEFFECTIVE)


def _close_database(reader: Reader) -> None:
    (database,) = reader.client("rds").describe_db_instances()["DBInstances"]
    (group,) = database["VpcSecurityGroups"]
    _revoke(reader.client("ec2"), group["VpcSecurityGroupId"], egress=False)


def _revoke(ec2: Any, group: str, *, egress: bool) -> None:
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    ids = [
        rule["SecurityGroupRuleId"]
        for rule in rules["SecurityGroupRules"]
        if rule["IsEgress"] == egress
    ]
    revoke = ec2.revoke_security_group_egress if egress else ec2.revoke_security_group_ingress
    revoke(GroupId=group, SecurityGroupRuleIds=ids)


def _move_service(reader: Reader) -> Callable[[], object]:
    """Move the service to another load balancer; AWS requires that no consumer is connected."""
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


def _remove_principals(reader: Reader) -> None:
    ec2, service = reader.client("ec2"), {"ServiceId": reader.outputs["EndpointServiceId"]}
    allowed = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    ec2.modify_vpc_endpoint_service_permissions(
        **service, RemoveAllowedPrincipals=[entry["Principal"] for entry in allowed]
    )


def _connect_stranger(reader: Reader) -> Callable[[], object]:
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


def _disable_schedule(reader: Reader) -> Callable[[], object]:
    scheduler = reader.client("scheduler")
    found = scheduler.get_schedule(Name=reader.resource("ReconcileTargetsFunctionEveryMinute"))
    given = ("Name", "Description", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{name: found[name] for name in given}, State="DISABLED")

    def check_restored() -> None:
        now = scheduler.get_schedule(Name=found["Name"])
        assert {**now, "LastModificationDate": None, "ResponseMetadata": None} == {
            **found,
            "LastModificationDate": None,
            "ResponseMetadata": None,
        }

    return check_restored


def _message_in(output: str) -> Callable[[Reader], None]:
    def put(reader: Reader) -> None:
        reader.client("sqs").send_message(QueueUrl=reader.outputs[output], MessageBody="{}")

    return put


#: The faults by the headings of the runbook. Other commands run without a fault.
FAULTS = {
    "failed-runs": Fault("dead-letter-queues", _message_in("FailedRunsQueueUrl")),
    "undelivered-events": Fault("dead-letter-queues", _message_in("UndeliveredEventsQueueUrl")),
    "switch-ineffective": Fault("switch", _make_switch_ineffective, state="warning"),
    "connection-waiting": Fault("endpoint-connections", _connect_stranger, heals=False),
    "endpoint-name": Fault("endpoint-name", _remove_name, heals=False),
    "allowed-addresses": Fault("allowed-addresses", _make_database_public, heals=False),
    "target-health": Fault("target-health", _remove_target),
    # A run has ended in sync a moment before.
    "drift": Fault("drift", _add_target, state="warning"),
    "target-group": Fault("target-group", _switch_proxy_protocol_on),
    "listener": Fault("listener", _delete_listener),
    "load-balancer": Fault("load-balancer", _switch_cross_zone_off),
    "load-balancer-security-group": Fault("load-balancer-security-group", _close_load_balancer),
    "switch": Fault("switch", _close_targets),
    "database-security-group": Fault("database-security-group", _close_database),
    "endpoint-service": Fault("endpoint-service", _move_service),
    "allowed-principals": Fault("allowed-principals", _remove_principals),
    "endpoint-connections": Fault("endpoint-connections", _connect_stranger),
    "schedule": Fault("schedule", _disable_schedule),
}


@contextmanager
def _broken(reader: Reader, fault: Fault | None) -> Iterator[None]:
    """Cause a fault; check that the commands of the block end it."""
    if fault is None:
        yield
        return
    restore = fault.break_(reader)
    wait_until(lambda: reader.state(fault.check) == fault.state)
    yield
    if fault.heals:
        wait_until(lambda: reader.state(fault.check) != fault.state)
    if restore:
        restore()
    wait_until(lambda: reader.state(fault.check) in {"ok", "warning"})


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
            reader.deploy()
            reader.consumer.connect(reader.outputs["EndpointServiceName"])
            yield reader


def _clone(work_dir: Path) -> Path:
    """Copy the repository with uncommitted files, and clone the copy."""
    origin, folder = work_dir / "origin", work_dir / "clone"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, origin / name, follow_symlinks=False)
    _git(origin, "init", "--quiet", "--initial-branch=main")
    _git(origin, "add", "--all")
    me = ("-c", "user.name=Reader", "-c", "user.email=reader@example.com")
    _git(origin, *me, "commit", "--quiet", "--no-verify", "--message=Copy")
    _git(origin, "clone", "--quiet", str(origin), str(folder))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def _environment(work_dir: Path, endpoint_url: str) -> Mapping[str, str]:
    """Return the environment: AWS CLI and credentials, but no Region; commands must name it."""
    tools = work_dir / "bin"
    tools.mkdir()
    # For SQS, version 1 of the CLI reads the endpoint only from the command line.
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


def test_sam_deploys_what_the_scenarios_create(reader: Reader, tmp_path: Path) -> None:
    """The scenarios create the stack with CloudFormation's API (`lab.stack.ApiStack`)."""
    found = reader.client("cloudformation").get_template(StackName=STACK, TemplateStage="Processed")
    deployed = found["TemplateBody"]
    objects = re.findall(r'"S3Bucket": "(.+?)", "S3Key": "(.+?)"', json.dumps(deployed))
    (location,) = {f"{bucket}/{key}".rpartition("/")[0] for bucket, key in objects}
    expanded = tmp_path / "package/template.json"

    package(reader.folder / ".aws-sam/build", expanded, location)

    created = json.loads(expanded.read_text())
    for name, resource in created["Resources"].items():
        assert resource == deployed["Resources"].get(name), name
    assert created == deployed
    for bucket, key in objects:
        uploaded = reader.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert uploaded == expanded.with_name(Path(key).name).read_bytes()


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_the_commands_of_a_page_work_as_written(reader: Reader, page: str) -> None:
    reader.sync()
    shell = Shell(reader.folder, reader.environment)
    for section, found in groupby(COMMANDS[page], key=lambda command: command.section):
        with _broken(reader, FAULTS.get(section) if page == RUNBOOK else None):
            for command in filter(_runs_here, found):
                reader.run(command, shell)


def test_every_listed_command_is_on_a_page() -> None:
    names = [command.name for found in COMMANDS.values() for command in found]
    assert set(names) >= RUN_ELSEWHERE.keys() | INPUTS.keys()
    for start in [*PRINTS, *FAILING, *FIRST]:
        assert any(re.match(start, name) for name in names), start
    for word in PLACEHOLDERS:
        assert any(word in name for name in names), word
    assert {command.section for command in COMMANDS[RUNBOOK]} >= FAULTS.keys()


@pytest.mark.parametrize("name", RUN_ELSEWHERE)
def test_another_file_covers_each_command_that_does_not_run_here(name: str) -> None:
    assert RUN_ELSEWHERE[name].word in (ROOT / RUN_ELSEWHERE[name].file).read_text()
