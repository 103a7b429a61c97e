"""``Custom::DatabaseLookup``: what the stack needs to know of the database."""

from dataclasses import dataclass

from target_sync.endpoints.names import EndpointType, NamedEndpoint, classify
from target_sync.errors import RejectedInputError
from target_sync.model import AwsScope, DatabaseKind, IPNetwork
from target_sync.provisioning.lookup import (
    AutoScalingPort,
    Database,
    DatabaseCatalog,
    Network,
    Overrides,
    check_found,
    check_not_a_member,
    check_standby,
    check_vpc,
    choose_subnets,
    choose_vpc,
    conclude,
    read_kind,
    read_overrides,
    wanted_subnets,
)
from target_sync.provisioning.request import Attributes, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLookup:
    """Finds the database by its endpoint. It changes nothing, so there is nothing to delete."""

    catalog: DatabaseCatalog
    groups: AutoScalingPort
    place: AwsScope

    def apply(self, request: Request, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Look the database up.

        Raises:
            RefusalError: It is not there, cannot be followed, or the parameters contradict it.
            AwsCallError: A call failed.
        """
        properties = request.properties
        kind = read_kind(properties.text("DatabaseKind"))
        overrides = read_overrides(
            port=properties.text("DatabasePort"),
            vpc_id=properties.text("VpcId"),
            subnet_ids=properties.items("SubnetIds"),
            allowed_networks=properties.items("AllowedNetworks"),
        )
        subject = classify(properties.required("DatabaseEndpoint"), kind, self.place.region)
        database = self._found(subject, kind)
        if properties.text("StandbyTargets") == "serving":
            check_standby(subject, database)
        return conclude(subject, database, overrides, self._network(subject, database, overrides))

    def delete(self, request: Request, deadline: float) -> None:
        """Nothing was made."""

    def _found(self, subject: NamedEndpoint, kind: DatabaseKind | None) -> Database | None:
        if subject.kind is DatabaseKind.EC2_ASG:
            self._check_group(subject.identifier)
        ask = {
            EndpointType.INSTANCE: self.catalog.instance,
            EndpointType.CLUSTER_WRITER: self.catalog.cluster,
            EndpointType.CLUSTER_READERS: self.catalog.cluster,
            EndpointType.CLUSTER_CUSTOM: self.catalog.cluster_of_custom_endpoint,
            EndpointType.PROXY: self.catalog.proxy,
            EndpointType.PROXY_ENDPOINT: self.catalog.proxy_of_endpoint,
            EndpointType.EC2_INSTANCE: self.catalog.ec2_instance,
        }.get(subject.shape)
        if ask is None:
            return None
        database = check_found(subject, ask(subject.identifier), self.place)
        check_not_a_member(subject, database, kind_was_said=kind is not None)
        return database

    def _check_group(self, name: str) -> None:
        if self.groups.attached_target_groups(name) is None:
            raise RejectedInputError(
                f"DatabaseEndpoint: there is no Auto Scaling group {name} in {self.place}:"
                " correct the name, or deploy in the group's account and Region."
            )

    def _network(
        self, subject: NamedEndpoint, database: Database | None, overrides: Overrides
    ) -> Network:
        subnets = self.catalog.subnets(wanted_subnets(subject, database, overrides))
        vpc_id = choose_vpc(subnets, database, overrides)
        networks = self._networks_of(vpc_id)
        return Network(
            vpc_id=vpc_id,
            subnet_ids=choose_subnets(subnets or (), database, overrides),
            networks=networks,
            database_networks=self._database_networks(database, vpc_id, networks),
        )

    def _database_networks(
        self, database: Database | None, vpc_id: str, networks: tuple[IPNetwork, ...]
    ) -> tuple[IPNetwork, ...]:
        if database is None:
            return ()
        return networks if database.vpc_id == vpc_id else self._networks_of(database.vpc_id)

    def _networks_of(self, vpc_id: str) -> tuple[IPNetwork, ...]:
        return check_vpc(vpc_id, self.catalog.networks(vpc_id))
