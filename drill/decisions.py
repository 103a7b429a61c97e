"""What a drill may touch: a stack of our template, and the one database behind it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from target_sync.endpoints.names import NamedEndpoint, classify
from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind

#: What every stack of our template that follows a database has, by logical ID.
OURS: Mapping[str, str] = {
    "DatabaseLookup": "Custom::DatabaseLookup",
    "FirstSync": "Custom::FirstSync",
    "ProvisionStackFunction": "AWS::Lambda::Function",
    "ReportStatusFunction": "AWS::Lambda::Function",
    "ReconcileTargetsFunction": "AWS::Lambda::Function",
    "ReconcileTargetsLogGroup": "AWS::Logs::LogGroup",
}
#: In these nobody is working on the stack, and it is whole.
STABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
    }
)
_AVAILABLE = "available"
_TAKING_IN = (
    "Then the load balancer takes the new address in: 90 to 180 s, as others have measured;"
    " 5 to 10 s if it is a kept standby's."
)
_WHY_ONLY_OBSERVED: Mapping[DatabaseKind, str] = {
    DatabaseKind.RDS_CLUSTER_READERS: "a failover moves the writer, which this road does not lead"
    " to; drill the stack of the writer, or watch the readers change",
    DatabaseKind.RDS_PROXY: "a proxy keeps its addresses while the database behind it fails over",
    DatabaseKind.HOSTNAME: "nothing says which database is behind a plain DNS name",
    DatabaseKind.STATIC: "given addresses do not move",
    DatabaseKind.EC2_INSTANCE: "RDS does not run the database, so it cannot fail it over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource of a stack: its type, and its physical ID."""

    type: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OurStack:
    """A stack of our template.

    Attributes:
        name: The stack's name.
        account: The account that it is in.
        region: Its Region.
        kind: What its database is.
        subject: What its `DatabaseEndpoint` names.
        target_group_arn: The group that it keeps right.
        log_group: The log of its sync function.
        status_function: Its function that says whether the road works.
        load_balancer_arn: Its load balancer; empty if the group is somebody else's.
        load_balancer_name: That one's DNS name; empty likewise.
        keeps_standby: Whether the former primary's target stays in the group.
    """

    name: str
    account: str
    region: str
    kind: DatabaseKind
    subject: NamedEndpoint
    target_group_arn: str
    log_group: str
    status_function: str
    load_balancer_arn: str
    load_balancer_name: str
    keeps_standby: bool

    @property
    def event_source(self) -> tuple[str, str] | None:
        """Whose events RDS has to tell of: source type and identifier; None for none."""
        types = {
            DatabaseKind.RDS_INSTANCE: "db-instance",
            DatabaseKind.RDS_CLUSTER_WRITER: "db-cluster",
            DatabaseKind.RDS_CLUSTER_READERS: "db-cluster",
            DatabaseKind.RDS_PROXY: "db-proxy",
        }
        found = types.get(self.kind)
        return None if found is None else (found, self.subject.identifier)


def our_stack(described: Mapping[str, Any], resources: Mapping[str, Resource]) -> OurStack:
    """Recognise a stack of our template that nobody is working on.

    Args:
        described: The stack as DescribeStacks gives it.
        resources: Its resources by logical ID.

    Raises:
        RefusalError: It is not ours, or not in a state to be drilled.
    """
    name = described["StackName"]
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in described.get("Outputs", ())}
    parameters = {
        entry["ParameterKey"]: entry["ParameterValue"] for entry in described.get("Parameters", ())
    }
    _refuse_if_foreign(name, resources, outputs, parameters)
    if described["StackStatus"] not in STABLE:
        raise RejectedInputError(
            f"the stack {name} is in {described['StackStatus']}: wait until nobody works on it, or"
            " repair it first."
        )
    _, _, _, region, account, _ = described["StackId"].split(":", 5)
    kind = DatabaseKind(outputs["DatabaseKind"])
    return OurStack(
        name=name,
        account=account,
        region=region,
        kind=kind,
        subject=classify(parameters["DatabaseEndpoint"], kind, region),
        target_group_arn=outputs["TargetGroupArn"],
        log_group=resources["ReconcileTargetsLogGroup"].id,
        status_function=outputs["ReportStatusFunctionName"],
        load_balancer_arn=resources["LoadBalancer"].id if "LoadBalancer" in resources else "",
        load_balancer_name=outputs.get("LoadBalancerDnsName", ""),
        keeps_standby=parameters.get("StandbyTargets") == "serving",
    )


def _refuse_if_foreign(
    name: str,
    resources: Mapping[str, Resource],
    outputs: Mapping[str, str],
    parameters: Mapping[str, str],
) -> None:
    if "AutoScalingAttachment" in resources and "DatabaseLookup" in resources:
        raise RejectedInputError(
            f"the stack {name} has an Auto Scaling group for its database: AWS itself registers its"
            " instances, so there is no failover that the stack could follow."
        )
    for logical_id, kind in OURS.items():
        found = resources.get(logical_id)
        if found is None or found.type != kind:
            raise RejectedInputError(
                f"the stack {name} is not one of this project's template: it has no {logical_id}"
                f" of type {kind}. Give the name of the stack that `sam deploy` made."
            )
    group = parameters.get("ExistingTargetGroupArn", "")
    if "DatabaseTargetGroup" in resources:
        group = resources["DatabaseTargetGroup"].id
    expected = {
        "ReconcileTargetsFunctionName": resources["ReconcileTargetsFunction"].id,
        "ReportStatusFunctionName": resources["ReportStatusFunction"].id,
        "TargetGroupArn": group,
    }
    for key, value in expected.items():
        if not value or outputs.get(key) != value:
            raise RejectedInputError(
                f"the stack {name} is not one of this project's template: its output {key} is"
                f" {outputs.get(key)}, and the resource is {value or 'not there'}."
            )
    if "DatabaseKind" not in outputs or "DatabaseEndpoint" not in parameters:
        raise RejectedInputError(
            f"the stack {name} is not one of this project's template: it does not say what its"
            " database is (output DatabaseKind, parameter DatabaseEndpoint)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverCall:
    """The one call that changes anything.

    Attributes:
        operation: The action of the RDS API.
        arguments: Its arguments.
        database: The name to be typed.
        outage: What to expect of it, in sentences (docs/failover.md).
        warnings: What else it may do, a sentence each.
    """

    operation: str
    arguments: Mapping[str, str | bool]
    database: str
    outage: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.operation}({shown})"


def refuse_unless_rds_can(stack: OurStack) -> None:
    """Refuse what no call to RDS fails over.

    Raises:
        RefusalError: Such a database can only be observed.
    """
    why = _WHY_ONLY_OBSERVED.get(stack.kind)
    if why is not None:
        raise RejectedInputError(
            f"the database of {stack.name} is of the kind {stack.kind}: {why}. With --observe the"
            " drill waits for a change that somebody else makes."
        )


def instance_failover(stack: OurStack, found: Mapping[str, Any] | None) -> FailoverCall:
    """How a Multi-AZ instance is failed over.

    Args:
        stack: Whose database it is.
        found: The instance as DescribeDBInstances gives it; None if there is none.

    Raises:
        RefusalError: It is not exactly the stack's database, or cannot be failed over now.
    """
    identifier = stack.subject.identifier
    found = _the_stacks_own(stack, found, (found or {}).get("Endpoint", {}).get("Address"))
    if found.get("DBClusterIdentifier"):
        raise RejectedInputError(
            f"{identifier} is a member of the cluster {found['DBClusterIdentifier']}: its own"
            " address does not move at a failover. Drill a stack with the cluster's endpoint."
        )
    if not found.get("MultiAZ"):
        raise RejectedInputError(
            f"{identifier} is not Multi-AZ: it has no standby to fail over to, and a reboot would"
            " be an outage that shows nothing."
        )
    _refuse_unless_available(identifier, found["DBInstanceStatus"])
    return FailoverCall(
        operation="RebootDBInstance",
        arguments={"DBInstanceIdentifier": identifier, "ForceFailover": True},
        database=identifier,
        outage=f"RDS needs 60 to 120 s for a Multi-AZ instance. {_TAKING_IN}",
        warnings=_pending(found),
    )


def cluster_failover(stack: OurStack, found: Mapping[str, Any] | None) -> FailoverCall:
    """How a cluster's writer is failed over; `found` is that of DescribeDBClusters.

    Raises:
        RefusalError: As for an instance.
    """
    identifier = stack.subject.identifier
    found = _the_stacks_own(stack, found, (found or {}).get("Endpoint"))
    readers = [m for m in found.get("DBClusterMembers", ()) if not m.get("IsClusterWriter")]
    if not readers:
        raise RejectedInputError(
            f"the cluster {identifier} has no reader that could become the writer. Add one first."
        )
    _refuse_unless_available(identifier, found["Status"])
    aurora = str(found.get("Engine", "")).startswith("aurora")
    needs = "often under 30 s for Aurora" if aurora else "under 35 s for a Multi-AZ cluster"
    return FailoverCall(
        operation="FailoverDBCluster",
        arguments={"DBClusterIdentifier": identifier},
        database=identifier,
        outage=f"RDS needs {needs}. {_TAKING_IN}",
    )


def _the_stacks_own(
    stack: OurStack, found: Mapping[str, Any] | None, endpoint: object
) -> Mapping[str, Any]:
    if found is None or str(endpoint or "").lower() != stack.subject.endpoint:
        raise RejectedInputError(
            f"RDS knows no database {stack.subject.identifier} whose endpoint is exactly"
            f" {stack.subject.endpoint}, which is the endpoint of {stack.name}."
        )
    return found


def _refuse_unless_available(identifier: str, status: str) -> None:
    if status != _AVAILABLE:
        raise RejectedInputError(f"{identifier} is {status}, not {_AVAILABLE}: wait until it is.")


def _pending(instance: Mapping[str, Any]) -> tuple[str, ...]:
    """What waits for the next reboot (RDS user guide, *Rebooting a DB instance*)."""
    waiting = [
        f"the parameter group {group['DBParameterGroupName']}"
        for group in instance.get("DBParameterGroups", ())
        if group.get("ParameterApplyStatus") == "pending-reboot"
    ]
    waiting += sorted(instance.get("PendingModifiedValues", {}))
    if not waiting:
        return ()
    return (f"Changes are pending, which the reboot may apply: {', '.join(waiting)}.",)


def refuse_unless_named(typed: str, call: FailoverCall) -> None:
    """Refuse unless somebody named exactly the database that would be failed over.

    Raises:
        RefusalError: Another name was given.
    """
    if typed != call.database:
        raise RejectedInputError(f"{typed!r} is not the name of the database, {call.database!r}.")


def refuse_unless_healthy(status: Mapping[str, Any]) -> None:
    """Refuse to fail over a road that does not work already.

    Args:
        status: What the stack's ReportStatusFunction answered to `{}`.

    Raises:
        RefusalError: It is not healthy; the sentence says which steps are not.
    """
    if status.get("healthy") is not True:
        raise RejectedInputError(
            f"the road does not work as it is: {status.get('summary')} Remedy that first"
            " (docs/status.md); a drill on top of it would show nothing."
        )
