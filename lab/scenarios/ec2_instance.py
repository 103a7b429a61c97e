"""PostgreSQL on an EC2 instance."""

from lab.aws import create_network, launch_instance
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    network = create_network(context.provider)
    first, second = context.targets
    old = launch_instance(context.provider, network, subnet=0, address=str(first.address))
    new = launch_instance(context.provider, network, subnet=1, address=str(second.address))
    parameters = {
        "DatabaseEndpoint": old,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    with context.path(parameters, targets=[first]) as path, path.writing() as writing:
        context.progress.show("The other instance becomes the primary; an update with its ID")
        demoted = context.servers.primary
        context.servers.promote(context.servers.standbys[0])
        context.deploy({**parameters, "DatabaseEndpoint": new})
        path.expect_targets("the target is the new instance's address", [second])
        writing.wait_for_writes_by(context.servers.primary)
        context.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)


SCENARIO = Scenario(
    name="ec2-instance",
    shows="the stack finds the address of an instance by its ID",
    servers=2,
    run=_run,
)
