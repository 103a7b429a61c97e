"""ProvisionStackFunction from its door: every custom resource, and an answer whatever happens."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from functions.provision_stack import app
from target_sync.errors import CustomResourceRequestError, CustomResourceResponseError
from target_sync.model import ConnectionState
from target_sync.provisioning.manager import RESERVE_SECONDS
from target_sync.provisioning.progress import FunctionError
from tests.support.custom_resources import (
    GROUP,
    INSTANCE,
    OTHER_TARGET_GROUP,
    RESPONSE_URL,
    TARGET_GROUP,
    FakeFunctions,
    FakeService,
    Stack,
    event,
    without,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOOKUP = without({"DatabaseEndpoint": INSTANCE})
SYNC = {"FunctionName": "sync", "Endpoint": INSTANCE, "Port": "5432", "Kind": "rds-instance"}
CONNECTIONS = {"ServiceId": "vpce-svc-0123"}
ATTACHMENT = {"AutoScalingGroupName": GROUP, "TargetGroupArn": TARGET_GROUP}
EVERY_RESOURCE: dict[str, Mapping[str, object]] = {
    "DatabaseLookup": LOOKUP,
    "FirstSync": SYNC,
    "EndpointConnections": CONNECTIONS,
    "AutoScalingAttachment": ATTACHMENT,
}


def run(
    status: str, state: str = "healthy", reason: str | None = None, **more: object
) -> dict[str, object]:
    """A result document of the sync function with one target."""
    kept = {"target": "10.0.1.11:5432", "state": state, "state_reason": reason}
    return {"status": status, "summary": "Done.", "kept": [kept], "registered": [], **more}


HEALTHY = run("in_sync")
REGISTERING = run("synced", "initial", "Elb.RegistrationInProgress")
SICK = run("in_sync", "unhealthy", "Target.FailedHealthChecks")


@pytest.fixture
def stack() -> Stack:
    return Stack(functions=FakeFunctions(HEALTHY))


# ---------------------------------------------------------------------------------- the door


class FakeContext:
    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:manage"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def test_the_door_hands_the_request_to_the_manager(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def manager(function_arn: str) -> object:
        asked.append(function_arn)
        return stack.manager()

    monkeypatch.setattr(app, "stack_manager", manager)
    app.handler(event("Create", "DatabaseLookup", LOOKUP), cast("LambdaContext", FakeContext()))

    assert asked == [FakeContext.invoked_function_arn]
    assert stack.cloudformation.answers[0]["Status"] == "SUCCESS"


# ------------------------------------------------------------------------- every custom resource


@pytest.mark.parametrize("resource", EVERY_RESOURCE)
@pytest.mark.parametrize("request_type", ["Create", "Update", "Delete"])
def test_every_request_is_answered_to_its_sender(
    stack: Stack, resource: str, request_type: str
) -> None:
    answer = stack.asks(request_type, resource, **EVERY_RESOURCE[resource])

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert answer["PhysicalResourceId"] == answer["LogicalResourceId"] == resource
    assert answer["RequestId"] == "5c0d4f8a"
    assert answer["StackId"].endswith("stack/orders/0123")
    if request_type == "Delete":
        assert answer["Data"] == {}


@pytest.mark.parametrize("resource", EVERY_RESOURCE)
def test_an_update_and_a_deletion_keep_the_physical_id_that_they_were_given(
    stack: Stack, resource: str
) -> None:
    for request_type in ("Update", "Delete"):
        request = event(request_type, resource, EVERY_RESOURCE[resource])
        answer = stack.sends({**request, "PhysicalResourceId": "from-another-version"})
        assert answer["PhysicalResourceId"] == "from-another-version"


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_failed_lookup_fails_the_deployment_and_its_deletion_succeeds(
    stack: Stack, request_type: str
) -> None:
    wrong = without({"DatabaseEndpoint": "oders." + INSTANCE.partition(".")[2]})
    answer = stack.asks(request_type, "DatabaseLookup", **wrong)

    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("DatabaseEndpoint oders.")
    assert stack.asks("Delete", "DatabaseLookup", **wrong)["Status"] == "SUCCESS"


# ------------------------------------------------------------------------------------- first sync


def test_the_first_sync_says_what_was_registered_and_its_health(stack: Stack) -> None:
    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Data"] == {
        "Registered": "10.0.1.11:5432",
        "Health": "10.0.1.11:5432 healthy",
        "Hint": "Every target is healthy; nothing is to be done.",
    }
    assert stack.functions.invocations == [("sync", {"dry_run": False, "wait_for_healthy": False})]


def test_the_first_sync_waits_for_health(stack: Stack) -> None:
    stack.functions.answers = [REGISTERING, REGISTERING, HEALTHY]

    assert stack.asks("Update", "FirstSync", **SYNC)["Data"]["Health"] == "10.0.1.11:5432 healthy"
    assert len(stack.functions.invocations) == 3


def test_what_is_left_to_confirm_is_waited_for_too(stack: Stack) -> None:
    stack.functions.answers = [run("unfinished"), HEALTHY]

    stack.asks("Update", "FirstSync", **SYNC)

    assert len(stack.functions.invocations) == 2


def test_a_run_that_fails_while_health_is_waited_for_does_not_fail_the_deployment(
    stack: Stack,
) -> None:
    stack.functions.answers = [REGISTERING, FunctionError("ObservationError", "timed out"), HEALTHY]

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert (answer["Status"], len(stack.functions.invocations)) == ("SUCCESS", 3)


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
    stack.functions.answers = [run("in_sync", "unhealthy", reason)]
    began = stack.clock.now()

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["Health"] == f"10.0.1.11:5432 unhealthy ({reason})"
    assert hint in answer["Data"]["Hint"]
    assert stack.clock.now() - began == 60


def test_the_wait_for_health_ends_in_time_for_the_answer() -> None:
    stack = Stack(functions=FakeFunctions(SICK), remaining_seconds=RESERVE_SECONDS + 30)
    began = stack.clock.now()

    assert stack.asks("Create", "FirstSync", **SYNC)["Status"] == "SUCCESS"
    assert stack.clock.now() - began == 30


def test_a_name_that_does_not_resolve_fails_the_deployment_in_the_functions_own_words(
    stack: Stack,
) -> None:
    sentence = f"{INSTANCE} does not exist in DNS. Was the database renamed or deleted?"
    stack.functions.answers = [FunctionError("ObservationError", sentence)]

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Status"] == "FAILED"
    assert sentence in answer["Reason"]
    assert "Correct DatabaseEndpoint, or set Resolvers" in answer["Reason"]
    assert len(stack.functions.invocations) == 1


def test_a_target_group_that_is_not_there_fails_the_deployment(stack: Stack) -> None:
    sentence = "DescribeTargetHealth failed with TargetGroupNotFound: no such group."
    stack.functions.answers = [FunctionError("AwsNotFoundError", sentence)]

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Status"] == "FAILED"
    assert f"{sentence} Set ExistingTargetGroupArn" in answer["Reason"]


def test_an_address_outside_the_allowed_networks_fails_the_deployment(stack: Stack) -> None:
    veto = {"code": "outside_allowed_networks", "detail": "8.8.8.8 is outside 10.0.0.0/16."}
    refused = [{"target": "8.8.8.8:5432"}]
    stack.functions.answers = [run("vetoed", vetoes=[veto], rejected=refused)]

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Status"] == "FAILED"
    assert "8.8.8.8 is outside 10.0.0.0/16." in answer["Reason"]
    assert "AllowedNetworks" in answer["Reason"]


@pytest.mark.parametrize("answer", [run("vetoed", kept=[]), {"status": "vetoed", "kept": "x"}])
def test_a_sync_that_registered_nothing_fails_the_deployment(
    stack: Stack, answer: dict[str, object]
) -> None:
    stack.functions.answers = [answer]

    reason = stack.asks("Create", "FirstSync", **SYNC)["Reason"]
    assert reason.startswith("No target was registered for DatabaseEndpoint")


@pytest.mark.parametrize("error", ["AwsAccessDeniedError", "ObservationDeniedError"])
def test_a_policy_of_the_sync_function_that_does_not_hold_yet_is_waited_for(
    stack: Stack, error: str
) -> None:
    stack.functions.answers = [FunctionError(error, "not authorized"), HEALTHY]

    assert stack.asks("Create", "FirstSync", **SYNC)["Status"] == "SUCCESS"


def test_a_permission_that_the_sync_function_lacks_fails_the_deployment(stack: Stack) -> None:
    stack.functions.answers = [FunctionError("AwsAccessDeniedError", "not authorized")]
    began = stack.clock.now()

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Status"] == "FAILED"
    assert "AwsAccessDeniedError): not authorized" in answer["Reason"]
    assert stack.clock.now() - began == 20


def test_deleting_the_first_sync_runs_nothing(stack: Stack) -> None:
    stack.asks("Delete", "FirstSync", **SYNC)

    assert stack.functions.invocations == []


# --------------------------------------------------------------------------- endpoint connections


def test_every_connection_in_the_way_is_rejected_on_deletion_and_no_other(stack: Stack) -> None:
    stack.service.states = {f"vpce-{state}": state for state in ConnectionState}

    stack.asks("Delete", "EndpointConnections", **CONNECTIONS)

    assert stack.service.rejected == [
        "vpce-pendingAcceptance",
        "vpce-pending",
        "vpce-available",
        "vpce-partial",
    ]


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_no_connection_is_touched_before_the_deletion(stack: Stack, request_type: str) -> None:
    stack.service.states = {"vpce-1": ConnectionState.AVAILABLE}

    stack.asks(request_type, "EndpointConnections", **CONNECTIONS)

    assert stack.service.rejected == []


def test_the_deletion_waits_until_a_rejected_connection_is_gone(stack: Stack) -> None:
    stack.service = FakeService(vpce1=ConnectionState.AVAILABLE)
    stack.service.stuck = {"vpce1"}
    gone_at = stack.clock.now() + 30
    stack.clock.at(gone_at, stack.service.states.clear)

    assert stack.asks("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"
    assert stack.clock.now() >= gone_at
    assert stack.service.rejected == ["vpce1"]


def test_a_connection_that_stays_fails_the_deletion_before_the_functions_time_is_up(
    stack: Stack,
) -> None:
    stack.service = FakeService(vpce1=ConnectionState.AVAILABLE)
    stack.service.stuck = {"vpce1"}

    answer = stack.asks("Delete", "EndpointConnections", **CONNECTIONS)

    assert answer["Status"] == "FAILED"
    assert "vpce1" in answer["Reason"]
    assert "Delete the stack again" in answer["Reason"]


def test_a_rejection_that_fails_holds_up_no_other_and_fails_the_deletion(stack: Stack) -> None:
    stack.service = FakeService(vpce1=ConnectionState.AVAILABLE, vpce2=ConnectionState.PENDING)
    stack.service.failing = {"vpce1": "InternalError"}

    answer = stack.asks("Delete", "EndpointConnections", **CONNECTIONS)

    assert answer["Status"] == "FAILED"
    assert "RejectVpcEndpointConnections failed with InternalError" in answer["Reason"]
    assert stack.service.rejected == ["vpce1", "vpce2"]


def test_an_endpoint_that_its_consumer_deletes_meanwhile_is_fine(stack: Stack) -> None:
    stack.service = FakeService(vpce1=ConnectionState.AVAILABLE)
    stack.service.failing = {"vpce1": "InvalidVpcEndpointId.NotFound"}
    stack.clock.at(stack.clock.now() + 1, stack.service.states.clear)

    assert stack.asks("Delete", "EndpointConnections", **CONNECTIONS)["Status"] == "SUCCESS"


# ----------------------------------------------------------------------- Auto Scaling attachment


def test_a_group_is_attached_once_and_detached_on_deletion(stack: Stack) -> None:
    for request_type in ("Create", "Create", "Update"):
        stack.asks(request_type, "AutoScalingAttachment", **ATTACHMENT)
    assert stack.groups.groups[GROUP] == {TARGET_GROUP}
    assert stack.groups.attachments == 1

    for _ in range(2):
        assert stack.asks("Delete", "AutoScalingAttachment", **ATTACHMENT)["Status"] == "SUCCESS"
    assert stack.groups.groups[GROUP] == set()


@pytest.mark.parametrize(
    "change", [{"AutoScalingGroupName": "Other"}, {"TargetGroupArn": OTHER_TARGET_GROUP}]
)
def test_an_update_attaches_the_new_pair_and_detaches_the_old(
    stack: Stack, change: dict[str, object]
) -> None:
    new = {**ATTACHMENT, **change}
    stack.asks("Create", "AutoScalingAttachment", **ATTACHMENT)

    stack.sends(event("Update", "AutoScalingAttachment", new, old=ATTACHMENT))

    attached = {(name, arn) for name, arns in stack.groups.groups.items() for arn in arns}
    assert attached == {(new["AutoScalingGroupName"], new["TargetGroupArn"])}


def test_an_update_that_changes_nothing_detaches_nothing(stack: Stack) -> None:
    stack.asks("Create", "AutoScalingAttachment", **ATTACHMENT)

    stack.sends(event("Update", "AutoScalingAttachment", ATTACHMENT, old=ATTACHMENT))

    assert stack.groups.groups[GROUP] == {TARGET_GROUP}


def test_a_group_that_is_not_there_fails_the_creation_but_not_the_deletion(stack: Stack) -> None:
    del stack.groups.groups[GROUP]

    answer = stack.asks("Create", "AutoScalingAttachment", **ATTACHMENT)
    assert answer["Status"] == "FAILED"
    assert f"no Auto Scaling group {GROUP}" in answer["Reason"]
    assert stack.asks("Delete", "AutoScalingAttachment", **ATTACHMENT)["Status"] == "SUCCESS"


# ------------------------------------------------------------------- an answer whatever happens


def test_a_bug_is_told_to_cloudformation_and_raised(stack: Stack) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("a bug")

    stack.catalog.happens = breaks

    with pytest.raises(ZeroDivisionError):
        stack.asks("Create", "DatabaseLookup", **LOOKUP)
    (answer,) = stack.cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "DatabaseLookup with ZeroDivisionError: a bug" in answer["Reason"]


def test_a_hanging_call_is_answered_before_the_functions_time_is_up() -> None:
    stack = Stack(remaining_seconds=RESERVE_SECONDS)
    stack.catalog.happens = lambda: _wait_for(stack.cloudformation.answered)

    answer = stack.asks("Create", "DatabaseLookup", **LOOKUP)

    assert answer["Status"] == "FAILED"
    assert "ran out of time on DatabaseLookup" in answer["Reason"]
    assert [reason for _, _, reason in stack.reporter.records] == [answer["Reason"]]


def _wait_for(answered: threading.Event) -> None:
    assert answered.wait(timeout=30)


def test_an_answer_in_time_that_nobody_takes_is_no_second_failure() -> None:
    stack = Stack(remaining_seconds=RESERVE_SECONDS)
    stack.cloudformation.refuses = True
    stack.catalog.happens = lambda: _wait_for(stack.cloudformation.answered)

    assert stack.asks("Create", "DatabaseLookup", **LOOKUP)["Status"] == "FAILED"


def test_an_answer_that_cloudformation_refuses_is_raised(stack: Stack) -> None:
    stack.cloudformation.refuses = True

    with pytest.raises(CustomResourceResponseError):
        stack.asks("Create", "DatabaseLookup", **LOOKUP)


def test_a_policy_that_does_not_hold_yet_is_waited_for(stack: Stack) -> None:
    stack.catalog.refusals = 3

    assert stack.asks("Create", "DatabaseLookup", **LOOKUP)["Status"] == "SUCCESS"


def test_a_permission_that_is_missing_fails_the_deployment_with_the_call(stack: Stack) -> None:
    stack.catalog.refusals = 1_000
    began = stack.clock.now()

    answer = stack.asks("Create", "DatabaseLookup", **LOOKUP)

    assert answer["Status"] == "FAILED"
    assert "DescribeDBInstances failed with AccessDenied" in answer["Reason"]
    assert stack.clock.now() - began == 20


def test_an_unknown_resource_fails_but_can_be_deleted(stack: Stack) -> None:
    answer = stack.asks("Create", "Unknown")
    assert answer["Status"] == "FAILED"
    assert "Custom::DatabaseLookup" in answer["Reason"]
    assert stack.asks("Delete", "Unknown")["Status"] == "SUCCESS"


def test_an_unknown_request_is_answered_too(stack: Stack) -> None:
    answer = stack.asks("Inspect", "DatabaseLookup", **LOOKUP)

    assert (answer["Status"], answer["Reason"]) == ("FAILED", "unknown RequestType 'Inspect'")


@pytest.mark.parametrize("resource", ["FirstSync", "EndpointConnections", "AutoScalingAttachment"])
def test_a_missing_property_is_named(stack: Stack, resource: str) -> None:
    answer = stack.asks("Create", resource)

    assert answer["Status"] == "FAILED"
    assert f"the property {next(iter(EVERY_RESOURCE[resource]))} is missing" in answer["Reason"]


@pytest.mark.parametrize("payload", [{}, [], "text", {"ResponseURL": RESPONSE_URL, "StackId": 1}])
def test_what_is_no_request_of_cloudformation_is_raised(stack: Stack, payload: Any) -> None:
    with pytest.raises(CustomResourceRequestError, match=r"not to be invoked by hand"):
        stack.manager().handle(payload, remaining_seconds=300)


def test_a_long_reason_is_cut_to_what_cloudformation_takes(stack: Stack) -> None:
    stack.functions.answers = [FunctionError("ObservationError", "é" * 10_000)]

    answer = stack.asks("Create", "FirstSync", **SYNC)

    assert answer["Reason"].endswith("é…")
    assert len(answer["Reason"]) > 1_000


def test_an_answer_that_is_too_long_fails_with_what_to_shorten(stack: Stack) -> None:
    networks = [f"10.0.100.{number}/32" for number in range(256)]

    answer = stack.asks("Create", "DatabaseLookup", **{**LOOKUP, "AllowedNetworks": networks})

    assert answer["Status"] == "FAILED"
    assert "AllowedNetworks with fewer items" in answer["Reason"]
    ((_, attributes, _),) = stack.reporter.records
    assert attributes is None


def test_a_record_holds_the_outcome_and_never_the_url_of_the_answer(stack: Stack) -> None:
    stack.asks("Create", "DatabaseLookup", **LOOKUP)

    ((request, attributes, reason),) = stack.reporter.records
    assert attributes is not None
    assert attributes["Identifier"] == "orders"
    assert reason == ""
    assert "secret" not in str(request.to_document())
