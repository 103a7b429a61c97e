"""The mail and the event about a connection request."""

from collections.abc import Mapping

from target_sync.connections.decisions import ConnectionAction, Decision
from target_sync.notifications.messages import (
    VERSION,
    BusEvent,
    Email,
    Notification,
    Origin,
    mail,
    plain,
)

_ACCEPT = "aws ec2 accept-vpc-endpoint-connections"
_REJECT = "aws ec2 reject-vpc-endpoint-connections"
_MAILS: Mapping[ConnectionAction, Email] = {
    ConnectionAction.ACCEPT: Email(
        "endpoint connection accepted",
        "was accepted: {reason}.\n\nTo end the connection: " + _REJECT + " {options}",
    ),
    ConnectionAction.REJECT: Email(
        "endpoint connection rejected",
        "was rejected: {reason}.\n\nTo give the account access, add it to TrustedAccounts and"
        " let the consumer create its endpoint again.",
    ),
    ConnectionAction.LEAVE: Email(
        "endpoint connection waits for you",
        "is waiting: {reason}.\n\nTo accept every request of the account, add it to"
        " TrustedAccounts.\nTo accept this request only: " + _ACCEPT + " {options}"
        "\nTo reject it: " + _REJECT + " {options}",
    ),
}


def notification_of(decision: Decision, origin: Origin, *, at: float) -> Notification:
    """Return the mail and the event about a decision; ``at`` is in seconds since the epoch."""
    detail_type = "Connection Waiting" if decision.waits else "Connection Reviewed"
    detail = {
        "version": VERSION,
        "id": f"{decision.connection.endpoint_id}-{decision.action.value}",
        "stack": origin.stack,
        "endpoint_service": origin.resource,
        "at": round(at, 3),
        "endpoint": plain(decision.connection.endpoint_id),
        "account": plain(decision.connection.owner),
        "action": decision.action.value,
        "reason": decision.reason.value,
    }
    return Notification(_mail(decision, origin), BusEvent(detail_type, detail, origin.resource))


def _mail(decision: Decision, origin: Origin) -> Email:
    endpoint = plain(decision.connection.endpoint_id)
    account, service = plain(decision.connection.owner), origin.resource
    template = _MAILS[decision.action]
    options = f"--service-id {service} --vpc-endpoint-ids {endpoint}"
    return mail(
        f"{origin.stack}: {template.subject}",
        [
            f"The request of endpoint {endpoint}, account {account}, to endpoint service {service} "
            + template.text.format(reason=decision.reason, options=options)
        ],
    )
