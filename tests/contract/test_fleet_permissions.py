"""The fleet's function in the lab's AWS, with the policy of fleet.yaml.

With all of the role's permissions the function follows a failover; without any one of them it does
not. The condition on the tag is tried, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from lab.dns_server import Zone
from lab.processes import Supervisor
from target_sync.fleet.model import ENDPOINT_TAG
from tests.contract.account import CLUSTER, MEMBERS, PORT, Account
from tests.contract.roles import ROOT, UNENFORCED, Functions, Permission, once, permissions, policy
from tests.lab.emulator_process import PROVIDER, REGION, Emulator, create_vpc, wait_until
from tests.lab.test_dns_server import start_server
from tests.template.stack import FLEET_TEMPLATE, PSEUDO_PARAMETERS, Resolver, resources

pytestmark = pytest.mark.lab

HOST = "127.0.0.1"
FUNCTION = "FleetSweepFunction"
TRIED = once(
    it
    for it in permissions(Resolver(path=FLEET_TEMPLATE), FUNCTION, "as it comes")
    if it.is_of_code(UNENFORCED)
)
# Each run is a short sweep in a new container.
ENTRY = """
import app
from target_sync.fleet import build, sweeper

sweeper.SWEEP_SECONDS = 4.0

def handler(event, context):
    build.sweeper.cache_clear()
    return app.handler(event, context)
"""
#: Any calls to ELB, with the role of the function.
TRIAL = """
import boto3, botocore.exceptions

def handler(event, context):
    refused = []
    for name, arguments in event:
        try:
            getattr(boto3.client("elbv2"), name)(**arguments)
        except botocore.exceptions.ClientError as error:
            refused.append(error.response["Error"]["Code"])
        else:
            refused.append("")
    return refused
"""


@dataclass(kw_only=True)
class World(Account):
    """A cluster with a reader, and target groups that follow both, on the lab's AWS."""

    zone: Zone
    resolver: str
    _failovers: int = 0
    _made: str = ""
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = Functions(self.emulator)
        self.vpc, self.subnets = create_vpc(self.emulator)
        self.create_cluster("fleet", self.subnets)
        (cluster,) = self.client("rds").describe_db_clusters(DBClusterIdentifier=CLUSTER)[
            "DBClusters"
        ]
        writer, reader = map(self.endpoint, MEMBERS)
        self._names = {"10.0.1": (cluster["Endpoint"], writer), "10.0.2": (reader,)}
        self.writer, self.readers = (
            self.create_target_group(name, self.vpc, tags={ENDPOINT_TAG: cluster[endpoint]})
            for name, endpoint in (("writer", "Endpoint"), ("readers", "ReaderEndpoint"))
        )
        self.untagged = self.create_target_group("untagged", self.vpc)

    @property
    def stack(self) -> Resolver:
        """Return the template with this resolver, and all calls."""
        return Resolver(
            path=FLEET_TEMPLATE,
            given={"Resolvers": self.resolver, "ApiShare": "1"},
            pseudo={**PSEUDO_PARAMETERS, "AWS::AccountId": PROVIDER, "AWS::Region": REGION},
        )

    def allow(self, missing: Permission | None = None) -> str:
        """Create the function with its role's policy, without one permission; return its name."""
        if not self._made:
            app = (ROOT / "functions" / "fleet_sweep" / "app.py").read_text()
            self._made = self._create({"app.py": app, "entry.py": ENTRY})
        self.functions.allow(self._made, policy(self.stack, FUNCTION), missing)
        return self._made

    def trial(self, *calls: tuple[str, Mapping[str, object]]) -> Sequence[str]:
        """Return the error code of each call to ELB with the role; empty on success."""
        name = self._create({"entry.py": TRIAL})
        self.functions.allow(name, policy(self.stack, FUNCTION))
        problem, codes = self.functions.invoke(name, calls)
        assert not problem
        return list(codes)

    def _create(self, files: Mapping[str, str]) -> str:
        properties = self.stack.of_type("AWS::Lambda::Function")[FUNCTION]
        return self.functions.create(FUNCTION, properties, files)

    def run(self, name: str) -> str:
        """Fail over, and sweep once; return the problem, or an empty text."""
        self._failovers += 1
        for network, names in self._names.items():
            for it in names:
                self.zone.set_address(it, [f"{network}.{self._failovers + 10}"], ttl=0)
        problem, result = self.functions.invoke(name, {})
        if problem:
            return problem
        findings = " ".join(finding["detail"] for finding in result["findings"])
        writer, reader = (f"{network}.{self._failovers + 10}" for network in self._names)
        # The confirm window of the reader outlasts the sweep.
        followed = self.targets(self.writer) == {writer} and reader in self.targets(self.readers)
        return findings or ("" if followed else f"not followed: {result}")

    def log(self, name: str) -> str:
        """Return the log of the function."""
        group = f"/aws/lambda/{name}"
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return " ".join(event["message"] for event in events)

    def targets(self, group: str) -> set[str]:
        """Return the addresses in a group, without draining ones."""
        found = self.client("elbv2").describe_target_health(TargetGroupArn=group)
        return {
            it["Target"]["Id"]
            for it in found["TargetHealthDescriptions"]
            if it["TargetHealth"]["State"] != "draining"
        }


@pytest.fixture(scope="module")
def world(emulator: Emulator) -> Iterator[World]:
    with Supervisor() as supervisor:
        server = start_server(supervisor)
        yield World(emulator=emulator, zone=server.zone, resolver=f"{HOST}:{server.port}")
        emulator.admin.reset()


def test_the_function_follows_a_failover_with_its_permissions(world: World) -> None:
    name = world.allow()

    # A busy machine may need several short sweeps.
    wait_until(lambda: not world.run(name))


@pytest.mark.parametrize("missing", TRIED, ids=str)
def test_the_function_follows_no_failover_without_one_of_its_permissions(
    world: World, missing: Permission
) -> None:
    name = world.allow(missing)

    def names_the_action() -> bool:
        problem = world.run(name)
        assert problem, "nothing failed: it is not needed"
        return missing.action in f"{problem} {world.log(name)}"

    wait_until(names_the_action)


def test_the_function_is_the_only_one_of_the_template() -> None:
    assert set(resources("AWS::Lambda::Function", FLEET_TEMPLATE)) == {FUNCTION}


def test_the_role_changes_no_group_without_the_tag_and_writes_no_tag(world: World) -> None:
    def register(group: str) -> tuple[str, Mapping[str, object]]:
        targets = [{"Id": "10.0.1.99", "Port": PORT}]
        return "register_targets", {"TargetGroupArn": group, "Targets": targets}

    tags = [{"Key": ENDPOINT_TAG, "Value": "x"}]
    codes = world.trial(
        register(world.writer),
        register(world.untagged),
        ("add_tags", {"ResourceArns": [world.writer], "Tags": tags}),
        ("remove_tags", {"ResourceArns": [world.writer], "TagKeys": [ENDPOINT_TAG]}),
    )

    assert codes == ["", *["AccessDenied"] * 3]
    assert world.targets(world.untagged) == set()
