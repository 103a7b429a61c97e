"""AWS's APIs for a fleet in which nothing happens, on this machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from typing import Any

from lab.lambda_runtime.stub_servers import StubAws, StubHandler, elb_reply, form_of, healthy
from target_sync.fleet.bindings import read_listing
from target_sync.fleet.checkpoints import SigningKey, write_checkpoint
from target_sync.fleet.model import (
    CHECKPOINT_TAG,
    ENDPOINT_TAG,
    Binding,
    GroupFacts,
    Limits,
    TaggedGroup,
    WorkReason,
)
from target_sync.fleet.work_items import SyncWorkItem, write_work_item
from target_sync.model import AwsScope

REGION, ACCOUNT = "eu-west-1", "111122223333"
SIGNING_KEY = "0a1b2c3d-0000-1111-2222-333344445555"
ADDRESS, PORT, NETWORK, VPC = "10.0.1.11", 5432, "10.0.0.0/16", "vpc-0123456789abcdef0"
_NETWORKS = (ip_network(NETWORK),)


@dataclass(frozen=True, slots=True)
class Group:
    """A target group in sync, and the work item to verify it."""

    arn: str
    tags: dict[str, str]
    item: str


def groups(count: int) -> Sequence[Group]:
    """Return target groups, each verified for the address of its name."""
    scope = AwsScope("aws", REGION, ACCOUNT)
    names = {
        f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/db-{n}/{n:016x}": (
            f"db-{n}.abcdefghijkl.{REGION}.rds.amazonaws.com"
        )
        for n in range(count)
    }
    listed, _ = read_listing(
        [TaggedGroup(arn, frozenset({(ENDPOINT_TAG, name)})) for arn, name in names.items()],
        scope,
        Limits(max_targets=15),
        dict.fromkeys(
            names, GroupFacts(PORT, has_ip_targets=True, vpc_networks=(ip_network(NETWORK),))
        ),
    )
    return [_group(item.binding) for item in listed]


def _group(binding: Binding) -> Group:
    record = write_checkpoint(
        binding, frozenset({IPv4Address(ADDRESS)}), SigningKey(SIGNING_KEY.encode())
    )
    return Group(
        binding.arn,
        {ENDPOINT_TAG: binding.endpoint, CHECKPOINT_TAG: record},
        write_work_item(SyncWorkItem(binding, record, WorkReason.AUDIT)),
    )


class StubFleetAws(StubAws):
    """Lists the groups, describes each as in sync, and accepts work items without processing them.

    Attributes:
        groups: The target groups.
        items: The number of accepted work items.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.items = 0
        super().__init__(_Handler)

    def as_json(self, action: str, asked: dict[str, Any]) -> object:
        """Return the reply of the tagging API or of SQS."""
        if action == "GetResources":
            return {"ResourceTagMappingList": [_mapping(group) for group in self.groups]}
        if action == "GetQueueAttributes":
            return {"Attributes": dict.fromkeys(asked["AttributeNames"], "0")}
        self.items += len(asked["Entries"])
        taken = [
            {"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""}
            for entry in asked["Entries"]
        ]
        return {"Successful": taken, "Failed": []}

    def as_xml(self, action: str) -> bytes:
        """Return the reply of ELB or of EC2."""
        if action == "DescribeVpcs":
            return _VPCS.encode()
        if action == "DescribeTargetHealth":
            return elb_reply(action, healthy([(ADDRESS, PORT)]))
        members = "".join(
            f"<member><TargetGroupArn>{group.arn}</TargetGroupArn><Port>{PORT}</Port>"
            f"<TargetType>ip</TargetType><VpcId>{VPC}</VpcId></member>"
            for group in self.groups
        )
        return elb_reply(action, f"<TargetGroups>{members}</TargetGroups>")


_VPCS = f"""\
<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<vpcSet><item><vpcId>{VPC}</vpcId><cidrBlockAssociationSet><item><cidrBlock>{NETWORK}</cidrBlock>
<cidrBlockState><state>associated</state></cidrBlockState></item></cidrBlockAssociationSet></item>
</vpcSet></DescribeVpcsResponse>"""


def _mapping(group: Group) -> object:
    tags = [{"Key": key, "Value": value} for key, value in group.tags.items()]
    return {"ResourceARN": group.arn, "Tags": tags}


class _Handler(StubHandler):
    def reply(self, text: str) -> tuple[str, bytes]:
        _, _, action = self.headers.get("X-Amz-Target", "").rpartition(".")
        if not action:
            return "text/xml", self.stub.as_xml(form_of(text)["Action"])
        reply = self.stub.as_json(action, json.loads(text))
        return "application/x-amz-json-1.1", json.dumps(reply).encode()


def fleet_environment(aws: StubAws, resolver: str) -> dict[str, str]:
    """The environment that fleet.yaml gives its functions, with stubs in scope of AWS."""
    return {
        "WORK_QUEUE_URL": f"{aws.environ['AWS_ENDPOINT_URL']}/{ACCOUNT}/fleet-work.fifo",
        "SIGNING_KEY": SIGNING_KEY,
        "ALLOWED_NETWORKS": "",
        "MAX_TARGETS": "15",
        "RESOLVERS": resolver,
        "API_SHARE": "0.5",
        "MAX_WORKERS": "10",
        "EVENT_WATCH_DURATION_SECONDS": "120",
        "POWERTOOLS_SERVICE_NAME": "postgres-privatelink-fleet",
        "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        **aws.environ,
    }


def batch(groups: Sequence[Group]) -> object:
    """Return the event that Lambda gives a worker: a work item for each of these groups."""
    return {
        "Records": [
            {
                "messageId": f"m-{number}",
                "receiptHandle": f"r-{number}",
                "body": group.item,
                "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": f"g-{number}"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:fleet-work.fifo",
                "awsRegion": REGION,
            }
            for number, group in enumerate(groups)
        ]
    }
