"""Only the functions, for a connection path that other tools created."""

from lab.aws import create_database
from lab.observer import TargetObserver
from lab.scenarios.base import Scenario, ScenarioContext


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    elb = context.provider.client("elbv2")
    group = elb.create_target_group(
        Name="made-by-terraform",
        Protocol="TCP",
        Port=database.port,
        VpcId=database.vpc_id,
        TargetType="ip",
        HealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(
        TargetGroupArn=group,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}],
    )
    balancer = elb.create_load_balancer(
        Name="made-by-terraform",
        Type="network",
        Scheme="internal",
        Subnets=list(database.subnet_ids),
    )["LoadBalancers"][0]["LoadBalancerArn"]
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="TCP",
        Port=database.port,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    before = context.resources()
    context.deploy({"DatabaseEndpoint": database.endpoint, "ExistingTargetGroupArn": group})
    new = [entry for entry in context.resources() if entry not in before]
    network = [e for e in new if e.startswith(("load balancer", "target group", "endpoint"))]
    context.expect(
        "the stack creates no network of its own", not network, ", ".join(network) or "none"
    )
    with TargetObserver(context.lab.admin, group) as observer:

        def is_current() -> bool:
            return observer.states == {rds.writer: "healthy"}

        context.lab.wait_for(is_current, "the target to be healthy")
        context.expect("the existing group has the expected target", is_current(), rds.writer)
        context.progress.show("The primary dies; RDS fails over")
        context.servers.primary.kill()
        rds.fail_over(dns_lag=1.0, prefixed=False)
        context.lab.wait_for(is_current, "the new target to be healthy")
        context.expect("the existing group follows the failover", is_current(), rds.writer)
    context.progress.show("Deletion")
    context.stack.delete()
    context.expect_resources("the deletion leaves exactly the resources of the other tools", before)


SCENARIO = Scenario(
    name="existing-target-group",
    shows="the functions alone update a target group of Terraform or CDK",
    servers=2,
    run=_run,
)
