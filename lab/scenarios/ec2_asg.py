"""PostgreSQL readers in an Auto Scaling group, attached to the target group."""

from lab.aws import create_network
from lab.scenarios.base import Scenario, ScenarioContext

_NAME = "orders-readers"


def _run(context: ScenarioContext) -> None:
    network = create_network(context.provider)
    # The group has two subnets; the first address of each belongs to the first two servers.
    first, second, third = context.targets
    scaling = context.provider.client("autoscaling")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=_NAME,
        MinSize=0,
        MaxSize=3,
        DesiredCapacity=2,
        VPCZoneIdentifier=",".join(network.subnet_ids),
        LaunchTemplate={"LaunchTemplateName": "postgres"},
    )
    parameters = {
        "DatabaseKind": "ec2-asg",
        "DatabaseEndpoint": _NAME,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    with context.path(parameters, targets=[first, second]) as path, path.reading() as reading:
        reading.expect_reads_by(
            "every instance of the group replies",
            [context.server_at(first), context.server_at(second)],
        )
        context.progress.show("The group grows by one instance")
        scaling.set_desired_capacity(AutoScalingGroupName=_NAME, DesiredCapacity=3)
        path.expect_targets("Auto Scaling registers the new instance", [first, second, third])
        reading.expect_reads_by("every instance of the group replies", context.servers.servers)


SCENARIO = Scenario(
    name="ec2-asg",
    shows="an Auto Scaling group is attached on create and detached on delete",
    servers=3,
    run=_run,
    with_sam=True,
)
