"""docs/security.md lists every permission and every open port, and names existing tests."""

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
"""The text of the page for each condition of the template."""
RESOURCES = expand()["Resources"]
ATTACKS = sections(sections(PAGE, 2).get("Attacks", ""), 3)
LINK = re.compile(r"^- \[(.+?)\]\(\.\./(tests/[\w/]+\.py)\)$", re.MULTILINE)


def _conditional(item: Any) -> tuple[str, Any]:
    """Return the page's text for the condition of an item, and the item."""
    if "Fn::If" in item:
        condition, there, _ = item["Fn::If"]
        return CONDITIONS[condition], there
    return "", item


def _shown(value: Any) -> str:
    """Return a resource or a number as the page writes it, without the common part of ARNs."""
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
    """Yield each statement of a role, with the text of its condition."""
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
    """Yield every rule of every security group: owner, direction, ports, peer, condition."""
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
    """Yield every service that a resource policy allows: service, action, resource, source."""
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


def _assert_rows(table: list[list[str]], expected: list[list[str]], what: str) -> None:
    """Assert that a table has the expected columns, and a reason in the last one."""
    rows = "\n".join("| " + " | ".join([*row, "…"]) + " |" for row in expected)
    assert [row[:-1] for row in table] == expected, f"{what}, rows for docs/security.md:\n{rows}"
    assert all(row[-1] for row in table), f"{what}: a row has no reason"


def test_the_roles_are_known() -> None:
    roles = {name for name, it in RESOURCES.items() if it["Type"] == "AWS::IAM::Role"}
    assert roles == set(ROLES)
    assert list(sections(PAGE, 3))[: len(ROLES)] == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_the_page_lists_every_permission_with_its_scope_and_reason(role: str) -> None:
    (table,) = tables(sections(PAGE, 3)[role])
    _assert_rows(table, _permissions(role), role)


def test_the_page_lists_every_rule_of_every_security_group() -> None:
    table = tables(sections(PAGE, 2)["Open ports and services"])[0]
    _assert_rows(table, list(_openings()), "security groups")


def test_the_page_lists_every_service_that_a_resource_policy_allows() -> None:
    table = tables(sections(PAGE, 2)["Open ports and services"])[1]
    expected = list(_grants())
    assert len(expected) == len({tuple(row) for row in expected})
    _assert_rows(table, expected, "resource policies")


def test_resource_policies_allow_only_aws_services_from_one_source_each() -> None:
    for service, _, _, source in _grants():
        assert service.strip("`").endswith(".amazonaws.com")
        assert source.strip("`") not in ("", "*")


def test_no_function_has_a_url() -> None:
    types = {resource["Type"] for resource in RESOURCES.values()}
    assert "AWS::Lambda::Function" in types
    assert "AWS::Lambda::Url" not in types


def test_the_page_says_that_the_interface_endpoints_have_the_default_policy() -> None:
    endpoints = [it for it in RESOURCES.values() if it["Type"] == "AWS::EC2::VPCEndpoint"]
    assert endpoints
    assert not [it for it in endpoints if "PolicyDocument" in it["Properties"]]
    assert "have AWS's default policy" in " ".join(PAGE.split())


def test_the_page_describes_attacks() -> None:
    assert ATTACKS


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_names_existing_tests(attack: str) -> None:
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
