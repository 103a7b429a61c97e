"""The facts that the look-up returns, and every rejection."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from target_sync.errors import RejectedInputError
from target_sync.provisioning.lookup import Overrides, read_kind, read_overrides
from target_sync.provisioning.ports import Database
from target_sync.provisioning.request import Properties
from tests.support.custom_resources import (
    CLUSTER_DATABASE,
    CUSTOM,
    EC2_INSTANCE,
    GROUP,
    INSTANCE,
    INSTANCE_DATABASE,
    MEMBER,
    OTHER_VPC,
    PROXY,
    PROXY_ENDPOINT,
    READERS,
    VPC,
    WRITER,
    Stack,
    arn,
    lookup_properties,
    subnet,
)

NLB_NETWORKS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10"
VPC_NETWORKS = "10.0.0.0/16,10.1.0.0/16"
NETWORK = {"VpcId": VPC, "SubnetIds": ["subnet-b1", "subnet-a1"]}


def _look_up(stack: Stack | None, properties: dict[str, object]) -> Mapping[str, Any]:
    return (stack or Stack()).request("Create", "DatabaseLookup", **lookup_properties(properties))


def attributes_of(stack: Stack | None = None, /, **properties: object) -> dict[str, object]:
    response = _look_up(stack, properties)
    assert response["Status"] == "SUCCESS", response["Reason"]
    attributes: dict[str, object] = response["Data"]
    return attributes


def rejection_of(stack: Stack | None = None, /, **properties: object) -> str:
    response = _look_up(stack, properties)
    assert response["Status"] == "FAILED"
    assert response["Data"] == {}
    reason: str = response["Reason"]
    return reason


def test_an_instance_needs_only_its_endpoint() -> None:
    assert attributes_of(DatabaseEndpoint=INSTANCE.upper()) == {
        "Kind": "rds-instance",
        "Endpoint": INSTANCE,
        "Identifier": "orders",
        "Port": "5433",
        "VpcId": VPC,
        "SubnetIds": ["subnet-a1", "subnet-b1", "subnet-c1"],
        "EndpointSubnetIds": [],
        "LeftOutZones": "none",
        "IngressGroups": "sg-1,",
        "IngressNote": "",
        "SecurityGroupIds": "sg-1,sg-2",
        "DatabaseVpcId": VPC,
        "DatabaseSubnetIds": "subnet-a1,subnet-a2,subnet-b1,subnet-c1",
        "VpcNetworks": VPC_NETWORKS,
        "AllowedNetworks": VPC_NETWORKS,
        "EventResources": [arn("db", "orders")],
        "Warning": "none",
    }


@pytest.mark.parametrize(
    ("endpoint", "given", "kind", "followed"),
    [
        (WRITER, "auto", "rds-cluster-writer", WRITER),
        (READERS, "auto", "rds-cluster-readers", READERS),
        (WRITER, "rds-cluster-readers", "rds-cluster-readers", READERS),
        (CUSTOM, "rds-cluster-readers", "rds-cluster-readers", READERS),
    ],
)
def test_follows_a_cluster_by_the_endpoint_of_the_kind(
    endpoint: str, given: str, kind: str, followed: str
) -> None:
    attributes = attributes_of(DatabaseEndpoint=endpoint, DatabaseKind=given)

    assert (attributes["Kind"], attributes["Endpoint"]) == (kind, followed)
    assert (attributes["Identifier"], attributes["Port"]) == ("sales", "5432")
    assert attributes["EventResources"] == [arn("cluster", "sales")]


@pytest.mark.parametrize("endpoint", [PROXY, PROXY_ENDPOINT])
def test_finds_a_proxy_by_each_of_its_endpoints(endpoint: str) -> None:
    attributes = attributes_of(DatabaseEndpoint=endpoint)

    assert (attributes["Kind"], attributes["Endpoint"]) == ("rds-proxy", endpoint)
    assert attributes["Identifier"] == "pool"
    assert attributes["EventResources"] == [arn("db-proxy", "prx-0123")]


def test_follows_one_server_of_a_cluster_on_request() -> None:
    attributes = attributes_of(DatabaseEndpoint=MEMBER, DatabaseKind="rds-instance")

    assert (attributes["Kind"], attributes["Identifier"]) == ("rds-instance", "sales-1")


@pytest.mark.parametrize("endpoint", ["db.example.com", "10.0.1.11,192.168.1.2"])
def test_takes_the_network_of_a_database_outside_aws_from_the_parameters(endpoint: str) -> None:
    attributes = attributes_of(DatabaseEndpoint=endpoint, **NETWORK)

    assert attributes == {
        "Kind": "static" if "," in endpoint else "hostname",
        "Endpoint": endpoint,
        "Identifier": "",
        "Port": "5432",
        "VpcId": VPC,
        "SubnetIds": ["subnet-a1", "subnet-b1"],
        "EndpointSubnetIds": [],
        "LeftOutZones": "none",
        "IngressGroups": "",
        "IngressNote": "",
        "SecurityGroupIds": "",
        "DatabaseVpcId": "",
        "DatabaseSubnetIds": "",
        "VpcNetworks": VPC_NETWORKS,
        "AllowedNetworks": NLB_NETWORKS,
        "EventResources": ["none"],
        "Warning": "none",
    }


def test_returns_the_vpc_and_the_events_of_an_ec2_instance() -> None:
    attributes = attributes_of(DatabaseEndpoint=EC2_INSTANCE, SubnetIds=["subnet-a1", "subnet-b1"])

    assert (attributes["Kind"], attributes["Identifier"]) == ("ec2-instance", EC2_INSTANCE)
    assert (attributes["VpcId"], attributes["AllowedNetworks"]) == (VPC, VPC_NETWORKS)
    assert attributes["EventResources"] == [
        f"arn:aws:ec2:eu-west-1:111122223333:instance/{EC2_INSTANCE}"
    ]


def test_finds_an_auto_scaling_group() -> None:
    attributes = attributes_of(DatabaseEndpoint=GROUP, DatabaseKind="ec2-asg", **NETWORK)

    assert (attributes["Kind"], attributes["Endpoint"]) == ("ec2-asg", GROUP)
    assert (attributes["Identifier"], attributes["EventResources"]) == (GROUP, ["none"])


def test_parameters_replace_looked_up_values() -> None:
    attributes = attributes_of(
        DatabaseEndpoint=INSTANCE,
        DatabasePort="5433",
        VpcId=VPC,
        SubnetIds=["subnet-b2", "subnet-a2"],
        AllowedNetworks=["10.0.1.0/24", " 10.0.2.0/24"],
    )

    assert attributes["SubnetIds"] == ["subnet-a2", "subnet-b2"]
    assert attributes["AllowedNetworks"] == "10.0.1.0/24,10.0.2.0/24"
    assert attributes["Port"] == "5433"


def test_accepts_a_serving_standby_of_an_instance() -> None:
    attributes = attributes_of(DatabaseEndpoint=INSTANCE, StandbyTargets="serving")

    assert (attributes["DatabaseVpcId"], attributes["SecurityGroupIds"]) == (VPC, "sg-1,sg-2")


def test_accepts_a_list_as_comma_separated_text() -> None:
    attributes = attributes_of(DatabaseEndpoint=INSTANCE, SubnetIds="subnet-b2, subnet-a2")

    assert attributes["SubnetIds"] == ["subnet-a2", "subnet-b2"]


def test_takes_an_unknown_port_from_the_parameters() -> None:
    assert (
        attributes_of(DatabaseEndpoint="db.example.com", DatabasePort="6432", **NETWORK)["Port"]
        == "6432"
    )


@pytest.mark.parametrize(("given", "port"), [("0", "5432"), ("6543", "6543")])
def test_takes_the_port_of_a_proxy_from_the_parameters(given: str, port: str) -> None:
    assert attributes_of(DatabaseEndpoint=PROXY, DatabasePort=given)["Port"] == port


@pytest.mark.parametrize(
    ("endpoint", "engine"),
    [
        (INSTANCE, "mysql"),
        (INSTANCE, "custom-sqlserver-ee"),
        (INSTANCE, ""),
        (WRITER, "aurora-mysql"),
        (READERS, "neptune"),
        (PROXY, "MYSQL"),
        (PROXY_ENDPOINT, "SQLSERVER"),
    ],
)
def test_rejects_an_engine_other_than_postgresql(endpoint: str, engine: str) -> None:
    stack = Stack()
    catalog = stack.catalog
    catalog.instances["orders"] = replace(catalog.instances["orders"], engine=engine)
    catalog.clusters["sales"] = replace(catalog.clusters["sales"], engine=engine)
    catalog.proxies["pool"] = replace(catalog.proxies["pool"], engine=engine)

    reason = rejection_of(stack, DatabaseEndpoint=endpoint)
    assert f"has the engine {engine or 'unknown'}" in reason
    assert "give the endpoint of a PostgreSQL database" in reason


def test_accepts_a_load_balancer_in_a_connected_vpc() -> None:
    attributes = attributes_of(
        DatabaseEndpoint=INSTANCE, VpcId=OTHER_VPC, SubnetIds=["subnet-a9", "subnet-b9"]
    )

    assert (attributes["VpcId"], attributes["DatabaseVpcId"]) == (OTHER_VPC, VPC)
    assert attributes["VpcNetworks"] == "10.9.0.0/16"
    assert attributes["AllowedNetworks"] == VPC_NETWORKS


@pytest.mark.parametrize(
    ("given", "group", "noted"),
    [
        ("auto", "", True),
        # EC2 accepts the group of a peered VPC.
        ("true", "sg-1,", False),
        ("false", "", False),
    ],
)
def test_adds_no_rule_that_names_a_group_of_another_vpc_unless_asked_to(
    given: str, group: str, noted: bool
) -> None:
    attributes = attributes_of(
        DatabaseEndpoint=INSTANCE,
        VpcId=OTHER_VPC,
        SubnetIds=["subnet-b9", "subnet-a9"],
        ManageDatabaseIngress=given,
    )

    note = (
        "The stack adds no rule to the database's security group, because the load balancer is in"
        " another VPC: allow 10.0.9.0/24, 10.1.9.0/24 on port 5433 in sg-1, or, if the two VPCs are"
        " peered, set ManageDatabaseIngress=true."
    )
    assert attributes["IngressGroups"] == group
    assert attributes["IngressNote"] == (note if noted else "")


@pytest.mark.parametrize("network", [{}, {"VpcId": VPC, "SubnetIds": ["subnet-a1", "subnet-b1"]}])
def test_adds_a_rule_in_the_vpc_of_the_database(network: dict[str, object]) -> None:
    attributes = attributes_of(DatabaseEndpoint=INSTANCE, ManageDatabaseIngress="auto", **network)

    assert (attributes["IngressGroups"], attributes["IngressNote"]) == ("sg-1,", "")


@pytest.mark.parametrize("networks", [["192.168.0.0/16", "10.0.0.0/16"], ["10.1.0.0/16"]])
def test_any_allowed_network_may_be_in_any_network_of_the_vpc(networks: list[str]) -> None:
    attributes = attributes_of(DatabaseEndpoint=INSTANCE, AllowedNetworks=networks)

    assert attributes["AllowedNetworks"] == ",".join(networks)


def test_returns_the_subnets_in_the_order_of_their_zones() -> None:
    stack = Stack()
    stack.catalog.subnet_list.append(replace(subnet("c", 7, free=8), id="subnet-01"))

    attributes = attributes_of(
        stack, DatabaseEndpoint=INSTANCE, SubnetIds=["subnet-01", "subnet-a1", "subnet-b1"]
    )

    assert attributes["SubnetIds"] == ["subnet-a1", "subnet-b1", "subnet-01"]


def test_chooses_no_unusable_subnet() -> None:
    stack = Stack()
    stack.catalog.instances["orders"] = replace(
        INSTANCE_DATABASE, subnet_ids=("subnet-a8", "subnet-a2", "subnet-b1")
    )
    stack.catalog.subnet_list.sort(key=lambda item: item.usable)

    assert attributes_of(stack, DatabaseEndpoint=INSTANCE)["SubnetIds"] == [
        "subnet-a2",
        "subnet-b1",
    ]


def with_free_addresses(**free: int) -> Stack:
    """Return a stack whose subnets have this number of free addresses, by letter and number."""
    stack = Stack()
    stack.catalog.subnet_list = [
        replace(it, free_addresses=free.get(it.id.removeprefix("subnet-"), it.free_addresses))
        for it in stack.catalog.subnet_list
    ]
    return stack


def test_chooses_the_first_subnet_in_which_a_load_balancer_can_be_created() -> None:
    stack = with_free_addresses(a1=7, a2=8, b1=8)

    found = attributes_of(stack, DatabaseEndpoint=INSTANCE)["SubnetIds"]

    assert found == ["subnet-a2", "subnet-b1", "subnet-c1"]


def test_an_update_keeps_the_subnets_of_the_load_balancer() -> None:
    # subnet-a1 has addresses again, and subnet-b2 and its zone are no longer the database's.
    stack = with_free_addresses(a2=0)
    stack.deployed.subnets = frozenset({"subnet-a2", "subnet-b2"})
    stack.catalog.instances["orders"] = replace(
        INSTANCE_DATABASE,
        subnet_ids=("subnet-a1", "subnet-a2", "subnet-c1"),
        zones=frozenset({"eu-west-1a"}),
    )

    properties = lookup_properties({"DatabaseEndpoint": INSTANCE})

    response = stack.request("Update", "DatabaseLookup", **properties)
    assert response["Data"]["SubnetIds"] == ["subnet-a2", "subnet-b2", "subnet-c1"]
    response = stack.request("Create", "DatabaseLookup", **properties)
    assert response["Data"]["SubnetIds"] == ["subnet-a1", "subnet-c1"]


def test_an_update_keeps_a_given_subnet_that_became_full() -> None:
    stack = with_free_addresses(a1=0)
    properties = lookup_properties(
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a1", "subnet-b1"]}
    )

    assert stack.request("Update", "DatabaseLookup", **properties)["Status"] == "FAILED"
    stack.deployed.subnets = frozenset({"subnet-a1", "subnet-b1"})
    response = stack.request("Update", "DatabaseLookup", **properties)
    assert response["Data"]["SubnetIds"] == ["subnet-a1", "subnet-b1"]


@pytest.mark.parametrize("given", [{}, {"SubnetIds": ["subnet-a1", "subnet-b1"]}])
def test_rejects_a_zone_whose_subnets_are_too_full_with_the_numbers(
    given: dict[str, object],
) -> None:
    stack = with_free_addresses(a1=7, a2=3)

    reason = rejection_of(stack, DatabaseEndpoint=INSTANCE, **given)

    assert "a load balancer needs 8 free addresses" in reason
    assert "in eu-west-1a subnet-a1 has 7" in reason
    assert ("subnet-a2 has 3" in reason) is not bool(given)
    assert "another subnet of eu-west-1a" in reason


@pytest.mark.parametrize(
    "given",
    [
        # Looked up, given without the zone where a server is, and given with it.
        {},
        {"SubnetIds": ["subnet-b1", "subnet-c1"]},
        {"SubnetIds": ["subnet-a1", "subnet-b1", "subnet-c1"]},
    ],
)
def test_leaves_out_a_zone_that_accepts_no_load_balancer_and_says_so(
    given: dict[str, object],
) -> None:
    stack = Stack()
    stack.catalog.excluded_zones = {"eu-west-1a": "euw1-az9", "eu-west-1-x-1a": "euw1-x1-az1"}

    attributes = attributes_of(stack, DatabaseEndpoint=INSTANCE, **given)

    assert attributes["SubnetIds"] == ["subnet-b1", "subnet-c1"]
    assert str(attributes["LeftOutZones"]).startswith("eu-west-1a (euw1-az9): AWS offers no")


def test_a_left_out_zone_may_have_full_subnets_and_two_of_them() -> None:
    stack = with_free_addresses(a1=0, a2=0)
    stack.catalog.excluded_zones = {"eu-west-1a": "euw1-az9"}

    attributes = attributes_of(
        stack,
        DatabaseEndpoint=INSTANCE,
        SubnetIds=["subnet-a1", "subnet-a2", "subnet-b1", "subnet-c1"],
    )

    assert attributes["SubnetIds"] == ["subnet-b1", "subnet-c1"]


def test_rejects_one_zone_beside_a_left_out_one_with_the_reason() -> None:
    stack = Stack()
    stack.catalog.excluded_zones = {"eu-west-1a": "euw1-az9"}

    reason = rejection_of(stack, DatabaseEndpoint=WRITER)

    assert "cover 1 Availability Zone(s) (eu-west-1b)" in reason
    assert "at least 2 (eu-west-1a (euw1-az9) accepts none): add a subnet" in reason


def test_an_interface_endpoint_gets_one_subnet_of_the_functions_in_each_zone() -> None:
    stack = with_free_addresses(b1=0)

    attributes = attributes_of(
        stack,
        DatabaseEndpoint=INSTANCE,
        SubnetIds=["subnet-a1", "subnet-b2"],
        FunctionSubnetIds="subnet-b2, subnet-a2,subnet-a1,subnet-b1",
    )

    assert attributes["EndpointSubnetIds"] == ["subnet-a1", "subnet-b2"]


def test_rejects_a_database_in_another_vpc_than_the_load_balancer() -> None:
    stack = Stack()
    stack.deployed.subnets = frozenset({"subnet-a9", "subnet-b9"})

    response = stack.request(
        "Update", "DatabaseLookup", **lookup_properties({"DatabaseEndpoint": INSTANCE})
    )

    assert response["Status"] == "FAILED"
    assert f"are in two VPCs ({VPC}, {OTHER_VPC})" in response["Reason"]
    assert "deploy a second stack" in response["Reason"]


PUBLIC = replace(INSTANCE_DATABASE, public=True)
ONE_ZONE = replace(INSTANCE_DATABASE, subnet_ids=("subnet-a1", "subnet-a2"))
NO_ZONE = replace(INSTANCE_DATABASE, subnet_ids=("subnet-a8",))
RENAMED = replace(
    INSTANCE_DATABASE,
    names={
        kind: name.replace("abc123", "xyz789") for kind, name in INSTANCE_DATABASE.names.items()
    },
)

#: Rejected deployments: the parameters, and words of the rejection.
REJECTED: dict[str, tuple[dict[str, object], list[str]]] = {
    "not found": (
        {"DatabaseEndpoint": INSTANCE.replace("orders", "oders")},
        ["DatabaseEndpoint", "there is no oders in eu-west-1 of account 111122223333", "correct"],
    ),
    "a cluster that does not exist": (
        {"DatabaseEndpoint": WRITER.replace("sales", "sails")},
        ["DatabaseEndpoint", "the writer of an RDS cluster", "no sails"],
    ),
    "another region": (
        {"DatabaseEndpoint": INSTANCE.replace("eu-west-1", "us-east-1")},
        ["DatabaseEndpoint", "is in us-east-1, but this stack is in eu-west-1", "deploy the stack"],
    ),
    "ambiguous: one server of a cluster": (
        {"DatabaseEndpoint": MEMBER},
        ["DatabaseEndpoint", "cluster sales", "writer or reader endpoint", "DatabaseKind=rds-inst"],
    ),
    "ambiguous: a custom endpoint": (
        {"DatabaseEndpoint": CUSTOM},
        ["DatabaseEndpoint", "custom endpoint", READERS, WRITER, "DatabaseKind=rds-cluster-read"],
    ),
    "an unknown kind": (
        {"DatabaseEndpoint": INSTANCE, "DatabaseKind": "rds"},
        ["DatabaseKind 'rds' is unknown", "auto, rds-instance"],
    ),
    "a kind that contradicts the name": (
        {"DatabaseEndpoint": INSTANCE, "DatabaseKind": "rds-cluster-writer"},
        ["DatabaseKind is rds-cluster-writer", "an RDS instance", "set DatabaseKind to one of"],
    ),
    "a port that contradicts the database": (
        {"DatabaseEndpoint": INSTANCE, "DatabasePort": "5432"},
        ["DatabasePort is 5432, but orders listens on 5433", "leave DatabasePort out"],
    ),
    "an invalid port": (
        {"DatabaseEndpoint": INSTANCE, "DatabasePort": "70000"},
        ["DatabasePort '70000' is not a port", "1 to 65535"],
    ),
    "networks outside the VPC of the database": (
        {"DatabaseEndpoint": INSTANCE, "AllowedNetworks": ["192.168.0.0/16"]},
        ["AllowedNetworks 192.168.0.0/16 has no address of the database's VPC", "leave Allowed"],
    ),
    "an invalid network": (
        {"DatabaseEndpoint": INSTANCE, "AllowedNetworks": ["10.0.0.1/16"]},
        ["AllowedNetworks has '10.0.0.1/16'", "networks such as"],
    ),
    "no subnets for a name outside RDS": (
        {"DatabaseEndpoint": "db.example.com"},
        ["SubnetIds is needed for DatabaseKind hostname", "give VpcId, and in SubnetIds"],
    ),
    "no subnets for an EC2 instance": (
        {"DatabaseEndpoint": EC2_INSTANCE},
        ["SubnetIds is needed for DatabaseKind ec2-instance"],
    ),
    "subnets that do not exist": (
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a1", "subnet-z1"]},
        ["SubnetIds subnet-a1, subnet-z1 are not all in this account", "leave SubnetIds out"],
    ),
    "subnets of two VPCs": (
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a1", "subnet-b9"]},
        [f"SubnetIds are in several VPCs ({VPC}, {OTHER_VPC})", "subnets of one VPC"],
    ),
    "a VPC that contradicts the subnets": (
        {"DatabaseEndpoint": INSTANCE, "VpcId": OTHER_VPC},
        [f"VpcId is {OTHER_VPC}", f"are in {VPC}", "leave VpcId out"],
    ),
    "subnets of another VPC than the database's": (
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a9", "subnet-b9"]},
        [f"SubnetIds are in {OTHER_VPC}, but the database is in {VPC}", f"VpcId={OTHER_VPC}"],
    ),
    "function subnets that do not exist": (
        {"DatabaseEndpoint": INSTANCE, "FunctionSubnetIds": ["subnet-a1", "subnet-z1"]},
        ["FunctionSubnetIds subnet-a1, subnet-z1 are not all in this account", f"subnets of {VPC}"],
    ),
    "function subnets of another VPC": (
        {"DatabaseEndpoint": INSTANCE, "FunctionSubnetIds": ["subnet-a1", "subnet-a9"]},
        [f"are in {OTHER_VPC}, but the load balancer is in {VPC}", "leave FunctionSubnetIds out"],
    ),
    "two subnets in one zone": (
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a1", "subnet-a2", "subnet-b1"]},
        ["SubnetIds has subnet-a1 and subnet-a2, both in eu-west-1a", "leave one out"],
    ),
    "no subnet in a zone of the database": (
        {"DatabaseEndpoint": INSTANCE, "SubnetIds": ["subnet-a1", "subnet-c1"]},
        ["SubnetIds leaves out eu-west-1b, where orders has a server", "add a subnet"],
    ),
    "one zone only": (
        {"DatabaseEndpoint": EC2_INSTANCE, "SubnetIds": ["subnet-a1"]},
        ["SubnetIds would cover 1 Availability Zone(s) (eu-west-1a)", "add a subnet in another"],
    ),
    "a public address": (
        {"DatabaseEndpoint": "8.8.8.8", **NETWORK},
        ["DatabaseEndpoint 8.8.8.8 is outside AllowedNetworks", "extend AllowedNetworks"],
    ),
    "an address outside the given networks": (
        {"DatabaseEndpoint": "10.0.1.11", **NETWORK, "AllowedNetworks": ["10.7.0.0/16"]},
        ["DatabaseEndpoint 10.0.1.11 is outside AllowedNetworks 10.7.0.0/16"],
    ),
    "a group that does not exist": (
        {"DatabaseEndpoint": "Missing", "DatabaseKind": "ec2-asg", **NETWORK},
        ["DatabaseEndpoint: there is no Auto Scaling group Missing", "correct the name"],
    ),
    "an EC2 instance that does not exist": (
        {"DatabaseEndpoint": "i-0ffffffffffffffff"},
        ["DatabaseEndpoint i-0ffffffffffffffff", "there is no i-0fffff"],
    ),
    "a serving standby of a cluster writer": (
        {"DatabaseEndpoint": WRITER, "StandbyTargets": "serving"},
        [
            (
                f"StandbyTargets is serving, but DatabaseEndpoint {WRITER} is followed as"
                " rds-cluster-writer"
            )
        ],
    ),
    "a serving standby of readers": (
        {"DatabaseEndpoint": READERS, "StandbyTargets": "serving"},
        ["followed as rds-cluster-readers", "set StandbyTargets to warm or none"],
    ),
    "a serving standby of a proxy": (
        {"DatabaseEndpoint": PROXY, "StandbyTargets": "serving"},
        ["followed as rds-proxy", "set StandbyTargets to warm or none"],
    ),
    "a serving standby of a name": (
        {"DatabaseEndpoint": "db.example.com", "StandbyTargets": "serving", **NETWORK},
        ["followed as hostname", "set StandbyTargets to warm or none"],
    ),
    "a serving standby of one server of a cluster": (
        {"DatabaseEndpoint": MEMBER, "DatabaseKind": "rds-instance", "StandbyTargets": "serving"},
        ["followed as rds-instance in the cluster sales", "set StandbyTargets to warm or none"],
    ),
    "no endpoint": ({"DatabaseEndpoint": ""}, ["DatabaseEndpoint is missing"]),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_rejection_names_the_parameter_and_the_remedy(case: str) -> None:
    properties, words = REJECTED[case]
    reason = rejection_of(**properties)
    for word in words:
        assert word in reason


@pytest.mark.parametrize(
    ("database", "words"),
    [
        (
            PUBLIC,
            [
                "is publicly accessible",
                "turn public access off for orders",
                f"set FunctionSubnetIds to subnets of {VPC}",
            ],
        ),
        (
            replace(INSTANCE_DATABASE, names={}, status="creating", vpc_id=""),
            ["orders exists", "its status is creating", "has no endpoint yet", "deploy again"],
        ),
        (ONE_ZONE, ["cover 1 Availability Zone(s)", "the database's subnet group"]),
        (NO_ZONE, ["none usable"]),
        (RENAMED, ["is not the endpoint of orders", "xyz789", "give that name"]),
        (replace(INSTANCE_DATABASE, vpc_id=""), ["has no server in a VPC yet"]),
        (replace(INSTANCE_DATABASE, vpc_id="vpc-gone"), ["SubnetIds are in", "vpc-gone"]),
    ],
)
def test_rejects_a_database_that_cannot_be_followed(database: Database, words: list[str]) -> None:
    stack = Stack()
    stack.catalog.instances["orders"] = database

    reason = rejection_of(stack, DatabaseEndpoint=INSTANCE)
    for word in words:
        assert word in reason


IN_VPC = {"FunctionSubnetIds": "subnet-a1,subnet-b1", "Resolvers": ""}


def test_accepts_a_public_database_whose_private_address_the_functions_see() -> None:
    stack = Stack()
    stack.catalog.instances["orders"] = PUBLIC

    assert attributes_of(stack, DatabaseEndpoint=INSTANCE, **IN_VPC)["Endpoint"] == INSTANCE


@pytest.mark.parametrize(
    "more",
    [
        {"FunctionSubnetIds": ""},
        {"Resolvers": "10.0.0.2:53"},
        {"VpcId": OTHER_VPC, "SubnetIds": ["subnet-a9", "subnet-b9"]},
    ],
)
def test_rejects_a_public_database_whose_public_address_the_functions_may_see(
    more: dict[str, object],
) -> None:
    stack = Stack()
    stack.catalog.instances["orders"] = PUBLIC

    reason = rejection_of(stack, DatabaseEndpoint=INSTANCE, **{**IN_VPC, **more})
    assert "is publicly accessible" in reason


def test_rejects_a_vpc_without_an_ipv4_network() -> None:
    stack = Stack()
    stack.catalog.vpcs[VPC] = ()

    assert f"VpcId {VPC} has no IPv4 network" in rejection_of(stack, DatabaseEndpoint=INSTANCE)


@pytest.mark.parametrize("endpoint", [WRITER, READERS])
def test_warns_that_health_checks_keep_a_pausing_database_awake(endpoint: str) -> None:
    stack = Stack()
    stack.catalog.clusters["sales"] = replace(CLUSTER_DATABASE, pauses=True)

    warning = attributes_of(stack, DatabaseEndpoint=endpoint)["Warning"]
    assert str(warning).startswith("sales has a minimum of 0 ACUs")


def test_rejects_the_writer_of_a_cluster_that_has_none() -> None:
    stack = Stack()
    stack.catalog.clusters["sales"] = replace(CLUSTER_DATABASE, has_writer=False)

    reason = rejection_of(stack, DatabaseEndpoint=WRITER)
    assert "no writer of sales in eu-west-1" in reason
    assert "deploy a stack for the writer in its Region" in reason
    assert attributes_of(stack, DatabaseEndpoint=READERS)["Kind"] == "rds-cluster-readers"


def test_rejects_a_cluster_without_the_endpoint_of_the_kind() -> None:
    stack = Stack()
    stack.catalog.clusters["sales"] = replace(
        CLUSTER_DATABASE,
        names={kind: name for kind, name in CLUSTER_DATABASE.names.items() if name == WRITER},
    )

    reason = rejection_of(stack, DatabaseEndpoint=WRITER, DatabaseKind="rds-cluster-readers")
    assert "DatabaseKind is rds-cluster-readers" in reason
    assert "sales has no such endpoint" in reason


def overrides_of(**properties: object) -> Overrides:
    return read_overrides(Properties(values=properties))


def test_an_empty_parameter_is_not_an_override() -> None:
    empty = {"DatabasePort": "0", "VpcId": " ", "SubnetIds": [""], "AllowedNetworks": [""]}

    assert overrides_of(**empty) == overrides_of() == Overrides()
    assert read_kind("") is read_kind("auto") is None


def test_reads_overrides_as_values() -> None:
    overrides = overrides_of(
        DatabasePort="6432", VpcId=VPC, SubnetIds=["subnet-a1"], AllowedNetworks=["10.0.0.0/8"]
    )

    assert overrides == Overrides(
        port=6432,
        vpc_id=VPC,
        subnet_ids=("subnet-a1",),
        allowed_networks=(ip_network("10.0.0.0/8"),),
    )


@pytest.mark.parametrize("port", ["-1", "5432.0", "x", "\u0665\u0664\u0663\u0662"])
def test_rejects_an_unreadable_port(port: str) -> None:
    with pytest.raises(RejectedInputError, match="DatabasePort"):
        overrides_of(DatabasePort=port)
