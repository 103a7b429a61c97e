"""Lists the resources that remain in an account after the stack was deleted."""

from collections.abc import Callable, Collection, Iterator
from typing import Any


def leftovers(client: Callable[[str], Any], *, ignore: Collection[str] = ()) -> list[str]:
    """List the resources of the kinds that the stack creates.

    Args:
        client: Returns the client of a service, for one account and Region.
        ignore: Names, IDs or ARNs that may remain.

    Returns:
        `kind: name` of each, sorted.
    """
    inventory = _Inventory(client)
    found = [
        (kind, name)
        for kind, names in (
            ("load balancer", inventory.load_balancers),
            ("target group", inventory.target_groups),
            ("listener", inventory.listeners),
            ("endpoint service", inventory.endpoint_services),
            ("security group", inventory.security_groups),
            ("security group rule", inventory.security_group_rules),
            ("interface endpoint", inventory.interface_endpoints),
            ("function", inventory.functions),
            ("failure destination of function", inventory.invoke_configs),
            ("event source mapping", inventory.event_sources),
            ("layer", inventory.layers),
            ("rule", inventory.rules),
            ("schedule", inventory.schedules),
            ("queue", inventory.queues),
            ("topic", inventory.topics),
            ("role", inventory.roles),
            ("log group", inventory.log_groups),
            ("alarm", inventory.alarms),
            ("dashboard", inventory.dashboards),
            ("saved query", inventory.queries),
        )
        for name in names()
    ]
    return sorted(f"{kind}: {name}" for kind, name in found if name not in ignore)


class _Inventory:
    """One method for each kind of resource; each returns their names, IDs or ARNs."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._elb = client("elbv2")
        self._ec2 = client("ec2")
        self._lambda = client("lambda")
        self._events = client("events")
        self._scheduler = client("scheduler")
        self._sqs = client("sqs")
        self._sns = client("sns")
        self._iam = client("iam")
        self._logs = client("logs")
        self._cloudwatch = client("cloudwatch")

    def load_balancers(self) -> Iterator[str]:
        for page in self._elb.get_paginator("describe_load_balancers").paginate():
            yield from (entry["LoadBalancerArn"] for entry in page["LoadBalancers"])

    def target_groups(self) -> Iterator[str]:
        for page in self._elb.get_paginator("describe_target_groups").paginate():
            yield from (entry["TargetGroupArn"] for entry in page["TargetGroups"])

    def listeners(self) -> Iterator[str]:
        for arn in self.load_balancers():
            pages = self._elb.get_paginator("describe_listeners").paginate(LoadBalancerArn=arn)
            for page in pages:
                yield from (entry["ListenerArn"] for entry in page["Listeners"])

    def endpoint_services(self) -> Iterator[str]:
        paginator = self._ec2.get_paginator("describe_vpc_endpoint_service_configurations")
        for page in paginator.paginate():
            yield from (entry["ServiceId"] for entry in page["ServiceConfigurations"])

    def security_groups(self) -> Iterator[str]:
        for page in self._ec2.get_paginator("describe_security_groups").paginate():
            groups = page["SecurityGroups"]
            yield from (g["GroupId"] for g in groups if g["GroupName"] != "default")

    def security_group_rules(self) -> Iterator[str]:
        """Rules that allow another security group, such as the stack adds to a database."""
        for page in self._ec2.get_paginator("describe_security_groups").paginate():
            for group in page["SecurityGroups"]:
                if group["GroupName"] == "default":
                    continue  # it allows itself
                for rule in group["IpPermissions"]:
                    for pair in rule["UserIdGroupPairs"]:
                        yield f"{pair.get('GroupId')} into {group['GroupId']}"

    def interface_endpoints(self) -> Iterator[str]:
        for page in self._ec2.get_paginator("describe_vpc_endpoints").paginate():
            yield from (entry["VpcEndpointId"] for entry in page["VpcEndpoints"])

    def functions(self) -> Iterator[str]:
        for page in self._lambda.get_paginator("list_functions").paginate():
            yield from (entry["FunctionName"] for entry in page["Functions"])

    def invoke_configs(self) -> Iterator[str]:
        paginator = self._lambda.get_paginator("list_function_event_invoke_configs")
        for name in self.functions():
            for page in paginator.paginate(FunctionName=name):
                yield from (entry["FunctionArn"] for entry in page["FunctionEventInvokeConfigs"])

    def event_sources(self) -> Iterator[str]:
        for page in self._lambda.get_paginator("list_event_source_mappings").paginate():
            yield from (entry["UUID"] for entry in page["EventSourceMappings"])

    def layers(self) -> Iterator[str]:
        for page in self._lambda.get_paginator("list_layers").paginate():
            yield from (entry["LayerName"] for entry in page["Layers"])

    def rules(self) -> Iterator[str]:
        for page in self._events.get_paginator("list_rules").paginate():
            yield from (entry["Name"] for entry in page["Rules"])

    def schedules(self) -> Iterator[str]:
        for page in self._scheduler.get_paginator("list_schedules").paginate():
            yield from (entry["Name"] for entry in page["Schedules"])

    def queues(self) -> Iterator[str]:
        for page in self._sqs.get_paginator("list_queues").paginate():
            yield from page.get("QueueUrls", [])

    def topics(self) -> Iterator[str]:
        for page in self._sns.get_paginator("list_topics").paginate():
            yield from (entry["TopicArn"] for entry in page["Topics"])

    def roles(self) -> Iterator[str]:
        for page in self._iam.get_paginator("list_roles").paginate():
            roles = page["Roles"]
            # AWS services own the roles under this path.
            yield from (r["RoleName"] for r in roles if not r["Path"].startswith("/aws-service-"))

    def log_groups(self) -> Iterator[str]:
        for page in self._logs.get_paginator("describe_log_groups").paginate():
            yield from (entry["logGroupName"] for entry in page["logGroups"])

    def queries(self) -> Iterator[str]:
        found = self._logs.describe_query_definitions()["queryDefinitions"]
        yield from (entry["name"] for entry in found)

    def dashboards(self) -> Iterator[str]:
        for page in self._cloudwatch.get_paginator("list_dashboards").paginate():
            yield from (entry["DashboardName"] for entry in page["DashboardEntries"])

    def alarms(self) -> Iterator[str]:
        for page in self._cloudwatch.get_paginator("describe_alarms").paginate():
            yield from (entry["AlarmName"] for entry in page["MetricAlarms"])
