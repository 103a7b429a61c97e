"""One look at a road that works, and at the same road with one thing broken after another."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lab.aws import create_database
from lab.scenarios.base import Road, Scenario, Stage


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    with stage.road({"DatabaseEndpoint": database.endpoint}, right=[rds.writer]) as road:
        stage.progress.say("sam remote invoke ReportStatusFunction")
        _expect_works(stage, "a road that works is healthy")
        with stage.stack.schedule_switched_off():
            _expect_broken(stage, "schedule")
        with _no_principal(stage, road):
            _expect_broken(stage, "allowed-principals")
        with _lost_run(stage, road):
            _expect_broken(stage, "dead-letter-queues")
        _expect_works(stage, "and healthy again when everything is put right")
        _close_database(stage)
        _expect_broken(stage, "database-security-group")


def _expect_works(stage: Stage, text: str) -> None:
    found = stage.stack.status()
    unseen = [check["id"] for check in found["checks"] if check["state"] == "unknown"]
    stage.expect(text, found["healthy"] and not unseen, found["summary"])


def _expect_broken(stage: Stage, step: str) -> None:
    """Note whether exactly this step is broken, and show the remedy."""
    found = stage.stack.status()
    broken = {c["id"]: c["remedy"] for c in found["checks"] if c["state"] == "broken"}
    stage.expect(
        f"the status names {step}, and no other step",
        not found["healthy"] and broken.keys() == {step},
        broken.get(step) or found["summary"],
    )


def _client(stage: Stage, service: str) -> Any:
    make: Any = stage.provider.session().client
    return make(service, endpoint_url=stage.provider.endpoint_url)


def _close_database(stage: Stage) -> None:
    """Take the stack's rule out of the database's security group, for good.

    A rule that somebody makes again is not the stack's any more, and would outlive it.
    """
    ec2 = _client(stage, "ec2")
    groups = ec2.describe_security_groups()["SecurityGroups"]
    (group,) = [group["GroupId"] for group in groups if group["GroupName"] == "databases"]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    ec2.revoke_security_group_ingress(
        GroupId=group,
        SecurityGroupRuleIds=[
            rule["SecurityGroupRuleId"]
            for rule in rules["SecurityGroupRules"]
            if not rule["IsEgress"]
        ],
    )


@contextmanager
def _no_principal(stage: Stage, road: Road) -> Iterator[None]:
    """Let nobody make an endpoint to the service any more."""
    ec2, service = _client(stage, "ec2"), {"ServiceId": road.outputs["EndpointServiceId"]}
    allowed = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    principals = [entry["Principal"] for entry in allowed]
    ec2.modify_vpc_endpoint_service_permissions(**service, RemoveAllowedPrincipals=principals)
    try:
        yield
    finally:
        ec2.modify_vpc_endpoint_service_permissions(**service, AddAllowedPrincipals=principals)


@contextmanager
def _lost_run(stage: Stage, road: Road) -> Iterator[None]:
    """Put a failed run into its queue."""
    sqs = _client(stage, "sqs")
    queue: Mapping[str, str] = {"QueueUrl": road.outputs["FailedRunsQueueUrl"]}
    sqs.send_message(**queue, MessageBody="{}")
    try:
        yield
    finally:
        sqs.purge_queue(**queue)


SCENARIO = Scenario(
    name="status",
    shows="one look says whether the road works, and which step of it does not",
    servers=1,
    play=_play,
)
