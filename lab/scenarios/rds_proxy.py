"""An RDS Proxy: several addresses, which change without an event."""

from lab.aws import create_proxy
from lab.scenarios.base import Scenario, Stage


def _play(stage: Stage) -> None:
    endpoint = create_proxy(stage.provider, "pool")
    first, second, third = stage.targets
    stage.ground.zone.set_address(endpoint, [str(first.address), str(second.address)])
    parameters = {"DatabaseEndpoint": endpoint}
    with stage.path(parameters, right=[first, second]) as path, path.reading() as reading:
        reading.expect_reads_by(
            "both addresses answer", [stage.server_at(first), stage.server_at(second)]
        )
        stage.progress.say("The proxy scales: one address goes, another comes; no event tells")
        stage.ground.zone.set_address(endpoint, [str(second.address), str(third.address)])
        path.expect_right("the schedule follows the addresses", [second, third])
        reading.expect_reads_by(
            "the new addresses, and only they, answer",
            [stage.server_at(second), stage.server_at(third)],
        )


SCENARIO = Scenario(
    name="rds-proxy",
    shows="one parameter deploys the road to all addresses of a proxy",
    servers=3,
    play=_play,
)
