"""`make drill` in the lab: refused, followed, aborted, and with --observe."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import psycopg

from lab.aws import REGION, create_database
from lab.drill_process import DrillUser, RunningDrill, minimal_user, root
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import ConnectionPath, Scenario, ScenarioContext

_IDENTIFIER = "orders"
_FOREIGN = "billing"
#: The moments of a drill with warm targets and without, in this order.
_WARM = ("failover requested", "detected", "rule opened", "healthy", "first new connection")
#: The drill may end before the record of the run, which says when it detected the failover.
_REGISTERED = ("registered", "healthy")
#: Moments without a fixed place. Different pollers observe them, about once a second.
_ANYWHERE = {"RDS event", "event received", "DNS flipped", "old rule closed"}
_REFUSED, _ABORTED = 2, 130


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, _IDENTIFIER)
    rds = context.lab.rds_for(database, context.servers)
    _deploy_foreign_stack(context)
    with context.path({"DatabaseEndpoint": database.endpoint}, targets=[rds.writer]) as path:
        drill_user = _drill_user(path)
        context.progress.show("Drills that the command refuses")
        root_user = replace(drill_user, environment=root(context.provider))
        _expect_refused(context, root_user, _FOREIGN, "not one of this project's template")
        _expect_refused(context, drill_user, context.stack.name, "is not the name", typed="order\n")
        _expect_refused(context, drill_user, context.stack.name, "no input to confirm with")
        _expect_followed(path, drill_user, rds)
        _expect_aborted(path, drill_user, rds)
        context.deploy({"DatabaseEndpoint": database.endpoint, "StandbyTargets": "none"})
        path.expect_warm("without warm targets the standby is no target", [])
        _expect_observed(path, drill_user, rds)


def _drill_user(path: ConnectionPath) -> DrillUser:
    """Return a user with the permissions of the policy who can reach the load balancer."""
    context = path.context
    port = context.lab.wait_for(lambda: _port(path), "a connection through the load balancer")
    environment = minimal_user(
        context.provider, stack=context.stack.name, database=_IDENTIFIER, region=REGION
    )
    options = (f"--connect=127.0.0.1:{port}", f"--resolver={context.lab.resolver}")
    return DrillUser(
        environment=environment, folder=context.lab.supervisor.work_dir, options=options
    )


def _port(path: ConnectionPath) -> int | None:
    """Return the load balancer's port in the lab; None while it accepts no connection."""
    try:
        with path.connect() as connection:
            return connection.info.port
    except psycopg.Error:
        return None


def _deploy_foreign_stack(context: ScenarioContext) -> None:
    """Create a stack of another template."""
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    cloudformation = context.provider.client("cloudformation")
    cloudformation.create_stack(StackName=_FOREIGN, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=_FOREIGN, WaiterConfig={"Delay": 1}
    )


def _reboots(context: ScenarioContext) -> int:
    return context.lab.admin.calls().get("rds.RebootDBInstance", 0)


def _expect_refused(
    context: ScenarioContext, drill_user: DrillUser, stack: str, reason: str, *, typed: str = ""
) -> None:
    before = _reboots(context)
    with drill_user.start_drill(stack, typed=typed) as drill:
        code = _end(context, drill)
        printed = reason in drill.output and "Nothing was changed." in drill.output
    context.expect(
        f"a drill of {stack} is refused: {reason}",
        printed and code == _REFUSED and _reboots(context) == before,
        f"exit status {code}",
    )


def _expect_followed(path: ConnectionPath, drill_user: DrillUser, rds: RdsControlPlane) -> None:
    context = path.context
    context.progress.show("A drill, confirmed by the database's name")
    with drill_user.start_drill(
        context.stack.name, typed=f"{_IDENTIFIER}\n", by_make=True
    ) as drill:
        _fail_over_when_requested(context, rds)
        code = _end(context, drill)
    moments = drill.moments
    context.expect("`make drill` ends with exit status 0", code == 0, f"exit status {code}")
    context.expect(
        "its report has each moment of a warm target, in order",
        moments.keys() >= {*_ANYWHERE, "old target unhealthy"}
        and _in_order(moments, _WARM)
        and not moments.keys() & {"registered", "old target gone"},
        _shown(moments),
    )
    context.expect("it prints all of them", all(name in drill.output for name in moments))
    _finish(path, rds, "the drill")


def _in_order(moments: Mapping[str, float], names: Sequence[str]) -> bool:
    """Return whether a drill printed all of these moments, at times in this order."""
    seconds = [moments[name] for name in names if name in moments]
    return len(seconds) == len(names) and seconds == sorted(seconds)


def _shown(moments: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {at:g} s" for name, at in moments.items())


def _expect_aborted(path: ConnectionPath, drill_user: DrillUser, rds: RdsControlPlane) -> None:
    context = path.context
    context.progress.show("A drill, aborted after the call")
    with drill_user.start_drill(context.stack.name, f"--yes={_IDENTIFIER}") as drill:
        context.lab.wait_for(context.lab.hook.next_request, "RDS to receive the request")
        drill.interrupt()
        code = _end(context, drill)
    context.expect(
        "an aborted drill says that the failover continues, and writes its report",
        code == _ABORTED and "cannot be taken back" in drill.output and drill.report.exists(),
        f"exit status {code}",
    )
    rds.fail_over()
    _finish(path, rds, "the aborted drill")


def _expect_observed(path: ConnectionPath, drill_user: DrillUser, rds: RdsControlPlane) -> None:
    context = path.context
    context.progress.show("A drill with --observe, and a failover that it does not start")
    before = _reboots(context)
    with drill_user.start_drill(context.stack.name, "--observe") as drill:
        context.lab.wait_for(
            lambda: drill.has_ended or "Waiting for a failover" in drill.output, "the drill to wait"
        )
        rds.fail_over()
        code = _end(context, drill)
    moments = drill.moments
    context.expect(
        "a drill with --observe reports the failover, and calls nothing",
        code == 0 and _reboots(context) == before,
        f"exit status {code}",
    )
    context.expect(
        "its report has each moment of a new target, in order",
        moments.keys() >= {*_ANYWHERE, "failover observed", "rule opened", "old target gone"}
        and _in_order(moments, _REGISTERED),
        _shown(moments),
    )
    _finish(path, rds, "the observed failover")


def _fail_over_when_requested(context: ScenarioContext, rds: RdsControlPlane) -> None:
    context.lab.wait_for(context.lab.hook.next_request, "RDS to receive the request")
    rds.fail_over()


def _finish(path: ConnectionPath, rds: RdsControlPlane, what: str) -> None:
    path.expect_targets(f"{what}: the target group is the new address alone", [rds.writer])
    rds.rebuild_standbys()


def _end(context: ScenarioContext, drill: RunningDrill) -> int:
    """Wait for a drill to end; return its exit status."""
    context.lab.wait_for(lambda: drill.has_ended, "the drill to end")
    return drill.process.wait()


SCENARIO = Scenario(
    name="drill",
    shows="make drill fails the database over and reports how the stack follows",
    servers=2,
    run=_run,
)
