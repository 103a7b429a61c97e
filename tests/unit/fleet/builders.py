"""Bindings and observations for the tests."""

from ipaddress import IPv4Address, ip_network

from target_sync.fleet.model import Binding, GroupFacts, Limits
from target_sync.model import (
    DatabaseKind,
    FailedObservation,
    IPAddress,
    LookupFailure,
    Observation,
    SyncPolicy,
)
from target_sync.targets.group_settings import HEALTH_CHECK

POLICY = SyncPolicy(port=5432, allowed_networks=(ip_network("10.0.0.0/8"),))
LIMITS = Limits(allowed_networks=POLICY.allowed_networks, max_targets=POLICY.max_targets)
FACTS = GroupFacts(
    port=5432,
    has_ip_targets=True,
    vpc_networks=(ip_network("10.0.0.0/16"),),
    health_check=HEALTH_CHECK,
)
A, B = IPv4Address("10.0.1.11"), IPv4Address("10.0.2.22")


def arn(number: int) -> str:
    return (
        f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/db-{number}/{number:016x}"
    )


def name(number: int) -> str:
    return f"db-{number}.abcdefghijkl.eu-west-1.rds.amazonaws.com"


def binding(number: int = 1) -> Binding:
    return Binding(
        arn=arn(number),
        endpoint=name(number),
        kind=DatabaseKind.RDS_INSTANCE,
        policy=POLICY,
        vpc_networks=FACTS.vpc_networks,
    )


def observation(*addresses: IPAddress) -> Observation:
    return Observation(
        name="a name", addresses=frozenset(addresses or (A,)), source="dns", ttl=5, at=0.0
    )


def failed() -> FailedObservation:
    return FailedObservation(
        name="a name", failure=LookupFailure.NAME_DOES_NOT_EXIST, detail="no such name", at=0.0
    )
