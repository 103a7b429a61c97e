"""The fleet's functions in the lab's AWS, with the policies of fleet.yaml.

With all of a role's permissions every job of the function succeeds; without any one of them it
fails. What the workers' conditions keep from them is tried, too.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from lab.dns_server import Zone
from lab.processes import Supervisor
from target_sync.fleet.model import (
    AUDIT_CURSOR_TAG,
    CHECKPOINT_TAG,
    ENDPOINT_TAG,
    Binding,
    WorkReason,
)
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem, write_work_item
from target_sync.model import TARGET_NETWORKS, DatabaseKind, SyncPolicy
from tests.contract.account import CLUSTER, MEMBERS, PORT, Account
from tests.contract.roles import ROOT, UNENFORCED, Functions, Permission, once, permissions, policy
from tests.lab.emulator_process import PROVIDER, REGION, Emulator, create_vpc, wait_until
from tests.lab.test_dns_server import start_server
from tests.support.fleet import Message, lambda_event
from tests.template.stack import FLEET_TEMPLATE, PSEUDO_PARAMETERS, Resolver, resources

pytestmark = pytest.mark.lab

HOST = "127.0.0.1"
AS_IT_COMES = "as it comes"
OF_THE_POLLERS: Mapping[str, tuple[str, ...]] = {
    **UNENFORCED,
    # Lambda receives messages with the role. The emulator does not, and this test needs none.
    "ReceiveWorkItems": ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
    # The watch itself receives and deletes too.
    "ReceiveEvents": ("sqs:GetQueueAttributes",),
}
FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "FleetSweepFunction": ("fleet_sweep", "app"),
    "FleetWorkerFunction": ("fleet_worker", "app"),
    "FleetWatchFunction": ("fleet_watch", "app"),
}
"""The folder and the module of each function."""
TRIED = once(
    it
    for function in FUNCTIONS
    for it in permissions(Resolver(path=FLEET_TEMPLATE), function, AS_IT_COMES)
    if it.is_of_code(OF_THE_POLLERS)
)
QUEUES = {"WorkQueue": "work-items.fifo", "EventQueue": "events"}
LEFT_TO_THE_SWEEP = {("FleetWatchFunction", f"Read{it}") for it in ("Clusters", "Members")}
"""Only the sweep reports a failed look-up."""
WRITER, READER, STRAY = "10.0.1.11", "10.0.2.12", "10.0.1.99"
# A container caches the facts of groups for minutes; here each run describes them.
ENTRY = """
import {0}
from target_sync.fleet import sweep_build

def handler(event, context):
    sweep_build.sweeper.cache_clear()
    sweep_build.watcher.cache_clear()
    return {0}.handler(event, context)
"""
#: A tag of a person, for the tests of the worker's role.
TRIAL = """
import boto3, botocore.exceptions

def handler(event, context):
    refused = []
    for name, arguments in event:
        try:
            getattr(boto3.client("elbv2"), name)(**arguments)
        except botocore.exceptions.ClientError as error:
            refused.append(error.response["Error"]["Code"])
        else:
            refused.append("")
    return refused
"""


@dataclass(kw_only=True)
class World(Account):
    """A cluster with a reader, and target groups that follow both, on the lab's AWS."""

    zone: Zone
    resolver: str
    _made: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = Functions(self.emulator)
        self.vpc, self.subnets = create_vpc(self.emulator)
        self.lookups = self._databases()
        self.writer, self.readers = (
            self.create_target_group(f"fleet-{it}", self.vpc, tags={ENDPOINT_TAG: self.lookups[it]})
            for it in ("writer", "readers")
        )
        self.untagged = self.create_target_group("fleet-untagged", self.vpc)
        self.queues = {
            name: self.client("sqs").create_queue(
                QueueName=queue, Attributes={"FifoQueue": "true"} if "." in queue else {}
            )["QueueUrl"]
            for name, queue in QUEUES.items()
        }

    def _databases(self) -> Mapping[str, str]:
        """Create them, and return the names of the cluster's writer and readers."""
        self.create_cluster("fleet", self.subnets)
        (cluster,) = self.client("rds").describe_db_clusters(DBClusterIdentifier=CLUSTER)[
            "DBClusters"
        ]
        writer, reader = map(self.endpoint, MEMBERS)
        for name in (cluster["Endpoint"], writer):
            self.zone.set_address(name, [WRITER], ttl=0)
        self.zone.set_address(reader, [READER], ttl=0)
        return {"writer": cluster["Endpoint"], "readers": cluster["ReaderEndpoint"]}

    @property
    def stack(self) -> Resolver:
        """Return the template with these resources and without delays."""
        return Resolver(
            path=FLEET_TEMPLATE,
            given={
                "Resolvers": self.resolver,
                "EventWatchDurationSeconds": "1",
                # Two workers with all calls, so that none has to wait.
                "ApiShare": "1",
                "MaxWorkers": "2",
            },
            pseudo={**PSEUDO_PARAMETERS, "AWS::AccountId": PROVIDER, "AWS::Region": REGION},
            attributes={
                **self.queues,
                **{
                    f"{name}.Arn": f"arn:aws:sqs:{REGION}:{PROVIDER}:{queue}"
                    for name, queue in QUEUES.items()
                },
            },
        )

    def allow(self, function: str, missing: Permission | None = None) -> str:
        """Create a function with its role's policy, without one permission; return its name."""
        if function not in self._made:
            folder, module = FUNCTIONS[function]
            files = {
                f"{module}.py": (ROOT / "functions" / folder / f"{module}.py").read_text(),
                "entry.py": ENTRY.format(module),
            }
            self._made[function] = self._create(function, files)
        name = self._made[function]
        self.functions.allow(name, policy(self.stack, function), missing)
        return name

    def trial(self, function: str, *calls: tuple[str, Mapping[str, object]]) -> Sequence[str]:
        """Return the error code of a call to ELB with a function's role; empty on success."""
        name = self._create(function, {"entry.py": TRIAL})
        self.functions.allow(name, policy(self.stack, function))
        problem, observations = self.functions.invoke(name, calls)
        assert not problem
        return list(observations)

    def _create(self, function: str, files: Mapping[str, str]) -> str:
        properties = self.stack.of_type("AWS::Lambda::Function")[function]
        return self.functions.create(function, properties, files)

    # --- Tasks ------------------------------------------------------------------------------------

    def run(self, function: str, name: str) -> str:
        """Run every task of a function; return the problem, or an empty text."""
        # Drop the work items of the last run.
        self.client("sqs").purge_queue(QueueUrl=self.queues["WorkQueue"])
        if function == "FleetSweepFunction":
            return self._sweep(name)
        return self._sync(name) if function == "FleetWorkerFunction" else self._watch(name)

    def _sweep(self, name: str) -> str:
        problem, result = self.functions.invoke(name, {})
        if problem:
            return problem
        findings = " ".join(finding["detail"] for finding in result["findings"])
        return findings or _unless(result["groups"]["unverified"] == 2, result)

    def _watch(self, name: str) -> str:
        """Watch the cluster, and receive one of its events from the queue."""
        event = json.dumps(
            {"source": "aws.rds", "detail": {"SourceType": "CLUSTER", "SourceIdentifier": CLUSTER}}
        )
        self.client("sqs").send_message(QueueUrl=self.queues["EventQueue"], MessageBody=event)
        problem, result = self.functions.invoke(name, _batch([event]))
        if problem:
            return problem
        right = (result["work_items"], result["events"], result["failed_calls"]) == (2, 2, 0)
        return _unless(right, result)

    def _sync(self, name: str) -> str:
        """Replace another target by the writer, and write the fleet's two tags."""
        elbv2, group = self.client("elbv2"), self.writer
        self._empty(group)
        elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": STRAY, "Port": PORT}])
        elbv2.remove_tags(ResourceArns=[group], TagKeys=[CHECKPOINT_TAG, AUDIT_CURSOR_TAG])
        work_items: list[WorkItem] = [
            self.work_item(group),
            CursorWorkItem(self.readers, "a cursor"),
        ]
        problem, result = self.functions.invoke(name, _batch(map(write_work_item, work_items)))
        if problem or result["batchItemFailures"]:
            return problem or f"retries: {result}"
        seen = (
            self.targets(group),
            set(self.tags(group)),
            self.tags(self.readers)[AUDIT_CURSOR_TAG],
        )
        return _unless(seen == ({WRITER}, {ENDPOINT_TAG, CHECKPOINT_TAG}, "a cursor"), seen)

    def work_item(self, group: str) -> SyncWorkItem:
        """Return the work item of a group that follows the cluster's writer."""
        policy_ = SyncPolicy(port=PORT, allowed_networks=TARGET_NETWORKS)
        binding = Binding(
            arn=group,
            endpoint=self.lookups["writer"],
            kind=DatabaseKind.RDS_CLUSTER_WRITER,
            policy=policy_,
        )
        return SyncWorkItem(binding, "", WorkReason.UNVERIFIED)

    def log(self, name: str) -> str:
        """Return the log of a function."""
        group = f"/aws/lambda/{name}"
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return " ".join(event["message"] for event in events)

    def _empty(self, group: str) -> None:
        elbv2 = self.client("elbv2")
        if there := self.targets(group):
            targets = [{"Id": address, "Port": PORT} for address in there]
            elbv2.deregister_targets(TargetGroupArn=group, Targets=targets)
        wait_until(lambda: not self.targets(group))

    def targets(self, group: str) -> set[str]:
        """Return the addresses in a group, without draining ones."""
        found = self.client("elbv2").describe_target_health(TargetGroupArn=group)
        return {
            it["Target"]["Id"]
            for it in found["TargetHealthDescriptions"]
            if it["TargetHealth"]["State"] != "draining"
        }

    def tags(self, group: str) -> Mapping[str, str]:
        (found,) = self.client("elbv2").describe_tags(ResourceArns=[group])["TagDescriptions"]
        return {tag["Key"]: tag["Value"] for tag in found["Tags"]}


def _batch(bodies: Iterable[str]) -> Mapping[str, object]:
    """Return an event with messages that were delivered once."""
    return lambda_event(
        [
            Message(id=str(n), handle=f"h-{n}", body=body, group="g", sent_at=0.0, receptions=1)
            for n, body in enumerate(bodies)
        ]
    )


def _unless(right: bool, seen: object) -> str:
    return "" if right else f"it ended with {seen}"


@pytest.fixture(scope="module")
def world(emulator: Emulator) -> Iterator[World]:
    with Supervisor() as supervisor:
        server = start_server(supervisor)
        yield World(emulator=emulator, zone=server.zone, resolver=f"{HOST}:{server.port}")
        emulator.admin.reset()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_task_of_a_function_succeeds_with_its_permissions(
    world: World, function: str
) -> None:
    assert world.run(function, world.allow(function)) == ""


@pytest.mark.parametrize("missing", TRIED, ids=str)
def test_every_task_fails_without_one_of_its_permissions(world: World, missing: Permission) -> None:
    name = world.allow(missing.function, missing)

    problem = world.run(missing.function, name)

    assert problem, "nothing failed: it is not needed"
    if (missing.function, missing.statement) not in LEFT_TO_THE_SWEEP:
        assert missing.action in f"{problem} {world.log(name)}"


def test_every_function_of_the_template_is_tried() -> None:
    assert set(FUNCTIONS) == set(resources("AWS::Lambda::Function", FLEET_TEMPLATE))


def test_the_untested_permissions_are_still_in_the_template() -> None:
    written = {
        (it.statement, it.action)
        for function in FUNCTIONS
        for it in permissions(Resolver(path=FLEET_TEMPLATE), function, AS_IT_COMES)
    }
    of_the_pollers = {at: OF_THE_POLLERS[at] for at in OF_THE_POLLERS.keys() - UNENFORCED.keys()}

    assert written.issuperset(
        (at, action) for at, found in of_the_pollers.items() for action in found
    )


def test_a_worker_changes_no_group_without_the_tag(world: World) -> None:
    name = world.allow("FleetWorkerFunction")

    world.functions.invoke(name, _batch([write_work_item(world.work_item(world.untagged))]))

    assert world.targets(world.untagged) == set()
    assert world.tags(world.untagged) == {}


def test_a_worker_writes_only_its_own_two_tags_and_only_to_a_tagged_group(world: World) -> None:
    def add(group: str, *keys: str) -> tuple[str, Mapping[str, object]]:
        tags = [{"Key": key, "Value": "x"} for key in keys]
        return "add_tags", {"ResourceArns": [group], "Tags": tags}

    tagged, untagged = world.writer, world.untagged
    observations = world.trial(
        "FleetWorkerFunction",
        add(tagged, CHECKPOINT_TAG, AUDIT_CURSOR_TAG),
        add(tagged, ENDPOINT_TAG),
        add(tagged, CHECKPOINT_TAG, "team"),
        add(untagged, CHECKPOINT_TAG),
        add(untagged, ENDPOINT_TAG),
        ("remove_tags", {"ResourceArns": [tagged], "TagKeys": [ENDPOINT_TAG]}),
    )

    assert observations == ["", *["AccessDenied"] * 5]
    assert world.tags(tagged)[ENDPOINT_TAG] == world.lookups["writer"]
    assert world.tags(untagged) == {}
