"""Scenarios for the kinds of databases, the ways of use, and failovers.

`python -m lab run <name>…|all` runs them.
"""

from collections.abc import Mapping

from lab.scenarios import (
    consumers,
    drill,
    ec2_asg,
    ec2_instance,
    existing_target_group,
    failover_cluster,
    failover_serving_standby,
    failover_warm,
    failover_watch,
    faults,
    flapping_dns,
    fleet,
    hostname,
    lost_event,
    rds_cluster,
    rds_instance,
    rds_proxy,
    refused_rules,
    static,
    switch,
    throttled_api,
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
        failover_watch.SCENARIO,
        failover_serving_standby.SCENARIO,
        failover_warm.SCENARIO,
        failover_cluster.SCENARIO,
        failover_cluster.WARM,
        switch.SCENARIO,
        flapping_dns.SCENARIO,
        lost_event.SCENARIO,
        throttled_api.SCENARIO,
        throttled_api.RULES,
        refused_rules.SCENARIO,
        drill.SCENARIO,
        faults.SCENARIO,
        fleet.SCENARIO,
    )
}
