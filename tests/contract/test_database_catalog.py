"""The catalog of databases over moto, and over documented replies where moto has no such call."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from target_sync.errors import AwsCallError, AwsUnavailableError
from target_sync.model import AwsScope, DatabaseKind
from target_sync.provisioning.catalog import AwsDatabaseCatalog
from target_sync.provisioning.ports import Database, Subnet
from target_sync.provisioning.request import Attributes, parse_request
from target_sync.provisioning.resources.database_lookup import DatabaseLookup
from tests.lab.emulator_process import PROVIDER, REGION, Emulator, create_vpc
from tests.support.custom_resources import FakeAutoScaling, FakeStack, event, lookup_properties

SCOPE = AwsScope("aws", "eu-west-1", "123456789012")
HASH = "abc123.eu-west-1.rds.amazonaws.com"


@dataclass(frozen=True)
class Cloud:
    """An account with a VPC of two zones, a security group and a subnet group."""

    rds: Any
    ec2: Any
    vpc: str
    subnets: tuple[str, ...]
    security_group: str
    subnet_group: str = "databases"

    @property
    def catalog(self) -> AwsDatabaseCatalog:
        return AwsDatabaseCatalog(self.rds, self.ec2, SCOPE)

    def create_instance(self, name: str, **more: object) -> None:
        self.rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t3.micro",
            DBSubnetGroupName=self.subnet_group,
            **{"Engine": "postgres", "PubliclyAccessible": False, **more},
        )

    def create_cluster(self, *members: str, public: bool = False, name: str = "sales") -> None:
        self.rds.create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-postgresql",
            DBSubnetGroupName=self.subnet_group,
            VpcSecurityGroupIds=[self.security_group],
            MasterUsername="owner",
            MasterUserPassword="not-secret",
        )
        for member in members:
            self.create_instance(
                member,
                Engine="aurora-postgresql",
                DBClusterIdentifier=name,
                PubliclyAccessible=public,
            )

    def create_proxy(self, name: str) -> Any:
        return self.rds.create_db_proxy(
            DBProxyName=name,
            EngineFamily="POSTGRESQL",
            Auth=[{"AuthScheme": "SECRETS"}],
            RoleArn="arn:aws:iam::123456789012:role/proxy",
            VpcSubnetIds=list(self.subnets),
            VpcSecurityGroupIds=[self.security_group],
        )["DBProxy"]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with mock_aws():
        rds = boto3.client("rds", SCOPE.region)
        ec2 = boto3.client("ec2", SCOPE.region)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = tuple(
            ec2.create_subnet(VpcId=vpc, CidrBlock=network, AvailabilityZone=zone)["Subnet"][
                "SubnetId"
            ]
            for network, zone in (("10.0.1.0/24", "eu-west-1a"), ("10.0.2.0/24", "eu-west-1b"))
        )
        group = ec2.create_security_group(GroupName="databases", Description="x", VpcId=vpc)
        rds.create_db_subnet_group(
            DBSubnetGroupName="databases", DBSubnetGroupDescription="x", SubnetIds=list(subnets)
        )
        yield Cloud(rds, ec2, vpc, subnets, group["GroupId"])


def found(database: Database | None) -> Database:
    assert database is not None
    return database


def test_returns_an_instance_with_its_network(cloud: Cloud) -> None:
    cloud.create_instance("orders", Port=5433, VpcSecurityGroupIds=[cloud.security_group])

    database = found(cloud.catalog.instance("orders"))

    (name,) = database.names.values()
    assert database == Database(
        identifier="orders",
        names={DatabaseKind.RDS_INSTANCE: name},
        status="available",
        engine="postgres",
        port=5433,
        vpc_id=cloud.vpc,
        subnet_ids=database.subnet_ids,
        security_group_ids=(cloud.security_group,),
        zones=frozenset({"eu-west-1a"}),
        event_resources=("arn:aws:rds:eu-west-1:123456789012:db:orders",),
    )
    assert name.startswith("orders.")
    assert set(database.subnet_ids) == set(cloud.subnets)


def test_returns_that_an_instance_is_public(cloud: Cloud) -> None:
    cloud.create_instance("orders", PubliclyAccessible=True)

    assert found(cloud.catalog.instance("orders")).public


def test_returns_a_cluster_with_the_network_of_its_members(cloud: Cloud) -> None:
    cloud.create_cluster("sales-2", "sales-1")
    cloud.create_instance("orders")

    database = found(cloud.catalog.cluster("sales"))

    assert database.identifier == "sales"
    assert database.names[DatabaseKind.RDS_CLUSTER_WRITER].startswith("sales.cluster-")
    assert database.names[DatabaseKind.RDS_CLUSTER_READERS].startswith("sales.cluster-ro-")
    assert (database.port, database.vpc_id, database.public) == (5432, cloud.vpc, False)
    assert (database.engine, database.status) == ("aurora-postgresql", "available")
    assert set(database.subnet_ids) == set(cloud.subnets)
    assert database.security_group_ids == (cloud.security_group,)
    assert database.event_resources == ("arn:aws:rds:eu-west-1:123456789012:cluster:sales",)
    assert found(cloud.catalog.instance("sales-1")).member_of == "sales"


def test_a_cluster_with_a_public_member_is_public(cloud: Cloud) -> None:
    cloud.create_cluster("sales-1", public=True)

    assert found(cloud.catalog.cluster("sales")).public


def test_a_cluster_without_members_has_no_network(cloud: Cloud) -> None:
    cloud.create_cluster()

    assert found(cloud.catalog.cluster("sales")).vpc_id == ""


def test_returns_a_proxy_with_its_network(cloud: Cloud) -> None:
    created = cloud.create_proxy("pool")

    assert cloud.catalog.proxy("pool") == Database(
        identifier="pool",
        names={DatabaseKind.RDS_PROXY: created["Endpoint"]},
        status="available",
        engine="POSTGRESQL",
        vpc_id=cloud.vpc,
        subnet_ids=cloud.subnets,
        security_group_ids=(cloud.security_group,),
        event_resources=(created["DBProxyArn"],),
    )


def test_returns_an_ec2_instance_until_it_is_terminated(cloud: Cloud) -> None:
    created = cloud.ec2.run_instances(
        ImageId="ami-0123456789abcdef0",
        MinCount=1,
        MaxCount=1,
        SubnetId=cloud.subnets[0],
        SecurityGroupIds=[cloud.security_group],
    )["Instances"][0]["InstanceId"]

    assert cloud.catalog.ec2_instance(created) == Database(
        identifier=created,
        names={DatabaseKind.EC2_INSTANCE: created},
        status="running",
        vpc_id=cloud.vpc,
        security_group_ids=(cloud.security_group,),
        zones=frozenset({"eu-west-1a"}),
        event_resources=(f"arn:aws:ec2:eu-west-1:123456789012:instance/{created}",),
    )
    cloud.ec2.terminate_instances(InstanceIds=[created])
    assert cloud.catalog.ec2_instance(created) is None


def test_returns_subnets_with_their_zone_and_vpc(cloud: Cloud) -> None:
    found = cloud.catalog.subnets(cloud.subnets)

    assert found is not None
    assert set(found) == {
        Subnet(
            id=cloud.subnets[0],
            vpc_id=cloud.vpc,
            zone="eu-west-1a",
            network=ip_network("10.0.1.0/24"),
            free_addresses=251,
        ),
        Subnet(
            id=cloud.subnets[1],
            vpc_id=cloud.vpc,
            zone="eu-west-1b",
            network=ip_network("10.0.2.0/24"),
            free_addresses=251,
        ),
    }


def test_returns_the_zones_that_accept_no_load_balancer() -> None:
    zones = [
        {"ZoneName": name, "ZoneId": id_, "ZoneType": kind}
        for name, id_, kind in (
            ("us-east-1a", "use1-az1", "availability-zone"),
            ("us-east-1e", "use1-az3", "availability-zone"),
            ("us-east-1-bos-1a", "use1-bos1-az1", "local-zone"),
            ("us-east-1-wl1-bos-wlz-1", "use1-wl1-bos-wlz1", "wavelength-zone"),
        )
    ]
    ec2 = boto3.client("ec2", SCOPE.region)
    with Stubber(ec2) as stubber:
        stubber.add_response("describe_availability_zones", {"AvailabilityZones": zones})
        catalog = AwsDatabaseCatalog(boto3.client("rds", SCOPE.region), ec2, SCOPE)

        assert catalog.zones_without_load_balancers() == {
            "us-east-1e": "use1-az3",
            "us-east-1-bos-1a": "use1-bos1-az1",
            "us-east-1-wl1-bos-wlz-1": "use1-wl1-bos-wlz1",
        }


def test_returns_every_associated_network_of_a_vpc(cloud: Cloud) -> None:
    cloud.ec2.associate_vpc_cidr_block(VpcId=cloud.vpc, CidrBlock="10.1.0.0/16")

    assert cloud.catalog.networks(cloud.vpc) == (
        ip_network("10.0.0.0/16"),
        ip_network("10.1.0.0/16"),
    )


def test_returns_none_for_missing_resources(cloud: Cloud) -> None:
    catalog = cloud.catalog

    assert catalog.instance("missing") is None
    assert catalog.cluster("missing") is None
    assert catalog.proxy("missing") is None
    assert catalog.ec2_instance("i-0123456789abcdef0") is None
    assert catalog.subnets([cloud.subnets[0], "subnet-0123"]) is None
    assert catalog.networks("vpc-0123") is None


# --------------------------------------------------- replies that moto lacks, as AWS documents them


@pytest.fixture
def rds() -> Iterator[Stubber]:
    with Stubber(boto3.client("rds", SCOPE.region)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def catalog(rds: Stubber) -> AwsDatabaseCatalog:
    client: Any = rds.client
    return AwsDatabaseCatalog(client, boto3.client("ec2", SCOPE.region), SCOPE)


CUSTOM_ENDPOINT = {
    "DBClusterEndpointIdentifier": "reports",
    "DBClusterIdentifier": "sales",
    "Endpoint": f"Reports.cluster-custom-{HASH}",
}
CLUSTER = {
    "DBClusterIdentifier": "sales",
    "DBClusterArn": "arn:aws:rds:eu-west-1:123456789012:cluster:sales",
    "Endpoint": f"sales.cluster-{HASH}",
}


def test_returns_a_custom_endpoint_as_an_alias_of_its_cluster(rds: Stubber) -> None:
    rds.add_response(
        "describe_db_cluster_endpoints",
        {"DBClusterEndpoints": [CUSTOM_ENDPOINT]},
        {"DBClusterEndpointIdentifier": "reports"},
    )
    rds.add_response(
        "describe_db_clusters", {"DBClusters": [CLUSTER]}, {"DBClusterIdentifier": "sales"}
    )
    rds.add_response("describe_db_instances", {"DBInstances": []})

    database = found(catalog(rds).cluster_of_custom_endpoint("reports"))

    assert database.aliases == (f"reports.cluster-custom-{HASH}",)
    assert database.names == {DatabaseKind.RDS_CLUSTER_WRITER: f"sales.cluster-{HASH}"}


def test_returns_none_for_a_custom_endpoint_without_its_cluster(rds: Stubber) -> None:
    rds.add_response("describe_db_cluster_endpoints", {"DBClusterEndpoints": [CUSTOM_ENDPOINT]})
    rds.add_client_error("describe_db_clusters", "DBClusterNotFoundFault")

    assert catalog(rds).cluster_of_custom_endpoint("reports") is None


def test_reads_all_pages_of_the_members_of_a_cluster(rds: Stubber) -> None:
    members = [{"DBInstanceIdentifier": f"sales-{number}"} for number in (1, 2)]
    rds.add_response(
        "describe_db_clusters", {"DBClusters": [{**CLUSTER, "DBClusterMembers": members}]}
    )
    for marker, member in (("more", members[0]), ("", members[1])):
        zone = {"AvailabilityZone": member["DBInstanceIdentifier"].replace("sales-", "zone")}
        page: dict[str, object] = {"DBInstances": [{**member, **zone}]}
        rds.add_response("describe_db_instances", {**page, "Marker": marker} if marker else page)

    assert found(catalog(rds).cluster("sales")).zones == {"zone1", "zone2"}


@pytest.mark.parametrize(
    ("writers", "has_writer"), [([True, False], True), ([False, False], False)]
)
def test_a_secondary_cluster_of_a_global_database_has_no_writer(
    rds: Stubber, writers: list[bool], *, has_writer: bool
) -> None:
    members = [
        {"DBInstanceIdentifier": f"sales-{number}", "IsClusterWriter": is_writer}
        for number, is_writer in enumerate(writers)
    ]
    cluster = {**CLUSTER, "DBClusterMembers": members}
    rds.add_response("describe_db_clusters", {"DBClusters": [cluster]})
    rds.add_response("describe_db_instances", {"DBInstances": []})

    assert found(catalog(rds).cluster("sales")).has_writer == has_writer


@pytest.mark.parametrize(
    ("capacity", "classes", "pauses"),
    [
        ({"MinCapacity": 0.0, "MaxCapacity": 4.0}, ["db.r8g.large", "db.serverless"], True),
        ({"MinCapacity": 0.5, "MaxCapacity": 4.0}, ["db.serverless"], False),
        ({"MinCapacity": 0.0, "MaxCapacity": 4.0}, ["db.r8g.large"], False),
        (None, ["db.serverless"], False),
    ],
)
def test_a_cluster_with_a_minimum_of_no_capacity_pauses(
    rds: Stubber, capacity: dict[str, float] | None, classes: list[str], *, pauses: bool
) -> None:
    scaling = {} if capacity is None else {"ServerlessV2ScalingConfiguration": capacity}
    rds.add_response("describe_db_clusters", {"DBClusters": [{**CLUSTER, **scaling}]})
    instances = [{"DBInstanceClass": name} for name in classes]
    rds.add_response("describe_db_instances", {"DBInstances": instances})

    assert found(catalog(rds).cluster("sales")).pauses == pauses


PROXY = {
    "DBProxyName": "pool",
    "DBProxyArn": "arn:aws:rds:eu-west-1:123456789012:db-proxy:prx-0123",
    "EngineFamily": "POSTGRESQL",
    "Endpoint": f"pool.proxy-{HASH}",
    "VpcId": "vpc-0123",
    "VpcSubnetIds": ["subnet-1", "subnet-2"],
}
PROXY_ENDPOINT = {
    "DBProxyEndpointName": "pool-ro",
    "DBProxyName": "pool",
    "Endpoint": f"pool-ro.endpoint.proxy-{HASH}",
    "VpcId": "vpc-4567",
    "VpcSubnetIds": ["subnet-3", "subnet-4"],
    "VpcSecurityGroupIds": ["sg-1"],
    "Status": "modifying",
}


def test_returns_a_proxy_with_the_network_of_its_additional_endpoint(rds: Stubber) -> None:
    rds.add_response(
        "describe_db_proxy_endpoints",
        {"DBProxyEndpoints": [PROXY_ENDPOINT]},
        {"DBProxyEndpointName": "pool-ro"},
    )
    rds.add_response("describe_db_proxies", {"DBProxies": [PROXY]}, {"DBProxyName": "pool"})

    assert catalog(rds).proxy_of_endpoint("pool-ro") == Database(
        identifier="pool",
        names={DatabaseKind.RDS_PROXY: f"pool-ro.endpoint.proxy-{HASH}"},
        status="modifying",
        engine="POSTGRESQL",
        vpc_id="vpc-4567",
        subnet_ids=("subnet-3", "subnet-4"),
        security_group_ids=("sg-1",),
        event_resources=("arn:aws:rds:eu-west-1:123456789012:db-proxy:prx-0123",),
    )


def test_returns_none_for_an_endpoint_without_its_proxy(rds: Stubber) -> None:
    rds.add_response("describe_db_proxy_endpoints", {"DBProxyEndpoints": [PROXY_ENDPOINT]})
    rds.add_client_error("describe_db_proxies", "DBProxyNotFoundFault")

    assert catalog(rds).proxy_of_endpoint("pool-ro") is None


@pytest.mark.parametrize(
    ("method", "code", "find"),
    [
        (
            "describe_db_cluster_endpoints",
            "DBClusterEndpointNotFoundFault",
            AwsDatabaseCatalog.cluster_of_custom_endpoint,
        ),
        (
            "describe_db_proxy_endpoints",
            "DBProxyEndpointNotFoundFault",
            AwsDatabaseCatalog.proxy_of_endpoint,
        ),
        ("describe_db_proxies", "InvalidParameterValue", AwsDatabaseCatalog.proxy),
    ],
)
def test_returns_none_for_a_missing_endpoint(
    rds: Stubber, method: str, code: str, find: Any
) -> None:
    rds.add_client_error(method, code)

    assert find(catalog(rds), "missing") is None


def test_returns_the_status_of_an_instance_that_is_being_created(rds: Stubber) -> None:
    item = {
        "DBInstanceIdentifier": "orders",
        "DBInstanceArn": "arn:aws:rds:eu-west-1:123456789012:db:orders",
        "DBInstanceStatus": "creating",
    }
    # RDS returns the port before the address.
    for endpoint in ({}, {"Endpoint": {"Port": 5432}}):
        rds.add_response("describe_db_instances", {"DBInstances": [item | endpoint]})

        database = found(catalog(rds).instance("orders"))

        assert (database.names, database.status) == ({}, "creating")


def test_returns_the_status_of_a_cluster_that_is_being_created(rds: Stubber) -> None:
    names = {"DBClusterIdentifier": "sales", "DBClusterArn": CLUSTER["DBClusterArn"]}
    rds.add_response("describe_db_clusters", {"DBClusters": [{**names, "Status": "creating"}]})
    rds.add_response("describe_db_instances", {"DBInstances": []})

    database = found(catalog(rds).cluster("sales"))

    assert (database.names, database.status) == ({}, "creating")


def test_a_custom_endpoint_that_is_being_created_is_no_alias_yet(rds: Stubber) -> None:
    item = {key: CUSTOM_ENDPOINT[key] for key in CUSTOM_ENDPOINT if key != "Endpoint"}
    rds.add_response("describe_db_cluster_endpoints", {"DBClusterEndpoints": [item]})
    rds.add_response("describe_db_clusters", {"DBClusters": [CLUSTER]})
    rds.add_response("describe_db_instances", {"DBInstances": []})

    assert found(catalog(rds).cluster_of_custom_endpoint("reports")).aliases == ()


def test_returns_the_status_of_a_proxy_that_is_being_created(rds: Stubber) -> None:
    item = {key: PROXY[key] for key in PROXY if key != "Endpoint"}
    rds.add_response("describe_db_proxies", {"DBProxies": [{**item, "Status": "creating"}]})

    database = found(catalog(rds).proxy("pool"))

    assert (database.names, database.status) == ({}, "creating")


def test_returns_the_state_of_an_ec2_instance_without_an_address() -> None:
    ec2 = boto3.client("ec2", SCOPE.region)
    pending = {"InstanceId": "i-1", "State": {"Name": "pending"}, "Placement": {}}
    with Stubber(ec2) as stubber:
        stubber.add_response("describe_instances", {"Reservations": [{"Instances": [pending]}]})
        catalog = AwsDatabaseCatalog(boto3.client("rds", SCOPE.region), ec2, SCOPE)
        database = found(catalog.ec2_instance("i-1"))

    assert (database.names, database.status, database.zones) == ({}, "pending", frozenset())


@pytest.mark.parametrize(
    ("item", "usable"),
    [
        ({"State": "available"}, True),
        ({"State": "pending"}, False),
        ({"State": "available", "OutpostArn": "arn:aws:outposts:x"}, False),
        ({}, False),
    ],
)
def test_a_subnet_is_usable_if_it_is_ready_and_not_on_an_outpost(
    item: dict[str, str], usable: bool
) -> None:
    ec2 = boto3.client("ec2", SCOPE.region)
    network: dict[str, Any] = {
        "SubnetId": "subnet-1",
        "VpcId": "vpc-1",
        "AvailabilityZone": "eu-west-1a",
        "AvailableIpAddressCount": 9,
    }
    with Stubber(ec2) as stubber:
        stubber.add_response("describe_subnets", {"Subnets": [{**network, **item}]})
        subnets = AwsDatabaseCatalog(boto3.client("rds", SCOPE.region), ec2, SCOPE).subnets(["x"])

    assert subnets == (
        Subnet(
            id="subnet-1",
            vpc_id="vpc-1",
            zone="eu-west-1a",
            network=None,
            usable=usable,
            free_addresses=9,
        ),
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"sg-1": "removing", "sg-2": "active", "sg-3": "adding"}, ("sg-2",)),
        ({"sg-1": "removing", "sg-2": "adding"}, ("sg-2",)),
        ({"sg-1": "removing"}, ()),
    ],
)
def test_returns_no_security_group_that_the_database_is_losing(
    rds: Stubber, statuses: dict[str, str], expected: tuple[str, ...]
) -> None:
    groups = [{"VpcSecurityGroupId": id_, "Status": s} for id_, s in statuses.items()]
    instance = {
        "DBInstanceIdentifier": "orders",
        "DBInstanceArn": "arn:aws:rds:eu-west-1:123456789012:db:orders",
        "Endpoint": {"Address": f"orders.{HASH}", "Port": 5432},
        "VpcSecurityGroups": groups,
    }
    rds.add_response("describe_db_instances", {"DBInstances": [instance]})

    assert found(catalog(rds).instance("orders")).security_group_ids == expected


def test_a_denied_call_is_an_error_with_its_code(rds: Stubber) -> None:
    rds.add_client_error("describe_db_instances", "AccessDenied", "no")

    with pytest.raises(AwsCallError, match="DescribeDBInstances failed with AccessDenied: no"):
        catalog(rds).instance("orders")


def test_an_unreachable_api_is_an_error_that_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = boto3.client("rds", SCOPE.region)

    def times_out(*_: object, **__: object) -> object:
        raise ConnectTimeoutError(endpoint_url="https://rds.eu-west-1.amazonaws.com")

    monkeypatch.setattr(client, "_make_api_call", times_out)

    with pytest.raises(AwsUnavailableError, match="interface endpoint for rds"):
        AwsDatabaseCatalog(client, boto3.client("ec2", SCOPE.region), SCOPE).instance("orders")


# ----------------------------------------------------------------------- the look-up in the lab


@pytest.mark.lab
def test_looks_up_every_kind_of_database_in_the_lab(
    emulator: Emulator, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(emulator.admin.reset)
    rds, ec2 = emulator.client("rds"), emulator.client("ec2")
    vpc, subnets = create_vpc(emulator)
    constrained = ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=f"{REGION}e"
    )
    group = ec2.create_security_group(GroupName="looked-up", Description="x", VpcId=vpc)["GroupId"]
    rds.create_db_subnet_group(
        DBSubnetGroupName="looked-up",
        DBSubnetGroupDescription="x",
        SubnetIds=[*subnets, constrained["Subnet"]["SubnetId"]],
    )
    cloud = Cloud(rds, ec2, vpc, tuple(subnets), group, "looked-up")
    cloud.create_instance("found", Port=5433, VpcSecurityGroupIds=[group])
    cloud.create_cluster("found-1", "found-2", name="found-cluster")
    rds.create_db_cluster_endpoint(
        DBClusterIdentifier="found-cluster",
        DBClusterEndpointIdentifier="found-custom",
        EndpointType="READER",
    )
    cloud.create_proxy("found-proxy")
    rds.create_db_proxy_endpoint(
        DBProxyName="found-proxy", DBProxyEndpointName="found-ro", VpcSubnetIds=subnets
    )
    machine = ec2.run_instances(ImageId="ami-0123", MinCount=1, MaxCount=1, SubnetId=subnets[0])
    scope = AwsScope("aws", REGION, PROVIDER)
    catalog = AwsDatabaseCatalog(rds, ec2, scope)
    lookup = DatabaseLookup(
        catalog=catalog, groups=FakeAutoScaling(), stack=FakeStack(), scope=scope
    )

    def look_up(endpoint: str, **more: object) -> Attributes:
        properties = lookup_properties({"DatabaseEndpoint": endpoint, **more})
        attributes = lookup.apply(parse_request(event("Create", "It", properties)), 0.0)
        assert (attributes["VpcId"], attributes["SubnetIds"]) == (vpc, subnets)
        return attributes

    endpoints = [
        *found(catalog.instance("found")).names.values(),
        *found(catalog.cluster("found-cluster")).names.values(),
        *found(catalog.proxy("found-proxy")).names.values(),
        *found(catalog.proxy_of_endpoint("found-ro")).names.values(),
    ]
    found_facts = [look_up(endpoint) for endpoint in endpoints]
    custom = found(catalog.cluster_of_custom_endpoint("found-custom")).aliases[0]
    found_facts.append(look_up(custom, DatabaseKind="rds-cluster-readers"))
    identifier = machine["Instances"][0]["InstanceId"]
    found_facts.append(look_up(identifier, SubnetIds=subnets))
    assert [(a["Kind"], a["Identifier"], a["Port"]) for a in found_facts] == [
        ("rds-instance", "found", "5433"),
        ("rds-cluster-writer", "found-cluster", "5432"),
        ("rds-cluster-readers", "found-cluster", "5432"),
        ("rds-proxy", "found-proxy", "5432"),
        ("rds-proxy", "found-proxy", "5432"),
        ("rds-cluster-readers", "found-cluster", "5432"),
        ("ec2-instance", identifier, "5432"),
    ]
    assert {a["IngressGroups"] for a in found_facts[:-1]} == {f"{group},"}
