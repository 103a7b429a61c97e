"""Endpoint connections with acceptance: a trusted, an untrusted and an unlisted account."""

from lab.aws import Consumer, create_database
from lab.scenarios.base import DBT, Scenario, Stage
from lab.site import CONSUMER, STRANGER


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    untrusted, unlisted = (Consumer(stage.ground.account(n)) for n in (CONSUMER, STRANGER))
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "AcceptanceRequired": "true",
        "AllowedPrincipals": f"arn:aws:iam::{DBT}:root,arn:aws:iam::{CONSUMER}:root",
        "TrustedAccounts": DBT,
    }
    # The road's own consumer is the trusted one: it writes only when it was accepted.
    with stage.path(parameters, right=[rds.writer]) as path:
        with path.writing():
            state = path.connection_state
        stage.expect("the trusted account's request is accepted", state == "available", state)
        service = path.outputs["EndpointServiceName"]
        stage.expect("an unlisted account cannot connect", unlisted.is_refused(service), STRANGER)
        waiting = untrusted.connect(service)
        stage.ground.pause(2 * stage.ground.options.schedule_interval)
        state = untrusted.state(waiting)
        stage.expect("an untrusted account waits for a person", state == "pendingacceptance", state)
        stage.progress.say("A person decides that the untrusted are rejected")
        stage.deploy({**parameters, "RejectUntrusted": "true"})
        stage.ground.wait_for(
            lambda: untrusted.state(waiting) == "rejected", "the untrusted to be rejected"
        )
        stage.expect("then its request is rejected", holds=True, detail=untrusted.state(waiting))


SCENARIO = Scenario(
    name="consumers",
    shows="connection requests are accepted, left for a person, rejected or impossible",
    servers=1,
    play=_play,
)
