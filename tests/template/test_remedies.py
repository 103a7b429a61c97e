"""Each command of the status report can be pasted: its program accepts it as it is."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import awscli
import pytest
from awscli.clidriver import create_clidriver
from click import Command, Context, Group
from samcli.cli.main import cli as sam

from target_sync.model import (
    ConnectionState,
    DatabaseKind,
    OutboundRules,
    SwitchState,
    Target,
    TargetState,
)
from target_sync.status.checks.result import CheckId
from target_sync.status.facts import Deployment, SecurityGroup
from target_sync.status.report import make_report, to_text
from target_sync.targets.group_settings import GROUP_ATTRIBUTES
from tests.support.status import (
    BALANCER,
    BALANCER_GROUP,
    DATABASE,
    DATABASE_GROUP,
    DEPLOYMENT,
    EVERYWHERE,
    EXISTING_GROUP,
    FACTS,
    GROUP,
    GROUPS,
    LISTENER,
    OUT_OF_SYNC,
    OUTBOUND_RULES,
    PORT,
    PRINCIPAL,
    RUNS,
    SCALING,
    STRANGER,
    TRUSTED,
    B,
    connection,
    observation,
    rule,
    target,
)

EMPTY = SecurityGroup(inbound=(), outbound=())
NO_GROUPS = replace(BALANCER, security_groups=())
NOT_LISTED = replace(LISTENER, port=6432)
ACCEPTING = replace(DEPLOYMENT, acceptance_required=True)
WAITING = ConnectionState.PENDING_ACCEPTANCE
SERVICE: Any = FACTS.service
#: With a space, as an Auto Scaling group may have.
SPACED = replace(SCALING, scaling_group="my databases")
FAULTS: list[tuple[CheckId, Deployment, dict[str, Any]]] = [
    (CheckId.ENDPOINT_NAME, SPACED, {"attached": False}),
    *(
        (CheckId.DATABASE, replace(DEPLOYMENT, kind=kind), {
            "database": replace(DATABASE, state="stopped")})
        for kind in (DatabaseKind.RDS_INSTANCE, DatabaseKind.RDS_CLUSTER_READERS,
                     DatabaseKind.EC2_INSTANCE)
    ),
    (CheckId.DATABASE, DEPLOYMENT, {"database": replace(DATABASE, port=5433)}),
    (CheckId.DATABASE, DEPLOYMENT, {"database": replace(DATABASE, security_groups=())}),
    (CheckId.TARGET_HEALTH, DEPLOYMENT, {"observation": observation(B)}),
    (CheckId.DRIFT, DEPLOYMENT, {
        "targets": (target(), target(B)),
        "outbound_rules": OutboundRules(frozenset({*OUTBOUND_RULES.open, Target(B, PORT)})),
        "recent_runs": OUT_OF_SYNC}),
    (CheckId.DRIFT, DEPLOYMENT, {"targets": (target(), target(B, TargetState.DRAINING))}),
    (CheckId.TARGET_GROUP, DEPLOYMENT, {
        "group_attributes": {}, "group": replace(GROUP, health_check={})}),
    (CheckId.TARGET_GROUP, DEPLOYMENT, {
        "group_attributes": {**GROUP_ATTRIBUTES, "proxy_protocol_v2.enabled": "true"}}),
    (CheckId.LISTENER, DEPLOYMENT, {"listeners": ()}),
    (CheckId.LISTENER, DEPLOYMENT, {"listeners": (NOT_LISTED,)}),
    (CheckId.LISTENER, DEPLOYMENT, {
        "listeners": (replace(LISTENER, target_group_arns=LISTENER.target_group_arns | {"x"}),)}),
    (CheckId.LISTENER, DEPLOYMENT, {"listener_attributes": {}}),
    (CheckId.LOAD_BALANCER, DEPLOYMENT, {"load_balancer_attributes": {}}),
    (CheckId.LOAD_BALANCER_SECURITY_GROUP, EXISTING_GROUP, {
        "security_groups": {BALANCER_GROUP: EMPTY}}),
    (CheckId.LOAD_BALANCER_SECURITY_GROUP, DEPLOYMENT, {
        "load_balancer": replace(BALANCER, enforces_inbound_rules=True)}),
    (CheckId.LOAD_BALANCER_SECURITY_GROUP, DEPLOYMENT, {
        "security_groups": {**GROUPS, BALANCER_GROUP: EMPTY}}),
    (CheckId.SWITCH, DEPLOYMENT, {
        "load_balancer": replace(BALANCER, security_groups=(BALANCER_GROUP,))}),
    (CheckId.SWITCH, DEPLOYMENT, {"outbound_rules": OutboundRules(frozenset())}),
    (CheckId.SWITCH, DEPLOYMENT, {
        "outbound_rules": OutboundRules(OUTBOUND_RULES.open, SwitchState.INEFFECTIVE),
        "security_groups": {**GROUPS, BALANCER_GROUP: SecurityGroup((), (rule(EVERYWHERE),))}}),
    (CheckId.DATABASE_SECURITY_GROUP, DEPLOYMENT, {
        "security_groups": {**GROUPS, DATABASE_GROUP: EMPTY}}),
    (CheckId.DATABASE_SECURITY_GROUP, DEPLOYMENT, {
        "security_groups": {DATABASE_GROUP: EMPTY}, "load_balancer": NO_GROUPS}),
    (CheckId.ENDPOINT_SERVICE, DEPLOYMENT, {"service": replace(SERVICE, load_balancer_arns=())}),
    (CheckId.ENDPOINT_SERVICE, DEPLOYMENT, {
        "service": replace(SERVICE, load_balancer_arns=(*SERVICE.load_balancer_arns, "x"))}),
    (CheckId.ENDPOINT_SERVICE, DEPLOYMENT, {"service": replace(SERVICE, acceptance_required=True)}),
    (CheckId.ENDPOINT_SERVICE, ACCEPTING, {}),
    (CheckId.ALLOWED_PRINCIPALS, DEPLOYMENT, {"principals": frozenset()}),
    (CheckId.ALLOWED_PRINCIPALS, DEPLOYMENT, {"principals": frozenset({PRINCIPAL, "*"})}),
    (CheckId.ENDPOINT_CONNECTIONS, DEPLOYMENT, {"connections": (connection(owner=STRANGER),)}),
    (CheckId.ENDPOINT_CONNECTIONS, DEPLOYMENT, {
        "connections": (connection(ConnectionState.REJECTED),)}),
    (CheckId.ENDPOINT_CONNECTIONS, ACCEPTING, {"connections": (connection(WAITING, STRANGER),)}),
    (CheckId.ENDPOINT_CONNECTIONS, ACCEPTING, {"connections": (connection(WAITING, TRUSTED),)}),
    (CheckId.LAST_SYNC, DEPLOYMENT, {"recent_runs": replace(OUT_OF_SYNC, succeeded_at=None)}),
    (CheckId.LAST_SYNC, DEPLOYMENT, {
        "recent_runs": replace(OUT_OF_SYNC, succeeded_at=None, failures=1)}),
    (CheckId.LAST_SYNC, DEPLOYMENT, {"recent_runs": replace(RUNS, vetoes=1)}),
    (CheckId.SCHEDULE, DEPLOYMENT, {"schedule_enabled": False}),
    (CheckId.DEAD_LETTER_QUEUES, DEPLOYMENT, {"failed_runs": 1, "undelivered_events": 2}),
]  # fmt: skip
#: The inner command prints the settings that the outer one needs.
_SUBSTITUTION = re.compile(r'"\$\((.*)\)"')
_SETTINGS = {
    "Name": "x",
    "ScheduleExpression": "rate(1 minute)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": "x", "RoleArn": "x"},
}
COMMANDS = pytest.mark.parametrize(("id_", "deployment", "changes"), FAULTS)


def command_of(id_: CheckId, deployment: Deployment, changes: dict[str, Any]) -> str:
    report = make_report(replace(FACTS, **changes), deployment)
    (check,) = [check for check in report.checks if check.id is id_]
    return check.command


def programs(command: str) -> Iterator[list[str]]:
    """Yield the words of each program of a command, as a shell splits them."""
    if found := _SUBSTITUTION.search(command):
        yield from programs(found[1])
        command = command.replace(found[0], shlex.quote(json.dumps(_SETTINGS)))
    words: list[str] = []
    for word in [*shlex.split(command), "&&"]:
        if word == "&&":
            yield words
            words = []
        else:
            words.append(word)


@pytest.fixture(autouse=True)
def _data_of_the_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DATA_PATH", str(Path(awscli.__file__).parent / "data"))


@cache
def cli() -> tuple[Any, list[str]]:
    """Return the AWS CLI, which sends nothing, and the list of the calls that it would send."""
    driver, calls = create_clidriver(), list[str]()

    def reply(model: Any, **_: Any) -> Any:
        calls.append(model.name)
        return type("Response", (), {"status_code": 200})(), {}

    driver.session.register("before-call", reply)
    return driver, calls


@COMMANDS
def test_the_program_accepts_the_command(
    id_: CheckId, deployment: Deployment, changes: dict[str, Any]
) -> None:
    for program, *words in programs(command_of(id_, deployment, changes)):
        assert words[words.index("--region") + 1] == "eu-west-1"
        if program == "aws":
            driver, calls = cli()
            calls.clear()
            assert driver.main(words) == 0
            assert len(calls) == 1
        else:
            assert program == "sam"
            assert words[words.index("--stack-name") + 1] == deployment.stack
            parse(sam, words)


def parse(command: Command, words: list[str]) -> None:
    """Parse the words as SAM does. Raises an error for an unknown option."""
    while isinstance(command, Group):
        found = command.get_command(Context(command, obj="any"), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    command.make_parser(Context(command, obj="any")).parse_args(words)


@COMMANDS
def test_the_text_has_the_command_in_a_line_of_its_own(
    id_: CheckId, deployment: Deployment, changes: dict[str, Any]
) -> None:
    command = command_of(id_, deployment, changes)
    lines = to_text(make_report(replace(FACTS, **changes), deployment)).splitlines()
    assert command in [line.strip() for line in lines]


def test_a_remedy_has_no_command_in_its_sentence() -> None:
    for _, deployment, changes in FAULTS:
        for check in make_report(replace(FACTS, **changes), deployment).checks:
            assert not re.search(r"\b(aws|sam) [a-z0-9-]+ [a-z]", check.remedy), check.remedy


def test_a_command_without_its_values_is_left_out() -> None:
    """A placeholder cannot be pasted."""
    unknown = {"listeners": (), "load_balancer": None}
    assert command_of(CheckId.LISTENER, DEPLOYMENT, unknown) == ""
    closed = {"security_groups": {**GROUPS, BALANCER_GROUP: SecurityGroup((), (rule(EVERYWHERE),))}}
    assert command_of(CheckId.LOAD_BALANCER_SECURITY_GROUP, EXISTING_GROUP, closed) == ""
