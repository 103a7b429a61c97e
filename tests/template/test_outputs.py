from textwrap import dedent

from tests.template.stack import PSEUDO_PARAMETERS, Resolver, load


def output(name: str, **given: str) -> str:
    value = Resolver(given).resolve(load()["Outputs"][name]["Value"])
    assert isinstance(value, str)
    return value


def test_a_stack_tells_what_its_users_need() -> None:
    assert load()["Outputs"].keys() >= {
        "ConsumerRequest",
        "EndpointServiceId",
        "EndpointServiceName",
        "LoadBalancerDnsName",
        "LoadBalancerSecurityGroupId",
        "SyncTargetsFunctionName",
        "TargetGroupArn",
    }


def test_every_output_is_described_and_none_is_exported() -> None:
    outputs = load()["Outputs"].values()
    assert all(entry["Description"] for entry in outputs)
    assert not any("Export" in entry for entry in outputs)  # export names are shared by stacks


def test_the_request_is_in_the_vendors_own_form() -> None:
    request = output(
        "ConsumerRequest", DbtAccountUrl="https://ab123.eu1.dbt.com", DbtEnvironment="EMEA"
    )
    assert request == dedent(
        """\
        Subject: New Multi-Tenant PrivateLink Request

        - Type: Postgres Interface-type
        - dbt platform account URL: https://ab123.eu1.dbt.com
        - VPC Endpoint Service Name: com.amazonaws.vpce.eu-west-1.<EndpointService>
        - Postgres server AWS Region (for example, us-east-1, eu-west-2): eu-west-1
        - dbt AWS multi-tenant environment (US, EMEA, AU, JP): EMEA
        """
    )


def test_an_unknown_account_url_is_a_gap_that_can_be_seen() -> None:
    assert "- dbt platform account URL: <fill in your account URL>\n" in output("ConsumerRequest")


def test_the_service_name_follows_the_region() -> None:
    there = Resolver(pseudo={**PSEUDO_PARAMETERS, "AWS::Region": "us-east-1"})
    name = there.resolve(load()["Outputs"]["EndpointServiceName"]["Value"])
    assert name == "com.amazonaws.vpce.us-east-1.<EndpointService>"
