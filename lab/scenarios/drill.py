"""`make drill` on the lab: refused, followed, aborted, and as a mere observer."""

import json
from dataclasses import replace

import psycopg

from lab.aws import REGION, create_database
from lab.drilling import Driller, RunningDrill, minimal_user, root
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import ConnectionPath, Scenario, Stage

_IDENTIFIER = "orders"
_FOREIGN = "billing"
#: What a drill has to tell, in this order; and what else, which may come a little earlier or later.
_IN_ORDER = (
    "failover asked for",
    "detected",
    "registered",
    "healthy",
    "first new connection",
)
_ANYWHERE = {"RDS event", "event received", "DNS flipped", "old target gone"}
_REFUSED, _ABORTED = 2, 130


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, _IDENTIFIER)
    rds = stage.ground.rds_for(database, stage.servers)
    _deploy_foreign_stack(stage)
    with stage.path({"DatabaseEndpoint": database.endpoint}, right=[rds.writer]) as path:
        driller = _driller(path)
        stage.progress.say("Drills that have to be refused")
        foreigner = replace(driller, environment=root(stage.provider))
        _expect_refused(stage, foreigner, _FOREIGN, "not one of this project's template")
        _expect_refused(stage, driller, stage.stack.name, "is not the name", typed="order\n")
        _expect_refused(stage, driller, stage.stack.name, "nobody to ask")
        _expect_followed(path, driller, rds)
        _expect_aborted(path, driller, rds)
        _expect_observed(path, driller, rds)


def _driller(path: ConnectionPath) -> Driller:
    """A user with the permissions of the policy, who can reach the load balancer."""
    stage = path.stage
    port = stage.ground.wait_for(lambda: _port(path), "the road to carry a connection")
    environment = minimal_user(
        stage.provider, stack=stage.stack.name, database=_IDENTIFIER, region=REGION
    )
    options = (f"--connect=127.0.0.1:{port}", f"--resolver={stage.ground.resolver}")
    return Driller(
        environment=environment, folder=stage.ground.supervisor.work_dir, options=options
    )


def _port(path: ConnectionPath) -> int | None:
    """The port that the load balancer has here, once it lets a connection through."""
    try:
        with path.connect() as connection:
            return connection.info.port
    except psycopg.Error:
        return None


def _deploy_foreign_stack(stage: Stage) -> None:
    """A stack of somebody else's."""
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    cloudformation = stage.provider.session().client(
        "cloudformation", endpoint_url=stage.provider.endpoint_url
    )
    cloudformation.create_stack(StackName=_FOREIGN, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=_FOREIGN, WaiterConfig={"Delay": 1}
    )


def _reboots(stage: Stage) -> int:
    return stage.ground.admin.calls().get("rds.RebootDBInstance", 0)


def _expect_refused(
    stage: Stage, driller: Driller, stack: str, why: str, *, typed: str = ""
) -> None:
    before = _reboots(stage)
    with driller.drilling(stack, typed=typed) as drill:
        code = _end(stage, drill)
        said = why in drill.output and "Nothing was touched." in drill.output
    stage.expect(
        f"a drill of {stack} is refused: {why}",
        said and code == _REFUSED and _reboots(stage) == before,
        f"exit status {code}",
    )


def _expect_followed(path: ConnectionPath, driller: Driller, rds: RdsControlPlane) -> None:
    stage = path.stage
    stage.progress.say("A drill, confirmed by the database's name")
    with driller.drilling(stage.stack.name, typed=f"{_IDENTIFIER}\n", by_make=True) as drill:
        _fail_over_when_asked(stage, rds)
        code = _end(stage, drill)
    told = drill.moments
    stage.expect("`make drill` ends with exit status 0", code == 0, f"exit status {code}")
    seconds = [told.get(name, -1.0) for name in _IN_ORDER]
    stage.expect(
        "it tells each moment, in order",
        told.keys() >= _ANYWHERE and seconds == sorted(seconds) and seconds[0] == 0,
        ", ".join(f"{name} {at:g} s" for name, at in told.items()),
    )
    text = drill.report.read_text()
    stage.expect("its report has the timeline", all(f">{name}<" in text for name in told))
    _settle(path, rds, "the drill")


def _expect_aborted(path: ConnectionPath, driller: Driller, rds: RdsControlPlane) -> None:
    stage = path.stage
    stage.progress.say("A drill that is aborted after the call")
    with driller.drilling(stage.stack.name, f"--yes={_IDENTIFIER}") as drill:
        stage.ground.wait_for(stage.ground.hook.asked, "RDS to be asked for the failover")
        drill.interrupt()
        code = _end(stage, drill)
    stage.expect(
        "an aborted drill says that the failover goes on, and writes its report",
        code == _ABORTED and "cannot be taken back" in drill.output and drill.report.exists(),
        f"exit status {code}",
    )
    _fail_over(stage, rds)
    _settle(path, rds, "the aborted drill")


def _expect_observed(path: ConnectionPath, driller: Driller, rds: RdsControlPlane) -> None:
    stage = path.stage
    stage.progress.say("An observer, while somebody else sets a failover off")
    before = _reboots(stage)
    with driller.drilling(stage.stack.name, "--observe") as drill:
        stage.ground.wait_for(
            lambda: drill.has_ended or "Waiting for a failover" in drill.output, "the observer"
        )
        _fail_over(stage, rds)
        code = _end(stage, drill)
    told = drill.moments
    stage.expect(
        "an observer sees it followed, and calls nothing",
        code == 0 and {"registered", "healthy"} <= told.keys() and _reboots(stage) == before,
        f"exit status {code}; " + ", ".join(f"{name} {at:g} s" for name, at in told.items()),
    )
    _settle(path, rds, "the observed failover")


def _fail_over_when_asked(stage: Stage, rds: RdsControlPlane) -> None:
    stage.ground.wait_for(stage.ground.hook.asked, "RDS to be asked for the failover")
    _fail_over(stage, rds)


def _fail_over(stage: Stage, rds: RdsControlPlane) -> None:
    rds.fail_over(dns_lag=stage.ground.options.dns_lag, prefixed=True, wait=stage.ground.pause)


def _settle(path: ConnectionPath, rds: RdsControlPlane, what: str) -> None:
    path.expect_right(f"{what}: the target group is the new address alone", [rds.writer])
    rds.rebuild_standbys()


def _end(stage: Stage, drill: RunningDrill) -> int:
    """Wait for a drill to end; its exit status."""
    stage.ground.wait_for(lambda: drill.has_ended, "the drill to end")
    return drill.process.wait()


SCENARIO = Scenario(
    name="drill",
    shows="make drill fails the database over and sees it followed; refused, aborted, observed",
    servers=2,
    play=_play,
)
