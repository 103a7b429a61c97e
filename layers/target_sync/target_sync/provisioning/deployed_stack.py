"""The resources of the deployed stack, from the CloudFormation and ELBv2 APIs."""

from typing import TYPE_CHECKING

from target_sync.aws import AwsApi
from target_sync.errors import AwsCallError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

_CLOUDFORMATION, _ELB = AwsApi("cloudformation"), AwsApi("elasticloadbalancing")
#: Its logical ID in the template.
_LOAD_BALANCER = "LoadBalancer"


class DeployedStack:
    """Implements ``target_sync.provisioning.ports.StackPort``."""

    def __init__(
        self, cloudformation: "CloudFormationClient", elb: "ElasticLoadBalancingv2Client"
    ) -> None:
        self._cloudformation = cloudformation
        self._elb = elb

    def load_balancer_subnets(self, stack_id: str) -> frozenset[str]:
        """Return the subnets of the stack's load balancer; none if it has no load balancer."""
        arn = self._load_balancer_arn(stack_id)
        if not arn:
            return frozenset()
        found = _ELB.find(
            "DescribeLoadBalancers",
            lambda: frozenset(
                zone["SubnetId"]
                for balancer in self._elb.describe_load_balancers(LoadBalancerArns=[arn])[
                    "LoadBalancers"
                ]
                for zone in balancer["AvailabilityZones"]
            ),
        )
        return found or frozenset()

    def _load_balancer_arn(self, stack_id: str) -> str:
        try:
            return _CLOUDFORMATION.call(
                "DescribeStackResource",
                lambda: self._cloudformation.describe_stack_resource(
                    StackName=stack_id, LogicalResourceId=_LOAD_BALANCER
                )["StackResourceDetail"].get("PhysicalResourceId", ""),
            )
        except AwsCallError as error:
            # The stack has no such resource, for example with ExistingTargetGroupArn.
            if error.code == "ValidationError":
                return ""
            raise
