"""The drill's calls to the user's AWS account; drill/policy.json allows exactly these."""

import json
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import ClientError

from drill.decisions import FailoverCall, Resource
from drill.failover import DatabaseEvent
from drill.run_records import MESSAGE, RunRecord
from target_sync.errors import RejectedInputError
from target_sync.targets.outbound_rules import SecurityGroupRules
from target_sync.targets.target_group import ElbTargetGroup

#: Longer than a run of the status function may take (docs/status.md).
_STATUS_SECONDS = 30
_READ = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"})
#: One attempt: a retry after a lost reply would fail over a second time.
_ONCE = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
_STATUS = Config(connect_timeout=5, read_timeout=_STATUS_SECONDS, retries={"mode": "standard"})


class Aws:
    """One Region of an account, with the session's credentials.

    Every method may raise botocore's errors.

    Attributes:
        clock_ahead: Seconds from this machine's clock to AWS's clock, from the date of a reply,
            exact to about a second; None if not known.
    """

    def __init__(self, session: boto3.session.Session) -> None:
        make: Any = session.client
        self._cloudformation = make("cloudformation", config=_READ)
        self._lambda = make("lambda", config=_STATUS)
        self._rds = make("rds", config=_READ)
        self._failing_over = make("rds", config=_ONCE)
        self._elbv2 = make("elbv2", config=_READ)
        self._ec2 = make("ec2", config=_READ)
        self._logs = make("logs", config=_READ)
        self._cloudwatch = make("cloudwatch", config=_READ)
        self.clock_ahead: float | None = None

    @property
    def rds_url(self) -> str:
        """The endpoint of the one call that changes anything."""
        return str(self._rds.meta.endpoint_url)

    def stack(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Resource]]:
        """Return a stack as DescribeStacks describes it, and its resources by logical ID.

        Raises:
            RejectedInputError: There is no stack of this name.
        """
        began_at = time.time()
        try:
            reply = self._cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                raise RejectedInputError(f"there is no stack {name} in this account.") from None
            raise
        self.clock_ahead = _clock_ahead(reply, began_at, time.time())
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        listed = [entry for page in pages for entry in page["StackResourceSummaries"]]
        return reply["Stacks"][0], {
            entry["LogicalResourceId"]: Resource(
                type=entry["ResourceType"], id=entry.get("PhysicalResourceId", "")
            )
            for entry in listed
        }

    def status(self, function: str) -> Mapping[str, Any]:
        """Return the report of the stack's status function.

        Raises:
            RejectedInputError: The function failed.
        """
        reply = self._lambda.invoke(FunctionName=function, Payload=b"{}")
        document = json.load(reply["Payload"])
        if "FunctionError" in reply:
            raise RejectedInputError(f"{function} failed: {document.get('errorMessage')}")
        report: Mapping[str, Any] = document
        return report

    def instance(self, identifier: str) -> Mapping[str, Any] | None:
        """Return an RDS instance; None if it does not exist."""
        try:
            found = self._rds.describe_db_instances(DBInstanceIdentifier=identifier)
        except self._rds.exceptions.DBInstanceNotFoundFault:
            return None
        instance: Mapping[str, Any] = found["DBInstances"][0]
        return instance

    def cluster(self, identifier: str) -> Mapping[str, Any] | None:
        """Return an RDS cluster; None if it does not exist."""
        try:
            found = self._rds.describe_db_clusters(DBClusterIdentifier=identifier)
        except self._rds.exceptions.DBClusterNotFoundFault:
            return None
        cluster: Mapping[str, Any] = found["DBClusters"][0]
        return cluster

    def fail_over(self, call: FailoverCall) -> None:
        """Make the one call that changes anything, without a retry."""
        methods = {
            "RebootDBInstance": self._failing_over.reboot_db_instance,
            "FailoverDBCluster": self._failing_over.failover_db_cluster,
        }
        methods[call.operation](**call.arguments)

    def target_group(self, arn: str) -> ElbTargetGroup:
        """Return the stack's target group."""
        return ElbTargetGroup(self._elbv2, arn)

    def outbound_rules(self, group_id: str, port: int) -> SecurityGroupRules:
        """Return the outbound rules of the stack in a security group."""
        return SecurityGroupRules(self._ec2, group_id, port)

    def events(self, source_type: str, identifier: str, *, since: float) -> Iterator[DatabaseEvent]:
        """Return RDS's events of a database since a time."""
        pages = self._rds.get_paginator("describe_events").paginate(
            SourceType=source_type, SourceIdentifier=identifier, StartTime=since
        )
        for page in pages:
            for event in page["Events"]:
                yield DatabaseEvent(
                    at=event["Date"].timestamp(),
                    message=event["Message"],
                    categories=tuple(event.get("EventCategories", ())),
                )

    def runs(self, log_group: str, *, since: float) -> Iterator[RunRecord]:
        """Return the records of the reconciler's runs that ended since a time."""
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group, filterPattern=f'"{MESSAGE}"', startTime=int(since * 1000)
        )
        for page in pages:
            for event in page["events"]:
                record = RunRecord.read(event["message"])
                if record is not None:
                    yield record

    def flows(self, load_balancer_arn: str, *, since: float) -> tuple[tuple[float, int], ...]:
        """Return the minutes with new flows through a load balancer, and the number of flows."""
        metric = {
            "Namespace": "AWS/NetworkELB",
            "MetricName": "NewFlowCount",
            "Dimensions": [
                {"Name": "LoadBalancer", "Value": load_balancer_arn.partition("loadbalancer/")[2]}
            ],
        }
        reply = self._cloudwatch.get_metric_data(
            MetricDataQueries=[
                {"Id": "flows", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
            ],
            StartTime=since,
            EndTime=time.time() + 60,
            ScanBy="TimestampAscending",
        )
        (result,) = reply["MetricDataResults"]
        minutes = zip(result["Timestamps"], result["Values"], strict=True)
        return tuple((at.timestamp(), int(count)) for at, count in minutes if count)


def _clock_ahead(reply: Mapping[str, Any], before: float, after: float) -> float | None:
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return None
    # The header has whole seconds, so the time is half a second later on average.
    return parsedate_to_datetime(date).timestamp() + 0.5 - (before + after) / 2
