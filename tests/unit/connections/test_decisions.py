"""Decisions about connection requests, and the messages about them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.connections.decisions import (
    ConnectionAction,
    ConnectionPolicy,
    DecisionReason,
    decide,
)
from target_sync.connections.messages import notification_of
from target_sync.model import ConnectionState, EndpointConnection
from tests.support.connections import ORIGIN, OTHER, SERVICE_ID, TRUSTED

OPEN = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}))
STRICT = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}), reject_untrusted=True)
NO_REQUESTS = sorted(set(ConnectionState) - {ConnectionState.PENDING_ACCEPTANCE})

accounts = st.text(string.digits, min_size=12, max_size=12)
#: Account fields, including incomplete ones and several in one text.
owners = accounts | st.text(string.digits + " ,*:", max_size=30) | st.just(TRUSTED)


def connection(
    owner: str = TRUSTED, state: ConnectionState = ConnectionState.PENDING_ACCEPTANCE
) -> EndpointConnection:
    return EndpointConnection(endpoint_id="vpce-0abc", owner=owner, state=state)


@pytest.mark.parametrize(
    ("owner", "policy", "action", "reason"),
    [
        (TRUSTED, OPEN, ConnectionAction.ACCEPT, DecisionReason.TRUSTED),
        (TRUSTED, STRICT, ConnectionAction.ACCEPT, DecisionReason.TRUSTED),
        (OTHER, OPEN, ConnectionAction.LEAVE, DecisionReason.FOR_A_PERSON),
        (OTHER, STRICT, ConnectionAction.REJECT, DecisionReason.UNTRUSTED),
    ],
)
def test_the_account_decides_about_a_request(
    owner: str, policy: ConnectionPolicy, action: ConnectionAction, reason: DecisionReason
) -> None:
    decision = decide(connection(owner), policy)

    assert (decision.action, decision.reason) == (action, reason)
    assert decision.waits == (action is ConnectionAction.LEAVE)


@pytest.mark.parametrize("policy", [OPEN, STRICT])
@pytest.mark.parametrize("owner", [TRUSTED, OTHER])
@pytest.mark.parametrize("state", NO_REQUESTS)
def test_leaves_a_connection_that_is_no_request(
    state: ConnectionState, owner: str, policy: ConnectionPolicy
) -> None:
    decision = decide(connection(owner, state), policy)

    assert (decision.action, decision.reason) == (ConnectionAction.LEAVE, DecisionReason.NO_REQUEST)
    assert not decision.waits


def test_accepts_no_request_without_a_trusted_account() -> None:
    decision = decide(connection(), ConnectionPolicy(trusted_accounts=frozenset()))

    assert decision.action is ConnectionAction.LEAVE


@given(
    owner=owners,
    state=st.sampled_from(ConnectionState),
    trusted=st.frozensets(accounts, max_size=4),
    reject=st.booleans(),
)
def test_never_accepts_an_account_outside_the_list(
    owner: str, state: ConnectionState, trusted: frozenset[str], reject: bool
) -> None:
    policy = ConnectionPolicy(trusted_accounts=trusted, reject_untrusted=reject)

    action = decide(connection(owner, state), policy).action

    assert action is not ConnectionAction.ACCEPT or owner in trusted
    assert action is not ConnectionAction.REJECT or owner not in trusted


@pytest.mark.parametrize("text", ["pendingAcceptance", "PendingAcceptance", "PENDINGACCEPTANCE"])
def test_reads_a_state_in_any_letter_case(text: str) -> None:
    assert ConnectionState.of(text) is ConnectionState.PENDING_ACCEPTANCE


def test_leaves_a_connection_in_an_unknown_state() -> None:
    state = ConnectionState.of("Sleeping")

    assert state is ConnectionState.UNKNOWN
    assert decide(connection(state=state), STRICT).action is ConnectionAction.LEAVE


@pytest.mark.parametrize(
    ("owner", "policy", "verb", "commands"),
    [
        (TRUSTED, OPEN, "accepted", ["reject"]),
        (OTHER, STRICT, "rejected", []),
        (OTHER, OPEN, "waiting", ["accept", "reject"]),
    ],
)
def test_a_mail_states_the_action_and_the_commands_for_a_person(
    owner: str, policy: ConnectionPolicy, verb: str, commands: list[str]
) -> None:
    mail = notification_of(decide(connection(owner), policy), ORIGIN, at=0.0).message

    assert mail.text.startswith(
        f"The request of endpoint vpce-0abc, account {owner}, to endpoint service {SERVICE_ID} "
    )
    assert verb in mail.text
    lines = [line.partition("aws ec2 ")[2] for line in mail.text.splitlines() if "aws ec2" in line]
    assert lines == [
        f"{command}-vpc-endpoint-connections --service-id {SERVICE_ID} --vpc-endpoint-ids vpce-0abc"
        for command in commands
    ]


@pytest.mark.parametrize("policy", [OPEN, STRICT])
@pytest.mark.parametrize("owner", [TRUSTED, OTHER])
def test_sns_accepts_every_subject(owner: str, policy: ConnectionPolicy) -> None:
    subject = notification_of(decide(connection(owner), policy), ORIGIN, at=0.0).message.subject

    assert subject.isascii()
    assert len(subject) < 100
