"""Which endpoint connections are answered, and how."""

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
from tests.support.connections import OTHER, SENDER, SERVICE_ID, TRUSTED

OPEN = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}))
STRICT = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}), reject_untrusted=True)
NO_REQUESTS = sorted(set(ConnectionState) - {ConnectionState.PENDING_ACCEPTANCE})

accounts = st.text(string.digits, min_size=12, max_size=12)
#: What might stand where an account should: also parts of one, and more than one.
owners = accounts | st.text(string.digits + " ,*:", max_size=30) | st.just(TRUSTED)


def connection(
    owner: str = TRUSTED, state: ConnectionState = ConnectionState.PENDING_ACCEPTANCE
) -> EndpointConnection:
    return EndpointConnection(endpoint_id="vpce-0abc", owner=owner, state=state)


@pytest.mark.parametrize(
    ("owner", "policy", "answer", "reason"),
    [
        (TRUSTED, OPEN, ConnectionAction.ACCEPT, DecisionReason.TRUSTED),
        (TRUSTED, STRICT, ConnectionAction.ACCEPT, DecisionReason.TRUSTED),
        (OTHER, OPEN, ConnectionAction.LEAVE, DecisionReason.FOR_A_PERSON),
        (OTHER, STRICT, ConnectionAction.REJECT, DecisionReason.UNTRUSTED),
    ],
)
def test_a_request_is_answered_by_its_account(
    owner: str, policy: ConnectionPolicy, answer: ConnectionAction, reason: DecisionReason
) -> None:
    decision = decide(connection(owner), policy)

    assert (decision.answer, decision.reason) == (answer, reason)
    assert decision.waits == (answer is ConnectionAction.LEAVE)


@pytest.mark.parametrize("policy", [OPEN, STRICT])
@pytest.mark.parametrize("owner", [TRUSTED, OTHER])
@pytest.mark.parametrize("state", NO_REQUESTS)
def test_what_is_no_request_is_left_alone(
    state: ConnectionState, owner: str, policy: ConnectionPolicy
) -> None:
    decision = decide(connection(owner, state), policy)

    assert (decision.answer, decision.reason) == (ConnectionAction.LEAVE, DecisionReason.NO_REQUEST)
    assert not decision.waits


def test_without_a_trusted_account_nobody_is_accepted() -> None:
    decision = decide(connection(), ConnectionPolicy(trusted_accounts=frozenset()))

    assert decision.answer is ConnectionAction.LEAVE


@given(
    owner=owners,
    state=st.sampled_from(ConnectionState),
    trusted=st.frozensets(accounts, max_size=4),
    reject=st.booleans(),
)
def test_an_account_that_is_not_on_the_list_is_never_accepted(
    owner: str, state: ConnectionState, trusted: frozenset[str], reject: bool
) -> None:
    policy = ConnectionPolicy(trusted_accounts=trusted, reject_untrusted=reject)

    answer = decide(connection(owner, state), policy).answer

    assert answer is not ConnectionAction.ACCEPT or owner in trusted
    assert answer is not ConnectionAction.REJECT or owner not in trusted


@pytest.mark.parametrize("text", ["pendingAcceptance", "PendingAcceptance", "PENDINGACCEPTANCE"])
def test_states_are_compared_without_case(text: str) -> None:
    assert ConnectionState.of(text) is ConnectionState.PENDING_ACCEPTANCE


def test_a_state_that_we_do_not_know_is_left_alone() -> None:
    state = ConnectionState.of("Sleeping")

    assert state is ConnectionState.UNKNOWN
    assert decide(connection(state=state), STRICT).answer is ConnectionAction.LEAVE


@pytest.mark.parametrize(
    ("owner", "policy", "verb", "commands"),
    [
        (TRUSTED, OPEN, "accepted", ["reject"]),
        (OTHER, STRICT, "rejected", []),
        (OTHER, OPEN, "waiting", ["accept", "reject"]),
    ],
)
def test_a_message_says_what_happened_and_what_a_person_can_do(
    owner: str, policy: ConnectionPolicy, verb: str, commands: list[str]
) -> None:
    told = notification_of(decide(connection(owner), policy), SENDER, at=0.0).message

    assert told.text.startswith(
        f"The request of endpoint vpce-0abc, account {owner}, to endpoint service {SERVICE_ID} "
    )
    assert verb in told.text
    lines = [line.partition("aws ec2 ")[2] for line in told.text.splitlines() if "aws ec2" in line]
    assert lines == [
        f"{command}-vpc-endpoint-connections --service-id {SERVICE_ID} --vpc-endpoint-ids vpce-0abc"
        for command in commands
    ]


@pytest.mark.parametrize("policy", [OPEN, STRICT])
@pytest.mark.parametrize("owner", [TRUSTED, OTHER])
def test_a_subject_is_one_that_sns_takes(owner: str, policy: ConnectionPolicy) -> None:
    subject = notification_of(decide(connection(owner), policy), SENDER, at=0.0).message.subject

    assert subject.isascii()
    assert len(subject) < 100
