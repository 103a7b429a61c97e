"""One scenario for each kind of database and way of use: `python -m lab run <name>…|all`."""

from collections.abc import Mapping

from lab.scenarios import (
    consumers,
    ec2_asg,
    ec2_instance,
    existing_target_group,
    hostname,
    rds_cluster,
    rds_instance,
    rds_proxy,
    static,
    updates,
)
from lab.scenarios.base import Scenario

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        rds_instance.SCENARIO,
        rds_cluster.WRITER,
        rds_cluster.READERS,
        rds_proxy.SCENARIO,
        hostname.SCENARIO,
        static.SCENARIO,
        ec2_instance.SCENARIO,
        ec2_asg.SCENARIO,
        existing_target_group.SCENARIO,
        consumers.SCENARIO,
        updates.SCENARIO,
    )
}
