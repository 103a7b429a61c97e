"""Checks of the endpoint service, its allowed principals and its connections."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import join

from target_sync.model import ConnectionState, EndpointConnection
from target_sync.status.checks.commands import invoke
from target_sync.status.checks.result import CheckId, CheckResult, broken, ok, warning
from target_sync.status.facts import Deployment, Facts, LoadBalancer, require

#: ReviewConnectionsFunction accepts a trusted account within this time: it checks for lost
#: notifications every five minutes.
REVIEW_SECONDS = 360.0
_CONNECTED = frozenset({ConnectionState.AVAILABLE, ConnectionState.PARTIAL})
_LOST = frozenset({ConnectionState.REJECTED, ConnectionState.FAILED, ConnectionState.EXPIRED})


def endpoint_service(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the endpoint service is available and uses the load balancer."""
    service = require(facts.service)
    if service is None:
        return broken(
            ["The endpoint service does not exist."],
            "Delete the stack and deploy it again. Every consumer then needs the new service name.",
        )
    state = service.state.lower()
    if state != "available":
        return broken(
            [f"It is {state}."],
            "Wait while it is pending. If it has failed, deploy the stack again.",
        )
    balancer = facts.load_balancer
    modify = (
        f"aws ec2 modify-vpc-endpoint-service-configuration --region {deployment.region}"
        f" --service-id {deployment.service_id}"
    )
    if isinstance(balancer, LoadBalancer) and balancer.arn not in service.load_balancer_arns:
        return broken(
            ["The endpoint service does not use the stack's load balancer."],
            "Add it.",
            command=f"{modify} --add-network-load-balancer-arns {balancer.arn}",
        )
    if isinstance(balancer, LoadBalancer) and len(service.load_balancer_arns) > 1:
        others = [arn for arn in service.load_balancer_arns if arn != balancer.arn]
        return warning(
            [f"The endpoint service also uses {', '.join(others)}, which gets connections too."],
            "Remove it.",
            command=f"{modify} --remove-network-load-balancer-arns {' '.join(others)}",
        )
    expected = deployment.acceptance_required
    if service.acceptance_required != expected:
        actual_word, expected_word = ("off", "on") if expected else ("on", "off")
        return warning(
            [f"The acceptance of requests is {actual_word}, but should be {expected_word}."],
            "Set it back.",
            command=f"{modify} --{'' if expected else 'no-'}acceptance-required",
        )
    return ok(f"It is {state}.")


def allowed_principals(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that the endpoint service allows the stack's principals and no other."""
    actual = require(facts.principals) or frozenset()
    missing = sorted(deployment.principals - actual)
    unexpected = sorted(actual - deployment.principals)
    allowed = f"Allowed: {', '.join(sorted(actual))}." if actual else "No principal is allowed."
    modify = (
        f"aws ec2 modify-vpc-endpoint-service-permissions --region {deployment.region}"
        f" --service-id {deployment.service_id}"
    )
    if missing:
        return broken(
            [allowed, f"Missing: {', '.join(missing)}."],
            "Allow it.",
            command=f"{modify} --add-allowed-principals {join(missing)}",
            possible_causes=(CheckId.ENDPOINT_SERVICE,),
        )
    if unexpected:
        return warning(
            [allowed, f"The stack does not name {', '.join(unexpected)}."],
            "If it may connect, add it to AllowedPrincipals. If not, remove it.",
            command=f"{modify} --remove-allowed-principals {join(unexpected)}",
        )
    # Without a review of requests the list has no effect.
    trusted = deployment.trusted_accounts if deployment.acceptance_required else frozenset()
    if refused := sorted(_refused(trusted, actual)):
        return warning(
            [allowed, f"{', '.join(refused)} is trusted, but may request no connection."],
            "Deploy the stack again with the same accounts in AllowedPrincipals and"
            " TrustedAccounts.",
        )
    return ok(allowed)


def _refused(accounts: Iterable[str], principals: frozenset[str]) -> frozenset[str]:
    """Return the accounts of which no principal may create an endpoint.

    A principal that is no IAM ARN, such as ``*`` or an AWS service, can be of any account.
    """
    if not all(":iam::" in principal for principal in principals):
        return frozenset()
    return frozenset(accounts) - {principal.split(":")[4] for principal in principals}


def endpoint_connections(facts: Facts, deployment: Deployment) -> CheckResult:
    """Check that a consumer is connected, and that no request waits too long."""
    connections = require(facts.connections)
    details = [_describe(connection, facts.now) for connection in connections]
    waiting = [c for c in connections if c.is_request]
    if waiting:
        return _requests(waiting, details, facts.now, deployment)
    if refused := sorted(_refused_consumers(connections, facts)):
        return warning(
            [*details, f"{', '.join(refused)} is connected, but is not of an allowed principal."],
            "AWS keeps its connection, and refuses its next endpoint. If it may connect, add it to"
            " AllowedPrincipals and deploy the stack again. If not, reject its endpoint.",
            command=f"aws ec2 reject-vpc-endpoint-connections --region {deployment.region}"
            f" --service-id {deployment.service_id} --vpc-endpoint-ids {' '.join(refused)}",
            possible_causes=(CheckId.ALLOWED_PRINCIPALS,),
        )
    states = {connection.state for connection in connections}
    if states & _LOST:
        rejected = [c for c in connections if c.state is ConnectionState.REJECTED]
        return warning(
            details,
            "If this consumer should connect, ask it to create the endpoint again. You can still"
            " accept a rejected one.",
            command=_acceptance(rejected, deployment) if rejected else "",
        )
    if states & _CONNECTED:
        return ok(*details)
    if ConnectionState.PENDING in states:
        return warning(details, "Wait: AWS is creating the connection.")
    return warning(
        [*details, "No consumer is connected."],
        "Send the output ConsumerRequest to the vendor, or create an endpoint to the service.",
        possible_causes=(CheckId.ALLOWED_PRINCIPALS, CheckId.ENDPOINT_SERVICE),
    )


def _refused_consumers(connections: Iterable[EndpointConnection], facts: Facts) -> Iterator[str]:
    """Yield the endpoints that are connected, and whose account could not connect now."""
    # A missing or unknown list is a result of another check.
    principals = facts.principals if isinstance(facts.principals, frozenset) else frozenset({"*"})
    connected = [c for c in connections if c.state in _CONNECTED]
    refused = _refused((c.owner for c in connected), principals)
    yield from (c.endpoint_id for c in connected if c.owner in refused)


def _requests(
    waiting: Sequence[EndpointConnection], details: list[str], now: float, deployment: Deployment
) -> CheckResult:
    """Judge requests: the function accepts trusted accounts, a person decides about others."""
    untrusted = [c for c in waiting if c.owner not in deployment.trusted_accounts]
    if untrusted or not deployment.acceptance_required:
        return broken(
            details,
            "Accept it, or reject it: use reject-vpc-endpoint-connections with the same options. To"
            " accept this account always, add it to TrustedAccounts.",
            command=_acceptance(untrusted or waiting, deployment),
        )
    if _is_overdue(waiting, now):
        return broken(
            details,
            "Read the log of ReviewConnectionsFunction, which should have accepted it. Invoke the"
            " function with {} to try again.",
            command=invoke("ReviewConnectionsFunction", deployment),
        )
    return warning(details, "Wait: ReviewConnectionsFunction accepts trusted accounts.")


def _acceptance(connections: Iterable[EndpointConnection], deployment: Deployment) -> str:
    ids = " ".join(connection.endpoint_id for connection in connections)
    return (
        f"aws ec2 accept-vpc-endpoint-connections --region {deployment.region}"
        f" --service-id {deployment.service_id} --vpc-endpoint-ids {ids}"
    )


def _is_overdue(waiting: Iterable[EndpointConnection], now: float) -> bool:
    return any(_age(connection, now) > REVIEW_SECONDS for connection in waiting)


def has_overdue_request(facts: Facts, deployment: Deployment) -> bool:
    """Return whether ReviewConnectionsFunction should already have accepted a request."""
    if not isinstance(facts.connections, tuple) or not deployment.acceptance_required:
        return False
    trusted = deployment.trusted_accounts
    requests = (c for c in facts.connections if c.is_request and c.owner in trusted)
    return _is_overdue(requests, facts.now)


def _age(connection: EndpointConnection, now: float) -> float:
    return 0.0 if connection.created_at is None else max(0.0, now - connection.created_at)


def _describe(connection: EndpointConnection, now: float) -> str:
    words: Mapping[ConnectionState, str] = {
        ConnectionState.PENDING_ACCEPTANCE: "waits for acceptance",
        ConnectionState.UNKNOWN: "is in an unknown state",
    }
    state = words.get(connection.state, f"is {connection.state.value}")
    since = "" if connection.created_at is None else f", created {ago(_age(connection, now))}"
    return f"{connection.endpoint_id} of account {connection.owner} {state}{since}."


def ago(seconds: float) -> str:
    """Return a duration before now in one unit, for example `5 minutes ago`."""
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    for length, name in units:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{seconds:.0f} seconds ago"
