"""Endpoint connections with acceptance: a trusted, an untrusted and an unlisted account."""

from lab.aws import Consumer, create_database
from lab.environment import CONSUMER, STRANGER
from lab.scenarios.base import DBT, Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    untrusted, unlisted = (Consumer(context.lab.account(n)) for n in (CONSUMER, STRANGER))
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "AcceptanceRequired": "true",
        "AllowedPrincipals": f"arn:aws:iam::{DBT}:root,arn:aws:iam::{CONSUMER}:root",
        "TrustedAccounts": DBT,
    }
    # The scenario's consumer is the trusted account, which can write only when accepted.
    with context.path(parameters, targets=[rds.writer]) as path:
        with path.writing():
            state = path.connection_state
        context.expect("the trusted account's request is accepted", state == "available", state)
        service = path.outputs["EndpointServiceName"]
        context.expect("an unlisted account cannot connect", unlisted.is_refused(service), STRANGER)
        pending = untrusted.connect(service)
        context.lab.pause(2 * context.lab.options.schedule_interval)
        state = untrusted.state(pending)
        context.expect(
            "an untrusted account's request stays pending", state == "pendingacceptance", state
        )
        context.progress.show("An update with RejectUntrusted")
        context.deploy({**parameters, "RejectUntrusted": "true"})
        context.lab.wait_for(
            lambda: untrusted.state(pending) == "rejected", "the untrusted account to be rejected"
        )
        context.expect(
            "after the update it is rejected", holds=True, detail=untrusted.state(pending)
        )


SCENARIO = Scenario(
    name="consumers",
    shows="connection requests are accepted, stay pending, are rejected or impossible",
    servers=1,
    run=_run,
)
