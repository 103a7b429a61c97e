"""docs/security.md tells every permission and every opening of the template, and real tests."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.template.pages import ROOT, read, sections, tables
from tests.template.stack import as_list, expand

PAGE = read("docs/security.md")
ROLES = [
    "ReconcileTargetsRole",
    "ReviewConnectionsRole",
    "ProvisionStackRole",
    "ReportStatusRole",
    "ReconcileTargetsFunctionEveryMinuteRole",
    "ReviewConnectionsFunctionEveryFiveMinutesRole",
]
CONDITIONS = {
    "ReviewsConnections": "with `AcceptanceRequired`",
    "AnyAccountIsTrusted": "an account is trusted",
    "FunctionInVpc": "with `FunctionSubnetIds`",
    "CreatesInterfaceEndpoints": "with `CreateInterfaceEndpoints`",
    "IsCluster": "clusters",
    "IsInstance": "EC2 instances",
    "IsRds": "RDS",
    "IsScalingGroup": "`ec2-asg`",
    "KeepsStandbyServing": "`StandbyTargets=serving`",
    "ManagesDatabaseIngress": "with `ManageDatabaseIngress`",
    "CreatesLoadBalancer": "no `ExistingTargetGroupArn`",
    "RejectsUntrusted": "with `RejectUntrusted`",
    "ReconcilesTargets": "not `ec2-asg`",
    "NotifiesPeople": "`AlarmTopicArn` or `AlarmEmail`",
}
"""How the page says each condition of the template."""
RESOURCES = expand()["Resources"]
ATTACKS = sections(sections(PAGE, 2).get("What an attacker could try", ""), 3)
LINK = re.compile(r"^- \[(.+?)\]\(\.\./(tests/[\w/]+\.py)\)$", re.MULTILINE)


def _conditional(item: Any) -> tuple[str, Any]:
    """The page's word for when an item is there, and the item."""
    if "Fn::If" in item:
        condition, there, _ = item["Fn::If"]
        return CONDITIONS[condition], there
    return "", item


def _shown(value: Any) -> str:
    """A resource or a number as the page writes it: without what is the same in every ARN."""
    if not isinstance(value, dict):
        return f"`{value}`"
    ((function, argument),) = value.items()
    if function == "Fn::If":
        _, yes, no = argument
        return f"{_shown(yes)} or {_shown(no)}"
    if function == "Fn::Sub":
        return f"`{re.sub(r'^arn:.*?AccountId}:', '', argument)}`"
    name = argument if isinstance(argument, str) else ".".join(argument)
    return f"`{name.removesuffix('.Arn')}`"


def _statements(role: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each statement of a role as the template has it, with when it is there."""
    for inline in RESOURCES[role]["Properties"]["Policies"]:
        for item in as_list(inline["PolicyDocument"]["Statement"]):
            yield _conditional(item)
    for resource in RESOURCES.values():
        if resource["Type"] == "AWS::IAM::Policy":
            assert resource["Properties"]["Roles"] == [{"Ref": "ProvisionStackRole"}]
            if role == "ProvisionStackRole":
                for item in resource["Properties"]["PolicyDocument"]["Statement"]:
                    yield CONDITIONS[resource["Condition"]], item


def _permissions(role: str) -> list[list[str]]:
    return [
        [
            ", ".join(f"`{action}`" for action in as_list(statement["Action"])),
            ", ".join(_shown(resource) for resource in as_list(statement["Resource"])),
            when,
        ]
        for when, statement in _statements(role)
    ]


def _openings() -> Iterator[list[str]]:
    """Every rule of every security group: whose, which way, what, with whom, and when."""
    for name, resource in RESOURCES.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            for way, key in (("in", "SecurityGroupIngress"), ("out", "SecurityGroupEgress")):
                for rule in properties.get(key, []):
                    yield [f"`{name}`", way, *_opening(rule), CONDITIONS[resource["Condition"]]]
        elif resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            when = CONDITIONS[resource["Condition"]]
            yield ["the database's own", "in", *_opening(properties), when]


def _opening(rule: Mapping[str, Any]) -> list[str]:
    first, last = _shown(rule["FromPort"]), _shown(rule["ToPort"])
    ports = first if first == last else f"{first} to {last}"
    return [
        f"{rule['IpProtocol']} {ports}",
        _shown(rule.get("CidrIp") or rule["SourceSecurityGroupId"]),
    ]


def _grants() -> Iterator[list[str]]:
    """Every service that a policy of a resource lets in: who, what, on which, from where."""
    for resource in RESOURCES.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Permission":
            yield [
                f"`{properties['Principal']}`",
                f"`{properties['Action']}`",
                _shown(properties["FunctionName"]),
                _shown(properties["SourceArn"]),
            ]
        elif resource["Type"] in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
            for item in properties["PolicyDocument"]["Statement"]:
                _, statement = _conditional(item)
                (sources,) = statement["Condition"]["ArnEquals"].values()
                yield [
                    f"`{statement['Principal']['Service']}`",
                    f"`{statement['Action']}`",
                    _shown(statement["Resource"]),
                    ", ".join(_shown(source) for source in as_list(sources)),
                ]


def _holds(table: list[list[str]], expected: list[list[str]], what: str) -> None:
    """The first columns of a table are the expected ones, and the last says why."""
    wanted = "\n".join("| " + " | ".join([*row, "…"]) + " |" for row in expected)
    assert [row[:-1] for row in table] == expected, f"{what}, rows for docs/security.md:\n{wanted}"
    assert all(row[-1] for row in table), f"{what}: a row has no reason"


def test_the_roles_are_known() -> None:
    roles = {name for name, it in RESOURCES.items() if it["Type"] == "AWS::IAM::Role"}
    assert roles == set(ROLES)
    assert list(sections(PAGE, 3))[: len(ROLES)] == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_the_page_tells_every_permission_with_its_scope_and_its_reason(role: str) -> None:
    (table,) = tables(sections(PAGE, 3)[role])
    _holds(table, _permissions(role), role)


def test_the_page_tells_every_rule_of_every_security_group() -> None:
    table = tables(sections(PAGE, 2)["What it opens"])[0]
    _holds(table, list(_openings()), "security groups")


def test_the_page_tells_every_service_that_may_come_in() -> None:
    table = tables(sections(PAGE, 2)["What it opens"])[1]
    expected = list(_grants())
    assert len(expected) == len({tuple(row) for row in expected})
    _holds(table, expected, "resource policies")


def test_only_services_of_aws_are_let_in_and_each_from_one_place() -> None:
    for service, _, _, source in _grants():
        assert service.strip("`").endswith(".amazonaws.com")
        assert source.strip("`") not in ("", "*")


def test_no_function_has_a_url() -> None:
    types = {resource["Type"] for resource in RESOURCES.values()}
    assert "AWS::Lambda::Function" in types
    assert "AWS::Lambda::Url" not in types


def test_the_page_says_that_the_interface_endpoints_have_aws_own_policy() -> None:
    endpoints = [it for it in RESOURCES.values() if it["Type"] == "AWS::EC2::VPCEndpoint"]
    assert endpoints
    assert not [it for it in endpoints if "PolicyDocument" in it["Properties"]]
    assert "have AWS's default policy" in " ".join(PAGE.split())


def test_the_page_tells_of_attacks() -> None:
    assert ATTACKS


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_stops_an_attack_is_shown_by_tests_that_exist(attack: str) -> None:
    text = ATTACKS[attack]
    named = LINK.findall(text)
    assert named
    assert len(named) == len(re.findall(r"^- ", text, re.MULTILINE))
    for behaviour, path in named:
        tree = ast.parse((ROOT / path).read_text())
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert f"test_{behaviour.replace(' ', '_')}" in tests, f"{behaviour} is not in {path}"


@pytest.mark.parametrize("lock", ["requirements/dev.txt", "layers/target_sync/requirements.txt"])
def test_every_requirement_is_pinned_by_version_and_hash(lock: str) -> None:
    lines = read(lock).replace("\\\n", " ").splitlines()
    requirements = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement


@pytest.mark.parametrize(
    "script", ["tools/bootstrap.sh", "layers/target_sync/install-requirements.sh"]
)
def test_nothing_is_installed_from_a_lock_without_its_hash(script: str) -> None:
    text = read(script).replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "install " in line and " -r " in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
