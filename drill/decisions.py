"""Which database a drill may fail over: the one behind a stack of this project. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from target_sync.config import StandbyTargets
from target_sync.endpoints.names import NamedEndpoint, classify
from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind

#: The resources of every stack of this project's template, by logical ID.
REQUIRED_RESOURCES: Mapping[str, str] = {
    "DatabaseLookup": "Custom::DatabaseLookup",
    "FirstSync": "Custom::FirstSync",
    "ProvisionStackFunction": "AWS::Lambda::Function",
    "ReportStatusFunction": "AWS::Lambda::Function",
    "ReconcileTargetsFunction": "AWS::Lambda::Function",
    "ReconcileTargetsLogGroup": "AWS::Logs::LogGroup",
}
#: No update is in progress, and the stack is complete.
STABLE_STATUSES = frozenset(
    {
        "CREATE_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
    }
)
_AVAILABLE = "available"
_REGISTERED = "90 to 180 s, as others have measured"
#: What follows the failover (docs/failover.md).
_THEN: Mapping[StandbyTargets, str] = {
    StandbyTargets.WARM: "Then the stack opens the rule of the new address, and two health checks"
    f" succeed: 6 to 15 s. If the address is no warm target, it is registered: {_REGISTERED}.",
    StandbyTargets.SERVING: "Then two health checks succeed: 5 to 10 s. If the new address is no"
    f" target yet, it is registered: {_REGISTERED}.",
    StandbyTargets.NONE: f"Then the load balancer registers the new address: {_REGISTERED}.",
}
_ONLY_OBSERVED: Mapping[DatabaseKind, str] = {
    DatabaseKind.RDS_CLUSTER_READERS: "a failover moves the writer, and this stack follows the"
    " readers; drill the stack of the writer, or observe the readers",
    DatabaseKind.RDS_PROXY: "a proxy keeps its addresses while the database behind it fails over",
    DatabaseKind.HOSTNAME: "a plain DNS name does not identify a database",
    DatabaseKind.STATIC: "static addresses do not move",
    DatabaseKind.EC2_INSTANCE: "RDS does not run the database, so it cannot fail it over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource of a stack: its type, and its physical ID."""

    type: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrilledStack:
    """A stack of this project's template.

    Attributes:
        name: The stack's name.
        account: Its account.
        region: Its Region.
        kind: The kind of its database.
        database: The database that its `DatabaseEndpoint` names.
        target_group_arn: Its target group.
        log_group: The log group of its reconciler.
        status_function: The name of its status function.
        load_balancer_arn: Its load balancer; empty with an existing target group.
        load_balancer_name: The load balancer's DNS name; empty with an existing target group.
        rules_group: The security group whose outbound rules open the targets; empty without one.
        standby_targets: What happens to the old target.
    """

    name: str
    account: str
    region: str
    kind: DatabaseKind
    database: NamedEndpoint
    target_group_arn: str
    log_group: str
    status_function: str
    load_balancer_arn: str
    load_balancer_name: str
    rules_group: str
    standby_targets: StandbyTargets

    @property
    def event_source(self) -> tuple[str, str] | None:
        """The source type and identifier of its RDS events; None for a kind without events."""
        types = {
            DatabaseKind.RDS_INSTANCE: "db-instance",
            DatabaseKind.RDS_CLUSTER_WRITER: "db-cluster",
            DatabaseKind.RDS_CLUSTER_READERS: "db-cluster",
            DatabaseKind.RDS_PROXY: "db-proxy",
        }
        found = types.get(self.kind)
        return None if found is None else (found, self.database.identifier)


def recognise_stack(
    described: Mapping[str, Any], resources: Mapping[str, Resource]
) -> DrilledStack:
    """Recognise a stack of this project's template.

    Args:
        described: The stack as DescribeStacks describes it.
        resources: Its resources by logical ID.

    Raises:
        RejectedInputError: The template is another one, or the stack is not in a stable state.
    """
    name = described["StackName"]
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in described.get("Outputs", ())}
    parameters = {
        entry["ParameterKey"]: entry["ParameterValue"] for entry in described.get("Parameters", ())
    }
    _check_template(name, resources, outputs, parameters)
    if described["StackStatus"] not in STABLE_STATUSES:
        raise RejectedInputError(
            f"the stack {name} is in {described['StackStatus']}: wait until the update has"
            " ended, or repair the stack first."
        )
    _, _, _, region, account, _ = described["StackId"].split(":", 5)
    kind = DatabaseKind(outputs["DatabaseKind"])
    rules_group = _id(resources, "OutboundRulesSecurityGroup")
    return DrilledStack(
        name=name,
        account=account,
        region=region,
        kind=kind,
        database=classify(parameters["DatabaseEndpoint"], kind, region),
        target_group_arn=outputs["TargetGroupArn"],
        log_group=resources["ReconcileTargetsLogGroup"].id,
        status_function=outputs["ReportStatusFunctionName"],
        load_balancer_arn=_id(resources, "LoadBalancer"),
        load_balancer_name=outputs.get("LoadBalancerDnsName", ""),
        rules_group=rules_group,
        standby_targets=_standby_targets(parameters["StandbyTargets"], rules_group),
    )


def _standby_targets(parameter: str, rules_group: str) -> StandbyTargets:
    """Return what the parameter means for this stack: without rules no target is warm."""
    given = StandbyTargets(parameter)
    is_off = given is StandbyTargets.WARM and not rules_group
    return StandbyTargets.NONE if is_off else given


def _id(resources: Mapping[str, Resource], logical_id: str) -> str:
    return resources[logical_id].id if logical_id in resources else ""


def _check_template(
    name: str,
    resources: Mapping[str, Resource],
    outputs: Mapping[str, str],
    parameters: Mapping[str, str],
) -> None:
    if "AutoScalingAttachment" in resources and "DatabaseLookup" in resources:
        raise RejectedInputError(
            f"the stack {name} has an Auto Scaling group for its database: AWS itself registers its"
            " instances, so the stack has no failover to follow."
        )
    for problem in _problems(resources, outputs, parameters):
        raise RejectedInputError(
            f"the stack {name} is not one of this project's template: {problem}"
        )


def _problems(
    resources: Mapping[str, Resource], outputs: Mapping[str, str], parameters: Mapping[str, str]
) -> Iterator[str]:
    """Yield what a stack of this project's template has and this one lacks."""
    for logical_id, kind in REQUIRED_RESOURCES.items():
        if logical_id not in resources or resources[logical_id].type != kind:
            yield (
                f"it has no {logical_id} of type {kind}. Give the name of the stack that"
                " `sam deploy` made."
            )
    existing = Resource(type="", id=parameters.get("ExistingTargetGroupArn", ""))
    expected = {
        "ReconcileTargetsFunctionName": resources["ReconcileTargetsFunction"],
        "ReportStatusFunctionName": resources["ReportStatusFunction"],
        "TargetGroupArn": resources.get("DatabaseTargetGroup", existing),
    }
    for key, resource in expected.items():
        if not resource.id or outputs.get(key) != resource.id:
            there = resource.id or "not there"
            yield f"its output {key} is {outputs.get(key)}, and the resource is {there}."
    if "DatabaseKind" not in outputs or "DatabaseEndpoint" not in parameters:
        yield ("it does not name its database (output DatabaseKind, parameter DatabaseEndpoint).")
    if "StandbyTargets" not in parameters:
        yield "it has no parameter StandbyTargets. Update it to this version of the template."


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverCall:
    """The one call that changes anything.

    Attributes:
        operation: The action of the RDS API.
        arguments: Its arguments.
        database: The name that confirms it.
        outage: The expected outage, in sentences (docs/failover.md).
        warnings: Its other effects, a sentence each.
    """

    operation: str
    arguments: Mapping[str, str | bool]
    database: str
    outage: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.operation}({shown})"


def check_kind(stack: DrilledStack) -> None:
    """Check that a call to RDS can fail the database over.

    Raises:
        RejectedInputError: The drill can only observe this kind of database.
    """
    reason = _ONLY_OBSERVED.get(stack.kind)
    if reason is not None:
        raise RejectedInputError(
            f"the database of {stack.name} is of the kind {stack.kind}: {reason}. With --observe"
            " the drill waits for a change that it does not start."
        )


def instance_failover(stack: DrilledStack, found: Mapping[str, Any] | None) -> FailoverCall:
    """Return the call that fails a Multi-AZ instance over.

    Args:
        stack: The stack.
        found: The instance as DescribeDBInstances describes it; None if it does not exist.

    Raises:
        RejectedInputError: It is not exactly the stack's database, or cannot fail over now.
    """
    identifier = stack.database.identifier
    found = _check_database(stack, found, (found or {}).get("Endpoint", {}).get("Address"))
    if found.get("DBClusterIdentifier"):
        raise RejectedInputError(
            f"{identifier} is a member of the cluster {found['DBClusterIdentifier']}: its own"
            " address does not move at a failover. Drill a stack with the cluster's endpoint."
        )
    if not found.get("MultiAZ"):
        raise RejectedInputError(
            f"{identifier} is not Multi-AZ: it has no standby to fail over to, and a reboot would"
            " only be an outage."
        )
    _check_available(identifier, found["DBInstanceStatus"])
    return FailoverCall(
        operation="RebootDBInstance",
        arguments={"DBInstanceIdentifier": identifier, "ForceFailover": True},
        database=identifier,
        outage=f"RDS needs 60 to 120 s for a Multi-AZ instance. {_THEN[stack.standby_targets]}",
        warnings=_pending(found),
    )


def cluster_failover(stack: DrilledStack, found: Mapping[str, Any] | None) -> FailoverCall:
    """Return the call that fails a cluster over; see `instance_failover`.

    Raises:
        RejectedInputError: It is not exactly the stack's database, or cannot fail over now.
    """
    identifier = stack.database.identifier
    found = _check_database(stack, found, (found or {}).get("Endpoint"))
    readers = [m for m in found.get("DBClusterMembers", ()) if not m.get("IsClusterWriter")]
    if not readers:
        raise RejectedInputError(
            f"the cluster {identifier} has no reader that could become the writer. Add one first."
        )
    _check_available(identifier, found["Status"])
    aurora = str(found.get("Engine", "")).startswith("aurora")
    needs = "often under 30 s for Aurora" if aurora else "under 35 s for a Multi-AZ cluster"
    return FailoverCall(
        operation="FailoverDBCluster",
        arguments={"DBClusterIdentifier": identifier},
        database=identifier,
        outage=f"RDS needs {needs}. {_THEN[stack.standby_targets]}",
    )


def _check_database(
    stack: DrilledStack, found: Mapping[str, Any] | None, endpoint: object
) -> Mapping[str, Any]:
    if found is None or str(endpoint or "").lower() != stack.database.endpoint:
        raise RejectedInputError(
            f"RDS knows no database {stack.database.identifier} whose endpoint is exactly"
            f" {stack.database.endpoint}, which is the endpoint of {stack.name}."
        )
    return found


def _check_available(identifier: str, status: str) -> None:
    if status != _AVAILABLE:
        raise RejectedInputError(f"{identifier} is {status}, not {_AVAILABLE}: wait until it is.")


def _pending(instance: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a warning of changes that a reboot applies (RDS guide, *Rebooting a DB instance*)."""
    waiting = [
        f"the parameter group {group['DBParameterGroupName']}"
        for group in instance.get("DBParameterGroups", ())
        if group.get("ParameterApplyStatus") == "pending-reboot"
    ]
    waiting += sorted(instance.get("PendingModifiedValues", {}))
    if not waiting:
        return ()
    return (f"Changes are pending, which the reboot may apply: {', '.join(waiting)}.",)


def check_confirmation(typed: str, call: FailoverCall) -> None:
    """Check that the typed name is exactly the name of the database.

    Raises:
        RejectedInputError: It is another name.
    """
    if typed != call.database:
        raise RejectedInputError(f"{typed!r} is not the name of the database, {call.database!r}.")


def check_status(status: Mapping[str, Any]) -> None:
    """Check that the connection path works before the failover.

    Args:
        status: The report of the stack's ReportStatusFunction.

    Raises:
        RejectedInputError: The status is not healthy; the message has its summary.
    """
    if status.get("healthy") is not True:
        raise RejectedInputError(
            f"the connection path does not work: {status.get('summary')} Repair it first"
            " (docs/status.md). A drill of a broken path shows nothing."
        )
