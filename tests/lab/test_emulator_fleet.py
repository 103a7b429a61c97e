"""The emulator's listings of target groups, by tag and page by page."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from lab.emulator.client import EmulatorAdminError
from tests.lab.emulator_process import (
    CONSUMER,
    Emulator,
    create_vpc,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

ENDPOINT = "privatelink-sync:endpoint"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as it:
        yield it


@pytest.fixture(scope="module")
def vpc(emulator: Emulator) -> str:
    return create_vpc(emulator)[0]


def create_group(emulator: Emulator, vpc: str, **tags: str) -> str:
    """Create a target group; ``endpoint`` is the tag of that name."""
    given = [{"Key": f"privatelink-sync:{key}", "Value": value} for key, value in tags.items()]
    made = emulator.client("elbv2").create_target_group(
        Name=f"g-{uuid4().hex[:20]}",
        Protocol="TCP",
        Port=5432,
        VpcId=vpc,
        TargetType="ip",
        **({"Tags": given} if given else {}),
    )
    arn: str = made["TargetGroups"][0]["TargetGroupArn"]
    return arn


def listing(emulator: Emulator, value: str) -> list[str]:
    """Return the groups with this endpoint tag."""
    found = emulator.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": ENDPOINT, "Values": [value]}],
        ResourceTypeFilters=["elasticloadbalancing:targetgroup"],
    )
    return [mapping["ResourceARN"] for mapping in found["ResourceTagMappingList"]]


def test_the_listing_has_only_this_account_and_region(emulator: Emulator, vpc: str) -> None:
    emulator.admin.keep_listed(create_group(emulator, vpc, endpoint="here.example"))
    theirs = emulator.client("resourcegroupstaggingapi", CONSUMER)
    elsewhere = emulator.client("resourcegroupstaggingapi", region="eu-west-1")
    for client in (theirs, elsewhere):
        assert client.get_resources()["ResourceTagMappingList"] == []


@pytest.mark.parametrize("wrong", [{"ResourcesPerPage": 101}, {"PaginationToken": "invented"}])
def test_a_page_that_cannot_be_given_is_refused(emulator: Emulator, wrong: Any) -> None:
    with pytest.raises(ClientError) as refused:
        emulator.client("resourcegroupstaggingapi").get_resources(**wrong)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_a_group_of_a_stack_has_its_tags_and_an_arn_as_any_other(
    emulator: Emulator, vpc: str
) -> None:
    properties = {
        "Protocol": "TCP",
        "Port": 5432,
        "VpcId": vpc,
        "TargetType": "ip",
        "Tags": [{"Key": ENDPOINT, "Value": "stack.example"}],
    }
    group = {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": properties}
    formation = emulator.client("cloudformation")
    template = {"Resources": {"G": group}, "Outputs": {"Arn": {"Value": {"Ref": "G"}}}}
    formation.create_stack(StackName="groups", TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(
        StackName="groups", WaiterConfig={"Delay": 1}
    )
    (stack,) = formation.describe_stacks(StackName="groups")["Stacks"]
    arn = stack["Outputs"][0]["OutputValue"]
    assert re.fullmatch(r"[0-9a-f]{16}", arn.rpartition("/")[2])
    assert listing(emulator, "stack.example") == [arn]
    elb = emulator.client("elbv2")
    (described,) = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    assert described["TargetGroupArn"] == arn
    formation.delete_stack(StackName="groups")
    wait_until(lambda: listing(emulator, "stack.example") == [])


def test_a_group_whose_tag_is_removed_leaves_the_listing(emulator: Emulator, vpc: str) -> None:
    arn = create_group(emulator, vpc, endpoint="moving.example")
    emulator.client("elbv2").remove_tags(ResourceArns=[arn], TagKeys=[ENDPOINT])
    assert listing(emulator, "moving.example") == []


def test_the_listing_may_go_on_naming_a_deleted_group(emulator: Emulator, vpc: str) -> None:
    kept, gone = (create_group(emulator, vpc, endpoint="late.example") for _ in range(2))
    emulator.admin.keep_listed(kept)
    for arn in (kept, gone):
        emulator.client("elbv2").delete_target_group(TargetGroupArn=arn)
    assert listing(emulator, "late.example") == [kept]
    with pytest.raises(EmulatorAdminError, match="no target group"):
        emulator.admin.keep_listed(gone)


def test_all_groups_are_described_page_by_page(emulator: Emulator, vpc: str) -> None:
    made = {create_group(emulator, vpc) for _ in range(3)}
    elb = emulator.client("elbv2")
    pages = list(
        elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 2})
    )
    assert {len(page["TargetGroups"]) for page in pages[:-1]} == {2}
    described = [g["TargetGroupArn"] for page in pages for g in page["TargetGroups"]]
    assert made <= set(described)
    assert len(described) == len(set(described))
    assert len(elb.describe_target_groups()["TargetGroups"]) == len(described)


def test_one_deleted_group_fails_the_description_of_those_beside_it(
    emulator: Emulator, vpc: str
) -> None:
    there, gone = create_group(emulator, vpc), create_group(emulator, vpc)
    elb = emulator.client("elbv2")
    elb.delete_target_group(TargetGroupArn=gone)
    with pytest.raises(elb.exceptions.TargetGroupNotFoundException):
        elb.describe_target_groups(TargetGroupArns=[there, gone])
