import re
from typing import Any

import pytest

from tests.template.stack import load

PARAMETERS: dict[str, dict[str, Any]] = load()["Parameters"]


def test_only_the_database_endpoint_is_required() -> None:
    required = {name for name, parameter in PARAMETERS.items() if "Default" not in parameter}
    assert required == {"DatabaseEndpoint"}


def test_the_security_group_does_not_limit_private_link_traffic_by_default() -> None:
    parameter = PARAMETERS["EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"]
    assert parameter["Default"] == "off"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DatabaseEndpoint", "orders.abcdefghijkl.eu-west-1.rds.amazonaws.com"),
        ("DatabaseEndpoint", "db1.corp.example"),
        ("DatabaseEndpoint", "10.0.1.11,10.0.2.12"),
        ("DatabaseEndpoint", "i-0a1b2c3d4e5f60718"),
        ("DatabaseEndpoint", "Databases_1/blue"),
        # Names of Auto Scaling groups.
        ("DatabaseEndpoint", "Postgres Group (blue), 1.2+x"),
        ("DatabaseEndpoint", "_p"),
        ("DatabaseEndpoint", "Datenbank für Aufträge"),
        ("DatabaseEndpoint", "10.0.1.11, 10.0.2.12"),
        ("SubnetIds", "subnet-0a1b2c3d, subnet-1a2b3c4d"),
        ("FunctionSubnetIds", "subnet-0a1b2c3d, subnet-1a2b3c4d"),
        ("AllowedNetworks", "10.20.0.0/16, 10.30.0.0/16"),
        ("TrustedAccounts", "111122223333, 444455556666"),
        ("SupportedRegions", "us-east-1, eusc-de-east-1"),
        ("Resolvers", "127.0.0.1:5353 , 10.0.0.2:53"),
        ("AllowedPrincipals", "firehose.amazonaws.com"),
        ("AllowedPrincipals", "arn:aws:iam::111122223333:root, delivery.logs.amazonaws.com"),
        ("VpcId", "vpc-0a1b2c3d4e5f60718"),
        ("SubnetIds", "subnet-0a1b2c3d,subnet-1a2b3c4d"),
        ("FunctionSubnetIds", "subnet-0a1b2c3d"),
        ("AllowedNetworks", "10.20.0.0/16"),
        ("AllowedNetworks", "10.20.0.0/16,10.30.0.0/16"),
        ("TrustedAccounts", "111122223333,444455556666"),
        ("SupportedRegions", "us-east-1,ap-southeast-2,us-gov-west-1"),
        (
            "ExistingTargetGroupArn",
            "arn:aws-cn:elasticloadbalancing:cn-north-1:111122223333:targetgroup/a-b/0123456789abcdef",
        ),
        ("PermissionsBoundaryArn", "arn:aws:iam::111122223333:policy/company/boundary"),
        ("PermissionsBoundaryArn", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ("AlarmTopicArn", "arn:aws:sns:eu-west-1:111122223333:alarms"),
        ("AlarmEmail", "on-call+db@example.com"),
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
def test_accepts_a_valid_value(name: str, value: str) -> None:
    assert re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DatabaseEndpoint", ""),
        ("DatabaseEndpoint", "orders.example.com:5432"),
        # The conditions of the template know these in lower case only.
        ("DatabaseEndpoint", "orders.abcdefghijkl.eu-west-1.RDS.amazonaws.com"),
        ("DatabaseEndpoint", "I-0A1B2C3D4E5F60718"),
        ("DatabaseEndpoint", ",10.0.1.11"),
        ("DatabaseEndpoint", "postgres://orders.example.com/db"),
        ("VpcId", "orders"),
        ("SubnetIds", "subnet-0a1b2c3d"),
        ("SubnetIds", "subnet-0a1b2c3d, "),
        ("FunctionSubnetIds", "vpc-0a1b2c3d"),
        ("TrustedAccounts", "11112222333"),
        ("TrustedAccounts", "*"),
        ("SupportedRegions", "us-east-1a"),
        ("SupportedRegions", "us-east-1,"),
        ("ExistingTargetGroupArn", "targets"),
        ("PermissionsBoundaryArn", "arn:aws:iam::111122223333:role/boundary"),
        ("AlarmTopicArn", "arn:aws:sqs:eu-west-1:111122223333:alarms"),
        ("AlarmEmail", "on-call"),
        ("AlarmEmail", "a@b.example,c@d.example"),
        ("AllowedNetworks", "10.0.0.1"),
        ("AllowedNetworks", "10.0.0.0/33"),
        ("ConsumerNetwork", "10.0.0.0/8,10.0.0.0/16"),
        ("AllowedPrincipals", "111122223333"),
        ("AllowedPrincipals", "firehose.example.com"),
        ("AllowedPrincipals", "*,arn:aws:iam::111122223333:root"),
        ("AllowedPrincipals", "arn:aws:iam::111122223333:role/a*"),
        ("Resolvers", "10.0.0.2"),
        ("Resolvers", "10.0.0.2:53,"),
        ("DbtAccountUrl", "ab123.us1.dbt.com"),
    ],
)
def test_rejects_an_invalid_value(name: str, value: str) -> None:
    assert not re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)
