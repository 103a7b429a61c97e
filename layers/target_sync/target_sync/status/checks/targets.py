"""The database's name, its addresses, and whether the targets are those and healthy."""

from collections.abc import Iterable, Mapping, Sequence

from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    StandbyCheck,
    TargetState,
)
from target_sync.status.checks.result import (
    CheckId,
    CheckResult,
    broken,
    known,
    missing,
    ok,
    skipped,
    warning,
)
from target_sync.status.facts import (
    Deployment,
    DescribedTarget,
    Facts,
    RecentRuns,
    Skipped,
    SslReply,
    Unknown,
)
from target_sync.targets.health_reasons import explained

#: Steps that keep the function from following the database.
_SYNC = (CheckId.FUNCTION_NETWORK, CheckId.SCHEDULE, CheckId.LAST_SYNC)
#: A name with a longer time to live cannot be confirmed within one run, which lasts 600 s.
_LONGEST_TTL = 540

_LOOKUP_REMEDIES: Mapping[LookupFailure, str] = {
    LookupFailure.NAME_DOES_NOT_EXIST: (
        "If the database was renamed or deleted, deploy the stack with its new DatabaseEndpoint;"
        " if only your VPC's DNS knows the name, set FunctionSubnetIds."
    ),
    LookupFailure.NO_ADDRESS: "Start the database, or wait until it has an IPv4 address.",
    LookupFailure.TIMED_OUT: (
        "Let the function reach its DNS servers: correct Resolvers or FunctionSubnetIds."
    ),
    LookupFailure.SERVERS_FAILED: "Look at the DNS servers that Resolvers names, or at the zone.",
    LookupFailure.BAD_ANSWER: "Correct DatabaseEndpoint, or the record behind it.",
    LookupFailure.API_UNAVAILABLE: "Look again in a minute.",
    LookupFailure.ACCESS_DENIED: (
        "Give the role of ReportStatusFunction this permission back: somebody changed the role, or"
        " a boundary or a policy of the organization forbids it."
    ),
}
#: Failures of an API that say nothing of the name itself.
_NOT_ABOUT_THE_NAME = frozenset({LookupFailure.API_UNAVAILABLE, LookupFailure.ACCESS_DENIED})


def endpoint_name(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the database's name says where it is."""
    if not deployment.syncs:
        return _attachment(facts)
    seen = facts.observation
    if isinstance(seen, Unknown | Skipped):
        return missing(seen)
    if isinstance(seen, FailedObservation):
        remedy = _LOOKUP_REMEDIES[seen.failure]
        if seen.failure in _NOT_ABOUT_THE_NAME:
            return missing(Unknown(seen.detail, remedy))
        return broken([seen.detail], remedy, possible_causes=(CheckId.FUNCTION_NETWORK,))
    return _answered(seen)


def _answered(seen: Observation) -> CheckResult:
    told = [_answer(seen)]
    if seen.disagreement:
        return warning(
            [*told, seen.disagreement],
            "Wait a minute: the two sources agree again once caches have run out.",
        )
    if seen.ttl is not None and seen.ttl > _LONGEST_TTL:
        return warning(
            told,
            f"Shorten the record's time to live to {_LONGEST_TTL} seconds or less: an old address"
            " cannot be confirmed as gone within one run.",
        )
    return ok(*told)


def _attachment(facts: Facts) -> CheckResult:
    attached = known(facts.attached)
    if attached is None:
        return broken(
            ["The Auto Scaling group does not exist."],
            "Deploy the stack with the name of the group that has the database.",
        )
    if not attached:
        return broken(
            ["The Auto Scaling group is not attached to the target group."],
            "Attach it: aws autoscaling attach-load-balancer-target-groups.",
        )
    return ok("The Auto Scaling group is attached to the target group.")


def _answer(seen: Observation) -> str:
    ttl = "" if seen.ttl is None else f", TTL {seen.ttl} s"
    addresses = ", ".join(sorted(map(str, seen.addresses))) or "no address"
    return f"{seen.name} is {addresses} (source {seen.source}{ttl})."


def allowed_addresses(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether every address of the answer may become a target."""
    if not deployment.syncs:
        return skipped("An Auto Scaling group registers its instances, whatever their addresses.")
    seen = facts.observation
    if not isinstance(seen, Observation):
        return skipped("There is no address to look at.")
    policy = deployment.policy
    networks = ", ".join(map(str, policy.allowed_networks))
    outside = sorted(str(a) for a in seen.addresses if not policy.allows(a))
    if outside:
        return broken(
            [f"{', '.join(outside)} may not be a target; allowed are {networks}."],
            "If the database is publicly accessible, make it private; else correct"
            " DatabaseEndpoint, or extend AllowedNetworks.",
        )
    if len(seen.addresses) > policy.max_targets:
        return broken(
            [f"The answer has {len(seen.addresses)} addresses; allowed are {policy.max_targets}."],
            "If all of them are the database's, raise MaxTargets; else correct DatabaseEndpoint.",
        )
    return ok(f"All of it lies in {networks}.")


def target_health(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the right targets are registered and pass their health checks."""
    targets = known(facts.targets)
    if targets is None:
        return broken(
            ["The target group does not exist."],
            "Delete the stack and deploy it anew.",
            possible_causes=(CheckId.TARGET_GROUP,),
        )
    here = {str(target): target for target in targets}
    right = _right(facts, deployment)
    names = sorted(right if right is not None else _registered(targets))
    missing = [name for name in names if name not in here or not here[name].is_registered]
    sick = [
        here[name]
        for name in names
        if name not in missing and here[name].state is not TargetState.HEALTHY
    ]
    seen = [
        *(_health(here[name]) for name in names if name in here),
        *(f"{name} is not registered." for name in names if name not in here),
    ] or ["No target is registered."]
    if names and not missing and not sick:
        return ok(*seen)
    well = len(names) - len(missing) - len(sick)
    judge = warning if well else broken
    if missing or not sick:
        return judge(seen, _registration_remedy(deployment), possible_causes=_unregistered())
    return judge(
        seen,
        explained(sick[0].reason).remedy,
        possible_causes=_sickness(target.reason for target in sick),
    )


def _right(facts: Facts, deployment: Deployment) -> frozenset[str] | None:
    """The targets that the answer asks for; None if there is no answer to go by."""
    seen = facts.observation
    if not isinstance(seen, Observation):
        return None
    policy = deployment.policy
    return frozenset(
        f"{address}:{policy.port}"
        for address in seen.addresses
        if address.version in policy.families
    )


def _registered(targets: Iterable[DescribedTarget]) -> frozenset[str]:
    return frozenset(str(target) for target in targets if target.is_registered)


def _health(target: DescribedTarget) -> str:
    reason = f" ({target.reason}): {explained(target.reason).meaning}" if target.reason else "."
    return f"{target} is {target.state}{reason}"


def _registration_remedy(deployment: Deployment) -> str:
    if deployment.syncs:
        return (
            "Resync by hand, and read what the answer says: invoke ReconcileTargetsFunction"
            " with {}."
        )
    return "See the Auto Scaling group for its instances: AWS registers those that are in service."


def _unregistered() -> tuple[CheckId, ...]:
    return (CheckId.ENDPOINT_NAME, CheckId.ALLOWED_ADDRESSES, *_SYNC)


def _sickness(reasons: Iterable[str]) -> tuple[CheckId, ...]:
    """What would explain targets that are not healthy."""
    causes = {
        "Target.NotInUse": (CheckId.LISTENER, CheckId.AVAILABILITY_ZONES),
        "Target.FailedHealthChecks": (
            CheckId.DATABASE_SECURITY_GROUP,
            CheckId.LOAD_BALANCER_SECURITY_GROUP,
        ),
    }
    causes["Target.Timeout"] = causes["Target.FailedHealthChecks"]
    found = [cause for reason in reasons for cause in causes.get(reason, ())]
    return (CheckId.LOAD_BALANCER, *dict.fromkeys(found))


def postgresql(facts: Facts, deployment: Deployment) -> CheckResult:  # noqa: ARG001 - a step
    """Whether what listens behind the targets is PostgreSQL."""
    probes = known(facts.probes)
    told = {
        SslReply.TLS: "{} is PostgreSQL and takes TLS.",
        SslReply.PLAIN: "{} is PostgreSQL and takes no TLS.",
        SslReply.OTHER: "{} accepts connections, but does not answer as PostgreSQL does.",
        SslReply.NO_CONNECTION: "{} takes no connection from the function.",
    }
    seen = [told[probes[target]].format(target) for target in sorted(probes)]
    replies = set(probes.values())
    if SslReply.OTHER in replies:
        return broken(
            seen, "Correct DatabasePort, or start PostgreSQL where something else listens."
        )
    if SslReply.PLAIN in replies:
        return warning(seen, "Switch TLS on at the server: nothing on the road encrypts.")
    if SslReply.NO_CONNECTION in replies:
        # The load balancer's health checks say whether the road is open; this look is an extra.
        return skipped(
            " ".join(seen) + " To have this looked at, let FunctionSecurityGroup in there too."
        )
    return ok(*seen)


def drift(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the group has the right targets alone, and lets go of the former ones."""
    if not deployment.syncs:
        return skipped("An Auto Scaling group registers and deregisters its instances itself.")
    targets = known(facts.targets)
    right = _right(facts, deployment)
    if targets is None or right is None:
        return skipped("Without the database's addresses or a target group nothing can be told.")
    outside = [target for target in targets if target.is_registered and str(target) not in right]
    kept = _kept(outside, facts.standbys, deployment)
    foreign = [target for target in outside if target not in kept]
    if foreign:
        return _foreign(foreign, facts.standbys)
    seen = [f"{target} is kept as the standby's." for target in kept]
    draining = [str(target) for target in targets if not target.is_registered]
    if not draining:
        return ok(*(seen or ["Nothing else is registered, and nothing is draining."]))
    return _draining([*seen, f"{', '.join(draining)} is draining."], facts.recent_runs)


def _kept(
    outside: Sequence[DescribedTarget],
    standbys: StandbyCheck | Unknown | Skipped,
    deployment: Deployment,
) -> list[DescribedTarget]:
    """Targets that are not in the answer and stay all the same."""
    if not isinstance(standbys, StandbyCheck):
        return []
    confirmed = {f"{address}:{deployment.policy.port}" for address in standbys.confirmed}
    return [target for target in outside if str(target) in confirmed]


def _foreign(
    foreign: Sequence[DescribedTarget], standbys: StandbyCheck | Unknown | Skipped
) -> CheckResult:
    names = ", ".join(map(str, foreign))
    seen = [f"{names} is registered and is not where the database is."]
    if isinstance(standbys, Unknown):
        return missing(Unknown(f"{seen[0]} {standbys.why}", standbys.remedy))
    if isinstance(standbys, StandbyCheck) and standbys.failure:
        return missing(Unknown(f"{seen[0]} {standbys.failure}", "Look again in a minute."))
    return broken(
        seen,
        "Wait a minute, since a removal has to be confirmed; if it stays, resync by hand and read"
        " what the answer says.",
        possible_causes=(CheckId.ALLOWED_ADDRESSES, *_SYNC),
    )


def _draining(seen: Sequence[str], runs: RecentRuns | Unknown | Skipped) -> CheckResult:
    """AWS does not say since when; that the function deregistered something does."""
    if isinstance(runs, RecentRuns) and not runs.deregistrations:
        return warning(
            seen,
            f"It was deregistered by somebody else, or more than {runs.seconds / 60:g} minutes ago:"
            " look at deregistration_delay of the target group.",
        )
    return ok(*seen)
