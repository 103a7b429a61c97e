"""Static addresses on premises, which change with an update."""

from lab.aws import create_network
from lab.environment import ON_PREMISES
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    network = create_network(context.provider)
    first, second = (ON_PREMISES[server.host] for server in context.servers.servers)
    parameters = {
        "DatabaseEndpoint": str(first.address),
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    with context.path(parameters, targets=[first]) as path, path.writing() as writing:
        context.progress.show("The standby is promoted; an update with its address")
        demoted = context.servers.primary
        context.servers.promote(context.servers.standbys[0])
        context.deploy({**parameters, "DatabaseEndpoint": str(second.address)})
        path.expect_targets("the targets are the addresses of the update", [second])
        writing.wait_for_writes_by(context.servers.primary)
        context.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="static",
    shows="static on-premises addresses are registered at deployment and at an update",
    servers=2,
    run=_run,
)
