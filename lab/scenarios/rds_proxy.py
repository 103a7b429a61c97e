"""An RDS Proxy: several addresses, which change without an event."""

from lab.aws import create_proxy
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    endpoint = create_proxy(context.provider, "pool")
    first, second, third = context.targets
    context.lab.zone.set_address(endpoint, [str(first.address), str(second.address)])
    parameters = {"DatabaseEndpoint": endpoint}
    with context.path(parameters, targets=[first, second]) as path, path.reading() as reading:
        reading.expect_reads_by(
            "both addresses reply", [context.server_at(first), context.server_at(second)]
        )
        context.progress.show("The proxy scales: one address is replaced, without an event")
        context.lab.zone.set_address(endpoint, [str(second.address), str(third.address)])
        path.expect_targets("the schedule follows the addresses", [second, third])
        reading.expect_reads_by(
            "exactly the new addresses reply", [context.server_at(second), context.server_at(third)]
        )


SCENARIO = Scenario(
    name="rds-proxy",
    shows="one parameter deploys a connection path to all addresses of a proxy",
    servers=3,
    run=_run,
)
