"""PostgreSQL readers in an Auto Scaling group, attached to the target group."""

from typing import TYPE_CHECKING, Any

from lab.aws import create_network
from lab.scenarios.base import Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "orders-readers"


def _play(stage: Stage) -> None:
    network = create_network(stage.provider)
    # Two subnets: the first two servers' addresses are the first of theirs in the plan.
    first, second, third = stage.targets
    make: Callable[..., Any] = stage.provider.session().client
    scaling = make("autoscaling", endpoint_url=stage.ground.admin.url)
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
    with stage.path(parameters, right=[first, second]) as path, path.reading() as reading:
        reading.expect_reads_by(
            "every instance of the group answers",
            [stage.server_at(first), stage.server_at(second)],
        )
        stage.progress.say("The group grows by one instance")
        scaling.set_desired_capacity(AutoScalingGroupName=_NAME, DesiredCapacity=3)
        path.expect_right("Auto Scaling registers the new instance", [first, second, third])
        reading.expect_reads_by("every instance of the group answers", stage.servers.servers)


SCENARIO = Scenario(
    name="ec2-asg",
    shows="an Auto Scaling group is attached on create and detached on delete",
    servers=3,
    play=_play,
)
