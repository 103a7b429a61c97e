"""What is told about a connection request: that it was answered, or that a person has to."""

from collections.abc import Mapping

from target_sync.core.connections import Answer, Decision
from target_sync.core.messages import VERSION, Event, Message, Notice, Sender, mail, plain

_ACCEPT = "aws ec2 accept-vpc-endpoint-connections"
_REJECT = "aws ec2 reject-vpc-endpoint-connections"
_MAILS: Mapping[Answer, Message] = {
    Answer.ACCEPT: Message(
        "endpoint connection accepted",
        "was accepted: {why}.\n\nTo end the connection: " + _REJECT + " {which}",
    ),
    Answer.REJECT: Message(
        "endpoint connection rejected",
        "was rejected: {why}.\n\nIf the account is to have access, add it to TrustedAccounts and"
        " let the consumer create its endpoint anew.",
    ),
    Answer.LEAVE: Message(
        "endpoint connection waits for you",
        "is waiting: {why}.\n\nTo let the account in, now and later, add it to TrustedAccounts."
        "\nTo accept this request only: " + _ACCEPT + " {which}"
        "\nTo refuse it: " + _REJECT + " {which}",
    ),
}


def notice_of(decision: Decision, sender: Sender, *, at: float) -> Notice:
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
        "why": decision.reason.value,
    }
    return Notice(_mail(decision, sender), Event(kind, detail, sender.resource))


def _mail(decision: Decision, sender: Sender) -> Message:
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
