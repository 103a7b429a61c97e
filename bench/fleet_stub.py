"""AWS's APIs for a fleet in which nothing happens, on this machine."""

import json
from collections.abc import Sequence

from lab.lambda_runtime.stub_servers import StubAws, StubHandler, elb_reply, form_of, healthy
from target_sync.fleet.model import ENDPOINT_TAG
from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK

REGION, ACCOUNT = "eu-west-1", "111122223333"
ADDRESS, PORT, NETWORK, VPC = "10.0.1.11", 5432, "10.0.0.0/16", "vpc-0123456789abcdef0"


def groups(count: int) -> Sequence[str]:
    """Return the ARNs of target groups."""
    return [
        f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/db-{n}/{n:016x}"
        for n in range(count)
    ]


class StubFleetAws(StubAws):
    """Lists these target groups, and describes each as in sync."""

    def __init__(self, groups: Sequence[str]) -> None:
        self.groups = groups
        super().__init__(_Handler)

    def listing(self) -> object:
        """Return the reply of the tagging API."""
        return {
            "ResourceTagMappingList": [
                {
                    "ResourceARN": arn,
                    "Tags": [
                        {
                            "Key": ENDPOINT_TAG,
                            "Value": f"db-{number}.abcdefghijkl.{REGION}.rds.amazonaws.com",
                        }
                    ],
                }
                for number, arn in enumerate(self.groups)
            ]
        }

    def as_xml(self, action: str) -> bytes:
        """Return the reply of ELB or of EC2."""
        if action == "DescribeVpcs":
            return _VPCS.encode()
        if action == "DescribeTargetHealth":
            return elb_reply(action, healthy([(ADDRESS, PORT)]))
        if action == "DescribeTargetGroupAttributes":
            return elb_reply(action, f"<Attributes>{_ATTRIBUTES}</Attributes>")
        members = "".join(
            f"<member><TargetGroupArn>{arn}</TargetGroupArn><Port>{PORT}</Port>"
            f"<TargetType>ip</TargetType><VpcId>{VPC}</VpcId>{_HEALTH_CHECK}</member>"
            for arn in self.groups
        )
        return elb_reply(action, f"<TargetGroups>{members}</TargetGroups>")


_ATTRIBUTES = "".join(
    f"<member><Key>{key}</Key><Value>{value}</Value></member>"
    for key, value in GROUP_ATTRIBUTES.items()
)
_HEALTH_CHECK = "".join(f"<{key}>{value}</{key}>" for key, value in HEALTH_CHECK.items())
_VPCS = f"""\
<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<vpcSet><item><vpcId>{VPC}</vpcId><cidrBlockAssociationSet><item><cidrBlock>{NETWORK}</cidrBlock>
<cidrBlockState><state>associated</state></cidrBlockState></item></cidrBlockAssociationSet></item>
</vpcSet></DescribeVpcsResponse>"""


class _Handler(StubHandler):
    def reply(self, text: str) -> tuple[str, bytes]:
        if "X-Amz-Target" in self.headers:
            return "application/x-amz-json-1.1", json.dumps(self.stub.listing()).encode()
        return "text/xml", self.stub.as_xml(form_of(text)["Action"])


def fleet_environment(aws: StubAws, resolver: str) -> dict[str, str]:
    """Return the environment that fleet.yaml gives its function, with stubs instead of AWS."""
    return {
        "ALLOWED_NETWORKS": "",
        "MAX_TARGETS": "15",
        "RESOLVERS": resolver,
        "API_SHARE": "0.5",
        "POWERTOOLS_SERVICE_NAME": "postgres-privatelink-fleet",
        "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        **aws.environ,
    }
