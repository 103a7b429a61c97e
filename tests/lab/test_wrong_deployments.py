"""Deployments that cannot work fail at once, say what to do, and roll back to nothing.

They go to the lab's AWS with IAM enforced. The template is built and packaged once by the SAM
CLI; most stacks are then created from it by CloudFormation's API, which is what `sam deploy`
calls, and some by `sam deploy`, to see what its user reads.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan
from lab.aws import Account, create_cluster, create_database, create_network, credentials
from lab.environment import Lab
from lab.leftovers import leftovers
from lab.options import LabOptions
from lab.processes import CommandFailedError, Supervisor
from lab.stack import Project, Stack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient

pytestmark = pytest.mark.lab

_BUCKET = "packages"
_STACK_NAME = "wrong"
#: Well-formed; no target group has it.
_NO_GROUP = (
    "arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/nobodys/0123456789abcdef"
)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A wrong deployment.

    Attributes:
        parameters: What a person gives; words in braces stand for what is in the account.
        says: What the sentence has to say: the parameter, what is wrong with it, the remedy.
        made: Whether CloudFormation begins to make the stack before it is refused.
    """

    parameters: Mapping[str, str]
    says: tuple[str, ...]
    made: bool = True


_NETWORK = {"VpcId": "{vpc}", "SubnetIds": "{subnets}"}

#: Refused by a rule of the template, before anything is made.
BY_RULE: Mapping[str, Wrong] = {
    "everybody may connect without being accepted": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "AllowedPrincipals": "*"},
        says=("AllowedPrincipals may be * only when AcceptanceRequired is true",),
        made=False,
    ),
    "a custom idle timeout across Regions": Wrong(
        parameters={
            "DatabaseEndpoint": "{orders}",
            "IdleTimeoutSeconds": "600",
            "SupportedRegions": "eu-west-1",
        },
        says=("leave IdleTimeoutSeconds at 350, or leave SupportedRegions empty",),
        made=False,
    ),
    "a custom consumer that nobody named": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "Consumer": "custom"},
        says=("Consumer custom", "set AllowedPrincipals to the ARN"),
        made=False,
    ),
    "a name outside RDS that is said to be one, without VpcId": Wrong(
        parameters={
            "DatabaseEndpoint": "orders.db.corp.example",
            "DatabaseKind": "hostname",
            "SubnetIds": "{subnets}",
        },
        says=("set VpcId to the VPC for the load balancer",),
        made=False,
    ),
    "given resolvers that are not asked": Wrong(
        parameters={
            "DatabaseEndpoint": "{orders}",
            "DnsResolution": "authoritative",
            "Resolvers": "{resolver}",
        },
        says=("leave DnsResolution at system, or leave Resolvers empty",),
        made=False,
    ),
    "the former targets of a proxy kept": Wrong(
        parameters={
            "DatabaseEndpoint": "{orders}",
            "DatabaseKind": "rds-proxy",
            "StandbyTargets": "serving",
        },
        says=("StandbyTargets serving is for rds-instance alone", "leave StandbyTargets at none"),
        made=False,
    ),
    "rejection without anybody to reject": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "RejectUntrusted": "true"},
        says=("RejectUntrusted", "only when AcceptanceRequired is true"),
        made=False,
    ),
}

#: Refused when the database is looked up, before the road is made.
BY_LOOKUP: Mapping[str, Wrong] = {
    "a name that is not found": Wrong(
        parameters={"DatabaseEndpoint": "{orders_misspelt}"},
        says=("DatabaseEndpoint {orders_misspelt}", "there is no oders in", "correct the name"),
    ),
    "a name of another Region": Wrong(
        parameters={"DatabaseEndpoint": "{orders_abroad}"},
        says=(
            "DatabaseEndpoint {orders_abroad} is in eu-west-1, but this stack is in us-east-1",
            "deploy the stack in eu-west-1",
        ),
    ),
    "a publicly accessible instance": Wrong(
        parameters={"DatabaseEndpoint": "{public}"},
        says=("DatabaseEndpoint {public} is publicly accessible", "turn public access off"),
    ),
    "a VPC with one usable zone": Wrong(
        parameters={"DatabaseEndpoint": "{cramped}"},
        says=("SubnetIds would cover 1 Availability Zone(s) (us-east-1a)", "add a subnet in"),
    ),
    "ambiguous: one server of a cluster": Wrong(
        parameters={"DatabaseEndpoint": "{member}"},
        says=(
            "DatabaseEndpoint {member} is one server of the cluster shop",
            "give the cluster's writer or reader endpoint, or set DatabaseKind=rds-instance",
        ),
    ),
    "ambiguous: a custom endpoint of a cluster": Wrong(
        parameters={"DatabaseEndpoint": "{custom}"},
        says=(
            "DatabaseEndpoint {custom} is a custom endpoint",
            "{readers}",
            "set DatabaseKind=rds-cluster-readers",
        ),
    ),
    "a name outside RDS without VpcId and SubnetIds": Wrong(
        parameters={"DatabaseEndpoint": "orders.db.corp.example"},
        says=("SubnetIds is needed for DatabaseKind hostname", "give VpcId, and in SubnetIds"),
    ),
    "a static address outside AllowedNetworks": Wrong(
        parameters={
            "DatabaseEndpoint": "192.168.7.11,10.0.1.11",
            "AllowedNetworks": "10.0.0.0/16",
            **_NETWORK,
        },
        says=(
            "DatabaseEndpoint 192.168.7.11 is outside AllowedNetworks 10.0.0.0/16",
            "extend AllowedNetworks",
        ),
    ),
    "a kind that contradicts the name": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "DatabaseKind": "rds-cluster-writer"},
        says=("DatabaseKind is rds-cluster-writer", "set DatabaseKind to one of auto"),
    ),
    "the former targets of a cluster kept": Wrong(
        parameters={"DatabaseEndpoint": "{readers}", "StandbyTargets": "serving"},
        says=(
            "DatabaseEndpoint {readers} is followed as rds-cluster-readers",
            "leave StandbyTargets at none",
        ),
    ),
    "an Auto Scaling group without its kind": Wrong(
        parameters={"DatabaseEndpoint": "orders-readers", **_NETWORK},
        says=("DatabaseEndpoint 'orders-readers'", "also set DatabaseKind=ec2-asg"),
    ),
    "an Auto Scaling group that is not there": Wrong(
        parameters={"DatabaseEndpoint": "nobodys", "DatabaseKind": "ec2-asg", **_NETWORK},
        says=("DatabaseEndpoint: there is no Auto Scaling group nobodys", "correct the name"),
    ),
}

#: Refused by the first sync, when the road is made already.
BY_FIRST_SYNC: Mapping[str, Wrong] = {
    "a name that does not resolve": Wrong(
        parameters={
            "DatabaseEndpoint": "nobody.db.corp.example",
            "Resolvers": "{resolver}",
            **_NETWORK,
        },
        says=(
            "nobody.db.corp.example does not exist in DNS",
            "Correct DatabaseEndpoint, or set Resolvers",
        ),
    ),
    "a name that leads outside AllowedNetworks": Wrong(
        parameters={
            "DatabaseEndpoint": "legacy.db.corp.example",
            "Resolvers": "{resolver}",
            "AllowedNetworks": "10.0.0.0/16",
            **_NETWORK,
        },
        says=("DatabaseEndpoint resolves to 192.168.7.11", "extend AllowedNetworks"),
    ),
    "a target group that is not there": Wrong(
        parameters={"DatabaseEndpoint": "{orders}", "ExistingTargetGroupArn": _NO_GROUP},
        says=(f"'{_NO_GROUP}' not found", "Set ExistingTargetGroupArn to a target group of"),
    ),
}

WRONG = {**BY_RULE, **BY_LOOKUP, **BY_FIRST_SYNC}
#: One of each that is refused before the road is made, as the user of the SAM CLI meets it.
BY_SAM = ("a custom idle timeout across Regions", "a name that is not found")


@dataclass(frozen=True, kw_only=True)
class Company:
    """An account with databases in it, and the packaged template.

    Attributes:
        ground: DNS and AWS.
        cloudformation: The API, as the company's own account.
        project: The built project.
        template_url: Where the packaged template is.
        names: What the words in braces stand for.
        before: What was there before any deployment.
    """

    lab: Lab
    cloudformation: "CloudFormationClient"
    project: Project
    template_url: str
    names: Mapping[str, str]
    before: frozenset[str]

    def filled(self, text: str) -> str:
        return text.format_map(self.names)

    def parameters(self, wrong: Wrong) -> dict[str, str]:
        return {name: self.filled(value) for name, value in wrong.parameters.items()}

    def refusal(self, wrong: Wrong) -> str:
        """Create the stack by the API; return the sentences with which it is refused."""
        try:
            self.cloudformation.create_stack(
                StackName=_STACK_NAME,
                TemplateURL=self.template_url,
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in self.parameters(wrong).items()
                ],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
        except ClientError as error:
            return str(error)
        self._wait_for(lambda: not self.status().endswith("_IN_PROGRESS"), "the deployment to end")
        events = self.cloudformation.describe_stack_events(StackName=_STACK_NAME)["StackEvents"]
        return "\n".join(
            event.get("ResourceStatusReason", "")
            for event in events
            if event["ResourceStatus"] == "CREATE_FAILED"
        )

    def status(self) -> str:
        """The state of the stack; empty if there is none."""
        with suppress(ClientError):
            (stack,) = self.cloudformation.describe_stacks(StackName=_STACK_NAME)["Stacks"]
            return stack["StackStatus"]
        return ""

    def forget(self) -> None:
        """Delete the record of the failed stack."""
        self.cloudformation.delete_stack(StackName=_STACK_NAME)
        self._wait_for(lambda: self.status() in {"", "DELETE_COMPLETE"}, "the record to be deleted")

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait, without keeping the one process of the emulator busy with our question."""
        lab = self.lab
        lab.supervisor.wait_until(
            condition, what=what, timeout=lab.options.wait_seconds, interval=0.2
        )

    def left(self) -> set[str]:
        """What the deployment has left behind."""
        return _found(self.lab.provider) - self.before


@pytest.fixture(scope="module")
def company(built: Path) -> Iterator[Company]:
    with Supervisor() as supervisor:
        project = Project(supervisor, built=built)
        building = project.start_build()
        with Lab.start(supervisor, LabOptions(), AddressPlan({})) as lab:
            names = {**_databases(lab.provider), "resolver": lab.resolver}
            lab.zone.set_address("legacy.db.corp.example", ["192.168.7.11"])
            building.result()
            url = _packaged(project, lab)
            session = lab.provider.session()
            yield Company(
                lab=lab,
                cloudformation=session.client("cloudformation", endpoint_url=lab.admin.url),
                project=project,
                template_url=url,
                names=names,
                before=frozenset(_found(lab.provider)),
            )


@pytest.fixture
def deployer(company: Company) -> Iterator[Company]:
    """The company, without a stack before and after."""
    assert company.status() == ""
    yield company
    company.forget()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_deployment_is_refused_with_its_remedy_and_leaves_nothing(
    deployer: Company, name: str
) -> None:
    wrong = WRONG[name]
    reason = deployer.refusal(wrong)
    for words in wrong.says:
        assert deployer.filled(words) in reason
    assert deployer.status() == ("ROLLBACK_COMPLETE" if wrong.made else "")
    assert deployer.left() == set()


@pytest.mark.parametrize("name", BY_SAM)
def test_the_user_of_sam_deploy_reads_the_remedy(deployer: Company, name: str) -> None:
    wrong = WRONG[name]
    stack = Stack(deployer.project, deployer.lab.provider, _STACK_NAME)
    with pytest.raises(CommandFailedError) as refused:
        stack.deploy(deployer.parameters(wrong))
    for words in wrong.says:
        assert deployer.filled(words) in str(refused.value)
    assert deployer.status() == ("ROLLBACK_COMPLETE" if wrong.made else "")
    assert deployer.left() == set()


def _found(account: Account) -> set[str]:
    return set(leftovers(account.session(), endpoint_url=account.endpoint_url))


def _databases(account: Account) -> dict[str, str]:
    """Create what the deployments name, right and wrong."""
    rds = account.session().client("rds", endpoint_url=account.endpoint_url)
    orders = create_database(account, "orders").endpoint
    public = create_database(account, "public").endpoint
    rds.modify_db_instance(DBInstanceIdentifier="public", PubliclyAccessible=True)
    cluster = create_cluster(account, "shop", members=2)
    custom = rds.create_db_cluster_endpoint(
        DBClusterIdentifier="shop",
        DBClusterEndpointIdentifier="reports",
        EndpointType="READER",
    )["Endpoint"]
    network = create_network(account)
    return {
        "orders": orders,
        "orders_misspelt": orders.replace("orders", "oders"),
        "orders_abroad": orders.replace("us-east-1", "eu-west-1"),
        "public": public,
        "cramped": _create_database_in_one_zone(account),
        "member": cluster.instances["shop-1"],
        "readers": cluster.reader_endpoint,
        "custom": custom,
        "vpc": network.vpc_id,
        "subnets": ",".join(network.subnet_ids),
    }


def _create_database_in_one_zone(account: Account) -> str:
    """A database whose subnet group has two subnets, both in one zone."""
    session = account.session()
    ec2 = session.client("ec2", endpoint_url=account.endpoint_url)
    rds = session.client("rds", endpoint_url=account.endpoint_url)
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet_ids = [
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=network, AvailabilityZone="us-east-1a")["Subnet"][
            "SubnetId"
        ]
        for network in ("10.9.1.0/24", "10.9.2.0/24")
    ]
    rds.create_db_subnet_group(
        DBSubnetGroupName="cramped",
        DBSubnetGroupDescription="One zone",
        SubnetIds=subnet_ids,
    )
    return rds.create_db_instance(
        DBInstanceIdentifier="cramped",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        DBSubnetGroupName="cramped",
        MasterUsername="lab",
        ManageMasterUserPassword=True,
    )["DBInstance"]["Endpoint"]["Address"]


def _packaged(project: Project, lab: Lab) -> str:
    """``sam package``; return where the template is."""
    account, template = lab.provider, lab.supervisor.work_dir / "packaged.yaml"
    s3 = account.session().client("s3", endpoint_url=account.endpoint_url)
    s3.create_bucket(Bucket=_BUCKET)
    project.sam(
        "package",
        *("--s3-bucket", _BUCKET),
        *("--output-template-file", str(template)),
        environment={**credentials(account.number), "AWS_ENDPOINT_URL": account.endpoint_url},
    )
    s3.upload_file(str(template), _BUCKET, template.name)
    return f"{account.endpoint_url}/{_BUCKET}/{template.name}"
