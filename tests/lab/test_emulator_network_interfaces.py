"""The network interfaces of RDS in the lab's AWS: one for each server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan, Endpoint
from lab.aws import Account, Database, create_cluster, create_database
from lab.emulator.client import EmulatorAdminError
from lab.emulator.messages import NetworkInterface
from tests.lab.emulator_process import PROVIDER, REGION, Emulator, running_emulator

pytestmark = pytest.mark.lab

PRIMARY, STANDBY, SPARE = "10.0.1.11", "10.0.2.12", "10.0.1.13"
SERVER = Endpoint.parse("127.0.0.2:5432")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    plan = AddressPlan({Endpoint.parse(f"{a}:5432"): SERVER for a in (PRIMARY, STANDBY, SPARE)})
    with running_emulator(tmp_path_factory.mktemp("emulator"), plan=plan) as it:
        yield it


@dataclass(frozen=True, kw_only=True)
class World:
    """A Multi-AZ instance in the lab's AWS."""

    emulator: Emulator
    database: Database
    group: str

    def interfaces(self, **filters: str) -> list[Mapping[str, Any]]:
        """The interfaces that pass filters, sorted by address; a filter's value may be a list."""
        given = [
            {"Name": name.replace("_", "-"), "Values": values.split(",")}
            for name, values in filters.items()
        ]
        found = self.emulator.client("ec2").describe_network_interfaces(Filters=given)
        return sorted(found["NetworkInterfaces"], key=lambda it: str(it["PrivateIpAddress"]))

    def addresses(self, **filters: str) -> list[str]:
        return [it["PrivateIpAddress"] for it in self.interfaces(**filters)]

    def reassign(self, address: str, subnet: int = 0) -> None:
        """Give an address to another network interface."""
        self.emulator.admin.put_network_interface(
            NetworkInterface(
                address=address,
                subnet_id=self.database.subnet_ids[subnet],
                security_group_ids=(self.group,),
                description="the orders service",
            )
        )


@pytest.fixture
def world(emulator: Emulator) -> Iterator[World]:
    database = create_database(Account(PROVIDER, emulator.url), "orders")
    (instance,) = emulator.client("rds").describe_db_instances()["DBInstances"]
    group = instance["VpcSecurityGroups"][0]["VpcSecurityGroupId"]
    yield World(emulator=emulator, database=database, group=group)
    emulator.admin.reset()


def test_each_server_of_a_multi_az_instance_has_an_interface(world: World) -> None:
    interfaces = world.interfaces()
    assert [it["PrivateIpAddress"] for it in interfaces] == [PRIMARY, STANDBY]
    assert [it["AvailabilityZone"] for it in interfaces] == [f"{REGION}a", f"{REGION}b"]
    assert [it["SubnetId"] for it in interfaces] == list(world.database.subnet_ids)
    assert len({it["NetworkInterfaceId"] for it in interfaces}) == 2
    for it in interfaces:
        assert it["Description"] == "RDSNetworkInterface"
        assert (it["RequesterId"], it["RequesterManaged"]) == ("amazon-rds", True)
        assert (it["Status"], it["InterfaceType"]) == ("in-use", "interface")
        assert it["VpcId"] == world.database.vpc_id
        assert [group["GroupId"] for group in it["Groups"]] == [world.group]
        assert [a["PrivateIpAddress"] for a in it["PrivateIpAddresses"]] == [it["PrivateIpAddress"]]
        assert it["Attachment"]["InstanceOwnerId"] == "amazon-rds"
        assert it["Attachment"]["Status"] == "attached"
        assert "InstanceId" not in it["Attachment"]


def test_a_modified_instance_has_modified_interfaces(world: World) -> None:
    rds, ec2 = world.emulator.client("rds"), world.emulator.client("ec2")
    other = ec2.create_security_group(
        GroupName="other", Description="x", VpcId=world.database.vpc_id
    )["GroupId"]
    before = [it["NetworkInterfaceId"] for it in world.interfaces()]

    rds.modify_db_instance(DBInstanceIdentifier="orders", VpcSecurityGroupIds=[other])
    moved = world.interfaces()
    assert [it["NetworkInterfaceId"] for it in moved] == before
    assert [[g["GroupId"] for g in it["Groups"]] for it in moved] == [[other], [other]]

    rds.modify_db_instance(DBInstanceIdentifier="orders", MultiAZ=False, ApplyImmediately=True)
    assert world.addresses() == [PRIMARY]


def test_an_instance_without_a_network_has_no_interface(emulator: Emulator) -> None:
    emulator.client("rds").create_db_instance(
        DBInstanceIdentifier="plain", DBInstanceClass="db.t4g.micro", Engine="postgres"
    )

    assert emulator.client("ec2").describe_network_interfaces()["NetworkInterfaces"] == []
    emulator.admin.reset()


def test_a_server_without_its_address_gets_another_one(world: World) -> None:
    assert world.addresses() == [PRIMARY, STANDBY]

    world.reassign(PRIMARY)

    assert world.addresses() == [PRIMARY, SPARE, STANDBY]
    assert world.addresses(requester_id="amazon-rds") == [SPARE, STANDBY]
    (other,) = world.interfaces(description="the orders service")
    assert (other["RequesterId"], other["RequesterManaged"]) == (PROVIDER, False)
    assert other["PrivateIpAddress"] == PRIMARY


def test_rejects_an_address_outside_the_subnet(world: World) -> None:
    with pytest.raises(EmulatorAdminError, match="InvalidParameterValue"):
        world.reassign(PRIMARY, subnet=1)
    with pytest.raises(EmulatorAdminError, match=r"InvalidSubnetID\.NotFound"):
        world.emulator.admin.put_network_interface(
            NetworkInterface(address=PRIMARY, subnet_id="subnet-0", security_group_ids=())
        )
    assert world.addresses() == [PRIMARY, STANDBY]


def test_another_vpc_may_have_the_same_address(world: World) -> None:
    other = create_database(Account(PROVIDER, world.emulator.url), "sales")

    assert world.addresses() == [PRIMARY, PRIMARY, STANDBY, STANDBY]
    before = world.interfaces(vpc_id=other.vpc_id)
    assert [it["PrivateIpAddress"] for it in before] == [PRIMARY, STANDBY]

    world.reassign(PRIMARY)

    assert world.interfaces(vpc_id=other.vpc_id) == before


def test_an_ec2_instance_gets_a_free_address(world: World) -> None:
    assert world.addresses() == [PRIMARY, STANDBY]

    (launched,) = world.emulator.client("ec2").run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=world.database.subnet_ids[0]
    )["Instances"]

    assert launched["PrivateIpAddress"] == SPARE


def test_the_members_of_a_cluster_have_the_planned_addresses(emulator: Emulator) -> None:
    create_cluster(Account(PROVIDER, emulator.url), "shop", members=3)

    found = emulator.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
    assert [it["PrivateIpAddress"] for it in found] == [PRIMARY, STANDBY, SPARE]
    emulator.admin.reset()


def test_filters_by_one_of_the_values_of_each_filter(world: World) -> None:
    assert world.addresses(private_ip_address=f"{PRIMARY},10.0.1.99") == [PRIMARY]
    assert world.addresses(**{"addresses.private-ip-address": f"{STANDBY},{PRIMARY}"}) == [
        PRIMARY,
        STANDBY,
    ]
    assert world.addresses(group_id=world.group, subnet_id=world.database.subnet_ids[1]) == [
        STANDBY
    ]
    assert world.addresses(group_id=f"sg-0,{world.group}", status="available") == []
    assert world.addresses(description="RDS*", requester_managed="true") == [PRIMARY, STANDBY]
    assert world.addresses(description="RDS") == []
    with pytest.raises(ClientError, match="The filter 'colour' is invalid"):
        world.interfaces(colour="green")
