"""The accounts of the lab's AWS, and the resources of a company before it deploys the stack."""

import itertools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3.session
from botocore.exceptions import ClientError

REGION = "us-east-1"
VPC_NETWORK = "10.0.0.0/16"
SUBNETS = {"10.0.1.0/24": f"{REGION}a", "10.0.2.0/24": f"{REGION}b"}
#: The secret key of every account's root; the access key is the account's number.
_SECRET = "test"  # noqa: S105 - not a secret


def credentials(account: str) -> Mapping[str, str]:
    """Return environment variables for an account's root in the lab's Region.

    They contain none of the machine's own AWS settings.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the emulated AWS, acting as its root in one Region."""

    number: str
    endpoint_url: str
    region: str = REGION

    def client(self, service: str) -> Any:
        """Return the client of a service, which all threads may share."""
        with _CREATING:
            return _client(self, service)


#: botocore cannot create clients in several threads.
_CREATING = threading.Lock()


@cache
def _client(account: Account, service: str) -> Any:
    """Create a client. The session is shared, because it reads the data of a service only once."""
    create: Any = _session().client
    return create(
        service,
        endpoint_url=account.endpoint_url,
        region_name=account.region,
        aws_access_key_id=account.number,
        aws_secret_access_key=_SECRET,
    )


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A VPC with a subnet in each of two zones, and a security group for databases."""

    vpc_id: str
    subnet_ids: tuple[str, ...]
    security_group_id: str


def create_network(account: Account) -> Network:
    """Create the company's VPC."""
    ec2 = account.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock=VPC_NETWORK)["Vpc"]["VpcId"]
    subnet_ids = tuple(
        ec2.create_subnet(
            VpcId=vpc_id, CidrBlock=network, AvailabilityZone=zone.replace(REGION, account.region)
        )["Subnet"]["SubnetId"]
        for network, zone in SUBNETS.items()
    )
    group = ec2.create_security_group(
        GroupName="databases", Description="The lab's databases", VpcId=vpc_id
    )
    return Network(vpc_id=vpc_id, subnet_ids=subnet_ids, security_group_id=group["GroupId"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The company's Multi-AZ RDS instance and the network around it."""

    identifier: str
    endpoint: str
    port: int
    vpc_id: str
    subnet_ids: tuple[str, ...]
    zone: str


def create_database(account: Account, identifier: str, network: Network | None = None) -> Database:
    """Create a Multi-AZ PostgreSQL in a network; without one in a new one."""
    network = network or create_network(account)
    rds = account.client("rds")
    _create_subnet_group(rds, identifier, network)
    instance = rds.create_db_instance(
        DBInstanceIdentifier=identifier,
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MultiAZ=True,
        AllocatedStorage=20,
        DBSubnetGroupName=identifier,
        VpcSecurityGroupIds=[network.security_group_id],
        MasterUsername="lab",
        ManageMasterUserPassword=True,
    )["DBInstance"]
    return Database(
        identifier=identifier,
        endpoint=instance["Endpoint"]["Address"],
        port=instance["Endpoint"]["Port"],
        vpc_id=network.vpc_id,
        subnet_ids=network.subnet_ids,
        zone=instance["AvailabilityZone"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An Aurora cluster. `instances` maps members to endpoints; the first one is the writer."""

    identifier: str
    endpoint: str
    reader_endpoint: str
    instances: Mapping[str, str]


def create_cluster(account: Account, identifier: str, members: int) -> Cluster:
    """Create a network and an Aurora PostgreSQL cluster in it."""
    network = create_network(account)
    rds = account.client("rds")
    _create_subnet_group(rds, identifier, network)
    cluster = rds.create_db_cluster(
        DBClusterIdentifier=identifier,
        Engine="aurora-postgresql",
        DBSubnetGroupName=identifier,
        VpcSecurityGroupIds=[network.security_group_id],
        MasterUsername="lab",
        ManageMasterUserPassword=True,
    )["DBCluster"]
    instances = [
        rds.create_db_instance(
            DBInstanceIdentifier=f"{identifier}-{number}",
            DBClusterIdentifier=identifier,
            DBInstanceClass="db.t4g.medium",
            Engine="aurora-postgresql",
            AvailabilityZone=zone,
        )["DBInstance"]
        for number, zone in zip(range(1, members + 1), itertools.cycle(SUBNETS.values()))
    ]
    return Cluster(
        identifier=identifier,
        endpoint=cluster["Endpoint"],
        reader_endpoint=cluster["ReaderEndpoint"],
        instances={i["DBInstanceIdentifier"]: i["Endpoint"]["Address"] for i in instances},
    )


def create_proxy(account: Account, name: str) -> str:
    """Create a network and an RDS Proxy in it; return the proxy's endpoint."""
    network = create_network(account)
    proxy = account.client("rds").create_db_proxy(
        DBProxyName=name,
        EngineFamily="POSTGRESQL",
        Auth=[
            {
                "AuthScheme": "SECRETS",
                "SecretArn": f"arn:aws:secretsmanager:{REGION}:{account.number}:secret:proxy",
            }
        ],
        RoleArn=f"arn:aws:iam::{account.number}:role/proxy",
        VpcSubnetIds=list(network.subnet_ids),
        VpcSecurityGroupIds=[network.security_group_id],
    )["DBProxy"]
    return str(proxy["Endpoint"])


def launch_instance(account: Account, network: Network, *, subnet: int, address: str) -> str:
    """Launch an EC2 instance at an address of a subnet; return its ID."""
    launched = account.client("ec2").run_instances(
        ImageId="ami-0123456789abcdef0",
        MinCount=1,
        MaxCount=1,
        SubnetId=network.subnet_ids[subnet],
        PrivateIpAddress=address,
        SecurityGroupIds=[network.security_group_id],
    )
    return str(launched["Instances"][0]["InstanceId"])


def _create_subnet_group(rds: Any, name: str, network: Network) -> None:
    rds.create_db_subnet_group(
        DBSubnetGroupName=name,
        DBSubnetGroupDescription="The lab's database",
        SubnetIds=list(network.subnet_ids),
    )


@dataclass(frozen=True, slots=True)
class Consumer:
    """A SaaS in its own account, which connects through an interface endpoint."""

    account: Account

    def connect(self, service_name: str) -> str:
        """Create an interface endpoint to the service and return its ID.

        Raises:
            ClientError: ``InvalidServiceName``: this account is not an allowed principal.
        """
        ec2 = self.account.client("ec2")
        vpc_id = ec2.create_vpc(CidrBlock="10.200.0.0/16")["Vpc"]["VpcId"]
        endpoint = ec2.create_vpc_endpoint(
            VpcId=vpc_id, ServiceName=service_name, VpcEndpointType="Interface"
        )["VpcEndpoint"]
        return str(endpoint["VpcEndpointId"])

    def state(self, endpoint_id: str) -> str:
        """Return the state of the endpoint in the consumer's account, in lower case.

        The API's model and its wire format differ in the case of these names.
        """
        ec2 = self.account.client("ec2")
        (endpoint,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"]
        return str(endpoint["State"]).lower()

    def is_refused(self, service_name: str) -> bool:
        """Return whether AWS refuses the connection as if the service did not exist."""
        try:
            self.connect(service_name)
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidServiceName"
        return False

    def disconnect(self, endpoint_id: str) -> None:
        """Delete the endpoint."""
        ec2 = self.account.client("ec2")
        ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
