"""A database on premises, behind a name that only the company's own DNS server knows."""

from lab.aws import create_network
from lab.scenarios.base import Scenario, Stage
from lab.site import ON_PREMISES


def _play(stage: Stage) -> None:
    name = "orders.db.corp.example"
    network = create_network(stage.provider)
    first, second = (ON_PREMISES[server.host] for server in stage.servers.servers)
    stage.ground.zone.set_address(name, [str(first.address)])
    parameters = {
        "DatabaseEndpoint": name,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
        "Resolvers": stage.ground.resolver,
    }
    with stage.path(parameters, right=[first]) as path, path.writing() as writing:
        stage.progress.say("The company promotes its standby and moves the name; no event tells")
        demoted = stage.servers.primary
        stage.servers.promote(stage.servers.standbys[0])
        stage.ground.zone.set_address(name, [str(second.address)])
        path.expect_right("the schedule follows the name", [second])
        writing.wait_for_writes_by(stage.servers.primary)
        stage.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="hostname",
    shows="an on-premises name behind a resolver of one's own is followed by the schedule",
    servers=2,
    play=_play,
)
