import re
from textwrap import dedent

import pytest

from tests.template.stack import SITUATIONS, Resolver, load


def output(name: str, **given: str) -> str:
    value = Resolver(given).outputs()[name]
    assert isinstance(value, str)
    return value


def test_a_stack_has_the_outputs_that_users_need() -> None:
    assert load()["Outputs"].keys() >= {
        "ConsumerRequest",
        "EndpointServiceId",
        "EndpointServiceName",
        "LeftOutZones",
        "LoadBalancerDnsName",
        "LoadBalancerSecurityGroupId",
        "RegisteredTargets",
        "ReconcileTargetsFunctionName",
        "SecondsToHealthyOnceOpened",
        "SwitchVerified",
        "TargetGroupArn",
        "TargetHealth",
        "TargetHint",
    }


def test_the_request_has_the_form_of_the_vendor() -> None:
    request = output(
        "ConsumerRequest", DbtAccountUrl="https://ab123.eu1.dbt.com", DbtEnvironment="EMEA"
    )
    assert request == dedent(
        """\
        Subject: New Multi-Tenant PrivateLink Request

        - Type: Postgres Interface-type
        - dbt platform account URL: https://ab123.eu1.dbt.com
        - VPC Endpoint Service Name: <EndpointConnections.ServiceName>
        - Postgres server AWS Region (for example, us-east-1, eu-west-2): eu-west-1
        - dbt AWS multi-tenant environment (US, EMEA, AU, JP): EMEA
        """
    )


def test_a_missing_account_url_leaves_a_visible_placeholder() -> None:
    assert "- dbt platform account URL: <fill in your account URL>\n" in output("ConsumerRequest")


@pytest.mark.parametrize(
    ("consumer", "subject"),
    [
        ("databricks", "PrivateLink to a PostgreSQL database for Databricks serverless"),
        ("clickhouse", "PrivateLink to a PostgreSQL database for ClickHouse ClickPipes"),
        ("custom", "PrivateLink to a PostgreSQL database"),
    ],
)
def test_the_request_to_another_vendor_has_the_facts_only(consumer: str, subject: str) -> None:
    assert output("ConsumerRequest", Consumer=consumer) == dedent(
        f"""\
        {subject}

        - VPC endpoint service name: <EndpointConnections.ServiceName>
        - AWS Region: eu-west-1
        - Port: <DatabaseLookup.Port>
        - Each connection request must be accepted: false
        """
    )


@pytest.mark.parametrize("consumer", ["dbt-cloud", "custom"])
def test_the_service_name_is_the_one_that_aws_gave(consumer: str) -> None:
    name = "cn.com.amazonaws.vpce.cn-north-1.vpce-svc-0123"
    attributes = {"EndpointConnections.ServiceName": name}
    outputs = Resolver({"Consumer": consumer}, attributes=attributes).outputs()
    assert outputs["EndpointServiceName"] == name
    assert f"ervice name: {name}\n" in outputs["ConsumerRequest"].replace("Name:", "name:")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_output_refers_to_existing_resources_only(situation: str) -> None:
    resolver = Resolver(SITUATIONS[situation])
    named = set(re.findall(r"<(\w+)[.>]", str(resolver.outputs())))
    assert named <= resolver.created().keys()


def test_the_output_target_group_is_the_existing_one() -> None:
    outputs = Resolver(SITUATIONS["existing target group"]).outputs()
    assert outputs["TargetGroupArn"].endswith("targetgroup/theirs/0123456789abcdef")
    assert outputs.keys().isdisjoint({"ConsumerRequest", "EndpointServiceName"})
