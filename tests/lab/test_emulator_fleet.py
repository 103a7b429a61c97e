"""The emulator's listings by tag, tag conditions, and the age of messages."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.emulator.client import EmulatorAdminError
from tests.lab.emulator_process import (
    CONSUMER,
    PROVIDER,
    REGION,
    Emulator,
    create_vpc,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

ENDPOINT, CHECKPOINT = "privatelink-sync:endpoint", "privatelink-sync:checkpoint"
GROUPS = f"arn:aws:elasticloadbalancing:{REGION}:{PROVIDER}:targetgroup/*"


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


# ------------------------------------------------------------------------------------------ listing


def listing(emulator: Emulator, value: str, size: int = 100) -> list[list[str]]:
    """Return the groups with this endpoint tag, read page by page."""
    pages = emulator.client("resourcegroupstaggingapi").get_paginator("get_resources")
    found = pages.paginate(
        TagFilters=[{"Key": ENDPOINT, "Values": [value]}],
        ResourceTypeFilters=["elasticloadbalancing:targetgroup"],
        PaginationConfig={"PageSize": size},
    )
    return [[m["ResourceARN"] for m in page["ResourceTagMappingList"]] for page in found]


def test_tagged_groups_are_listed_page_by_page_and_others_are_not(
    emulator: Emulator, vpc: str
) -> None:
    made = [create_group(emulator, vpc, endpoint="paged.example") for _ in range(5)]
    create_group(emulator, vpc)
    create_group(emulator, vpc, endpoint="other.example")
    pages = listing(emulator, "paged.example", size=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(arn for page in pages for arn in page) == sorted(made)
    assert listing(emulator, "paged.example") == [[arn for page in pages for arn in page]]


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
    assert listing(emulator, "stack.example") == [[arn]]
    elb = emulator.client("elbv2")
    (described,) = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    assert described["TargetGroupArn"] == arn
    formation.delete_stack(StackName="groups")
    wait_until(lambda: listing(emulator, "stack.example") == [[]])


def test_a_tag_that_is_removed_leaves_the_listing_and_one_that_is_added_comes_with_it(
    emulator: Emulator, vpc: str
) -> None:
    arn, elb = create_group(emulator, vpc, endpoint="moving.example"), emulator.client("elbv2")
    elb.add_tags(ResourceArns=[arn], Tags=[{"Key": CHECKPOINT, "Value": "1 a b"}])
    tagging = emulator.client("resourcegroupstaggingapi")
    (found,) = tagging.get_resources(TagFilters=[{"Key": ENDPOINT, "Values": ["moving.example"]}])[
        "ResourceTagMappingList"
    ]
    assert {"Key": CHECKPOINT, "Value": "1 a b"} in found["Tags"]
    elb.remove_tags(ResourceArns=[arn], TagKeys=[ENDPOINT])
    assert listing(emulator, "moving.example") == [[]]


def test_the_listing_may_go_on_naming_a_deleted_group(emulator: Emulator, vpc: str) -> None:
    kept, gone = (create_group(emulator, vpc, endpoint="late.example") for _ in range(2))
    emulator.admin.keep_listed(kept)
    for arn in (kept, gone):
        emulator.client("elbv2").delete_target_group(TargetGroupArn=arn)
    assert listing(emulator, "late.example") == [[kept]]
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


# --------------------------------------------------------------------------------------- conditions


def acting_as(emulator: Emulator, service: str, *statements: Any) -> Any:
    """Return a client whose role allows these actions only."""
    iam, name = emulator.client("iam"), f"r-{uuid4().hex[:12]}"
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{PROVIDER}:root"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        ),
    )["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName=name,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    given = emulator.client("sts").assume_role(RoleArn=role, RoleSessionName=name)
    session = boto3.session.Session(
        aws_access_key_id=given["Credentials"]["AccessKeyId"],
        aws_secret_access_key=given["Credentials"]["SecretAccessKey"],
        aws_session_token=given["Credentials"]["SessionToken"],
        region_name=REGION,
    )
    make: Any = session.client
    once = Config(retries={"total_max_attempts": 1})
    return make(service, endpoint_url=emulator.url, config=once)


@pytest.fixture(scope="module")
def worker(emulator: Emulator) -> Any:
    """Return a client that may change tagged groups only, and write one tag only."""
    tagged = {f"aws:ResourceTag/{ENDPOINT}": "false"}
    return acting_as(
        emulator,
        "elbv2",
        {
            "Effect": "Allow",
            "Action": "elasticloadbalancing:RegisterTargets",
            "Resource": GROUPS,
            "Condition": {"Null": tagged},
        },
        {
            "Effect": "Allow",
            "Action": "elasticloadbalancing:AddTags",
            "Resource": GROUPS,
            "Condition": {
                "Null": {**tagged, "aws:TagKeys": "false"},
                "ForAllValues:StringEquals": {"aws:TagKeys": [CHECKPOINT]},
            },
        },
    )


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    code: str = refused.value.response["Error"]["Code"]
    return code


def test_targets_are_registered_in_a_tagged_group_alone(
    emulator: Emulator, vpc: str, worker: Any
) -> None:
    targets = [{"Id": "10.0.1.11", "Port": 5432}]
    tagged = create_group(emulator, vpc, endpoint="a.example")
    worker.register_targets(TargetGroupArn=tagged, Targets=targets)
    plain = create_group(emulator, vpc)
    asked = {"TargetGroupArn": plain, "Targets": targets}
    assert refusal(worker.register_targets, **asked) == "AccessDenied"
    emulator.client("elbv2").remove_tags(ResourceArns=[tagged], TagKeys=[ENDPOINT])
    asked = {"TargetGroupArn": tagged, "Targets": targets}
    assert refusal(worker.register_targets, **asked) == "AccessDenied"


def test_one_tag_alone_can_be_written_and_on_a_tagged_group_alone(
    emulator: Emulator, vpc: str, worker: Any
) -> None:
    tagged = create_group(emulator, vpc, endpoint="b.example")
    checkpoint = {"Key": CHECKPOINT, "Value": "1 a b"}
    worker.add_tags(ResourceArns=[tagged], Tags=[checkpoint])
    for arn, tags in (
        (tagged, [{"Key": ENDPOINT, "Value": "evil.example"}]),
        (tagged, [checkpoint, {"Key": ENDPOINT, "Value": "evil.example"}]),
        (create_group(emulator, vpc), [checkpoint]),
    ):
        assert refusal(worker.add_tags, ResourceArns=[arn], Tags=tags) == "AccessDenied"


def test_who_may_send_a_message_may_send_a_batch_of_them(emulator: Emulator) -> None:
    ours = emulator.client("sqs").create_queue(QueueName="ours")["QueueUrl"]
    sender = acting_as(
        emulator,
        "sqs",
        {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": f"arn:aws:sqs:{REGION}:{PROVIDER}:ours",
        },
    )
    entries = [{"Id": "0", "MessageBody": "{}"}]
    assert len(sender.send_message_batch(QueueUrl=ours, Entries=entries)["Successful"]) == 1
    gone = [{"Id": "0", "ReceiptHandle": "none"}]
    asked = {"QueueUrl": ours, "Entries": gone}
    assert refusal(sender.delete_message_batch, **asked) == "AccessDenied"


# ------------------------------------------------------------------------------------------- queues


def test_messages_of_a_queue_that_is_not_there_do_not_age(emulator: Emulator) -> None:
    with pytest.raises(EmulatorAdminError, match="no queue"):
        emulator.admin.age_messages("http://127.0.0.1/1/nothing", 1.0)
