import re
from collections import Counter
from typing import Any

import pytest

from tests.template.stack import load

PARAMETERS: dict[str, dict[str, Any]] = load()["Parameters"]
INTERFACE: dict[str, Any] = load()["Metadata"]["AWS::CloudFormation::Interface"]


def test_every_parameter_is_in_exactly_one_group() -> None:
    listed = Counter(name for group in INTERFACE["ParameterGroups"] for name in group["Parameters"])
    assert listed == dict.fromkeys(PARAMETERS, 1)


def test_every_group_has_a_label() -> None:
    assert all(group["Label"]["default"] for group in INTERFACE["ParameterGroups"])


def test_every_parameter_has_a_label_of_its_own() -> None:
    labels = INTERFACE["ParameterLabels"]
    assert labels.keys() == PARAMETERS.keys()
    assert len({label["default"] for label in labels.values()}) == len(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_says_what_it_is_for(name: str) -> None:
    assert PARAMETERS[name]["Description"].endswith((".", "com"))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_limited_parameter_says_what_it_must_be(name: str) -> None:
    parameter = PARAMETERS[name]
    limits = {"AllowedPattern", "AllowedValues", "MinValue", "MaxValue", "MinLength", "MaxLength"}
    if limits & parameter.keys():
        assert parameter["ConstraintDescription"].startswith("must be ")


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_free_text_is_limited(name: str) -> None:
    parameter = PARAMETERS[name]
    if parameter["Type"] in {"String", "CommaDelimitedList"}:
        assert {"AllowedPattern", "AllowedValues"} & parameter.keys()


@pytest.mark.parametrize("name", [name for name in PARAMETERS if "Default" in PARAMETERS[name]])
def test_a_default_keeps_its_own_limits(name: str) -> None:
    parameter = PARAMETERS[name]
    default = parameter["Default"]
    if "AllowedValues" in parameter:
        assert default in parameter["AllowedValues"]
    for item in values(name, str(default)):
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), item)


def values(name: str, text: str) -> list[str]:
    """The texts that CloudFormation compares with the pattern."""
    return text.split(",") if PARAMETERS[name]["Type"] == "CommaDelimitedList" else [text]


def test_only_what_we_cannot_know_has_no_default() -> None:
    required = {name for name, parameter in PARAMETERS.items() if "Default" not in parameter}
    assert required == {"DatabaseEndpoint", "VpcId", "SubnetIds"}


def test_the_allowed_principal_is_dbt_unless_told_otherwise() -> None:
    default = PARAMETERS["AllowedPrincipals"]["Default"]
    assert default == "arn:aws:iam::346425330055:role/MTPL_Admin"


def test_the_allowed_networks_are_what_a_network_load_balancer_accepts() -> None:
    default = PARAMETERS["AllowedNetworks"]["Default"]
    assert set(default.split(",")) == {
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
    }


def test_the_security_group_is_not_enforced_on_private_link_traffic_unless_asked() -> None:
    parameter = PARAMETERS["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"]
    assert parameter["Default"] == "off"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DatabaseEndpoint", "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"),
        ("DatabaseEndpoint", "db1.corp.example"),
        ("DatabaseInstanceIdentifier", "orders-2"),
        ("AllowedNetworks", "10.20.0.0/16"),
        ("AllowedNetworks", "10.20.0.0/16, 10.30.0.0/16"),
        ("ConsumerNetwork", "10.0.0.0/8"),
        ("AllowedPrincipals", "*"),
        ("AllowedPrincipals", "arn:aws:iam::111122223333:root"),
        ("AllowedPrincipals", "arn:aws-us-gov:iam::111122223333:user/a/b@c"),
        ("Resolvers", "10.0.0.2:53"),
        ("Resolvers", "127.0.0.1:5353,10.0.0.2:53"),
        ("DbtAccountUrl", "https://ab123.us1.dbt.com"),
        ("DbtAccountUrl", "https://cloud.getdbt.com/accounts/1"),
    ],
)
def test_a_right_value_is_accepted(name: str, value: str) -> None:
    pattern = PARAMETERS[name]["AllowedPattern"]
    assert all(re.fullmatch(pattern, item) for item in values(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DatabaseEndpoint", ""),
        ("DatabaseEndpoint", "orders"),
        ("DatabaseEndpoint", "10.0.1.11"),
        ("DatabaseEndpoint", "orders.example.com:5432"),
        ("DatabaseEndpoint", "Orders.example.com"),
        ("DatabaseEndpoint", "orders.example.com."),
        ("DatabaseEndpoint", "-orders.example.com"),
        ("DatabaseEndpoint", "postgres://orders.example.com/db"),
        ("DatabaseInstanceIdentifier", "Orders"),
        ("DatabaseInstanceIdentifier", "2orders"),
        ("DatabaseInstanceIdentifier", "orders-"),
        ("DatabaseInstanceIdentifier", "orders--2"),
        ("DatabaseInstanceIdentifier", "orders*"),
        ("AllowedNetworks", "10.0.0.1"),
        ("AllowedNetworks", "10.0.0.0/33"),
        ("ConsumerNetwork", "10.0.0.0/8,10.0.0.0/16"),
        ("AllowedPrincipals", "111122223333"),
        ("AllowedPrincipals", "arn:aws:iam::111122223333:role/a*"),
        ("Resolvers", "10.0.0.2"),
        ("Resolvers", "10.0.0.2:53,"),
        ("DbtAccountUrl", "ab123.us1.dbt.com"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    pattern = PARAMETERS[name]["AllowedPattern"]
    assert not all(re.fullmatch(pattern, item) for item in values(name, value))
