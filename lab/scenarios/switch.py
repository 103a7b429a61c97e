"""The switch of a stack in use: warm targets on and off, proven, ineffective, and proven again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from drill.results import format_seconds
from lab.addresses import Endpoint
from lab.aws import create_cluster
from lab.cluster_control_plane import ClusterControlPlane
from lab.function_logs import metric_sum
from lab.scenarios.base import Scenario, ScenarioContext, Writing
from lab.scenarios.rds_cluster import control_plane_of

#: A rule of this description and this network keeps the state of the switch.
_MARK, _MARK_NETWORK = "postgres-privatelink: the switch is", "255.255.255.255/32"
#: What a user may add to another security group of the load balancer.
_EVERYTHING = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "Added by a user"}],
}


def _run(context: ScenarioContext) -> None:
    cluster = create_cluster(context.provider, "shop", members=2)
    rds = control_plane_of(context, cluster)
    parameters = {"DatabaseEndpoint": cluster.endpoint, "StandbyTargets": "none"}
    writer, reader = context.targets
    with (
        context.path(parameters, targets=[writer]) as path,
        path.writing(reconnects=True) as writing,
    ):
        scene = _Scene(writing, context.stack.resource("OutboundRulesSecurityGroup"))
        with scene.undisturbed("an update to warm targets"):
            context.deploy({**parameters, "StandbyTargets": "warm"})
            path.expect_warm("one member is warm, because nothing is proven", [reader])
        scene.expect_mark("")
        _fail_over(scene, rds)
        scene.expect_mark("proven")
        scene.widen()
        with scene.undisturbed("an update to no warm targets"):
            context.deploy(parameters)
            path.expect_warm("no member is warm", [])
        path.expect_targets("the writer alone gets traffic", [context.writer])


def _fail_over(scene: "_Scene", rds: ClusterControlPlane) -> None:
    """Fail over to the warm target, which proves the switch."""
    context, path = scene.writing.path.context, scene.writing.path
    context.progress.show("A failover to the warm target")
    failover = rds.fail_over(context.servers.standbys[0], dns_lag=context.lab.options.dns_lag)
    path.expect_targets("the failover opens the warm target", [failover.new])
    path.expect_warm("the old writer is warm instead", [failover.old])
    scene.writing.wait_for_writes_by(context.servers.primary)
    scene.writing.expect_no_stray_write(failover)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A client that writes, and the security group of the switch."""

    writing: Writing
    group: str

    @property
    def _context(self) -> ScenarioContext:
        return self.writing.path.context

    @property
    def _ec2(self) -> Any:
        return self._context.provider.client("ec2")

    def _marks(self) -> list[tuple[str, str]]:
        """Return the ID and the state of each mark."""
        described = self._ec2.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.group]}]
        )
        return [
            (rule["SecurityGroupRuleId"], rule["Description"].removeprefix(_MARK).strip())
            for rule in described["SecurityGroupRules"]
            if rule["CidrIpv4"] == _MARK_NETWORK and rule["Description"].startswith(_MARK)
        ]

    def expect_mark(self, state: str) -> None:
        """Wait until the rules keep a state of the switch; empty: none."""
        expected = [state] if state else []
        self._context.lab.wait_for(
            lambda: [mark for _, mark in self._marks()] == expected, f"the mark {state!r}"
        )
        self._context.expect(
            f"the rules say that the switch is {state or 'unproven'}",
            holds=True,
            detail=state or "no rule with a state",
        )

    @contextmanager
    def undisturbed(self, what: str) -> Iterator[None]:
        """Expect that no attempt to write fails during the block."""
        began_at = time.time()
        yield
        self.writing.wait_for_writes_by(self._context.servers.primary)
        failed = [f for f in self.writing.writer.failures if f.at > began_at]
        gap = self.writing.writer.gap(began_at)
        self._context.expect(
            f"{what} interrupts no write",
            not failed,
            f"{len(failed)} failed; no write for {format_seconds(gap.seconds)}",
        )

    def widen(self) -> None:
        """Let another group allow everything, until the stack has noticed it; then repair it."""
        context, path = self._context, self.writing.path
        context.progress.show("A user allows everything in the load balancer's other group")
        other, began_at = path.outputs["LoadBalancerSecurityGroupId"], time.time()
        self._ec2.authorize_security_group_egress(GroupId=other, IpPermissions=[_EVERYTHING])
        self.expect_mark("ineffective")
        path.expect_targets("the reader is no target any more", [context.writer])
        self._expect_metric(since=began_at)
        self.writing.wait_for_writes_by(context.servers.primary)
        context.expect("the client writes again", holds=True, detail=context.writer)
        context.progress.show("An operator removes the rule, and the state of the switch")
        self._ec2.revoke_security_group_egress(GroupId=other, IpPermissions=[_EVERYTHING])
        ids = [id_ for id_, _ in self._marks()]
        self._ec2.revoke_security_group_egress(GroupId=self.group, SecurityGroupRuleIds=ids)
        path.expect_warm("the reader is warm again", self._others())

    def _expect_metric(self, *, since: float) -> None:
        context = self._context

        def value() -> float:
            return metric_sum(context.provider, "SwitchIneffective", since=since)

        context.lab.wait_for(value, "the metric SwitchIneffective")
        context.expect("the metric SwitchIneffective counts it", holds=True, detail=f"{value():g}")

    def _others(self) -> list[Endpoint]:
        return [t for t in self._context.targets if t != self._context.writer]


SCENARIO = Scenario(
    name="switch",
    shows="warm targets are switched on and off without an interruption; a failover proves the"
    " switch; a rule in another group makes it ineffective, and the stack keeps nothing warm",
    servers=2,
    run=_run,
)
