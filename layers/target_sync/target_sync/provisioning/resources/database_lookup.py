"""``Custom::DatabaseLookup``: looks the database and its network up."""

from collections.abc import Sequence
from dataclasses import dataclass

from target_sync.endpoints.names import EndpointType, NamedEndpoint, classify
from target_sync.errors import RejectedInputError
from target_sync.model import AwsScope, DatabaseKind, IPNetwork
from target_sync.provisioning.lookup import (
    Network,
    Overrides,
    candidate_subnets,
    check_engine,
    check_found,
    check_not_a_member,
    check_public,
    check_standby,
    check_vpc,
    check_writer,
    choose_endpoint_subnets,
    choose_subnets,
    choose_vpc,
    left_out_zones,
    lookup_attributes,
    read_kind,
    read_overrides,
)
from target_sync.provisioning.ports import AutoScalingPort, Database, DatabaseCatalog, StackPort
from target_sync.provisioning.request import Attributes, RequestType, ResourceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLookup:
    """Finds the database by its endpoint."""

    catalog: DatabaseCatalog
    groups: AutoScalingPort
    stack: StackPort
    scope: AwsScope

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Return the facts about the database."""
        properties = request.properties
        kind = read_kind(properties.text("DatabaseKind"))
        overrides = read_overrides(properties)
        named = classify(properties.required("DatabaseEndpoint"), kind, self.scope.region)
        database = self._database(named, kind_is_auto=kind is None)
        if properties.text("StandbyTargets") == "serving":
            check_standby(named, database)
        network = self._network(named, database, overrides, self._standing(request))
        check_public(named, database, network.vpc_id, properties)
        return {
            **lookup_attributes(named, database, overrides, network),
            "EndpointSubnetIds": self._endpoint_subnets(network.vpc_id, overrides),
        }

    def delete(self, request: ResourceRequest, deadline: float) -> None:
        """Do nothing: the look-up creates nothing."""

    def _database(self, named: NamedEndpoint, *, kind_is_auto: bool) -> Database | None:
        if named.kind is DatabaseKind.EC2_ASG:
            self._check_group(named.identifier)
        find = {
            EndpointType.INSTANCE: self.catalog.instance,
            EndpointType.CLUSTER_WRITER: self.catalog.cluster,
            EndpointType.CLUSTER_READERS: self.catalog.cluster,
            EndpointType.CLUSTER_CUSTOM: self.catalog.cluster_of_custom_endpoint,
            EndpointType.PROXY: self.catalog.proxy,
            EndpointType.PROXY_ENDPOINT: self.catalog.proxy_of_endpoint,
            EndpointType.EC2_INSTANCE: self.catalog.ec2_instance,
        }.get(named.type)
        if find is None:
            return None
        database = check_found(named, find(named.identifier), self.scope)
        check_engine(named, database)
        check_not_a_member(named, database, kind_is_auto=kind_is_auto)
        check_writer(named, database, self.scope)
        return database

    def _check_group(self, name: str) -> None:
        if self.groups.attached_target_groups(name) is None:
            raise RejectedInputError(
                f"DatabaseEndpoint: there is no Auto Scaling group {name} in {self.scope}:"
                " correct the name, or deploy in the group's account and Region."
            )

    def _standing(self, request: ResourceRequest) -> frozenset[str]:
        """Return the subnets of the load balancer that an update finds."""
        if request.type == RequestType.CREATE:
            return frozenset()
        return self.stack.load_balancer_subnets(request.stack_id)

    def _network(
        self,
        named: NamedEndpoint,
        database: Database | None,
        overrides: Overrides,
        standing: frozenset[str],
    ) -> Network:
        subnets = self.catalog.subnets(candidate_subnets(named, database, overrides, standing))
        vpc_id = choose_vpc(subnets, database, overrides)
        networks = self._networks(vpc_id)
        excluded = self.catalog.zones_without_load_balancers()
        left_out = left_out_zones(subnets or (), database, excluded)
        subnet_ids = choose_subnets(subnets or (), database, overrides, standing, left_out)
        if database is None:
            database_networks: tuple[IPNetwork, ...] = ()
        elif database.vpc_id == vpc_id:
            database_networks = networks
        else:
            database_networks = self._networks(database.vpc_id)
        return Network(
            vpc_id=vpc_id,
            subnet_ids=subnet_ids,
            subnet_networks=tuple(
                it.network for it in subnets or () if it.id in subnet_ids and it.network
            ),
            left_out=left_out,
            networks=networks,
            database_networks=database_networks,
        )

    def _endpoint_subnets(self, vpc_id: str, overrides: Overrides) -> Sequence[str]:
        if not overrides.function_subnet_ids:
            return []
        subnets = self.catalog.subnets(overrides.function_subnet_ids)
        return choose_endpoint_subnets(subnets, vpc_id, overrides)

    def _networks(self, vpc_id: str) -> tuple[IPNetwork, ...]:
        return check_vpc(vpc_id, self.catalog.networks(vpc_id))
