"""PostgreSQL on an EC2 instance."""

from lab.aws import create_network, launch_instance
from lab.scenarios.base import Scenario, Stage


def _play(stage: Stage) -> None:
    network = create_network(stage.provider)
    first, second = stage.targets
    old = launch_instance(stage.provider, network, subnet=0, address=str(first.address))
    new = launch_instance(stage.provider, network, subnet=1, address=str(second.address))
    parameters = {
        "DatabaseEndpoint": old,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    with stage.path(parameters, right=[first]) as path, path.writing() as writing:
        stage.progress.say("The other instance takes over; a person deploys again with its ID")
        demoted = stage.servers.primary
        stage.servers.promote(stage.servers.standbys[0])
        stage.deploy({**parameters, "DatabaseEndpoint": new})
        path.expect_right("the target is the new instance's address", [second])
        writing.wait_for_writes_by(stage.servers.primary)
        stage.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="ec2-instance",
    shows="the address of an instance is found by its ID",
    servers=2,
    play=_play,
)
