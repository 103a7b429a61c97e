"""ProvisionStackFunction, called through its handler: every custom resource, and failures."""

import json
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import pytest

from functions.provision_stack import app
from target_sync.errors import CustomResourceRequestError, CustomResourceResponseError
from target_sync.model import ConnectionState
from target_sync.provisioning import provisioner
from target_sync.provisioning.ports import FunctionError
from target_sync.provisioning.provisioner import RESERVE_SECONDS
from target_sync.provisioning.request import failure_response, parse_request
from tests.support.custom_resources import (
    GROUP,
    INSTANCE,
    OTHER_TARGET_GROUP,
    RESPONSE_URL,
    TARGET_GROUP,
    FakeConnections,
    FakeFunctions,
    Stack,
    event,
    lookup_properties,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOOKUP = lookup_properties({"DatabaseEndpoint": INSTANCE})
SYNC = {"FunctionName": "sync", "Endpoint": INSTANCE, "Port": "5432", "Kind": "rds-instance"}
CONNECTIONS = {"ServiceId": "vpce-svc-0123"}
ATTACHMENT = {"AutoScalingGroupName": GROUP, "TargetGroupArn": TARGET_GROUP}
EVERY_RESOURCE: dict[str, Mapping[str, object]] = {
    "DatabaseLookup": LOOKUP,
    "FirstSync": SYNC,
    "EndpointConnections": CONNECTIONS,
    "AutoScalingAttachment": ATTACHMENT,
}


def sync_result(
    status: str, state: str = "healthy", reason: str | None = None, **more: object
) -> dict[str, object]:
    """Return a result document of ReconcileTargetsFunction with one target."""
    target = {"target": "10.0.1.11:5432", "state": state, "state_reason": reason}
    return {"status": status, "summary": "Done.", "kept": [target], "registered": [], **more}


HEALTHY = sync_result("in_sync")
REGISTERING = sync_result("synced", "initial", "Elb.RegistrationInProgress")
UNHEALTHY = sync_result("in_sync", "unhealthy", "Target.FailedHealthChecks")


def test_a_failure_whose_fixed_parts_are_too_long_has_no_reason() -> None:
    request = parse_request({**event("Create", "FirstSync", SYNC), "StackId": "x" * 5000})

    assert json.loads(failure_response(request, "reason"))["Reason"] == "…"


@pytest.fixture
def stack() -> Stack:
    return Stack(functions=FakeFunctions(HEALTHY))


@pytest.fixture
def _no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    # The watchdog measures real time, so on a busy machine it could respond first.
    monkeypatch.setattr(provisioner, "_failing_at_time_out", lambda *_: nullcontext())


# -------------------------------------------------------------------------------- the handler


class FakeContext:
    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:provision"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def test_the_handler_passes_the_request_to_the_provisioner(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    arns: list[str] = []

    def stack_provisioner(function_arn: str) -> object:
        arns.append(function_arn)
        return stack.provisioner()

    monkeypatch.setattr(app, "stack_provisioner", stack_provisioner)
    app.handler(event("Create", "DatabaseLookup", LOOKUP), cast("LambdaContext", FakeContext()))

    assert arns == [FakeContext.invoked_function_arn]
    assert stack.cloudformation.responses[0]["Status"] == "SUCCESS"


# ------------------------------------------------------------------------- every custom resource


@pytest.mark.parametrize("resource", EVERY_RESOURCE)
@pytest.mark.parametrize("request_type", ["Create", "Update", "Delete"])
def test_every_request_gets_a_response(stack: Stack, resource: str, request_type: str) -> None:
    response = stack.request(request_type, resource, **EVERY_RESOURCE[resource])

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["PhysicalResourceId"] == response["LogicalResourceId"] == resource
    assert response["RequestId"] == "5c0d4f8a"
    assert response["StackId"].endswith("stack/orders/0123")
    if request_type == "Delete":
        assert response["Data"] == {}


@pytest.mark.parametrize("resource", EVERY_RESOURCE)
def test_an_update_and_a_deletion_keep_the_physical_id(stack: Stack, resource: str) -> None:
    for request_type in ("Update", "Delete"):
        request = event(request_type, resource, EVERY_RESOURCE[resource])
        response = stack.send({**request, "PhysicalResourceId": "from-another-version"})
        assert response["PhysicalResourceId"] == "from-another-version"


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_failed_lookup_fails_the_deployment_and_its_deletion_succeeds(
    stack: Stack, request_type: str
) -> None:
    misspelt = lookup_properties({"DatabaseEndpoint": "oders." + INSTANCE.partition(".")[2]})
    response = stack.request(request_type, "DatabaseLookup", **misspelt)

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("DatabaseEndpoint oders.")
    assert stack.request("Delete", "DatabaseLookup", **misspelt)["Status"] == "SUCCESS"


# ------------------------------------------------------------------------------------- first sync


@pytest.mark.parametrize("status", ["in_sync", "synced", "unhealthy"])
def test_the_first_sync_returns_the_targets_and_their_health(stack: Stack, status: str) -> None:
    stack.functions.replies = [sync_result(status)]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Data"] == {
        "Registered": "10.0.1.11:5432",
        "Health": "10.0.1.11:5432 healthy",
        "Hint": "Every target is healthy; nothing needs to be done.",
        "SwitchVerified": "no: the deployment tests the switch only with StandbyTargets=warm",
        "SecondsToHealthyOnceOpened": "not measured",
    }
    assert stack.functions.invocations == [("sync", {"dry_run": False, "wait_for_healthy": False})]


def test_the_first_sync_waits_for_health(stack: Stack) -> None:
    stack.functions.replies = [REGISTERING, REGISTERING, HEALTHY]

    assert (
        stack.request("Update", "FirstSync", **SYNC)["Data"]["Health"] == "10.0.1.11:5432 healthy"
    )
    assert len(stack.functions.invocations) == 3


@pytest.mark.parametrize("state", ["initial", "unused"])
def test_the_first_sync_waits_as_long_as_aws_registers_a_target(stack: Stack, state: str) -> None:
    stack.remaining_seconds = 540
    stack.functions.replies = [sync_result("synced", state)]
    healthy_at = stack.clock.now() + 185
    stack.clock.at(healthy_at, lambda: setattr(stack.functions, "replies", [HEALTHY]))

    response = stack.request("Create", "FirstSync", **SYNC, OutboundRulesGroup="sg-0123")

    assert response["Data"]["Health"] == "10.0.1.11:5432 healthy"
    assert stack.clock.now() - healthy_at < 5


@pytest.mark.usefixtures("_no_watchdog")
@pytest.mark.parametrize(
    ("state", "group", "seconds"),
    [("initial", "sg-0123", 525), ("unused", "sg-0123", 525), ("unused", "", 60)],
)
def test_the_wait_for_a_registration_ends_in_time(
    stack: Stack, state: str, group: str, seconds: float
) -> None:
    stack.remaining_seconds = 540
    stack.functions.replies = [sync_result("synced", state)]
    start = stack.clock.now()

    response = stack.request("Create", "FirstSync", **SYNC, OutboundRulesGroup=group)

    assert response["Data"]["Health"] == f"10.0.1.11:5432 {state}"
    assert stack.clock.now() - start == seconds


def test_the_first_sync_waits_a_minute_for_a_registered_target_that_is_unhealthy(
    stack: Stack,
) -> None:
    stack.functions.replies = [REGISTERING]
    registered_at = stack.clock.now() + 100
    stack.clock.at(registered_at, lambda: setattr(stack.functions, "replies", [UNHEALTHY]))

    assert stack.request("Create", "FirstSync", **SYNC)["Status"] == "SUCCESS"
    assert 55 <= stack.clock.now() - registered_at <= 60


def test_the_first_sync_waits_for_every_target_and_returns_them_in_order(stack: Stack) -> None:
    new, old = (
        {"target": target, "state": state, "state_reason": None}
        for target, state in (("10.0.2.12:5432", "initial"), ("10.0.1.11:5432", "healthy"))
    )
    stack.functions.replies = [
        {"status": "synced", "registered": [new], "kept": [old]},
        {"status": "in_sync", "registered": [], "kept": [{**new, "state": "healthy"}, old]},
    ]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Data"]["Registered"] == "10.0.1.11:5432, 10.0.2.12:5432"
    assert len(stack.functions.invocations) == 2


def test_the_first_sync_waits_for_an_unfinished_run(stack: Stack) -> None:
    stack.functions.replies = [sync_result("unfinished"), HEALTHY]

    stack.request("Update", "FirstSync", **SYNC)

    assert len(stack.functions.invocations) == 2


def test_a_later_failed_run_does_not_fail_the_deployment(stack: Stack) -> None:
    stack.functions.replies = [REGISTERING, FunctionError("ObservationError", "timed out"), HEALTHY]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert (response["Status"], len(stack.functions.invocations)) == ("SUCCESS", 3)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Target.FailedHealthChecks", "security group"),
        ("Target.Timeout", "DatabasePort is wrong"),
        ("Target.NotInUse", "SubnetIds"),
        ("Target.InvalidState", "Start it"),
        ("Elb.InitialHealthChecking", "Wait until it is healthy"),
        ("Something.New", "EC2 console"),
    ],
)
def test_an_unhealthy_target_does_not_fail_the_deployment(
    stack: Stack, reason: str, hint: str
) -> None:
    stack.functions.replies = [sync_result("in_sync", "unhealthy", reason)]
    start = stack.clock.now()

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Status"] == "SUCCESS"
    assert response["Data"]["Health"] == f"10.0.1.11:5432 unhealthy ({reason})"
    assert hint in response["Data"]["Hint"]
    assert stack.clock.now() - start == 60


@pytest.mark.parametrize(("result", "noted"), [(UNHEALTHY, True), (HEALTHY, False)])
def test_the_hint_for_an_unhealthy_target_begins_with_the_note_of_the_look_up(
    stack: Stack, result: dict[str, object], noted: bool
) -> None:
    stack.functions.replies = [result]

    hint = stack.request("Create", "FirstSync", **SYNC, IngressNote="No rule.")["Data"]["Hint"]

    assert hint.startswith("No rule. 10.0.1.11:5432: ") is noted


@pytest.mark.usefixtures("_no_watchdog")
def test_the_wait_for_health_ends_in_time_for_the_response() -> None:
    stack = Stack(functions=FakeFunctions(UNHEALTHY), remaining_seconds=RESERVE_SECONDS + 32)
    start = stack.clock.now()

    assert stack.request("Create", "FirstSync", **SYNC)["Status"] == "SUCCESS"
    assert stack.clock.now() - start == 32


def test_a_name_that_does_not_resolve_fails_the_deployment(stack: Stack) -> None:
    message = f"{INSTANCE} does not exist in DNS. Was the database renamed or deleted?"
    stack.functions.replies = [FunctionError("ObservationError", message)]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert "Correct DatabaseEndpoint, or set Resolvers" in response["Reason"]
    assert len(stack.functions.invocations) == 1


def test_a_missing_target_group_fails_the_deployment(stack: Stack) -> None:
    message = "DescribeTargetHealth failed with TargetGroupNotFound: no such group."
    stack.functions.replies = [FunctionError("AwsNotFoundError", message)]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Status"] == "FAILED"
    assert f"{message} Set ExistingTargetGroupArn" in response["Reason"]


def test_an_address_outside_the_allowed_networks_fails_the_deployment(stack: Stack) -> None:
    veto = {"code": "outside_allowed_networks", "detail": "8.8.8.8 is outside 10.0.0.0/16."}
    rejected = [{"target": "8.8.8.8:5432"}]
    stack.functions.replies = [sync_result("vetoed", vetoes=[veto], rejected=rejected)]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Status"] == "FAILED"
    assert "8.8.8.8 is outside 10.0.0.0/16." in response["Reason"]
    assert "AllowedNetworks" in response["Reason"]


@pytest.mark.parametrize(
    "result", [sync_result("vetoed", kept=[]), {"status": "vetoed", "kept": "x"}]
)
def test_a_sync_that_registered_nothing_fails_the_deployment(
    stack: Stack, result: dict[str, object]
) -> None:
    stack.functions.replies = [result]

    reason = stack.request("Create", "FirstSync", **SYNC)["Reason"]
    assert reason.startswith("No target was registered for DatabaseEndpoint")


@pytest.mark.parametrize("error", ["AwsAccessDeniedError", "ObservationDeniedError"])
def test_retries_while_the_policy_of_the_sync_is_not_applied(stack: Stack, error: str) -> None:
    stack.functions.replies = [FunctionError(error, "not authorized"), HEALTHY]

    assert stack.request("Create", "FirstSync", **SYNC)["Status"] == "SUCCESS"


@pytest.mark.usefixtures("_no_watchdog")
@pytest.mark.parametrize(("remaining", "waits"), [(300, 20), (RESERVE_SECONDS + 12, 12)])
def test_a_missing_permission_of_the_sync_fails_the_deployment_in_time(
    stack: Stack, remaining: float, waits: float
) -> None:
    stack.functions.replies = [FunctionError("AwsAccessDeniedError", "not authorized")]
    stack.remaining_seconds = remaining
    start = stack.clock.now()

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Status"] == "FAILED"
    assert "AwsAccessDeniedError): not authorized" in response["Reason"]
    assert stack.clock.now() - start == waits


SYNC_ONLY = {"dry_run": False, "wait_for_healthy": False}
WARM = {**SYNC, "StandbyTargets": "warm", "OutboundRulesGroup": "sg-0123"}
PROOF = {**SYNC_ONLY, "prove_switch": True}


def test_the_first_run_proves_the_switch_that_warm_targets_need(stack: Stack) -> None:
    switch = {"state": "proven", "seconds_to_healthy_once_opened": 12.34, "detail": ""}
    stack.functions.replies = [{**REGISTERING, "switch": switch}, HEALTHY]

    response = stack.request("Create", "FirstSync", **WARM)

    assert response["Data"]["Health"] == "10.0.1.11:5432 healthy"
    assert response["Data"]["SwitchVerified"] == "yes"
    assert response["Data"]["SecondsToHealthyOnceOpened"] == "12.3"
    assert [payload for _, payload in stack.functions.invocations] == [PROOF, SYNC_ONLY]


@pytest.mark.parametrize(
    "missing",
    [{"StandbyTargets": "none"}, {"StandbyTargets": "serving"}, {"OutboundRulesGroup": ""}],
)
def test_proves_no_switch_that_nothing_relies_on(stack: Stack, missing: dict[str, str]) -> None:
    response = stack.request("Create", "FirstSync", **{**WARM, **missing})

    assert [payload for _, payload in stack.functions.invocations] == [SYNC_ONLY]
    assert response["Data"]["SwitchVerified"].startswith("no: ")


@pytest.mark.parametrize(
    ("switch", "verified"),
    [
        (
            {"state": "ineffective", "detail": "A closed target was healthy."},
            "no: the switch is ineffective. A closed target was healthy.",
        ),
        (
            {"state": "unproven", "detail": "The target stayed healthy for 240 s."},
            "no: the switch is unproven. The target stayed healthy for 240 s.",
        ),
        (None, "no: the switch is unproven. The run did not say why."),
    ],
)
def test_a_switch_that_is_not_proven_does_not_fail_the_deployment(
    stack: Stack, switch: object, verified: str
) -> None:
    stack.functions.replies = [{**HEALTHY, "switch": switch}]

    response = stack.request("Create", "FirstSync", **WARM)

    assert response["Status"] == "SUCCESS"
    assert response["Data"]["SwitchVerified"] == verified
    assert response["Data"]["SecondsToHealthyOnceOpened"] == "not measured"


def test_the_wait_for_health_starts_after_the_proof(stack: Stack) -> None:
    stack.functions.replies = [REGISTERING, UNHEALTHY]
    durations = [300.0]
    stack.functions.before_reply = lambda: stack.clock.advance(durations.pop() if durations else 0)
    stack.remaining_seconds = 540
    start = stack.clock.now()

    stack.request("Create", "FirstSync", **WARM)

    assert stack.clock.now() - start == 360


def test_proves_the_switch_again_after_a_denied_run(stack: Stack) -> None:
    stack.functions.replies = [FunctionError("AwsAccessDeniedError", "not authorized"), HEALTHY]

    stack.request("Create", "FirstSync", **WARM)

    assert [payload for _, payload in stack.functions.invocations] == [PROOF, PROOF]


def test_the_deletion_of_the_first_sync_does_nothing(stack: Stack) -> None:
    stack.request("Delete", "FirstSync", **SYNC)

    assert stack.functions.invocations == []


# --------------------------------------------------------------------------- endpoint connections


def test_the_deletion_rejects_every_connection_that_blocks_it_and_no_other(stack: Stack) -> None:
    stack.connections.states = {f"vpce-{state}": state for state in ConnectionState}

    stack.request("Delete", "EndpointConnections", **CONNECTIONS)

    assert stack.connections.rejected == ["vpce-pendingAcceptance", "vpce-available"]


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_only_returns_the_name_of_the_service_before_the_deletion(
    stack: Stack, request_type: str
) -> None:
    stack.connections.states = {"vpce-1": ConnectionState.AVAILABLE}

    response = stack.request(request_type, "EndpointConnections", **CONNECTIONS)

    assert response["Data"] == {"ServiceName": "com.example.vpce-svc-0123"}
    assert stack.connections.rejected == []


def test_the_deletion_waits_until_a_rejected_connection_is_deleted(stack: Stack) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.AVAILABLE)
    stack.connections.stuck = {"vpce1"}
    deleted_at = stack.clock.now() + 30
    stack.clock.at(deleted_at, stack.connections.states.clear)

    assert stack.request("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"
    assert stack.clock.now() >= deleted_at
    assert stack.connections.rejected == ["vpce1"]


def test_a_connection_that_stays_open_fails_the_deletion_in_time(stack: Stack) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.AVAILABLE)
    stack.connections.stuck = {"vpce1"}
    start = stack.clock.now()

    response = stack.request("Delete", "EndpointConnections", **CONNECTIONS)

    assert response["Status"] == "FAILED"
    assert stack.clock.now() - start == 300 - RESERVE_SECONDS
    assert "vpce1" in response["Reason"]
    assert "Delete the stack again" in response["Reason"]


def test_a_rejection_that_fails_until_the_deadline_fails_the_deletion_and_blocks_no_other(
    stack: Stack,
) -> None:
    stack.connections = FakeConnections(
        vpce1=ConnectionState.AVAILABLE, vpce2=ConnectionState.PENDING_ACCEPTANCE
    )
    stack.connections.failing = {"vpce1": "InternalError"}
    start = stack.clock.now()

    response = stack.request("Delete", "EndpointConnections", **CONNECTIONS)

    assert response["Status"] == "FAILED"
    assert stack.clock.now() - start == 300 - RESERVE_SECONDS
    assert "RejectVpcEndpointConnections failed with InternalError" in response["Reason"]
    assert "cannot be deleted: vpce1." in response["Reason"]
    assert stack.connections.rejected.count("vpce2") == 1
    # With a back-off.
    assert 10 < stack.connections.rejected.count("vpce1") < 30


def test_the_deletion_waits_for_a_connection_that_cannot_be_rejected_yet(stack: Stack) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.PENDING)
    stack.clock.at(
        stack.clock.now() + 40,
        lambda: stack.connections.states.update(vpce1=ConnectionState.AVAILABLE),
    )

    assert stack.request("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"
    assert stack.connections.states == {"vpce1": ConnectionState.REJECTED}
    assert stack.connections.rejected == ["vpce1"]


def test_a_connection_that_changes_between_the_list_and_the_rejection_is_rejected_later(
    stack: Stack,
) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.AVAILABLE)
    stack.connections.failing = {"vpce1": "InvalidState"}
    stack.clock.at(stack.clock.now() + 30, stack.connections.failing.clear)

    assert stack.request("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"
    assert stack.connections.states == {"vpce1": ConnectionState.REJECTED}


@pytest.mark.parametrize("state", [ConnectionState.PENDING, ConnectionState.PARTIAL])
def test_a_connection_that_does_not_block_the_deletion_does_not_fail_it(
    stack: Stack, state: ConnectionState
) -> None:
    stack.connections = FakeConnections(vpce1=state)
    start = stack.clock.now()

    assert stack.request("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"
    assert stack.clock.now() - start == 300 - RESERVE_SECONDS
    assert stack.connections.rejected == []


def test_a_denied_rejection_fails_the_deletion_as_soon_as_a_new_policy_must_apply(
    stack: Stack,
) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.AVAILABLE)
    stack.connections.failing = {"vpce1": "UnauthorizedOperation"}
    start = stack.clock.now()

    response = stack.request("Delete", "EndpointConnections", **CONNECTIONS)

    assert "UnauthorizedOperation" in response["Reason"]
    assert stack.clock.now() - start == provisioner.POLICY_SECONDS


def test_accepts_that_a_consumer_deletes_its_endpoint_meanwhile(stack: Stack) -> None:
    stack.connections = FakeConnections(vpce1=ConnectionState.AVAILABLE)
    stack.connections.failing = {"vpce1": "InvalidVpcEndpointId.NotFound"}
    stack.clock.at(stack.clock.now() + 1, stack.connections.states.clear)

    assert stack.request("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"


# ----------------------------------------------------------------------- Auto Scaling attachment


def test_attaches_a_group_once_and_detaches_it_on_deletion(stack: Stack) -> None:
    for request_type in ("Create", "Create", "Update"):
        stack.request(request_type, "AutoScalingAttachment", **ATTACHMENT)
    assert stack.groups.groups[GROUP] == {TARGET_GROUP}
    assert stack.groups.attachments == 1

    for _ in range(2):
        assert stack.request("Delete", "AutoScalingAttachment", **ATTACHMENT)["Status"] == "SUCCESS"
    assert stack.groups.groups[GROUP] == set()


@pytest.mark.parametrize(
    "change", [{"AutoScalingGroupName": "Other"}, {"TargetGroupArn": OTHER_TARGET_GROUP}]
)
def test_an_update_attaches_the_new_pair_and_detaches_the_old(
    stack: Stack, change: dict[str, object]
) -> None:
    new = {**ATTACHMENT, **change}
    stack.request("Create", "AutoScalingAttachment", **ATTACHMENT)

    stack.send(event("Update", "AutoScalingAttachment", new, old=ATTACHMENT))

    attached = {(name, arn) for name, arns in stack.groups.groups.items() for arn in arns}
    assert attached == {(new["AutoScalingGroupName"], new["TargetGroupArn"])}


def test_an_update_that_changes_nothing_detaches_nothing(stack: Stack) -> None:
    stack.request("Create", "AutoScalingAttachment", **ATTACHMENT)

    stack.send(event("Update", "AutoScalingAttachment", ATTACHMENT, old=ATTACHMENT))

    assert stack.groups.groups[GROUP] == {TARGET_GROUP}


def test_a_missing_group_fails_the_creation_but_not_the_deletion(stack: Stack) -> None:
    del stack.groups.groups[GROUP]

    response = stack.request("Create", "AutoScalingAttachment", **ATTACHMENT)
    assert response["Status"] == "FAILED"
    assert f"no Auto Scaling group {GROUP}" in response["Reason"]
    assert stack.request("Delete", "AutoScalingAttachment", **ATTACHMENT)["Status"] == "SUCCESS"


# ------------------------------------------------------------------------- failures and limits


def test_reports_an_unexpected_exception_and_raises_it(stack: Stack) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    stack.catalog.before_call = fail

    with pytest.raises(ZeroDivisionError):
        stack.request("Create", "DatabaseLookup", **LOOKUP)
    (response,) = stack.cloudformation.responses
    assert response["Status"] == "FAILED"
    assert "DatabaseLookup with ZeroDivisionError: a bug" in response["Reason"]


def test_the_response_may_take_the_whole_remaining_time(stack: Stack) -> None:
    stack.request("Create", "DatabaseLookup", **LOOKUP)

    assert stack.cloudformation.deadlines == [stack.clock.now() + 300]


def test_responds_to_a_hanging_call_before_the_time_out() -> None:
    stack = Stack(remaining_seconds=RESERVE_SECONDS)
    stack.catalog.before_call = lambda: _wait_for(stack.cloudformation.responded)

    response = stack.request("Create", "DatabaseLookup", **LOOKUP)

    assert response["Status"] == "FAILED"
    assert "ran out of time on DatabaseLookup" in response["Reason"]
    assert [reason for _, _, reason in stack.reporter.records] == [response["Reason"]]


def _wait_for(responded: threading.Event) -> None:
    assert responded.wait(timeout=30)


def test_a_rejected_time_out_response_is_not_a_second_failure() -> None:
    stack = Stack(remaining_seconds=RESERVE_SECONDS)
    stack.cloudformation.rejects = True
    stack.catalog.before_call = lambda: _wait_for(stack.cloudformation.responded)

    assert stack.request("Create", "DatabaseLookup", **LOOKUP)["Status"] == "FAILED"


def test_raises_if_cloudformation_rejects_the_response(stack: Stack) -> None:
    stack.cloudformation.rejects = True

    with pytest.raises(CustomResourceResponseError):
        stack.request("Create", "DatabaseLookup", **LOOKUP)


def test_retries_while_the_policy_is_not_applied(stack: Stack) -> None:
    stack.catalog.denied_calls = 3

    assert stack.request("Create", "DatabaseLookup", **LOOKUP)["Status"] == "SUCCESS"


@pytest.mark.usefixtures("_no_watchdog")
@pytest.mark.parametrize(("remaining", "waits"), [(300, 20), (RESERVE_SECONDS + 11, 11)])
def test_a_missing_permission_fails_the_deployment_in_time_and_names_the_call(
    stack: Stack, remaining: float, waits: float
) -> None:
    stack.catalog.denied_calls = 1_000
    stack.remaining_seconds = remaining
    start = stack.clock.now()

    response = stack.request("Create", "DatabaseLookup", **LOOKUP)

    assert response["Status"] == "FAILED"
    assert "DescribeDBInstances failed with AccessDenied" in response["Reason"]
    assert stack.clock.now() - start == waits


def test_an_unknown_resource_fails_but_can_be_deleted(stack: Stack) -> None:
    response = stack.request("Create", "Unknown")
    assert response["Status"] == "FAILED"
    assert "Custom::DatabaseLookup" in response["Reason"]
    assert stack.request("Delete", "Unknown")["Status"] == "SUCCESS"


def test_an_unknown_request_fails(stack: Stack) -> None:
    response = stack.request("Inspect", "DatabaseLookup", **LOOKUP)

    assert (response["Status"], response["Reason"]) == ("FAILED", "unknown RequestType 'Inspect'")


@pytest.mark.parametrize("resource", ["FirstSync", "EndpointConnections", "AutoScalingAttachment"])
def test_names_a_missing_property(stack: Stack, resource: str) -> None:
    response = stack.request("Create", resource)

    assert response["Status"] == "FAILED"
    assert f"the property {next(iter(EVERY_RESOURCE[resource]))} is missing" in response["Reason"]


@pytest.mark.parametrize("payload", [{}, [], "text", {"ResponseURL": RESPONSE_URL, "StackId": 1}])
def test_raises_for_a_payload_that_is_not_a_request(stack: Stack, payload: Any) -> None:
    with pytest.raises(
        CustomResourceRequestError, match="Only CloudFormation invokes this function"
    ):
        stack.provisioner().handle(payload, remaining_seconds=300)


def test_cuts_a_reason_that_is_too_long(stack: Stack) -> None:
    stack.functions.replies = [FunctionError("ObservationError", "é" * 10_000)]

    response = stack.request("Create", "FirstSync", **SYNC)

    assert response["Reason"].endswith("é…")
    assert len(response["Reason"]) > 1_000


def test_a_response_that_is_too_long_fails_with_a_remedy(stack: Stack) -> None:
    networks = [f"10.0.100.{number}/32" for number in range(256)]

    response = stack.request("Create", "DatabaseLookup", **{**LOOKUP, "AllowedNetworks": networks})

    assert response["Status"] == "FAILED"
    assert "AllowedNetworks with fewer items" in response["Reason"]
    ((_, attributes, _),) = stack.reporter.records
    assert attributes is None


def test_the_log_record_has_the_outcome_but_not_the_response_url(stack: Stack) -> None:
    stack.request("Create", "DatabaseLookup", **LOOKUP)

    (outcome,) = stack.reporter.records
    _, attributes, reason = outcome
    assert attributes is not None
    assert attributes["Identifier"] == "orders"
    assert reason == ""
    assert "secret" not in str(list(outcome.to_log_records()))
