"""Every handler gets every reply, to each of its calls in turn, and ends as documented.

Each run ends with a result or an error of this package, and with its record and its metrics.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import Any

import pytest
from botocore.model import OperationModel

from functions.fleet_sweep import app as fleet_sweep
from functions.provision_stack import app as provision_stack
from functions.reconcile_targets import app as reconcile_targets
from functions.report_status import app as report_status
from functions.review_connections import app as review_connections
from target_sync.connections.build import reviewer
from target_sync.errors import TargetSyncError
from target_sync.fleet.build import sweeper
from target_sync.notifications.sender import notification_sender
from target_sync.provisioning.build import stack_provisioner
from target_sync.reconcile.build import reconciler
from target_sync.status.build import status_collector
from tests.functional.test_provision_stack import ATTACHMENT, LOOKUP, SYNC
from tests.functional.test_report_status import ENVIRONMENT as STATUS_ENVIRONMENT
from tests.support.clock import FakeClock
from tests.support.connections import TRUSTED
from tests.support.custom_resources import event
from tests.support.events import context
from tests.support.hostile_replies import ODD, UNUSABLE
from tests.support.replies import ApiServer, Reply, api_server, document, http, plain

pytestmark = pytest.mark.filterwarnings(
    # A client leaves the socket of a broken reply to the garbage collector.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
EVERY_REPLY = {**UNUSABLE, **ODD}
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:provision"
#: What a group, its rules and its service look like.
VALUES: Mapping[str, object] = {
    "Description": "postgres-privatelink: open",
    "FromPort": 5432,
    "IpProtocol": "tcp",
    "State": "healthy",
    "ToPort": 5432,
    "VpcEndpointOwner": TRUSTED,
    "VpcEndpointState": "pendingAcceptance",
}
SYNC_ENVIRONMENT = {
    "ALARM_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "ALLOWED_NETWORKS": "10.0.0.0/16",
    "DATABASE_ENDPOINT": "10.0.1.11",
    "DATABASE_KIND": "static",
    "DATABASE_PORT": "5432",
    "EVENT_WATCH_DURATION_SECONDS": "300",
    "TARGET_GROUP_ARN": STATUS_ENVIRONMENT["TARGET_GROUP_ARN"],
}
SITUATIONS: Mapping[str, Mapping[str, str]] = {
    "a stale target": {},
    "outbound rules": {"OUTBOUND_RULES_GROUP": "sg-0a1b2c3d", "DATABASE_ENDPOINT": "10.0.1.13"},
    "an instance": {"DATABASE_KIND": "ec2-instance", "DATABASE_ENDPOINT": "i-0a1b2c3d4e5f60718"},
}


def harmless(model: OperationModel) -> bytes:
    """Return a documented reply. A target group has two targets."""
    addresses = cycle(["10.0.1.11", "10.0.2.12"])

    def value(name: str, type_name: str) -> object:
        if name == "Id":
            return next(addresses)
        return VALUES.get(name, plain(name, type_name))

    return http(document(model, value, items=2 if model.name == "DescribeTargetHealth" else 1))


def to_one_call(operation: str, reply: Reply) -> Reply:
    """Return harmless replies to every call but one."""
    return lambda model: reply(model) if model.name == operation else harmless(model)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, _powertools: None) -> Iterator[ApiServer]:
    for module in ("connections", "provisioning", "reconcile"):
        monkeypatch.setattr(f"target_sync.{module}.build.SystemClock", FakeClock)
    caches = (
        notification_sender,
        reconciler,
        reviewer,
        stack_provisioner,
        status_collector,
        sweeper,
    )
    for cache in caches:
        cache.cache_clear()
    with api_server() as server:
        yield server
    for cache in caches:
        cache.cache_clear()


class Runs:
    """Runs a handler, and returns how each run ended.

    Args:
        expected: How the text of the record begins that each run writes once; and the metrics of
            which each run writes at least one with a value above zero.
    """

    def __init__(
        self,
        server: ApiServer,
        capsys: pytest.CaptureFixture[str],
        run: Callable[[], object],
        *expected: str,
    ) -> None:
        self._server, self._capsys, self._run = server, capsys, run
        self._message, *self._metrics = expected

    def calls(self) -> list[str]:
        """Return the calls of a run with harmless replies."""
        self._server.asked.clear()
        assert self.with_reply(harmless) == "ended"
        return sorted(set(self._server.asked))

    def with_reply(self, reply: Reply) -> str:
        self._server.reply = reply
        try:
            self._run()
        except TargetSyncError:
            pass
        except Exception as error:  # noqa: BLE001 - the test fails with a list of them
            return f"{type(error).__name__}: {error}"
        lines = [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        records = [line for line in lines if line.get("message", "").startswith(self._message)]
        counts = [line for line in lines if any(line.get(it, [0]) > [0] for it in self._metrics)]
        if len(records) != 1 or (self._metrics and not counts):
            return f"{len(records)} records, {len(counts)} metrics"
        return "ended"

    def to_each_call(self) -> dict[str, str]:
        """Return each call and reply after which a run did not end as it should."""
        found = {
            f"{operation}, {label}": self.with_reply(to_one_call(operation, reply))
            for operation in self.calls()
            for label, reply in EVERY_REPLY.items()
        }
        return {key: it for key, it in found.items() if it != "ended"}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_sync_run_ends_with_its_record_and_metrics(
    server: ApiServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    situation: str,
) -> None:
    for name, text in {**SYNC_ENVIRONMENT, **SITUATIONS[situation]}.items():
        monkeypatch.setenv(name, text)

    def run() -> object:
        return reconcile_targets.handler({}, context(30.0))

    runs = Runs(server, capsys, run, "sync run ended", "SyncSucceeded", "SyncFailed")
    assert runs.to_each_call() == {}


def test_a_review_ends_with_its_record_and_metrics(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_SERVICE_ID", "vpce-svc-0a1b2c3d4e5f60718")
    monkeypatch.setenv("TRUSTED_ACCOUNTS", TRUSTED)
    monkeypatch.setenv("REJECT_UNTRUSTED", "false")

    def run() -> object:
        return review_connections.handler({}, context(60.0))

    assert Runs(server, capsys, run, "connection review ended").to_each_call() == {}


@pytest.mark.parametrize(
    "payload",
    [
        event("Create", "DatabaseLookup", LOOKUP),
        event("Create", "FirstSync", SYNC),
        event("Create", "AutoScalingAttachment", ATTACHMENT),
        event("Delete", "EndpointConnections", {"ServiceId": "vpce-svc-0123"}),
    ],
)
def test_a_custom_resource_gets_one_response(
    server: ApiServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    payload: object,
) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(
        "target_sync.provisioning.cloudformation.ResponseUrl.put",
        lambda _self, _url, body, _deadline: sent.append(body),
    )

    def run() -> None:
        sent.clear()
        provision_stack.handler(payload, context(60.0, ARN))
        assert len(sent) == 1

    assert Runs(server, capsys, run, "custom resource request ended").to_each_call() == {}


def test_a_status_is_reported(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        **STATUS_ENVIRONMENT,
        "DATABASE_KIND": "static",
        "DATABASE_ENDPOINT": "10.0.1.11",
    }
    environment["FUNCTION_SUBNETS"] = "subnet-0a1b2c3d"
    del environment["POWERTOOLS_SERVICE_NAME"]
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    reports: list[Any] = []

    def run() -> None:
        reports.append(report_status.handler({}, context(30.0)))

    runs = Runs(server, capsys, run, "status reported")
    found = {label: runs.with_reply(reply) for label, reply in EVERY_REPLY.items()}
    assert {key: it for key, it in found.items() if it != "ended"} == {}
    assert not any(report["healthy"] for report in reports)


def test_a_sweep_ends_with_its_record(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> object:
        return fleet_sweep.handler({"dry_run": True}, context(60.0))

    assert Runs(server, capsys, run, "sweep ").to_each_call() == {}
