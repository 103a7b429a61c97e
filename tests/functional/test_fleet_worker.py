"""A worker with one work item, and its function with a batch."""

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError

from functions.fleet_worker import app
from lab.processes import Supervisor
from target_sync.aws import make_client
from target_sync.endpoints.cluster import ClusterReadersEndpoint, ClusterWriterEndpoint
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    ObservationError,
    RateLimitExceededError,
    SettingsError,
    TargetSyncError,
)
from target_sync.fleet import worker_build
from target_sync.fleet.checkpoints import AuditCursor, write_cursor
from target_sync.fleet.model import AUDIT_CURSOR_TAG, Binding, WorkReason
from target_sync.fleet.rate_limiter import ThrottlingCounter
from target_sync.fleet.rate_limits import Call
from target_sync.fleet.work_items import (
    CursorWorkItem,
    UnreadableWorkItemError,
    WorkItem,
    write_work_item,
)
from target_sync.fleet.worker import Worker
from target_sync.fleet.worker_build import PowertoolsWorkerReporter
from target_sync.model import DatabaseKind, FailedObservation, LookupFailure, Observation
from target_sync.targets.target_group import ElbTargetGroup
from tests.support.events import context
from tests.support.fleet import Message, lambda_event
from tests.support.name_server import HOST, RunningNameServer
from tests.support.scenario import ON_PREM, VPC_NETWORKS, A, B, C, target
from tests.support.workers import KEY, Fault, Fleet, VirtualLoop, arn_of

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

DESCRIBE, REGISTER = "DescribeTargetHealth", "RegisterTargets"
DEREGISTER, TAG = "DeregisterTargets", "AddTags"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def carry_out(fleet: Fleet, work_item: WorkItem, remaining_seconds: float = 90.0) -> None:
    """Let one worker carry out a work item."""
    for at in fleet.worker().run_in_steps(work_item, remaining_seconds):
        fleet.clock.sleep_until(at)


# --- One work item --------------------------------------------------------------------------------


def test_follows_a_change_and_writes_the_checkpoint(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)

    carry_out(fleet, fleet.work_item(group))

    assert fleet.registered(group) == {f"{B}:5432"}
    assert fleet.is_verified_for(group, B)
    assert fleet.elb.operations == [DESCRIBE, REGISTER, DESCRIBE, DEREGISTER, DESCRIBE, TAG]


def test_follows_two_sources_that_agree_at_once(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A, kind=DatabaseKind.RDS_CLUSTER_WRITER)

    carry_out(fleet, fleet.work_item(group))

    assert fleet.registered(group) == {f"{B}:5432"}
    assert fleet.elb.operations == [DESCRIBE, REGISTER, DEREGISTER, DESCRIBE, TAG]


def test_an_audit_without_drift_costs_one_snapshot(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=A, verified_for=A)

    carry_out(fleet, fleet.work_item(group, WorkReason.AUDIT))

    assert fleet.elb.operations == [DESCRIBE]
    assert fleet.reporter.statuses == ["in_sync"]


def test_writes_the_missing_checkpoint_of_a_group_in_sync(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=A)

    carry_out(fleet, fleet.work_item(group, WorkReason.UNVERIFIED))

    assert fleet.elb.operations == [DESCRIBE, TAG]
    assert fleet.is_verified_for(group, A)


def test_reverts_a_manual_change_and_writes_the_checkpoint(fleet: Fleet) -> None:
    group = fleet.add(1, A, C, resolves_to=A, verified_for=A)

    carry_out(fleet, fleet.work_item(group, WorkReason.AUDIT))

    assert fleet.registered(group) == {f"{A}:5432"}
    assert fleet.is_verified_for(group, A)


def test_a_redelivered_work_item_leaves_no_outdated_checkpoint(
    fleet: Fleet,
) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    work_item = fleet.work_item(group)
    carry_out(fleet, work_item)
    fleet.dns.set_addresses(group.endpoint, A)

    # Lambda could not delete it. The work item still has the checkpoint for A.
    carry_out(fleet, work_item)

    assert fleet.registered(group) == {f"{A}:5432"}
    assert fleet.is_verified_for(group, A)


def test_a_veto_clears_the_checkpoint_so_that_the_next_sweep_tries_again(
    fleet: Fleet,
) -> None:
    group = fleet.add(1, A, resolves_to="8.8.8.8", verified_for=A)

    carry_out(fleet, fleet.work_item(group))

    assert fleet.reporter.statuses == ["vetoed"]
    assert fleet.registered(group) == {f"{A}:5432"}
    assert fleet.checkpoint_text(group) == ""


def test_a_veto_writes_no_tag_without_a_checkpoint(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to="8.8.8.8")

    carry_out(fleet, fleet.work_item(group, WorkReason.UNVERIFIED))

    assert fleet.elb.operations == [DESCRIBE]


def test_an_unfinished_run_clears_the_checkpoint(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)

    # Less than the confirm window plus the reserve.
    carry_out(fleet, fleet.work_item(group), remaining_seconds=33.0)

    assert fleet.reporter.statuses == ["unfinished"]
    assert fleet.registered(group) == {f"{A}:5432", f"{B}:5432"}
    assert fleet.checkpoint_text(group) == ""


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.TIMED_OUT])
def test_a_transient_failure_of_a_snapshot_keeps_the_checkpoint_and_causes_a_retry(
    fleet: Fleet, fault: Fault
) -> None:
    group = fleet.add(1, A, resolves_to=A, verified_for=A)
    fleet.elb.faults = {0: fault}

    with pytest.raises(AwsUnavailableError):
        carry_out(fleet, fleet.work_item(group, WorkReason.AUDIT))

    assert fleet.elb.operations == [DESCRIBE]
    assert fleet.is_verified_for(group, A)


def test_a_failed_observation_causes_a_retry(fleet: Fleet) -> None:
    group = fleet.add(1, A, verified_for=A)

    with pytest.raises(ObservationError):
        carry_out(fleet, fleet.work_item(group))

    assert fleet.registered(group) == {f"{A}:5432"}
    assert fleet.is_verified_for(group, A)


def test_a_drift_without_a_successful_change_clears_the_checkpoint_until_the_retry(
    fleet: Fleet,
) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    fleet.elb.faults = {1: Fault.THROTTLED}

    with pytest.raises(AwsUnavailableError):
        carry_out(fleet, fleet.work_item(group))

    assert fleet.elb.operations == [DESCRIBE, REGISTER, TAG]
    assert fleet.checkpoint_text(group) == ""


def test_a_permanent_failure_is_reported_with_its_group_and_not_retried(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    fleet.elb.faults = {1: Fault.DENIED}

    carry_out(fleet, fleet.work_item(group))

    ((context, result),) = fleet.reporter.runs
    assert result.status == "failed"
    assert context == {
        "target_group": group.arn,
        "endpoint": "db-1.internal",
        "reason": "addresses_changed",
    }
    assert fleet.checkpoint_text(group) == ""


def test_a_database_without_permission_is_a_permanent_failure(fleet: Fleet) -> None:
    group = fleet.add(1, A, verified_for=A)
    fleet.dns.set_failure(group.endpoint, LookupFailure.ACCESS_DENIED)

    carry_out(fleet, fleet.work_item(group))

    assert fleet.reporter.statuses == ["failed"]
    assert fleet.checkpoint_text(group) == ""


def test_a_deleted_group_is_reported_and_not_tagged(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    work_item = fleet.work_item(group)
    fleet.delete_group(group)

    carry_out(fleet, work_item)

    assert fleet.reporter.statuses == ["failed"]
    assert TAG not in fleet.elb.operations


def test_a_group_deleted_before_its_tag_is_written_is_no_failure(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=A)
    fleet.elb.faults = {1: Fault.DELETED}

    carry_out(fleet, fleet.work_item(group, WorkReason.UNVERIFIED))

    assert fleet.elb.operations == [DESCRIBE, TAG]
    assert not fleet.reporter.failures


def test_a_permanent_failure_to_write_a_tag_is_reported_with_its_group(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=A)
    fleet.elb.faults = {1: Fault.DENIED}

    carry_out(fleet, fleet.work_item(group, WorkReason.UNVERIFIED))

    ((context, error),) = fleet.reporter.failures
    assert context["target_group"] == group.arn
    assert isinstance(error, AwsAccessDeniedError)


def test_a_transient_failure_to_write_a_tag_causes_a_retry(fleet: Fleet) -> None:
    group = fleet.add(1, A, resolves_to=A)
    fleet.elb.faults = {1: Fault.THROTTLED}

    with pytest.raises(AwsUnavailableError):
        carry_out(fleet, fleet.work_item(group, WorkReason.UNVERIFIED))


def test_writes_the_audit_cursor_to_its_group(fleet: Fleet) -> None:
    group = fleet.add(1, A)
    text = write_cursor(AuditCursor(group.arn, fleet.clock.now()), KEY)

    carry_out(fleet, CursorWorkItem(group.arn, text))

    assert fleet.tags.tags(group.arn)[AUDIT_CURSOR_TAG] == text
    assert fleet.elb.operations == [TAG]


def test_a_permanent_failure_to_write_the_cursor_is_reported_with_its_group(fleet: Fleet) -> None:
    group = fleet.add(1, A)
    fleet.elb.faults = {0: Fault.DENIED}

    carry_out(fleet, CursorWorkItem(group.arn, "a cursor"))

    ((context, _),) = fleet.reporter.failures
    assert context == {"target_group": group.arn}


def test_a_work_item_without_a_token_in_the_functions_time_is_retried_without_a_call(
    fleet: Fleet,
) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    work_item, worker, began = fleet.work_item(group), fleet.worker(), fleet.clock.now()
    # Nine tags use up the tokens of a minute.
    for _ in range(9):
        worker.rate_limiter.take(Call.MUTATING)

    with pytest.raises(RateLimitExceededError, match=rf"{group.arn} was possible in 20 s"):
        next(worker.run_in_steps(CursorWorkItem(group.arn, work_item.checkpoint), 20.0))

    assert not fleet.elb.calls
    assert fleet.clock.now() == began


def test_observes_again_if_the_plan_is_stale_once_its_change_has_a_token(
    fleet: Fleet,
) -> None:
    group = fleet.add(1, A, resolves_to=B, verified_for=A)
    worker = fleet.worker()
    resolve = fleet.dns.resolve

    def resolve_while_others_change(name: str) -> Observation | FailedObservation:
        fleet.dns.resolve = resolve  # type: ignore[method-assign]
        for _ in range(3):
            worker.rate_limiter.take(Call.REGISTRATION)
        fleet.clock.at(fleet.clock.now() + 6.0, lambda: fleet.dns.set_addresses(name, C))
        return resolve(name)

    fleet.dns.resolve = resolve_while_others_change  # type: ignore[method-assign]

    for at in worker.run_in_steps(fleet.work_item(group), 90.0):
        fleet.clock.sleep_until(at)

    registered = [it for it, targets in fleet.groups[group.arn].history if target(B) in targets]
    assert registered == []
    assert fleet.registered(group) == {f"{C}:5432"}


# --- A batch --------------------------------------------------------------------------------------


@pytest.fixture
def _event_loop(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the function's event loop, as in Lambda, on the fleet's clock."""
    worker = fleet.worker()
    monkeypatch.setattr(app, "worker", lambda: worker)
    monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
    loop = VirtualLoop(fleet.clock)
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def deliver(fleet: Fleet, *bodies: str, receptions: int = 1) -> list[str]:
    """Invoke the function with a batch; return the numbers of the failed messages."""
    now = fleet.clock.now()
    messages = [
        Message(id=str(n), handle="", body=body, group="", sent_at=now, receptions=receptions)
        for n, body in enumerate(bodies)
    ]
    response = app.handler(lambda_event(messages), context(90))
    assert list(response) == ["batchItemFailures"]
    return [str(item["itemIdentifier"]) for item in response["batchItemFailures"]]


@pytest.mark.usefixtures("_event_loop")
def test_the_work_items_of_a_batch_run_at_the_same_time(fleet: Fleet) -> None:
    groups = [fleet.add(number, A, resolves_to=B, verified_for=A) for number in range(4)]
    began = fleet.clock.now()

    retries = deliver(fleet, *(write_work_item(fleet.work_item(group)) for group in groups))

    assert retries == []
    assert all(fleet.registered(group) == {f"{B}:5432"} for group in groups)
    assert all(fleet.is_verified_for(group, B) for group in groups)
    first_changes = {arn for _, arn in fleet.elb.calls[:4]}
    assert len(first_changes) > 1, "one after the other"
    # Their 24 calls need this time for their tokens, longer than the confirm windows.
    assert fleet.clock.now() - began < 50.0


@pytest.mark.usefixtures("_event_loop")
def test_two_work_items_of_a_group_in_a_batch_run_one_after_the_other(
    fleet: Fleet,
) -> None:
    twice, other = (
        fleet.add(1, A, resolves_to=B, verified_for=A),
        fleet.add(2, A, resolves_to=A),
    )
    first, second = fleet.work_item(twice), fleet.work_item(twice, WorkReason.AUDIT)

    assert deliver(fleet, *map(write_work_item, (first, second, fleet.work_item(other)))) == []

    ends = [context["reason"] for context, _ in fleet.reporter.runs if context["reason"]]
    assert fleet.reporter.statuses == ["in_sync", "synced", "in_sync"]
    assert ends == ["addresses_changed", "addresses_changed", "audit"]
    assert [op for op, arn in fleet.elb.calls if arn == twice.arn] == [
        DESCRIBE, REGISTER, DESCRIBE, DEREGISTER, DESCRIBE, TAG, DESCRIBE, TAG,
    ]  # fmt: skip


@pytest.mark.usefixtures("_event_loop")
@pytest.mark.parametrize(("receptions", "tags"), [(1, []), (2, [TAG])])
def test_a_redelivered_work_item_writes_the_checkpoint_in_any_case(
    fleet: Fleet, receptions: int, tags: list[str]
) -> None:
    group = fleet.add(1, A, resolves_to=A, verified_for=A)

    deliver(fleet, write_work_item(fleet.work_item(group, WorkReason.AUDIT)), receptions=receptions)

    assert fleet.elb.operations == [DESCRIBE, *tags]


@pytest.mark.usefixtures("_event_loop")
def test_returns_only_the_failed_work_items(fleet: Fleet) -> None:
    good, unresolved = (
        fleet.add(1, A, resolves_to=B, verified_for=A),
        fleet.add(2, A, verified_for=A),
    )
    denied = fleet.add(3, A, resolves_to="8.8.8.8", verified_for=A)
    work_items = [write_work_item(fleet.work_item(group)) for group in (unresolved, good, denied)]

    assert deliver(fleet, "poison", *work_items) == ["0", "1"]

    assert fleet.registered(good) == {f"{B}:5432"}
    assert [context["message_id"] for context, _ in fleet.reporter.retries] == ["0", "1"]
    assert [type(error) for _, error in fleet.reporter.retries] == [
        UnreadableWorkItemError,
        ObservationError,
    ]


@pytest.mark.usefixtures("_event_loop")
def test_a_batch_that_fails_completely_is_no_error_of_the_function(
    fleet: Fleet,
) -> None:
    assert deliver(fleet, "poison", "{}") == ["0", "1"]


@pytest.mark.usefixtures("_event_loop")
def test_a_bug_fails_its_own_work_item_and_is_logged(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = fleet.add(1, A), fleet.add(2, A, resolves_to=A)
    endpoint = fleet.endpoint_of

    def mistaken(binding: Binding) -> Any:
        if binding == broken:
            raise ZeroDivisionError
        return endpoint(binding)

    monkeypatch.setattr(fleet, "endpoint_of", mistaken)
    worker = fleet.worker()
    monkeypatch.setattr(app, "worker", lambda: worker)

    assert deliver(fleet, *(write_work_item(fleet.work_item(it)) for it in (broken, good))) == ["0"]

    assert fleet.reporter.statuses == ["in_sync"]
    ((_, error),) = fleet.reporter.retries
    assert isinstance(error, ZeroDivisionError)


def test_a_missing_setting_is_an_error_of_the_function() -> None:
    worker_build.worker.cache_clear()

    with pytest.raises(SettingsError, match="SIGNING_KEY"):
        app.handler(lambda_event([]), context())


# --- Log and metrics ------------------------------------------------------------------------------


@pytest.fixture
def logged(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Return the lines of the function's output so far."""
    # Powertools keeps one log handler per service, and with it the first test's output stream.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    return lambda: [json.loads(elb) for elb in capsys.readouterr().out.splitlines()]


def test_the_result_of_a_run_names_its_group_endpoint_and_reason(fleet: Fleet, logged: Any) -> None:
    group = fleet.add(1, A, resolves_to=A)
    worker = replace(fleet.worker(), reporter=PowertoolsWorkerReporter())

    for at in worker.run_in_steps(fleet.work_item(group, WorkReason.UNVERIFIED), 90.0):
        fleet.clock.sleep_until(at)

    checkpoint, metrics = logged()
    assert checkpoint["message"] == "sync run ended"
    assert checkpoint["target_group"] == group.arn
    assert checkpoint["endpoint"] == "db-1.internal"
    assert checkpoint["reason"] == "unverified"
    assert checkpoint["result"]["status"] == "in_sync"
    assert metrics["SyncSucceeded"] == [1.0]


def test_the_debug_log_of_each_iteration_names_its_group(
    fleet: Fleet, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "DEBUG")
    group = fleet.add(1, A, resolves_to=A, verified_for=A)
    worker = replace(fleet.worker(), reporter=PowertoolsWorkerReporter())

    for at in worker.run_in_steps(fleet.work_item(group, WorkReason.AUDIT), 90.0):
        fleet.clock.sleep_until(at)

    iteration, _, _ = logged()
    assert iteration["message"] == "iteration"
    assert iteration["target_group"] == group.arn
    assert "snapshot" in iteration


def test_logs_a_permanent_failure_as_an_error_and_counts_it(logged: Any) -> None:
    PowertoolsWorkerReporter().report_failure(
        {"target_group": "an ARN"}, TargetSyncError("what went wrong")
    )

    checkpoint, metrics = logged()
    assert checkpoint["level"] == "ERROR"
    assert checkpoint["target_group"] == "an ARN"
    assert checkpoint["failure"] == "what went wrong"
    assert metrics["SyncFailed"] == [1.0]


def test_logs_a_retry_as_a_warning_with_its_traceback(logged: Any) -> None:
    try:
        int("a mistake of ours")
    except ValueError as error:
        PowertoolsWorkerReporter().report_retry({"message_id": "m-1"}, error)

    (checkpoint,) = logged()
    assert checkpoint["level"] == "WARNING"
    assert checkpoint["message_id"] == "m-1"
    assert "a mistake of ours" in checkpoint["exception"]
    assert "test_fleet_worker.py" in checkpoint["exception"]


# --- Building -------------------------------------------------------------------------------------

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "SIGNING_KEY": "a secret of this deployment",
    "RESOLVERS": "10.0.0.2:5353",
}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return worker_build.build_worker(ENVIRONMENT)


@pytest.fixture
def built_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Worker]:
    """Build a worker with other settings, on the fleet's clock."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(worker_build, "SystemClock", lambda: fleet.clock)
    return lambda **environ: worker_build.build_worker({**ENVIRONMENT, **environ})


@pytest.mark.parametrize(
    "kind", [DatabaseKind.RDS_INSTANCE, DatabaseKind.RDS_PROXY, DatabaseKind.HOSTNAME]
)
def test_observes_a_database_with_one_name_by_dns(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, kind: DatabaseKind
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    binding = fleet.add(1, A, kind=kind)
    with Supervisor() as supervisor:
        server = RunningNameServer(supervisor)
        server.zone.set_address(binding.endpoint, [str(B)])
        built = worker_build.build_worker({**ENVIRONMENT, "RESOLVERS": f"{HOST}:{server.port}"})

        observation = built.endpoint(binding).observe()

    assert isinstance(observation, Observation)
    assert observation.addresses == {B}


@pytest.mark.parametrize(
    ("kind", "observed_by"),
    [
        (DatabaseKind.RDS_CLUSTER_WRITER, ClusterWriterEndpoint),
        (DatabaseKind.RDS_CLUSTER_READERS, ClusterReadersEndpoint),
    ],
)
def test_observes_a_cluster_by_the_rds_api_too(
    built: Worker,
    fleet: Fleet,
    kind: DatabaseKind,
    observed_by: type[ClusterWriterEndpoint | ClusterReadersEndpoint],
) -> None:
    binding = fleet.add(1, A, kind=kind)

    endpoint = built.endpoint(binding)

    assert isinstance(endpoint, observed_by)
    assert (endpoint.name, endpoint.cluster.identifier) == ("db-1.internal", "db-1")


def test_the_clusters_of_a_container_share_one_client(built: Worker, fleet: Fleet) -> None:
    first, second = (
        built.endpoint(fleet.add(number, A, kind=DatabaseKind.RDS_CLUSTER_WRITER))
        for number in (1, 2)
    )
    assert isinstance(first, ClusterWriterEndpoint)
    assert isinstance(second, ClusterWriterEndpoint)
    assert first.cluster._client is second.cluster._client  # noqa: SLF001 - what is shared


_THROTTLED = (
    400,
    "<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error></ErrorResponse>",
)
_REFUSED = (403, _THROTTLED[1].replace("Throttling", "AccessDenied"))
_EMPTY = (
    200,
    "<R><DescribeTargetHealthResult><TargetHealthDescriptions/></DescribeTargetHealthResult></R>",
)


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


def elb_that_says(
    monkeypatch: pytest.MonkeyPatch, *replies: tuple[int, str] | Exception
) -> "ElasticLoadBalancingv2Client":
    """Return a client of ELB that retries without pauses and gets these replies."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    client: ElasticLoadBalancingv2Client = make_client("elbv2")
    left = iter(replies)

    def reply(**_: object) -> Any:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return AWSResponse("https://elb.test", said[0], HTTPHeaders(), _Body(said[1].encode()))

    client.meta.events.register("before-send", reply)
    return client


@pytest.mark.parametrize(
    ("replies", "count"),
    [
        pytest.param([_EMPTY], 0, id="at once"),
        pytest.param([_THROTTLED, _THROTTLED, _EMPTY], 2, id="made good by retries"),
        pytest.param([_THROTTLED] * 3, 3, id="throttled to the end"),
        pytest.param([ReadTimeoutError(endpoint_url="elb"), _EMPTY], 0, id="no reply"),
        pytest.param([_REFUSED], 0, id="refused for another reason"),
    ],
)
def test_counts_every_throttled_response(
    monkeypatch: pytest.MonkeyPatch, replies: Sequence[tuple[int, str] | Exception], count: int
) -> None:
    client = elb_that_says(monkeypatch, *replies)
    throttlings = ThrottlingCounter(client)

    with contextlib.suppress(AwsCallError):
        ElbTargetGroup(client, arn_of(1)).describe()

    assert throttlings.count() == count


def test_slows_down_after_a_throttling_that_botocore_retried(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = elb_that_says(monkeypatch, _THROTTLED, _EMPTY)
    monkeypatch.setattr(worker_build, "make_client", lambda _: client)
    monkeypatch.setattr(worker_build, "SystemClock", lambda: fleet.clock)
    binding, built = fleet.add(1), worker_build.build_worker(ENVIRONMENT)
    before = built.rate_limiter.take(Call.MUTATING)

    built.rate_limiter.call(Call.DESCRIBE, built.target_group(binding).describe)

    # A tenth of half of 10 calls a second is one in 2 s; half of that is one in 4 s.
    built.rate_limiter.take(Call.DESCRIBE)
    assert built.rate_limiter.take(Call.DESCRIBE) - before == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("share", "workers", "tokens", "seconds"), [("0.5", "10", 2, 2.0), ("1", "5", 8, 0.5)]
)
def test_a_container_gets_its_part_of_the_share(
    built_on: Callable[..., Worker], share: str, workers: str, tokens: int, seconds: float
) -> None:
    built = built_on(API_SHARE=share, MAX_WORKERS=workers)

    moments = [built.rate_limiter.take(Call.DESCRIBE) for _ in range(tokens + 1)]

    assert len(set(moments[:-1])) == 1
    assert moments[-1] - moments[0] == pytest.approx(seconds)


def test_registers_a_target_outside_the_groups_vpc_for_every_zone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = elb_that_says(monkeypatch, (200, "<R><RegisterTargetsResult/></R>"))
    sent = list[Mapping[str, Any]]()
    client.meta.events.register(
        "before-parameter-build", lambda params, **_: sent.append(dict(params))
    )
    monkeypatch.setattr(worker_build, "make_client", lambda _: client)
    binding = replace(fleet.add(1), vpc_networks=VPC_NETWORKS)

    worker_build.build_worker(ENVIRONMENT).target_group(binding).register([target(ON_PREM)])

    (request,) = sent
    (described,) = request["Targets"]
    assert described["AvailabilityZone"] == "all"
