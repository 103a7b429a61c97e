"""Wrong deployments fail early with a remedy, and leave nothing.

The lab's AWS enforces IAM. Most tests create their stack with CloudFormation's API, as `sam deploy`
does. Some use `sam deploy` to check its output.
The text of every rule and of every rejection is in tests/template/test_rules.py and
tests/unit/provisioning/test_lookup.py; here stand some of each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.addresses import AddressPlan
from lab.aws import Account, Network, create_cluster, create_database, create_network
from lab.environment import Lab
from lab.leftovers import leftovers
from lab.options import LabOptions
from lab.processes import CommandFailedError, Supervisor
from lab.stack import ApiStack, Project, Stack

pytestmark = pytest.mark.lab

_STACK_NAME = "wrong"
#: A valid ARN without a target group.
_NO_GROUP = (
    "arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/unknown/0123456789abcdef"
)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A wrong deployment.

    Attributes:
        parameters: The parameters; words in braces stand for names in the account.
        says: Texts of the error: the parameter, the problem, the remedy.
        created: Whether CloudFormation starts to create the stack before the error.
    """

    parameters: Mapping[str, str]
    says: tuple[str, ...]
    created: bool = True


_NETWORK = {"VpcId": "{vpc}", "SubnetIds": "{subnets}"}

#: A rule of the template rejects them before CloudFormation creates anything.
BY_RULE: Mapping[str, Wrong] = {
    "every account may connect without acceptance": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "AllowedPrincipals": "*"},
        says=("AllowedPrincipals may be * only when AcceptanceRequired is true",),
        created=False,
    ),
    "a custom idle timeout across Regions": Wrong(
        parameters={
            "DatabaseEndpoint": "{orders}",
            "IdleTimeoutSeconds": "600",
            "SupportedRegions": "eu-west-1",
        },
        says=("leave IdleTimeoutSeconds at 350, or leave SupportedRegions empty",),
        created=False,
    ),
}

#: The database look-up rejects them before the stack has a network.
BY_LOOKUP: Mapping[str, Wrong] = {
    "an unknown name": Wrong(
        parameters={"DatabaseEndpoint": "{orders_misspelt}"},
        says=("DatabaseEndpoint {orders_misspelt}", "there is no oders in", "correct the name"),
    ),
    "a publicly accessible instance": Wrong(
        parameters={"DatabaseEndpoint": "{public}"},
        says=("DatabaseEndpoint {public} is publicly accessible", "turn public access off"),
    ),
    "a VPC with one usable zone": Wrong(
        parameters={"DatabaseEndpoint": "{cramped}"},
        says=("SubnetIds would cover 1 Availability Zone(s) (us-east-1a)", "add a subnet in"),
    ),
    "ambiguous: a custom endpoint of a cluster": Wrong(
        parameters={"DatabaseEndpoint": "{custom}"},
        says=(
            "DatabaseEndpoint {custom} is a custom endpoint",
            "{readers}",
            "set DatabaseKind=rds-cluster-readers",
        ),
    ),
    "an Auto Scaling group without its kind": Wrong(
        parameters={"DatabaseEndpoint": "orders-readers", **_NETWORK},
        says=("DatabaseEndpoint 'orders-readers'", "also set DatabaseKind=ec2-asg"),
    ),
}

#: The first sync rejects them when the stack has its network.
BY_FIRST_SYNC: Mapping[str, Wrong] = {
    "a name that does not resolve": Wrong(
        parameters={
            "DatabaseEndpoint": "unknown.db.corp.example",
            "Resolvers": "{resolver}",
            **_NETWORK,
        },
        says=(
            "unknown.db.corp.example does not exist in DNS",
            "Correct DatabaseEndpoint, or set Resolvers",
        ),
    ),
    "a name with an address outside AllowedNetworks": Wrong(
        parameters={
            "DatabaseEndpoint": "legacy.db.corp.example",
            "Resolvers": "{resolver}",
            "AllowedNetworks": "10.0.0.0/16",
            **_NETWORK,
        },
        says=("DatabaseEndpoint resolves to 192.168.7.11", "extend AllowedNetworks"),
    ),
    "an unknown target group": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "ExistingTargetGroupArn": _NO_GROUP},
        says=(f"'{_NO_GROUP}' not found", "Set ExistingTargetGroupArn to a target group of"),
    ),
}

WRONG = {**BY_RULE, **BY_LOOKUP, **BY_FIRST_SYNC}
#: One of each kind, deployed with the SAM CLI.
BY_SAM = ("a custom idle timeout across Regions", "an unknown name")


@dataclass(frozen=True, kw_only=True)
class Company:
    """An account with databases in it.

    Attributes:
        stack: The stack to deploy.
        names: The names for the words in braces.
        before: The resources before all deployments.
    """

    stack: ApiStack
    names: Mapping[str, str]
    before: frozenset[str]

    def filled(self, text: str) -> str:
        return text.format_map(self.names)

    def check_rejection(self, stack: Stack, wrong: Wrong) -> None:
        """Deploy, and check the error, the status and the remaining resources."""
        given = {name: self.filled(value) for name, value in wrong.parameters.items()}
        with pytest.raises(CommandFailedError) as caught:
            stack.deploy(given)
        for words in wrong.says:
            assert self.filled(words) in str(caught.value)
        status = stack.described().get("StackStatus", "")
        assert status == ("ROLLBACK_COMPLETE" if wrong.created else "")
        assert _resources(stack.account) - self.before == set()


@pytest.fixture(scope="module")
def company(built: Path) -> Iterator[Company]:
    with Supervisor() as supervisor:
        project = Project(supervisor, built=built)
        building = project.start_build()
        with Lab.start(supervisor, LabOptions(schedule_interval=60), AddressPlan({})) as lab:
            names = {**_databases(lab.provider), "resolver": lab.resolver}
            lab.zone.set_address("legacy.db.corp.example", ["192.168.7.11"])
            building.result()
            yield Company(
                stack=ApiStack(project, lab.provider, _STACK_NAME),
                names=names,
                before=frozenset(_resources(lab.provider)),
            )


@pytest.fixture
def deployer(company: Company) -> Iterator[Company]:
    """The company, without a stack before and after a test."""
    assert not company.stack.described()
    yield company
    company.stack.delete()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_deployment_fails_with_a_remedy_and_leaves_nothing(
    deployer: Company, name: str
) -> None:
    deployer.check_rejection(deployer.stack, WRONG[name])


@pytest.mark.parametrize("name", BY_SAM)
def test_sam_deploy_shows_the_remedy(deployer: Company, name: str) -> None:
    stack = Stack(deployer.stack.project, deployer.stack.account, _STACK_NAME)
    deployer.check_rejection(stack, WRONG[name])


def _resources(account: Account) -> set[str]:
    return set(leftovers(account.client))


def _databases(account: Account) -> dict[str, str]:
    """Create the databases of the deployments; return their names."""
    rds = account.client("rds")
    orders = create_database(account, "orders").endpoint
    public = create_database(account, "public").endpoint
    rds.modify_db_instance(DBInstanceIdentifier="public", PubliclyAccessible=True)
    cluster = create_cluster(account, "shop", members=2)
    custom = rds.create_db_cluster_endpoint(
        DBClusterIdentifier="shop", DBClusterEndpointIdentifier="reports", EndpointType="READER"
    )["Endpoint"]
    network = create_network(account)
    return {
        "orders": orders,
        "orders_misspelt": orders.replace("orders", "oders"),
        "public": public,
        "cramped": create_database(
            account, "cramped", _create_network_in_one_zone(account)
        ).endpoint,
        "readers": cluster.reader_endpoint,
        "custom": custom,
        "vpc": network.vpc_id,
        "subnets": ",".join(network.subnet_ids),
    }


def _create_network_in_one_zone(account: Account) -> Network:
    """Create a VPC with two subnets in one zone."""
    ec2 = account.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=network, AvailabilityZone="us-east-1a")["Subnet"]
        for network in ("10.9.1.0/24", "10.9.2.0/24")
    ]
    group = ec2.create_security_group(GroupName="cramped", Description="-", VpcId=vpc_id)
    return Network(
        vpc_id=vpc_id,
        subnet_ids=tuple(subnet["SubnetId"] for subnet in subnets),
        security_group_id=group["GroupId"],
    )
