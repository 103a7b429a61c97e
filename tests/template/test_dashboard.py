"""The dashboard: the status widget, and graphs of this stack's metrics."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.monitoring import graphs, widgets
from tests.template.pages import read, sections, tables
from tests.template.stack import SITUATIONS, Resolver, load

TYPE = "AWS::CloudWatch::Dashboard"
SHOWN = [name for name, given in SITUATIONS.items() if given.get("Dashboard") != "false"]
EVERYWHERE = pytest.mark.parametrize("situation", SHOWN)
SYNC = {
    "Seconds to follow a change",
    "Runs of the reconciler",
    "Failures of the reconciler",
    "Targets changed",
}
NETWORK = {
    "Healthy hosts",
    "Active and new flows",
    "Bytes",
    "Resets",
    "Refused: ports and security group",
    "Endpoint service",
}


def metrics(situation: str = "acceptance") -> Iterator[tuple[str, str, dict[str, str]]]:
    """The namespace, the name and the dimensions of every drawn metric."""
    for graph in graphs(situation):
        for line in graph["metrics"]:
            namespace, name, *pairs = [part for part in line if isinstance(part, str)]
            yield namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


# ----------------------------------------------- CloudWatch API reference, dashboard body structure


@EVERYWHERE
def test_a_widget_has_a_size_and_no_position(situation: str) -> None:
    for widget in widgets(situation):
        assert widget.keys() == {"type", "width", "height", "properties"}
        assert 1 <= widget["width"] <= 24
        assert 1 <= widget["height"] <= 1000


@EVERYWHERE
def test_a_graph_is_valid_for_cloudwatch(situation: str) -> None:
    assert {widget["type"] for widget in widgets(situation)[1:]} == {"metric"}
    for graph in graphs(situation):
        assert graph.keys() == {"title", "view", "region", "period", "stat", "metrics"}
        assert graph["view"] == "timeSeries"
        assert graph["region"] == "eu-west-1"
        assert graph["period"] == 60
        assert graph["stat"] in {"Sum", "Average", "Maximum", "Minimum"}
        assert graph["title"]


@EVERYWHERE
def test_a_metric_is_a_namespace_a_name_dimensions_and_options(situation: str) -> None:
    for graph in graphs(situation):
        assert graph["metrics"]
        for line in graph["metrics"]:
            texts, options = (line[:-1], line[-1]) if isinstance(line[-1], dict) else (line, {})
            assert all(isinstance(text, str) and text for text in texts)
            assert len(texts) in {4, 6}
            assert options.keys() <= {"stat"}


@EVERYWHERE
def test_every_variable_is_substituted(situation: str) -> None:
    assert "${" not in json.dumps(widgets(situation))


# ---------------------------------------------------------------------------------- the content


@EVERYWHERE
def test_the_status_widget_comes_first_over_the_whole_width(situation: str) -> None:
    first = widgets(situation)[0]

    assert (first["type"], first["width"]) == ("custom", 24)
    assert first["properties"] == {
        "title": "Connection path to PostgreSQL",
        "endpoint": "<ReportStatusFunction.Arn>",
        "params": {},
        "updateOn": {"refresh": True, "resize": True, "timeRange": False},
    }


@EVERYWHERE
def test_the_metric_of_every_alarm_is_drawn(situation: str) -> None:
    alarms = Resolver(SITUATIONS[situation]).of_type("AWS::CloudWatch::Alarm").values()
    drawn = list(metrics(situation))
    for alarm in alarms:
        dimensions = {entry["Name"]: entry["Value"] for entry in alarm["Dimensions"]}
        assert (alarm["Namespace"], alarm["MetricName"], dimensions) in drawn


def test_our_metrics_are_documented_metrics_of_the_functions() -> None:
    documented = {
        row[0].strip("`")
        for page, section in (
            ("docs/reference.md", "Metrics"),
            ("docs/consumers.md", "Who is accepted"),
        )
        for table in tables(sections(read(page), 2)[section])
        for row in table
    }
    own = {name for namespace, name, _ in metrics() if namespace == "PostgresPrivateLink"}
    assert own <= documented
    assert {"SecondsToDetect", "SecondsToRegister", "SecondsToHealthy"} <= own


def test_the_metrics_of_aws_are_of_this_stacks_resources() -> None:
    balancer = {"LoadBalancer": "<LoadBalancer.LoadBalancerFullName>"}
    group = {"TargetGroup": "<DatabaseTargetGroup.TargetGroupFullName>"}
    found = {name: dims for namespace, name, dims in metrics() if namespace == "AWS/NetworkELB"}
    assert found == {
        "HealthyHostCount": balancer | group,
        "UnHealthyHostCount": balancer | group,
        "ActiveFlowCount": balancer,
        "NewFlowCount": balancer,
        "ProcessedBytes": balancer,
        "TCP_Client_Reset_Count": balancer,
        "TCP_Target_Reset_Count": balancer,
        "TCP_ELB_Reset_Count": balancer,
        "PortAllocationErrorCount": balancer,
        "SecurityGroupBlockedFlowCount_Inbound_TCP": balancer,
        "SecurityGroupBlockedFlowCount_Outbound_TCP": balancer,
    }
    service = [dims for namespace, _, dims in metrics() if namespace == "AWS/PrivateLinkServices"]
    assert service == [{"Service Id": "<EndpointService>"}] * 4


@pytest.mark.parametrize(
    ("situation", "missing"),
    [
        ("acceptance", set()),
        ("rds-instance", {"Connection requests"}),
        ("existing target group", {"Connection requests", *NETWORK}),
        ("ec2-asg", {"Connection requests", *SYNC}),
    ],
)
def test_a_resource_that_the_stack_lacks_is_not_drawn(situation: str, missing: set[str]) -> None:
    drawn = [graph["title"] for graph in graphs(situation)]
    every = [graph["title"] for graph in graphs()]
    assert drawn == [title for title in every if title not in missing]


@EVERYWHERE
def test_the_dashboard_fits_the_free_tier(situation: str) -> None:
    """Three dashboards of 50 metrics each are free (CloudWatch pricing, free tier)."""
    assert len(list(metrics(situation))) <= 50


# ------------------------------------------------------------------------------------ the resource


def test_the_dashboard_can_be_switched_off() -> None:
    assert not Resolver({"Dashboard": "false"}).of_type(TYPE)


def test_the_same_stack_in_two_regions_has_two_dashboards() -> None:
    """Dashboards are global (CloudWatch API reference, PutDashboard)."""
    (dashboard,) = Resolver().of_type(TYPE).values()
    assert dashboard["DashboardName"] == "postgres-privatelink-eu-west-1"
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", dashboard["DashboardName"])


def test_no_permission_to_invoke_the_function_is_needed() -> None:
    """CloudWatch calls the function with the permissions of the viewer."""
    permissions = Resolver(SITUATIONS["acceptance"]).of_type("AWS::Lambda::Permission").values()
    assert "<ReportStatusFunction" not in json.dumps(list(permissions))
    assert "FunctionUrlConfig" not in load()["Resources"]["ReportStatusFunction"]["Properties"]
