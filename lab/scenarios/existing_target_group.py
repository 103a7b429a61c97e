"""Only the sync, for a road that somebody else's tools made."""

from lab.aws import create_database
from lab.observer import TargetObserver
from lab.scenarios.base import Scenario, Stage


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    elb = stage.provider.session().client("elbv2", endpoint_url=stage.ground.admin.url)
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
    before = stage.left()
    stage.deploy({"DatabaseEndpoint": database.endpoint, "ExistingTargetGroupArn": group})
    new = [entry for entry in stage.left() if entry not in before]
    network = [e for e in new if e.startswith(("load balancer", "target group", "endpoint"))]
    stage.expect("the stack makes no network of its own", not network, ", ".join(network) or "none")
    with TargetObserver(stage.ground.admin, group) as observer:

        def is_right() -> bool:
            return observer.states == {rds.writer: "healthy"}

        stage.ground.wait_for(is_right, "the target to be healthy")
        stage.expect("the existing group holds the right target", is_right(), rds.writer)
        stage.progress.say("The primary dies; RDS fails over")
        stage.servers.primary.kill()
        rds.fail_over(dns_lag=1.0, prefixed=False, wait=stage.ground.pause)
        stage.ground.wait_for(is_right, "the new target to be healthy")
        stage.expect("the existing group follows the failover", is_right(), rds.writer)
    stage.progress.say("sam delete")
    stage.stack.delete()
    left = sorted(set(stage.left()) ^ set(before))
    stage.expect(
        "sam delete leaves the road of others, and nothing else",
        not left,
        ", ".join(left) or "same",
    )


SCENARIO = Scenario(
    name="existing-target-group",
    shows="the functions alone keep a target group of Terraform or CDK right",
    servers=2,
    play=_play,
)
