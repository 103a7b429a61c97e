"""A stack that lives: created, every parameter updated, deleted, and made again."""

from collections.abc import Mapping

from lab.addresses import Endpoint
from lab.aws import Database, create_database
from lab.scenarios.base import DBT, Scenario, Stage

_ALIAS = "orders.corp.example"
_OTHER_PORT = 5433


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    stage.ground.zone.set_alias(_ALIAS, database.endpoint)
    first = {"DatabaseEndpoint": database.endpoint}
    given = dict(first)
    with stage.path(first, right=[rds.writer]) as path:
        for name, change in _changes(database).items():
            given |= change
            stage.deploy(given)
            path.expect_right(f"right after an update of {name}", [rds.writer])
        _change_port(stage, given, rds.writer)
    with stage.path(first, right=[rds.writer]):
        stage.progress.say("The same stack once more: nothing of the first stands in its way")


def _changes(database: Database) -> Mapping[str, Mapping[str, str]]:
    """What a user may change while the road is in use, in an order that respects the rules."""
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
        "how a failover is followed": {
            "DnsResolution": "authoritative",
            "DnsPollIntervalSeconds": "5",
            "StandbyTargets": "serving",
            "FollowWriterWithoutReaders": "true",
            "MaxTargets": "3",
        },
        "the consumer, the functions' place and their boundary": {
            "DnsPollIntervalSeconds": "0",
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


def _change_port(stage: Stage, given: Mapping[str, str], writer: Endpoint) -> None:
    """The port is the target group's own, so there is a new one; nothing listens there here."""
    outputs = stage.deploy({**given, "DatabasePort": str(_OTHER_PORT)})
    registered = stage.registered_in(outputs["TargetGroupArn"])
    stage.expect(
        "an update of the port registers the address on that port",
        registered == {Endpoint(writer.address, _OTHER_PORT)},
        ", ".join(map(str, registered)),
    )


SCENARIO = Scenario(
    name="updates",
    shows="the road stays right through every update, is deleted without a trace, and made again",
    servers=1,
    play=_play,
)
