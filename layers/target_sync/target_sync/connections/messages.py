"""What is told about a connection request: that it was answered, or that a person has to."""

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
        "was accepted: {why}.\n\nTo end the connection: " + _REJECT + " {which}",
    ),
    ConnectionAction.REJECT: Email(
        "endpoint connection rejected",
        "was rejected: {why}.\n\nIf the account is to have access, add it to TrustedAccounts and"
        " let the consumer create its endpoint anew.",
    ),
    ConnectionAction.LEAVE: Email(
        "endpoint connection waits for you",
        "is waiting: {why}.\n\nTo let the account in, now and later, add it to TrustedAccounts."
        "\nTo accept this request only: " + _ACCEPT + " {which}"
        "\nTo refuse it: " + _REJECT + " {which}",
    ),
}


def notification_of(decision: Decision, sender: Origin, *, at: float) -> Notification:
    """The news about a request: what happened, why, and what a person can do about it.

    Args:
        decision: The answer that was given, or that a person has to give.
        sender: Who tells; its resource is the ID of the endpoint service.
        at: When, in seconds since the epoch.
    """
    kind = "Connection Waiting" if decision.waits else "Connection Answered"
    detail = {
        "version": VERSION,
        "id": f"{decision.connection.endpoint_id}-{decision.answer.value}",
        "stack": sender.stack,
        "endpoint_service": sender.resource,
        "at": round(at, 3),
        "endpoint": plain(decision.connection.endpoint_id),
        "account": plain(decision.connection.owner),
        "answer": decision.answer.value,
        "reason": decision.reason.value,
    }
    return Notification(_mail(decision, sender), BusEvent(kind, detail, sender.resource))


def _mail(decision: Decision, sender: Origin) -> Email:
    endpoint = plain(decision.connection.endpoint_id)
    account, service = plain(decision.connection.owner), sender.resource
    template = _MAILS[decision.answer]
    which = f"--service-id {service} --vpc-endpoint-ids {endpoint}"
    return mail(
        f"{sender.stack}: {template.subject}",
        [
            f"The request of endpoint {endpoint}, account {account}, to endpoint service {service} "
            + template.text.format(why=decision.reason, which=which)
        ],
    )
