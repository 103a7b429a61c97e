"""A database on premises, with a name that only the company's own DNS server has."""

import time

from lab.addresses import Endpoint
from lab.aws import create_network
from lab.environment import ON_PREMISES
from lab.scenarios.base import Scenario, ScenarioContext, Writing

_NAME = "orders.db.corp.example"


def _run(context: ScenarioContext) -> None:
    network = create_network(context.provider)
    first, second = (ON_PREMISES[server.host] for server in context.servers.servers)
    context.lab.zone.set_address(_NAME, [str(first.address)])
    parameters = {
        "DatabaseEndpoint": _NAME,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
        "Resolvers": context.lab.resolver,
        "StandbyTargets": "warm",
    }
    with context.path(parameters, targets=[first]) as path, path.writing() as writing:
        context.progress.show("The company promotes its standby and moves the name")
        demoted = context.servers.primary
        _move(writing, second)
        path.expect_targets("the schedule follows the name", [second])
        writing.wait_for_writes_by(context.servers.primary)
        context.expect("the old server still accepts connections", demoted.is_ready(), demoted.host)
        path.expect_warm("the former address is warm", [first])
        context.progress.show("The company makes the old server its standby, and moves back")
        context.servers.rebuild_standbys()
        moved_at = _move(writing, first)
        path.expect_targets("the schedule follows the name back", [first])
        writing.wait_for_writes_by(context.servers.primary)
        context.expect(
            "the way back waits for no registration",
            path.observer.first(first, "initial", since=moved_at) is None,
            f"{first} was warm before",
        )


def _move(writing: Writing, target: Endpoint) -> float:
    """Promote the standby and point the name at it; return the time."""
    context = writing.path.context
    moved_at = time.time()
    context.servers.promote(context.servers.standbys[0])
    context.lab.zone.set_address(_NAME, [str(target.address)])
    return moved_at


SCENARIO = Scenario(
    name="hostname",
    shows="the schedule follows an on-premises name with the company's own resolver, and back to"
    " the warm former address",
    servers=2,
    run=_run,
)
