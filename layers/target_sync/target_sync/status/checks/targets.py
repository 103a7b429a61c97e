"""Checks of the database's endpoint, its addresses, and the targets."""

from collections.abc import Iterable, Mapping, Sequence
from shlex import quote

from target_sync.model import (
    LONGEST_TTL_SECONDS,
    FailedObservation,
    LookupFailure,
    Observation,
    StandbyCheck,
    TargetState,
    targets_at,
)
from target_sync.status.checks.commands import invoke
from target_sync.status.checks.consumers import ago
from target_sync.status.checks.operation import FRESH_SECONDS
from target_sync.status.checks.result import (
    CheckId,
    CheckResult,
    broken,
    ok,
    skipped,
    unavailable,
    warning,
)
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Facts,
    RecentRuns,
    SslReply,
    Unavailable,
    Unknown,
    desired_targets,
    is_warm,
    require,
)
from target_sync.targets.health_reasons import explain

#: Checks that, if broken, explain why the function does not follow the database.
_SYNC = (CheckId.FUNCTION_NETWORK, CheckId.SCHEDULE, CheckId.LAST_SYNC)

_LOOKUP_REMEDIES: Mapping[LookupFailure, str] = {
    LookupFailure.NAME_DOES_NOT_EXIST: (
        "If the database was renamed or deleted, deploy the stack with its new DatabaseEndpoint."
        " If only the DNS of your VPC knows the name, set FunctionSubnetIds."
    ),
    LookupFailure.NO_ADDRESS: "Start the database, or wait until it has an IPv4 address.",
    LookupFailure.TIMED_OUT: (
        "Let the function reach its DNS servers: correct Resolvers or FunctionSubnetIds."
    ),
    LookupFailure.SERVERS_FAILED: "Check the DNS servers in Resolvers, and the DNS zone.",
    LookupFailure.BAD_ANSWER: "Correct DatabaseEndpoint, or its DNS record.",
    LookupFailure.API_UNAVAILABLE: "Ask for the status again in a minute.",
    LookupFailure.ACCESS_DENIED: (
        "Give the role of ReportStatusFunction this permission again. Its policy was changed, or a"
        " permissions boundary or a policy of the organization denies the call."
    ),
}
#: Failures of an API. They do not show that the name is wrong.
_API_FAILURES = frozenset({LookupFailure.API_UNAVAILABLE, LookupFailure.ACCESS_DENIED})


def endpoint_name(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the database's name has addresses, or that its Auto Scaling group is attached."""
    if not deployment.syncs:
        return _attachment(facts, deployment)
    observation = facts.observation
    if isinstance(observation, Unavailable):
        return unavailable(observation)
    if isinstance(observation, FailedObservation):
        return _failed_observation(observation)
    ttl = "" if observation.ttl is None else f", TTL {observation.longest_ttl} s"
    addresses = ", ".join(sorted(map(str, observation.addresses))) or "no address"
    details = [f"{observation.name}: {addresses} (source {observation.source}{ttl})."]
    if observation.disagreement:
        return warning(
            [*details, observation.disagreement],
            "Wait a minute: the two sources agree again when their caches expire.",
        )
    if observation.longest_ttl > LONGEST_TTL_SECONDS:
        return warning(
            details,
            f"Set the TTL of the DNS records to {LONGEST_TTL_SECONDS} seconds or less. A cache may"
            " keep an older address for longer than a run waits before it follows the address.",
        )
    return ok(*details)


def _failed_observation(observation: FailedObservation) -> CheckResult:
    remedy = _LOOKUP_REMEDIES[observation.failure]
    if observation.failure in _API_FAILURES:
        return unavailable(Unknown(observation.detail, remedy))
    causes = (CheckId.DATABASE, CheckId.FUNCTION_NETWORK)
    return broken([observation.detail], remedy, possible_causes=causes)


def _attachment(facts: Facts, deployment: Deployment) -> CheckResult:
    attached = require(facts.attached)
    if attached is None:
        return broken(
            ["The Auto Scaling group does not exist."],
            "Deploy the stack with the name of the database's Auto Scaling group.",
        )
    if not attached:
        return broken(
            ["The Auto Scaling group is not attached to the target group."],
            "Attach it.",
            command=f"aws autoscaling attach-load-balancer-target-groups"
            f" --region {deployment.region} --auto-scaling-group-name"
            f" {quote(deployment.scaling_group)} --target-group-arns {deployment.target_group_arn}",
        )
    return ok("The Auto Scaling group is attached to the target group.")


def allowed_addresses(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that every observed address may become a target."""
    if not deployment.syncs:
        return skipped("An Auto Scaling group registers its instances at any address.")
    observation = facts.observation
    if not isinstance(observation, Observation):
        return skipped("There is no address to check.")
    policy = deployment.policy
    networks = ", ".join(map(str, policy.allowed_networks))
    outside = ", ".join(sorted(str(a) for a in observation.addresses if not policy.allows(a)))
    if outside:
        return broken(
            [f"{outside} may not become a target. The allowed networks are {networks}."],
            "If the database is publicly accessible, make it private. If not, correct"
            " DatabaseEndpoint, or extend AllowedNetworks.",
        )
    count = len(observation.addresses)
    if count > policy.max_targets:
        return broken(
            [f"The database has {count} addresses, but MaxTargets is {policy.max_targets}."],
            "If all of them belong to the database, raise MaxTargets. If not, correct"
            " DatabaseEndpoint.",
        )
    return ok(f"All addresses are in {networks}.")


def target_health(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the desired targets are registered and healthy."""
    targets = require(facts.targets)
    if targets is None:
        return broken(
            ["The target group does not exist."],
            "Delete the stack and deploy it again.",
            possible_causes=(CheckId.TARGET_GROUP,),
        )
    desired = desired_targets(facts, deployment)
    if desired is None:
        desired = frozenset(str(t) for t in targets if t.is_registered and not is_warm(t, facts))
    present = sorted((target for target in targets if str(target) in desired), key=str)
    missing = sorted(desired.difference(map(str, targets)))
    details = [*map(_health, present), *(f"{name} is not registered." for name in missing)] or [
        "No target is registered."
    ]
    if desired and _count_healthy(present) == len(desired):
        return ok(*details)
    return _unhealthy(present, missing, details, deployment)


def _unhealthy(
    present: Sequence[DescribedTarget],
    missing: Sequence[str],
    details: Sequence[str],
    deployment: Deployment,
) -> CheckResult:
    result = warning if _count_healthy(present) else broken
    if present and not missing and all(target.is_registered for target in present):
        reasons = [t.reason for t in present if t.state is not TargetState.HEALTHY]
        return result(
            details, explain(reasons[0]).remedy, possible_causes=_causes_of_health(reasons)
        )
    return result(
        details,
        "Invoke ReconcileTargetsFunction with {} and read its result."
        if deployment.syncs
        else "Check the Auto Scaling group: AWS registers its instances that are in service.",
        command=invoke("ReconcileTargetsFunction", deployment) if deployment.syncs else "",
        possible_causes=(CheckId.ENDPOINT_NAME, CheckId.ALLOWED_ADDRESSES, *_SYNC),
    )


def _count_healthy(targets: Iterable[DescribedTarget]) -> int:
    return sum(target.state is TargetState.HEALTHY for target in targets)


def _health(target: DescribedTarget) -> str:
    reason = f" ({target.reason}): {explain(target.reason).meaning}" if target.reason else "."
    return f"{target} is {target.state}{reason}"


def _causes_of_health(reasons: Iterable[str]) -> tuple[CheckId, ...]:
    """Return the checks that can explain targets with these reasons."""
    no_connection = (
        CheckId.DATABASE,
        CheckId.SWITCH,
        CheckId.DATABASE_SECURITY_GROUP,
        CheckId.LOAD_BALANCER_SECURITY_GROUP,
    )
    causes = {
        "Target.NotInUse": (CheckId.LISTENER, CheckId.AVAILABILITY_ZONES),
        "Target.FailedHealthChecks": no_connection,
        "Target.Timeout": no_connection,
    }
    found = [cause for reason in reasons for cause in causes.get(reason, ())]
    return (CheckId.LOAD_BALANCER, *dict.fromkeys(found))


def postgresql(facts: Facts, deployment: Deployment) -> CheckResult:  # noqa: ARG001
    """Check that the targets are PostgreSQL servers."""
    probes = require(facts.probes)
    meanings = {
        SslReply.TLS: "is PostgreSQL and accepts TLS",
        SslReply.PLAIN: "is PostgreSQL and does not accept TLS",
        SslReply.OTHER: "accepts connections, but does not reply as PostgreSQL does",
        SslReply.NO_CONNECTION: "accepts no connection from the function",
    }
    details = [f"{target} {meanings[probes[target]]}." for target in sorted(probes)]
    replies = set(probes.values())
    if SslReply.OTHER in replies:
        return broken(
            details, "Correct DatabasePort, or start PostgreSQL where something else listens."
        )
    if SslReply.PLAIN in replies:
        return warning(
            details, "Enable TLS on the server: nothing else encrypts the connection path."
        )
    if SslReply.NO_CONNECTION in replies:
        # Not broken: the health checks show whether the load balancer can connect.
        return skipped(
            " ".join(details)
            + " To enable this check, allow FunctionSecurityGroup in the database's security group."
        )
    return ok(*details)


def drift(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that no other target is registered, and that the former targets leave the group."""
    if not deployment.syncs:
        return skipped("An Auto Scaling group registers and deregisters its instances itself.")
    targets = require(facts.targets)
    desired = desired_targets(facts, deployment)
    if targets is None or desired is None:
        return skipped("This check needs the database's addresses and the target group.")
    undesired = [t for t in targets if t.is_registered and str(t) not in desired]
    standbys = _standby_targets(facts.standbys, deployment)
    warm = [str(t) for t in undesired if is_warm(t, facts)]
    open_ = [str(t) for t in undesired if str(t) not in warm]
    foreign = [name for name in open_ if name not in standbys]
    if foreign:
        return _foreign(", ".join(foreign), facts, deployment)
    kept = [
        *(f"{name} belongs to the standby and stays registered." for name in open_),
        *(f"{name} is warm: it is registered and closed." for name in warm),
    ]
    draining = [str(t) for t in targets if not t.is_registered]
    return _no_foreign(kept, draining, facts.recent_runs, deployment)


def _standby_targets(
    standbys: StandbyCheck | Unavailable, deployment: Deployment
) -> frozenset[str]:
    confirmed = standbys.confirmed if isinstance(standbys, StandbyCheck) else ()
    return frozenset(map(str, targets_at(confirmed, deployment.policy)))


def _foreign(names: str, facts: Facts, deployment: Deployment) -> CheckResult:
    detail = f"{names} is registered, but is not an address of the database."
    standbys = facts.standbys
    # Without these facts the target may be the standby's, or warm, or on its way out.
    for fact in (standbys, facts.outbound_rules, facts.recent_runs):
        if isinstance(fact, Unknown):
            return unavailable(Unknown(f"{detail} {fact.reason}", fact.remedy))
    if isinstance(standbys, StandbyCheck) and standbys.failure:
        return unavailable(
            Unknown(f"{detail} {standbys.failure}", "Ask for the status again in a minute.")
        )
    causes = (CheckId.ALLOWED_ADDRESSES, *_SYNC)
    in_sync_at = require(facts.recent_runs).in_sync_at
    age, limit = facts.now - (in_sync_at or 0.0), _drift_limit(facts, deployment)
    if age <= limit:
        return warning(
            [detail, f"A run ended in sync {ago(max(0.0, age))}."],
            "Wait: after a failover the function first confirms that the old address is gone. If no"
            f" run ends in sync for {limit / 60:.0f} minutes, this check is broken.",
            possible_causes=causes,
        )
    return broken(
        [detail, f"No run ended in sync in the last {limit / 60:.0f} minutes."],
        "Invoke ReconcileTargetsFunction with {} and read its result.",
        command=invoke("ReconcileTargetsFunction", deployment),
        possible_causes=causes,
    )


def _drift_limit(facts: Facts, deployment: Deployment) -> float:
    """Return the seconds in which a run confirms that an address is gone and reports its end."""
    observation = facts.observation
    ttl = observation.longest_ttl if isinstance(observation, Observation) else 0
    window = max(deployment.policy.confirm_seconds, min(ttl, LONGEST_TTL_SECONDS))
    return FRESH_SECONDS + window


def _no_foreign(
    kept: Sequence[str],
    draining: Sequence[str],
    runs: RecentRuns | Unavailable,
    deployment: Deployment,
) -> CheckResult:
    if not draining:
        return ok(*(kept or ["No other target is registered, and none is draining."]))
    details = [*kept, f"{', '.join(draining)} is draining."]
    # AWS does not show how long a target drains, but the runs count their deregistrations.
    if isinstance(runs, RecentRuns) and not runs.deregistrations:
        return warning(
            details,
            f"The function did not deregister it in the last {runs.seconds / 60:g} minutes. Check"
            " deregistration_delay of the target group.",
            command="aws elbv2 describe-target-group-attributes --region"
            f" {deployment.region} --target-group-arn {deployment.target_group_arn}",
        )
    return ok(*details)
