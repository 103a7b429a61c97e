"""One stack: created, every parameter updated, deleted, and created again."""

from collections.abc import Mapping

from lab.addresses import Endpoint
from lab.aws import Database, create_database
from lab.scenarios.base import DBT, Scenario, ScenarioContext

_ALIAS = "orders.corp.example"
_OTHER_PORT = 5433


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    context.lab.zone.set_alias(_ALIAS, database.endpoint)
    first = {"DatabaseEndpoint": database.endpoint}
    given = dict(first)
    with context.path(first, targets=[rds.writer]) as path:
        for name, change in _changes(database).items():
            given |= change
            context.deploy(given)
            path.expect_targets(f"right after an update of {name}", [rds.writer])
        _change_port(context, given, rds.writer)
    with context.path(first, targets=[rds.writer]):
        context.progress.show("The same stack again: no resource of the first one conflicts")


def _changes(database: Database) -> Mapping[str, Mapping[str, str]]:
    """Return the changes of a stack in use, in an order that the template's rules allow."""
    subnets = ",".join(database.subnet_ids)
    return {
        "the log, the allowed networks and the text for dbt": {
            "LogLevel": "DEBUG",
            "LogRetentionDays": "30",
            "AllowedNetworks": "10.0.0.0/16",
            "DbtAccountUrl": "https://ab123.us1.dbt.com",
            "DbtEnvironment": "JP",
        },
        "enforcement and the idle timeout": {
            "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "on",
            "ConsumerNetwork": "10.9.0.0/16",
            "IdleTimeoutSeconds": "600",
        },
        "the Regions and deletion protection": {
            "IdleTimeoutSeconds": "350",
            "SupportedRegions": "us-east-1,eu-west-1",
            "DeletionProtection": "true",
        },
        "the ingress rule and acceptance": {
            "DeletionProtection": "false",
            "ManageDatabaseIngress": "false",
            "AcceptanceRequired": "true",
            "TrustedAccounts": DBT,
            "RejectUntrusted": "true",
        },
        "the settings for failovers": {
            "DnsResolution": "authoritative",
            "DnsPollIntervalSeconds": "5",
            "StandbyTargets": "serving",
            "FollowWriterWithoutReaders": "true",
            "MaxTargets": "3",
        },
        "the consumer, the functions' subnets and their boundary": {
            "DnsPollIntervalSeconds": "0",
            "StandbyTargets": "warm",
            "Consumer": "custom",
            "AllowedPrincipals": f"arn:aws:iam::{DBT}:root",
            "FunctionSubnetIds": subnets,
            "CreateInterfaceEndpoints": "true",
            "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess",
        },
        "the endpoint": {
            "DatabaseEndpoint": _ALIAS,
            "StandbyTargets": "none",
            "VpcId": database.vpc_id,
            "SubnetIds": subnets,
        },
    }


def _change_port(context: ScenarioContext, given: Mapping[str, str], writer: Endpoint) -> None:
    """Change the port, which replaces the target group. No server listens on the new port."""
    outputs = context.deploy({**given, "DatabasePort": str(_OTHER_PORT)})
    registered = context.registered_in(outputs["TargetGroupArn"])
    context.expect(
        "an update of the port registers the address on that port",
        registered == {Endpoint(writer.address, _OTHER_PORT)},
        ", ".join(map(str, registered)),
    )


SCENARIO = Scenario(
    name="updates",
    shows="the connection path works after every update, is deleted completely, and created again",
    servers=1,
    run=_run,
    with_sam=True,
)
