"""Each function, run by the lab's AWS with the policies of the template.

With all permissions of its role, every job of a function succeeds. Without any one permission, a
job fails and names it. So a permission that no job needs fails a test here.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

import pytest

from lab.dns_server import Zone
from lab.emulator.messages import NetworkInterface
from lab.processes import Supervisor
from target_sync.model import ConnectionState, Target
from target_sync.targets.outbound_rules import SecurityGroupRules
from tests.contract.account import PORT, Account
from tests.contract.roles import ROOT, Functions, Permission, once, packed, permissions, policy
from tests.contract.roles import UNENFORCED as OF_LAMBDA
from tests.contract.test_endpoint_service import Service, emulated_service
from tests.lab.emulator_process import (
    CONSUMER,
    PROVIDER,
    REGION,
    STRANGER,
    Emulator,
    create_vpc,
    wait_until,
)
from tests.lab.test_dns_server import start_server
from tests.support.custom_resources import event, lookup_properties
from tests.support.events import load_event
from tests.support.uploads import UploadServer
from tests.template.stack import PSEUDO_PARAMETERS, SITUATIONS, Resolver, resources

pytestmark = pytest.mark.lab

HOST = "127.0.0.1"

UNENFORCED: Mapping[str, tuple[str, ...]] = {
    **OF_LAMBDA,
    # Lambda uses the role to send an event whose retries failed; the emulator does not.
    "KeepFailedRuns": ("sqs:SendMessage",),
}

FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "ReconcileTargetsFunction": (
        "rds-cluster-writer",
        "rds-cluster-readers",
        "ec2-instance",
        "rds-instance",
        "serving standby",
        "no warm targets",
        "rejection",
    ),
    "ReviewConnectionsFunction": ("rejection", "acceptance"),
    "ProvisionStackFunction": ("rds-instance", "ec2-asg"),
    "ReportStatusFunction": (
        "rds-instance",
        "rds-cluster-writer",
        "rds-proxy",
        "ec2-instance",
        "ec2-asg",
        "serving standby",
        "function in the VPC",
    ),
}
"""Each function, and the situations in which it runs here."""

# In the lab a policy and a rejection take effect at once, so no retry is needed.
HANDLER = """
from target_sync.provisioning.resources import endpoint_connections
from target_sync.provisioning import provisioner
provisioner.POLICY_SECONDS = 0.0
endpoint_connections._PAUSE_SECONDS = 0.0
from app import handler
"""
SYNCED = {
    "status": "in_sync",
    "summary": "in sync",
    "kept": [{"target": "10.0.1.11:5432", "state": "healthy", "state_reason": None}],
}
GROUP = "databases"
QUEUES = ("FailedRunsQueue", "UndeliveredEventsQueue")
WRITER, READER, STRAY, STANDBY = "10.0.1.11", "10.0.2.12", "10.0.1.99", "10.0.1.98"


def permissions_of(function: str, situations: Iterable[str]) -> Iterator[Permission]:
    """Return the permissions of a function in these situations."""
    for situation in situations:
        yield from permissions(Resolver(SITUATIONS[situation]), function, situation)


TRIED = once(
    it
    for function, situations in FUNCTIONS.items()
    for it in permissions_of(function, situations)
    if it.is_of_code(UNENFORCED)
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a function.

    Attributes:
        run: Runs the job with the function of this name. Returns the problem, or an empty text.
        apis: The APIs that it calls. Jobs that call the API of a missing permission run first.
    """

    run: Callable[[str], str]
    apis: tuple[str, ...] = ()


@dataclass(kw_only=True)
class PermissionsAccount(Account):
    """Databases of every kind, and the resources of the stack, in the lab's AWS."""

    cloudformation: UploadServer
    zone: Zone
    resolver: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _functions: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = Functions(self.emulator)
        self.vpc, self.subnets = create_vpc(self.emulator)
        self.service: Service = emulated_service(self.emulator)
        self.topic: str = self.client("sns").create_topic(Name="permissions")["TopicArn"]
        self.target_group = self._target_group("ip")
        self.names = self._databases()
        self.security_group = self._standby()
        self.outbound_rules_group = self._outbound_rules_group()
        self.instance = self._instance()
        self.schedule = self._schedule()
        self.queues = {name: self._queue(name) for name in QUEUES}
        self._scaling_group()

    # --- The resources -------------------------------------------------------------------------

    def _databases(self) -> Mapping[str, str]:
        """Create the databases, and return the name of each by its identifier."""
        self.create_cluster("permissions", self.subnets)
        rds = self.client("rds")
        rds.create_db_instance(
            DBInstanceIdentifier="orders",
            Engine="postgres",
            DBInstanceClass="db.r6g.large",
            DBSubnetGroupName="permissions",
        )
        rds.create_db_cluster_endpoint(
            DBClusterIdentifier="sales",
            DBClusterEndpointIdentifier="reports",
            EndpointType="READER",
        )
        rds.create_db_proxy(
            DBProxyName="pool",
            EngineFamily="POSTGRESQL",
            Auth=[{"AuthScheme": "SECRETS"}],
            RoleArn=f"arn:aws:iam::{PROVIDER}:role/pool",
            VpcSubnetIds=self.subnets,
        )
        rds.create_db_proxy_endpoint(
            DBProxyName="pool", DBProxyEndpointName="pool-ro", VpcSubnetIds=self.subnets
        )
        domain = self.endpoint("orders").partition(".")[2]
        names = {
            "orders": f"orders.{domain}",
            "sales": f"sales.cluster-{domain}",
            "sales-ro": f"sales.cluster-ro-{domain}",
            "reports": f"reports.cluster-custom-{domain}",
            "pool": f"pool.proxy-{domain}",
            "pool-ro": f"pool-ro.endpoint.proxy-{domain}",
        }
        for name in (names["orders"], names["sales"], f"sales-1.{domain}"):
            self.zone.set_address(name, [WRITER], ttl=0)
        self.zone.set_address(f"sales-2.{domain}", [READER], ttl=0)
        return names

    def _standby(self) -> str:
        """Create a standby of the instance, and return the security group of both."""
        group: str = self.client("ec2").create_security_group(
            GroupName="permissions", Description="x", VpcId=self.vpc
        )["GroupId"]
        self.client("rds").modify_db_instance(
            DBInstanceIdentifier="orders", VpcSecurityGroupIds=[group], ApplyImmediately=True
        )
        self.emulator.admin.put_network_interface(
            NetworkInterface(
                address=STANDBY,
                subnet_id=self.subnets[0],
                security_group_ids=(group,),
                description="RDSNetworkInterface",
                requester="amazon-rds",
            )
        )
        return group

    def _outbound_rules_group(self) -> str:
        """Create the security group whose outbound rules open targets, without any rule."""
        ec2 = self.client("ec2")
        group: str = ec2.create_security_group(
            GroupName="outbound-rules", Description="x", VpcId=self.vpc
        )["GroupId"]
        self._close_all(group)
        return group

    def _close_all(self, group: str) -> None:
        ec2 = self.client("ec2")
        rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
        if ids := [r["SecurityGroupRuleId"] for r in rules["SecurityGroupRules"] if r["IsEgress"]]:
            ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=ids)

    def _instance(self) -> str:
        (instance,) = self.client("ec2").run_instances(
            ImageId="ami-0123", MinCount=1, MaxCount=1, SubnetId=self.subnets[0]
        )["Instances"]
        return str(instance["InstanceId"])

    def _scaling_group(self) -> None:
        self.client("ec2").create_launch_template(
            LaunchTemplateName="permissions",
            LaunchTemplateData={"ImageId": "ami-0123", "InstanceType": "t3.micro"},
        )
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=1,
            MaxSize=1,
            DesiredCapacity=1,
            VPCZoneIdentifier=",".join(self.subnets),
            LaunchTemplate={"LaunchTemplateName": "permissions", "Version": "1"},
        )

    def _schedule(self) -> str:
        name = "every-minute"
        self.client("scheduler").create_schedule(
            Name=name,
            ScheduleExpression="rate(1 minute)",
            State="DISABLED",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:aws:lambda:{REGION}:{PROVIDER}:function:missing",
                "RoleArn": f"arn:aws:iam::{PROVIDER}:role/missing",
            },
        )
        return name

    def _queue(self, name: str) -> str:
        return str(self.client("sqs").create_queue(QueueName=name)["QueueUrl"])

    @cached_property
    def load_balancer(self) -> str:
        """The load balancer of the service, with a listener for the target group."""
        (service,) = self.client("ec2").describe_vpc_endpoint_service_configurations(
            ServiceIds=[self.service.id]
        )["ServiceConfigurations"]
        (arn,) = service["NetworkLoadBalancerArns"]
        self.client("elbv2").create_listener(
            LoadBalancerArn=arn,
            Protocol="TCP",
            Port=5432,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.target_group}],
        )
        return str(arn)

    def _target_group(self, target_type: str) -> str:
        return self.create_target_group(f"permissions-{target_type}", self.vpc, target_type)

    @cached_property
    def instance_group(self) -> str:
        return self._target_group("instance")

    @cached_property
    def deployed_stack(self) -> str:
        """The ID of a stack with nothing but the load balancer."""
        properties = {"Type": "network", "Scheme": "internal", "Subnets": self.subnets}
        kind = "AWS::ElasticLoadBalancingV2::LoadBalancer"
        resources_ = {"LoadBalancer": {"Type": kind, "Properties": properties}}
        cloudformation = self.client("cloudformation")
        name = cloudformation.create_stack(
            StackName="permissions", TemplateBody=json.dumps({"Resources": resources_})
        )["StackId"]

        def status() -> str:
            return str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

        wait_until(lambda: status() != "CREATE_IN_PROGRESS")
        assert status() == "CREATE_COMPLETE"
        return str(name)

    @cached_property
    def synced(self) -> Mapping[str, str]:
        """A sync function without work, for the first sync: its name and its ARN."""
        code = {"app.py": f"def handler(event, context):\n    return {SYNCED!r}\n"}
        name = "synced"
        arn = self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=self.functions.role(name),
            Handler="app.handler",
            Code={"ZipFile": packed(code)},
        )["FunctionArn"]
        return {"ReconcileTargetsFunction": name, "ReconcileTargetsFunction.Arn": arn}

    # --- The stack -----------------------------------------------------------------------------

    def stack(self, situation: str) -> Resolver:
        """Return the template in a situation, with the parameters and resources of this account."""
        given = SITUATIONS[situation]
        topic = {"AlarmTopicArn": self.topic} if "AlarmTopicArn" in given else {}
        return Resolver(
            given={
                **given,
                **topic,
                "TrustedAccounts": CONSUMER,
                "Resolvers": self.resolver,
                **({"FunctionSubnetIds": self.subnets[0]} if "FunctionSubnetIds" in given else {}),
            },
            pseudo={
                **PSEUDO_PARAMETERS,
                "AWS::AccountId": PROVIDER,
                "AWS::Region": REGION,
                "AWS::StackId": self.deployed_stack,
            },
            attributes={
                **self._lookup(situation),
                **self.synced,
                "DatabaseTargetGroup": self.target_group,
                "OutboundRulesSecurityGroup": self.outbound_rules_group,
                "EndpointService": self.service.id,
                "LoadBalancer": self.load_balancer,
                "ReconcileTargetsFunctionEveryMinute": self.schedule,
                **self.queues,
                **{f"{name}.Arn": f"arn:aws:sqs:{REGION}:{PROVIDER}:{name}" for name in QUEUES},
            },
        )

    def _lookup(self, situation: str) -> Mapping[str, str]:
        """Return the attributes of DatabaseLookup that the functions get."""
        kind, endpoint, identifier = {
            "rds-cluster-writer": (situation, self.names["sales"], "sales"),
            "rds-cluster-readers": (situation, self.names["sales-ro"], "sales"),
            "rds-proxy": (situation, self.names["pool-ro"], "pool"),
            "ec2-instance": (situation, self.instance, self.instance),
            "ec2-asg": (situation, GROUP, GROUP),
        }.get(situation, ("rds-instance", self.names["orders"], "orders"))
        attributes = {
            "Kind": kind,
            "Endpoint": endpoint,
            "Identifier": identifier,
            "Port": "5432",
            "AllowedNetworks": "10.0.0.0/8",
            "VpcNetworks": "10.0.0.0/16",
            "DatabaseVpcId": self.vpc,
            "DatabaseSubnetIds": ",".join(self.subnets),
            "SecurityGroupIds": self.security_group,
        }
        return {f"DatabaseLookup.{name}": value for name, value in attributes.items()}

    def allow(self, function: str, situation: str, missing: Permission | None = None) -> str:
        """Give a function the policy of its role without one permission, and return its name."""
        key = (function, situation)
        if key not in self._functions:
            self._functions[key] = self._create(function, situation)
        name = self._functions[key]
        self.functions.allow(name, policy(self.stack(situation), function), missing)
        return name

    def _create(self, function: str, situation: str) -> str:
        properties = self.stack(situation).of_type("AWS::Lambda::Function")[function]
        return self.functions.create(function, properties, code(function))

    # --- Jobs ----------------------------------------------------------------------------------

    def jobs(self, function: str, situation: str) -> list[Job]:
        if function == "ReconcileTargetsFunction":
            return [Job(run=lambda name: self._sync(name, situation))]
        if function == "ReviewConnectionsFunction":
            return [Job(run=lambda name: self._review(name, situation))]
        if function == "ReportStatusFunction":
            return [Job(run=self._report_status)]
        created = self.stack(situation).created().values()
        types = {resource["Type"].removeprefix("Custom::") for resource in created}
        by_resource = self._custom_resources()
        return [
            job for resource in by_resource if resource in types for job in by_resource[resource]
        ]

    def _sync(self, name: str, situation: str) -> str:
        """Let it register the database's addresses.

        A stray target is deregistered at once only where two sources agree, so only such a
        database has one. With serving standbys the standby is registered too. So no job waits.
        Both are open.
        """
        elbv2, group = self.client("elbv2"), self.target_group

        def targets() -> list[Any]:
            found = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
            return [description["Target"] for description in found]

        if registered := targets():
            elbv2.deregister_targets(TargetGroupArn=group, Targets=registered)
        wait_until(lambda: not targets())
        self._close_all(self.outbound_rules_group)
        extra = {"rds-cluster-writer": STRAY, "serving standby": STANDBY}
        if address := extra.get(situation):
            self._register_open(address)
        problem, result = self.functions.invoke(name, {})
        if problem:
            return problem
        if failures := result["warm_targets"]["failures"]:
            return " ".join(failures)
        if result["status"] != "synced":
            return f"it returned {result}"
        return " ".join(result["undelivered_notifications"])

    def _register_open(self, address: str) -> None:
        """Register a target, and open it."""
        self.client("elbv2").register_targets(
            TargetGroupArn=self.target_group, Targets=[{"Id": address, "Port": PORT}]
        )
        rules = SecurityGroupRules(self.client("ec2"), self.outbound_rules_group, PORT)
        rules.open([Target(ip_address(address), PORT)])

    def _review(self, name: str, situation: str) -> str:
        trusted, untrusted = self.service.request(CONSUMER), self.service.request(STRANGER)
        problem, result = self.functions.invoke(name, load_event("connection-request"))
        if problem or result["undelivered_notifications"]:
            return problem or " ".join(result["undelivered_notifications"])
        states = self.service.states()
        untrusted_state = {"rejection": ConnectionState.REJECTED}.get(
            situation, ConnectionState.PENDING_ACCEPTANCE
        )
        expected = (ConnectionState.AVAILABLE, untrusted_state)
        actual = (states[trusted], states[untrusted])
        return "" if actual == expected else f"the states of the requests are {actual}"

    def _report_status(self, name: str) -> str:
        """Let it check the connection path, and return the unknown checks."""
        # It may be the standby.
        self._register_open(STANDBY)
        problem, result = self.functions.invoke(name, {})
        if problem:
            return problem
        return " ".join(
            sentence
            for check in result["checks"]
            for sentence in check["details"]
            if check["state"] == "unknown" or "may not call" in sentence
        )

    def _custom_resources(self) -> Mapping[str, list[Job]]:
        """The jobs of each custom resource, by the name of its type."""
        pair = {"AutoScalingGroupName": GROUP, "TargetGroupArn": self.instance_group}
        service = {"ServiceId": self.service.id}
        first = {"FunctionName": self.synced["ReconcileTargetsFunction"]}
        return {
            "EndpointConnections": [
                self._request("Create", "EndpointConnections", service, "ec2"),
                self._request(
                    "Delete", "EndpointConnections", service, "ec2", before=self._request_connection
                ),
            ],
            "AutoScalingAttachment": [
                self._request(
                    "Create", "AutoScalingAttachment", pair, "autoscaling", before=self._detach
                ),
                self._request(
                    "Delete", "AutoScalingAttachment", pair, "autoscaling", before=self._attach
                ),
            ],
            "FirstSync": [self._request("Create", "FirstSync", first, "lambda")],
            "DatabaseLookup": self._lookups(),
        }

    def _lookups(self) -> list[Job]:
        network = {"SubnetIds": self.subnets}
        orders = lookup_properties({"DatabaseEndpoint": self.names["orders"]})
        lookups: Mapping[str, Mapping[str, object]] = {
            "autoscaling": {"DatabaseEndpoint": GROUP, "DatabaseKind": "ec2-asg", **network},
            "ec2": {"DatabaseEndpoint": self.instance, **network},
        }
        return [
            *(
                self._request("Create", "DatabaseLookup", lookup_properties(properties), api)
                for api, properties in lookups.items()
            ),
            *(
                self._request(
                    "Create",
                    "DatabaseLookup",
                    lookup_properties({"DatabaseEndpoint": self.names[name]}),
                    "rds",
                )
                for name in ("orders", "pool-ro", "sales")
            ),
            self._request(
                "Update",
                "DatabaseLookup",
                orders,
                "cloudformation",
                "elasticloadbalancing",
                stack_id=self.deployed_stack,
            ),
            self._request(
                "Create",
                "DatabaseLookup",
                lookup_properties(
                    {
                        "DatabaseEndpoint": self.names["reports"],
                        "DatabaseKind": "rds-cluster-readers",
                    }
                ),
                "rds",
            ),
        ]

    def _request_connection(self) -> None:
        self.service.request(CONSUMER)

    def _attach(self) -> None:
        self.client("autoscaling").attach_load_balancer_target_groups(
            AutoScalingGroupName=GROUP, TargetGroupARNs=[self.instance_group]
        )

    def _detach(self) -> None:
        scaling = self.client("autoscaling")
        (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])[
            "AutoScalingGroups"
        ]
        if self.instance_group in group.get("TargetGroupARNs", ()):
            scaling.detach_load_balancer_target_groups(
                AutoScalingGroupName=GROUP, TargetGroupARNs=[self.instance_group]
            )

    def _request(
        self,
        request: str,
        resource: str,
        properties: Mapping[str, object],
        *apis: str,
        before: Callable[[], None] = lambda: None,
        stack_id: str = "",
    ) -> Job:
        """Return a job that handles a request of CloudFormation, after a preparation."""
        requested = event(request, resource, properties)
        if stack_id:
            requested["StackId"] = stack_id

        def run(name: str) -> str:
            before()
            path = f"/{next(self._numbers)}"
            url = self.cloudformation.url + path
            problem, _ = self.functions.invoke(name, {**requested, "ResponseURL": url})
            if problem:
                return problem
            (body,) = (it.body for it in self.cloudformation.uploads if it.path == path)
            response = json.loads(body)
            return "" if response["Status"] == "SUCCESS" else str(response["Reason"])

        return Job(run=run, apis=apis)


def code(function: str) -> Mapping[str, str]:
    folder = {
        "ReconcileTargetsFunction": "reconcile_targets",
        "ReviewConnectionsFunction": "review_connections",
        "ProvisionStackFunction": "provision_stack",
        "ReportStatusFunction": "report_status",
    }[function]
    return {"app.py": (ROOT / "functions" / folder / "app.py").read_text(), "entry.py": HANDLER}


@pytest.fixture(scope="module")
def account(emulator: Emulator) -> Iterator[PermissionsAccount]:
    with Supervisor() as supervisor, UploadServer() as receiver:
        server = start_server(supervisor)
        yield PermissionsAccount(
            emulator=emulator,
            cloudformation=receiver,
            zone=server.zone,
            resolver=f"{HOST}:{server.port}",
        )
        emulator.admin.reset()


@pytest.mark.parametrize(
    ("function", "situation"),
    [(function, situation) for function, found in FUNCTIONS.items() for situation in found],
)
def test_with_its_permissions_every_job_of_a_function_succeeds(
    account: PermissionsAccount, function: str, situation: str
) -> None:
    name = account.allow(function, situation)

    problems = [job.run(name) for job in account.jobs(function, situation)]

    assert set(problems) == {""}


@pytest.mark.parametrize("missing", TRIED, ids=str)
def test_without_one_permission_a_job_fails_and_names_it(
    account: PermissionsAccount, missing: Permission
) -> None:
    name = account.allow(missing.function, missing.situation, missing)

    api = missing.action.partition(":")[0]
    jobs = account.jobs(missing.function, missing.situation)

    problems = (job.run(name) for job in sorted(jobs, key=lambda job: api not in job.apis))

    assert missing.action in next(filter(None, problems), "no job failed without it")


def test_tries_every_permission_that_the_lab_enforces() -> None:
    done = {(it.function, it.statement, it.action) for it in TRIED}
    untried = {
        (it.function, it.statement, it.action)
        for function in FUNCTIONS
        for it in permissions_of(function, SITUATIONS)
        if it.is_of_code(UNENFORCED)
    } - done

    assert not untried
    assert set(FUNCTIONS) == set(resources("AWS::Lambda::Function"))


def test_the_template_still_has_the_permissions_that_the_lab_does_not_enforce() -> None:
    written = {
        (it.statement, it.action)
        for function in FUNCTIONS
        for it in permissions_of(function, SITUATIONS)
    }

    assert written.issuperset((at, action) for at, found in UNENFORCED.items() for action in found)
