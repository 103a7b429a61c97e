"""A database on premises, with a name that only the company's own DNS server has."""

from lab.aws import create_network
from lab.environment import ON_PREMISES
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    name = "orders.db.corp.example"
    network = create_network(context.provider)
    first, second = (ON_PREMISES[server.host] for server in context.servers.servers)
    context.lab.zone.set_address(name, [str(first.address)])
    parameters = {
        "DatabaseEndpoint": name,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
        "Resolvers": context.lab.resolver,
    }
    with context.path(parameters, targets=[first]) as path, path.writing() as writing:
        context.progress.show("The company promotes its standby and moves the name")
        demoted = context.servers.primary
        context.servers.promote(context.servers.standbys[0])
        context.lab.zone.set_address(name, [str(second.address)])
        path.expect_targets("the schedule follows the name", [second])
        writing.wait_for_writes_by(context.servers.primary)
        context.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="hostname",
    shows="the schedule follows an on-premises name with the company's own resolver",
    servers=2,
    run=_run,
)
