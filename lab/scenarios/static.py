"""Addresses on premises that a person gives: they change when the person deploys again."""

from lab.aws import create_network
from lab.scenarios.base import Scenario, Stage
from lab.site import ON_PREMISES


def _play(stage: Stage) -> None:
    network = create_network(stage.provider)
    first, second = (ON_PREMISES[server.host] for server in stage.servers.servers)
    parameters = {
        "DatabaseEndpoint": str(first.address),
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    with stage.path(parameters, right=[first]) as path, path.writing() as writing:
        stage.progress.say("The standby is promoted; a person deploys again with its address")
        demoted = stage.servers.primary
        stage.servers.promote(stage.servers.standbys[0])
        stage.deploy({**parameters, "DatabaseEndpoint": str(second.address)})
        path.expect_right("the targets are what the update says", [second])
        writing.wait_for_writes_by(stage.servers.primary)
        stage.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="static",
    shows="given on-premises addresses are registered at deployment, and again at an update",
    servers=2,
    play=_play,
)
