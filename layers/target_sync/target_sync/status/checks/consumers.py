"""The endpoint service, who may connect to it, and who has."""

from collections.abc import Iterable, Mapping

from target_sync.model import ConnectionState, EndpointConnection
from target_sync.status.checks.result import CheckId, CheckResult, broken, known, ok, warning
from target_sync.status.facts import Deployment, Facts, LoadBalancer

#: So long the answer to a trusted account may take: the sweep for lost notifications runs every
#: five minutes.
ANSWER_SECONDS = 360.0
_AVAILABLE = "available"
_WORKING = frozenset({ConnectionState.AVAILABLE, ConnectionState.PARTIAL})
_LOST = frozenset({ConnectionState.REJECTED, ConnectionState.FAILED, ConnectionState.EXPIRED})


def endpoint_service(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether the endpoint service takes connections to the load balancer."""
    service = known(facts.service)
    if service is None:
        return broken(
            ["The endpoint service does not exist."],
            "Delete the stack and deploy it anew; every consumer then needs the new service name.",
        )
    seen = [f"It is {service.state.lower()}."]
    if service.state.lower() != _AVAILABLE:
        return broken(seen, "Wait while it is pending; if it has failed, deploy the stack anew.")
    balancer = facts.load_balancer
    if isinstance(balancer, LoadBalancer) and balancer.arn not in service.load_balancer_arns:
        return broken(
            ["The endpoint service does not stand on the stack's load balancer."],
            "Put it back: aws ec2 modify-vpc-endpoint-service-configuration"
            f" --service-id {deployment.service_id} --add-network-load-balancer-arns"
            f" {balancer.arn}.",
        )
    if service.acceptance_required != deployment.acceptance_required:
        word = {True: "have to", False: "need not"}
        return warning(
            [
                (
                    f"Requests {word[service.acceptance_required]} be accepted, and"
                    f" {word[deployment.acceptance_required]} as it was deployed."
                )
            ],
            "Set it back: aws ec2 modify-vpc-endpoint-service-configuration --service-id"
            f" {deployment.service_id} --{'' if deployment.acceptance_required else 'no-'}"
            "acceptance-required.",
        )
    return ok(*seen)


def allowed_principals(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether those who are to connect may."""
    principals = known(facts.principals)
    there = principals or frozenset()
    missing = sorted(deployment.principals - there)
    more = sorted(there - deployment.principals)
    seen = [f"Allowed are {', '.join(sorted(there))}." if there else "Nobody may connect."]
    if missing:
        return broken(
            [*seen, f"{', '.join(missing)} should be, too."],
            "Allow it: aws ec2 modify-vpc-endpoint-service-permissions"
            f" --service-id {deployment.service_id} --add-allowed-principals {' '.join(missing)}.",
            possible_causes=(CheckId.ENDPOINT_SERVICE,),
        )
    if more:
        return warning(
            [*seen, f"{', '.join(more)} was not allowed by the stack."],
            "If it should be, name it in AllowedPrincipals; if not, remove it: aws ec2"
            f" modify-vpc-endpoint-service-permissions --service-id {deployment.service_id}"
            f" --remove-allowed-principals {' '.join(more)}.",
        )
    return ok(*seen)


def endpoint_connections(facts: Facts, deployment: Deployment) -> CheckResult:
    """Whether consumers are connected, and none waits in vain."""
    connections = known(facts.connections)
    seen = [_notified(connection, facts.now) for connection in connections]
    waiting = [c for c in connections if c.is_request]
    if waiting:
        return _requests(waiting, seen, facts.now, deployment)
    states = {connection.state for connection in connections}
    if states & _LOST:
        return warning(
            seen,
            "If it was to connect, let the consumer make its endpoint anew; a rejected one can"
            " still be accepted: aws ec2 accept-vpc-endpoint-connections.",
        )
    if states & _WORKING:
        return ok(*seen)
    if ConnectionState.PENDING in states:
        return warning(seen, "Wait: AWS is making the connection.")
    return warning(
        [*seen, "No consumer is connected."],
        "Send the output ConsumerRequest to the vendor, or create an endpoint to the service.",
        possible_causes=(CheckId.ALLOWED_PRINCIPALS, CheckId.ENDPOINT_SERVICE),
    )


def _requests(
    waiting: Iterable[EndpointConnection], seen: list[str], now: float, deployment: Deployment
) -> CheckResult:
    """Judge what waits for an answer: for a trusted account the function's, else a person's."""
    strangers = [c for c in waiting if c.owner not in deployment.trusted_accounts]
    if strangers or not deployment.acceptance_required:
        ids = " ".join(c.endpoint_id for c in strangers or waiting)
        return broken(
            seen,
            "Decide: aws ec2 accept-vpc-endpoint-connections (or reject-vpc-endpoint-connections)"
            f" --service-id {deployment.service_id} --vpc-endpoint-ids {ids}; to accept the account"
            " always, name it in TrustedAccounts.",
        )
    if _overdue(waiting, now):
        return broken(
            seen,
            "Read the log of ReviewConnectionsFunction, which should have accepted it; invoke it"
            " with {} to try again.",
        )
    return warning(seen, "Wait: ReviewConnectionsFunction accepts a trusted account by itself.")


def _overdue(waiting: Iterable[EndpointConnection], now: float) -> bool:
    return any(_age(c, now) > ANSWER_SECONDS for c in waiting)


def is_unanswered(facts: Facts, deployment: Deployment) -> bool:
    """Whether a request waits in vain for ReviewConnectionsFunction, which should accept it."""
    if not isinstance(facts.connections, tuple) or not deployment.acceptance_required:
        return False
    trusted = deployment.trusted_accounts
    mine = (c for c in facts.connections if c.is_request and c.owner in trusted)
    return _overdue(mine, facts.now)


def _age(connection: EndpointConnection, now: float) -> float:
    return 0.0 if connection.created_at is None else max(0.0, now - connection.created_at)


def _notified(connection: EndpointConnection, now: float) -> str:
    words: Mapping[ConnectionState, str] = {
        ConnectionState.PENDING_ACCEPTANCE: "waits to be accepted",
        ConnectionState.UNKNOWN: "is in a state that is not known here",
    }
    state = words.get(connection.state, f"is {connection.state.value}")
    since = "" if connection.created_at is None else f", made {ago(_age(connection, now))}"
    return f"{connection.endpoint_id} of account {connection.owner} {state}{since}."


def ago(seconds: float) -> str:
    """How long ago, in one unit."""
    units = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
    for length, name in units:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{seconds:.0f} seconds ago"
