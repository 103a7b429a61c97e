"""A fleet of 30 tagged target groups over three servers, with failures."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, TypeVar

from lab.addresses import Endpoint
from lab.aws import Database, Network, create_database
from lab.fleet_groups import ENDPOINT_TAG, NewGroup, create_by_calls, create_by_stack, create_group
from lab.fleet_observer import FleetObserver
from lab.observer import registered
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import Scenario, ScenarioContext
from lab.stack import Project, Stack

_STACK = "databases-fleet"
_GROUPS, _BY_STACK = 30, 20
#: Names in the company's own zone. The first server also has a name of RDS; the others are CNAMEs.
_ORDERS = ("orders.db.corp.example", "shop.db.corp.example")
_ANALYTICS = "analytics.db.corp.example"
_REPORTING, _REPORTS = "reporting.db.corp.example", "reports.bi.corp.example"
_NOWHERE, _WITH_PORT = "nowhere.db.corp.example", "reporting.db.corp.example:5432"
#: Seconds, enough for a busy machine. New groups wait for the next sweep, up to a minute.
_PATIENCE = 400.0
#: A person's target in a group without a tag, which the fleet must not change.
_MANUAL_TARGET = Endpoint.parse("10.0.2.99:5432")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Broken:
    """The groups that the fleet cannot follow."""

    bad_tag: str
    gone: str
    nowhere: str

    @property
    def codes(self) -> Mapping[str, str]:
        """The expected finding of each."""
        return {
            self.bad_tag: "invalid_tag",
            self.gone: "not_found",
            self.nowhere: "lookup_failed",
        }


@dataclass(kw_only=True)
class _Fleet:
    """The groups and the deployed fleet.

    Attributes:
        names: The name that each group follows, by its ARN.
        leads: The address of each name.
        ever: Every target that a group was ever to have.
    """

    context: ScenarioContext
    stack: Stack
    names: dict[str, str]
    broken: _Broken
    untagged: str
    client: Callable[[str], Any]
    leads: dict[str, Endpoint] = field(default_factory=dict)
    ever: dict[str, set[Endpoint]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """The name of the function."""
        return self.outputs["FleetSweepFunctionName"]

    def wait_for(self, condition: Callable[[], _T | None], what: str) -> _T:
        """Wait for a condition that may take several sweeps."""
        return self.context.lab.supervisor.wait_until(condition, what=what, timeout=_PATIENCE)

    def dry_run(self) -> Mapping[str, Any]:
        """Invoke a dry run; return its result."""
        reply = self.client("lambda").invoke(
            FunctionName=self.function, Payload=json.dumps({"dry_run": True})
        )
        document: dict[str, Any] = json.load(reply["Payload"])
        return document

    def sweeps(self) -> list[Mapping[str, Any]]:
        """Return the results of all ended sweeps, from their log."""
        logs = self.client("logs")
        (group,) = logs.describe_log_groups(logGroupNamePrefix=f"{_STACK}-FleetSweep")["logGroups"]
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        texts = [event["message"] for page in pages for event in page["events"]]
        records = [json.loads(text) for text in texts if text.startswith("{")]
        results = [it["result"] for it in records if it.get("message") == "sweep ended"]
        return [result for result in results if not result["dry_run"]]

    def next_sweep(self) -> Mapping[str, Any]:
        """Wait for the end of a sweep that begins from now on, and return its result."""
        before = len(self.sweeps())
        self.wait_for(lambda: len(self.sweeps()) >= before + 2, "two more sweeps")
        return self.sweeps()[-1]

    def targets(self) -> Mapping[str, set[Endpoint]]:
        """Return the registered targets of every group."""
        return registered(self.context.lab.admin.data_plane())

    def desired(self) -> Mapping[str, set[Endpoint]]:
        """Return the desired targets of each group that the fleet follows."""
        return {arn: {self.leads[name]} for arn, name in self.names.items()}

    def are_in_sync(self) -> bool:
        """Return whether all groups are in sync."""
        targets = self.targets()
        return all(targets[arn] == desired for arn, desired in self.desired().items())

    def lead(self, leads: Mapping[str, Endpoint]) -> list[str]:
        """Set the expected addresses of names; return the groups that follow them."""
        self.leads |= leads
        for arn, targets in self.desired().items():
            self.ever.setdefault(arn, set()).update(targets)
        return [arn for arn, name in self.names.items() if name in leads]

    def expect_targets(self, text: str, since: float) -> None:
        """Wait until all groups are in sync; record the duration."""
        self.wait_for(self.are_in_sync, text)
        seconds = time.time() - since
        self.context.expect(text, self.are_in_sync(), f"{len(self.names)} groups, {seconds:.1f} s")

    def calls(self, action: str) -> int:
        """Return the number of calls of an ELB action."""
        return self.context.lab.admin.calls().get(f"elasticloadbalancing.{action}", 0)

    def ringing(self) -> set[str]:
        """Return the alarms in ALARM, without the stack's name."""
        found = self.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{_STACK}-") for alarm in found}


def _run(context: ScenarioContext) -> None:
    project = Project(context.lab.supervisor, environment="lab-fleet")
    building = project.start_build()
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    _, second, third = context.targets
    # The replicas have names of their own here.
    for replica in (second, third):
        context.lab.ports.open(replica)
    fleet = _create_groups(context, database, Stack(project, context.provider, _STACK))
    fleet.lead(_give_names(context, database.endpoint))
    building.result()
    before = context.resources()
    context.progress.show(f"sam deploy of fleet.yaml to an account with {_GROUPS} tagged groups")
    fleet.stack.deploy({"LogRetentionDays": "7"})
    fleet.outputs = fleet.stack.outputs()
    with FleetObserver(context.lab.admin) as observer:
        fleet.expect_targets("all tagged groups get into sync without a manual run", time.time())
        _expect_no_needless_calls(fleet)
        _fail_over(fleet, rds, (database.endpoint, *_ORDERS), second)
        released = _release_one(fleet)
        _change_with_failures(fleet, second)
        _expect_no_stray_targets(fleet, observer, {released: {third}})
    _drift(fleet)
    _expect_alarm(fleet)
    context.progress.show("sam delete")
    fleet.stack.delete()
    context.expect_resources("sam delete leaves exactly the groups of other tools", before)
    context.expect("these groups keep their targets", fleet.are_in_sync())


def _give_names(context: ScenarioContext, endpoint: str) -> Mapping[str, Endpoint]:
    """Name the servers; return the address of each name."""
    zone, (first, second, third) = context.lab.zone, context.targets
    zone.set_address(_ANALYTICS, [str(second.address)])
    zone.set_address(_REPORTING, [str(third.address)])
    zone.set_alias(_REPORTS, _REPORTING)
    for alias in _ORDERS:
        zone.set_alias(alias, endpoint)
    return {
        **dict.fromkeys((endpoint, *_ORDERS), first),
        _ANALYTICS: second,
        **dict.fromkeys((_REPORTING, _REPORTS), third),
    }


def _create_groups(context: ScenarioContext, database: Database, stack: Stack) -> _Fleet:
    """Create ten groups per server, by a stack and by calls, and groups with findings."""
    network = Network(vpc_id=database.vpc_id, subnet_ids=database.subnet_ids, security_group_id="")
    servers = ((database.endpoint, *_ORDERS), (_ANALYTICS,), (_REPORTING, _REPORTS))
    wanted = [
        NewGroup(f"group-{number}", names[number // len(servers) % len(names)])
        for number, names in zip(range(_GROUPS), cycle(servers), strict=False)
    ]
    others = (
        NewGroup("bad-tag", _WITH_PORT),
        NewGroup("nowhere", _NOWHERE),
        NewGroup("untagged", None),
    )
    arns = {
        **create_by_stack(context.provider, network, wanted[:_BY_STACK]),
        **create_by_calls(context.provider, network, [*wanted[_BY_STACK:], *others]),
    }
    client = context.provider.client
    elb = client("elbv2")
    gone = create_group(elb, network, NewGroup("gone", _REPORTING))
    context.lab.admin.keep_listed(gone)
    elb.delete_target_group(TargetGroupArn=gone)
    elb.register_targets(
        TargetGroupArn=arns["untagged"],
        Targets=[{"Id": str(_MANUAL_TARGET.address), "Port": _MANUAL_TARGET.port}],
    )
    return _Fleet(
        context=context,
        stack=stack,
        names={arns[group.name]: str(group.endpoint) for group in wanted},
        broken=_Broken(arns["bad-tag"], gone, arns["nowhere"]),
        untagged=arns["untagged"],
        client=client,
    )


def _expect_no_needless_calls(fleet: _Fleet) -> None:
    """Check the findings and the calls of a sweep without changes."""
    context = fleet.context
    findings = {finding["arn"]: finding["code"] for finding in fleet.dry_run()["findings"]}
    context.expect(
        "a dry run reports the invalid tag, the deleted group and the failed look-up",
        findings == fleet.broken.codes,
        ", ".join(sorted(findings.values())),
    )
    # Every group is verified at the end of the first whole sweep.
    fleet.next_sweep()
    context.lab.admin.clear_calls()
    document = fleet.next_sweep()
    described, runs = fleet.calls("DescribeTargetHealth"), document["runs"]
    context.expect(
        "a sweep without changes describes only the audited groups",
        described < _GROUPS / 2
        and not fleet.calls("RegisterTargets")
        and not runs["changed"] + runs["unverified"],
        f"{runs['audited']} audited, {described} DescribeTargetHealth, {document['polls']} polls",
    )


def _fail_over(fleet: _Fleet, rds: RdsControlPlane, names: Sequence[str], there: Endpoint) -> None:
    context = fleet.context
    context.progress.show("The server of ten groups dies; RDS fails over")
    context.lab.admin.clear_calls()
    failover = rds.crash()
    moved = fleet.lead(dict.fromkeys(names, there))
    fleet.expect_targets("a failover moves its ten groups, and no other", failover.flipped_at)
    calls = fleet.calls("RegisterTargets")
    context.expect("each is registered once", calls == len(moved) == _GROUPS // 3, f"{calls} calls")


def _release_one(fleet: _Fleet) -> str:
    """Remove the tag of a group; return the group."""
    arn = next(arn for arn, name in fleet.names.items() if name == _REPORTING)
    bound = fleet.sweeps()[-1]["groups"]["bound"]
    fleet.client("elbv2").remove_tags(ResourceArns=[arn], TagKeys=[ENDPOINT_TAG])
    del fleet.names[arn]
    # The listing of the next sweep does not have it.
    fleet.wait_for(
        lambda: fleet.sweeps()[-1]["groups"]["bound"] == bound - 1 or None,
        "a sweep without the group",
    )
    return arn


def _change_with_failures(fleet: _Fleet, there: Endpoint) -> None:
    """Change a name while a second sweep runs too, and kill one of them."""
    context = fleet.context
    admin = context.lab.admin
    context.progress.show("A name changes during two sweeps, and one of them is killed")
    admin.clear_calls()
    fleet.client("lambda").invoke(
        FunctionName=fleet.function, InvocationType="Event", Payload=json.dumps({})
    )
    context.lab.zone.set_address(_REPORTING, [str(there.address)])
    moved = fleet.lead(dict.fromkeys((_REPORTING, _REPORTS), there))
    began_at = time.time()
    fleet.wait_for(lambda: fleet.calls("RegisterTargets"), "a run that has begun")
    fleet.wait_for(lambda: admin.kill_run(fleet.function), "a sweep to kill")
    fleet.wait_for(fleet.are_in_sync, "all its groups to move")
    context.expect(
        "nothing is lost: all its groups have moved",
        fleet.are_in_sync(),
        f"{len(moved)} groups, {time.time() - began_at:.1f} s",
    )


def _expect_no_stray_targets(
    fleet: _Fleet, observer: FleetObserver, released: Mapping[str, set[Endpoint]]
) -> None:
    context, targets = fleet.context, fleet.targets()
    context.expect(
        "the fleet leaves a group alone once its tag is removed",
        all(targets[arn] == there for arn, there in released.items()),
    )
    context.expect(
        "the fleet leaves a group without a tag alone",
        targets[fleet.untagged] == {_MANUAL_TARGET},
        _MANUAL_TARGET,
    )
    context.expect(
        "no group was without a registered target in any snapshot",
        not observer.emptied,
        f"{observer.snapshots} snapshots of {len(targets)} groups",
    )
    unbound = {arn: set[Endpoint]() for arn in (fleet.broken.bad_tag, fleet.broken.nowhere)}
    strays = observer.strays({**fleet.ever, **unbound, fleet.untagged: {_MANUAL_TARGET}})
    context.expect(
        "no group ever had a target that was never desired", not strays, strays or "none"
    )


def _drift(fleet: _Fleet) -> None:
    """Change a group outside the fleet, and lose the container. Its successor knows nothing."""
    context = fleet.context
    arn = next(arn for arn, name in fleet.names.items() if name == _ANALYTICS)
    context.progress.show("A person replaces the target of a group, and Lambda ends the container")
    desired, manual = (
        [{"Id": str(target.address), "Port": target.port}]
        for target in (fleet.leads[_ANALYTICS], _MANUAL_TARGET)
    )
    elb = fleet.client("elbv2")
    elb.register_targets(TargetGroupArn=arn, Targets=manual)
    elb.deregister_targets(TargetGroupArn=arn, Targets=desired)
    fleet.wait_for(lambda: context.lab.admin.kill_run(fleet.function), "a sweep to kill")
    fleet.expect_targets("a new container reverts a manual change", time.time())


def _expect_alarm(fleet: _Fleet) -> None:
    expected = {"fleet-findings"}
    fleet.wait_for(lambda: fleet.ringing() == expected, "the alarm of the findings alone")
    fleet.context.expect(
        "exactly the expected alarm is in ALARM", holds=True, detail=sorted(expected)
    )


SCENARIO = Scenario(
    name="fleet",
    shows="one deployment keeps thirty tagged groups of other tools in sync, through failovers,"
    " killed and concurrent sweeps, and manual changes",
    servers=3,
    run=_run,
    times={"schedule_interval": 60.0},
)
