"""The check of the database: what its API says now, and what has changed since the deployment."""

from collections.abc import Iterable, Iterator, Mapping

from target_sync.model import DatabaseKind
from target_sync.status.checks.result import CheckResult, broken, ok, warning
from target_sync.status.facts import Database, Deployment, Facts, require

#: The states without a server that accepts connections, until a person acts (RDS user guide,
#: *Viewing DB instance status*, *Viewing DB cluster status*; RDS API reference, DBProxy; EC2 API
#: reference, InstanceState). A failover has other states.
_DOWN = frozenset(
    {
        "deleting",
        "failed",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "incompatible-network",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-resource-limits",
        "restore-error",
        "shutting-down",
        "stopped",
        "stopping",
        "storage-full",
        "suspended",
        "terminated",
    }
)
_STARTS: Mapping[DatabaseKind, str] = {
    DatabaseKind.RDS_INSTANCE: "aws rds start-db-instance --db-instance-identifier ",
    DatabaseKind.RDS_CLUSTER_WRITER: "aws rds start-db-cluster --db-cluster-identifier ",
    DatabaseKind.RDS_CLUSTER_READERS: "aws rds start-db-cluster --db-cluster-identifier ",
    DatabaseKind.EC2_INSTANCE: "aws ec2 start-instances --instance-ids ",
}


def database(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the database runs, and is as the deployment found it."""
    today = require(facts.database)
    if today is None:
        return broken(
            [f"There is no {deployment.identifier} any more."],
            "If the database was renamed or replaced, deploy the stack with its new"
            " DatabaseEndpoint.",
        )
    state = f"{deployment.identifier} is {today.state}."
    if today.state in _DOWN:
        return _down(state, today, deployment)
    port = deployment.policy.port
    if today.port not in {None, port}:
        return broken(
            [state, f"It listens on port {today.port}, but the targets have port {port}."],
            f"Deploy the stack with DatabasePort={today.port}. This replaces the target group.",
            command=_deploying(today.port, deployment),
        )
    if changes := list(_changes(today, deployment)):
        return warning(
            [state, *changes],
            "Repeat the look-up of the deployment: deploy the stack with another value of"
            f" DatabasePort, which is {port} or 0.",
            command=_deploying(port, deployment),
        )
    return ok(state, "Its port, security groups and subnets are those of the deployment.")


def _down(state: str, today: Database, deployment: Deployment) -> CheckResult:
    start = _STARTS.get(deployment.kind)
    if today.state != "stopped" or start is None:
        return broken([state], "Read the reason in the console of RDS or EC2, and end this state.")
    return broken(
        [state],
        "Start it.",
        command=f"{start}{deployment.identifier} --region {deployment.region}",
    )


def _changes(today: Database, deployment: Deployment) -> Iterator[str]:
    deployed = frozenset(deployment.database_security_groups)
    if frozenset(today.security_groups) != deployed:
        yield _changed("security groups", today.security_groups, deployed)
    subnets = frozenset(deployment.database_subnets)
    if subnets and today.subnets != subnets:
        yield _changed("subnets", today.subnets, subnets)


def _changed(things: str, now: Iterable[str], then: Iterable[str]) -> str:
    return f"Its {things} are {_listed(now)}. At the deployment they were {_listed(then)}."


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids)) or "none"


def _deploying(port: int | None, deployment: Deployment) -> str:
    return (
        f"sam deploy --stack-name {deployment.stack} --region {deployment.region}"
        f" --parameter-overrides DatabasePort={port}"
    )
