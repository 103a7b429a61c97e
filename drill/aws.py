"""The user's AWS, as far as a drill asks it. What it may call is in drill/policy.json."""

import json
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import ClientError

from drill.decisions import FailoverCall, Resource
from drill.story import RdsNews
from lab.records import MESSAGE, SyncRecord
from target_sync.errors import RejectedInputError
from target_sync.targets.target_group import ElbTargetGroup

#: Longer than a look of the status function may take (docs/status.md).
_STATUS_SECONDS = 30
_READ = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"})
#: Once: a second attempt of a call whose answer was lost must not fail over a second time.
_ONCE = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
_STATUS = Config(connect_timeout=5, read_timeout=_STATUS_SECONDS, retries={"mode": "standard"})


class Aws:
    """One Region of an account, with whatever credentials the session finds.

    Every method may raise botocore's errors.

    Attributes:
        clock_ahead: How far AWS's clock is ahead of this machine's, in seconds, to about one, by
            the date that an answer carries; None if that is not known.
    """

    def __init__(self, session: boto3.session.Session) -> None:
        make: Any = session.client
        self._cloudformation = make("cloudformation", config=_READ)
        self._lambda = make("lambda", config=_STATUS)
        self._rds = make("rds", config=_READ)
        self._failing_over = make("rds", config=_ONCE)
        self._elbv2 = make("elbv2", config=_READ)
        self._logs = make("logs", config=_READ)
        self._cloudwatch = make("cloudwatch", config=_READ)
        self.clock_ahead: float | None = None

    @property
    def rds_url(self) -> str:
        """Where the one call that changes anything would go."""
        return str(self._rds.meta.endpoint_url)

    def stack(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Resource]]:
        """A stack as DescribeStacks gives it, and its resources by logical ID.

        Raises:
            RefusalError: There is none of this name.
        """
        began_at = time.time()
        try:
            answer = self._cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                raise RejectedInputError(f"there is no stack {name} in this account.") from None
            raise
        self.clock_ahead = _clock_ahead(answer, began_at, time.time())
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        listed = [entry for page in pages for entry in page["StackResourceSummaries"]]
        return answer["Stacks"][0], {
            entry["LogicalResourceId"]: Resource(
                type=entry["ResourceType"], id=entry.get("PhysicalResourceId", "")
            )
            for entry in listed
        }

    def status(self, function: str) -> Mapping[str, Any]:
        """What the stack's own status function answers.

        Raises:
            RefusalError: It failed.
        """
        answer = self._lambda.invoke(FunctionName=function, Payload=b"{}")
        document = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise RejectedInputError(f"{function} failed: {document.get('errorMessage')}")
        found: Mapping[str, Any] = document
        return found

    def instance(self, identifier: str) -> Mapping[str, Any] | None:
        """An RDS instance; None if there is none."""
        try:
            found = self._rds.describe_db_instances(DBInstanceIdentifier=identifier)
        except self._rds.exceptions.DBInstanceNotFoundFault:
            return None
        instance: Mapping[str, Any] = found["DBInstances"][0]
        return instance

    def cluster(self, identifier: str) -> Mapping[str, Any] | None:
        """An RDS cluster; None if there is none."""
        try:
            found = self._rds.describe_db_clusters(DBClusterIdentifier=identifier)
        except self._rds.exceptions.DBClusterNotFoundFault:
            return None
        cluster: Mapping[str, Any] = found["DBClusters"][0]
        return cluster

    def fail_over(self, call: FailoverCall) -> None:
        """Make the one call that changes anything, once."""
        methods = {
            "RebootDBInstance": self._failing_over.reboot_db_instance,
            "FailoverDBCluster": self._failing_over.failover_db_cluster,
        }
        methods[call.operation](**call.arguments)

    def target_group(self, arn: str) -> ElbTargetGroup:
        """The target group that the stack keeps right."""
        return ElbTargetGroup(self._elbv2, arn)

    def news(self, source_type: str, identifier: str, *, since: float) -> Iterator[RdsNews]:
        """RDS's events of a database since a moment."""
        pages = self._rds.get_paginator("describe_events").paginate(
            SourceType=source_type, SourceIdentifier=identifier, StartTime=since
        )
        for page in pages:
            for event in page["Events"]:
                yield RdsNews(
                    at=event["Date"].timestamp(),
                    message=event["Message"],
                    categories=tuple(event.get("EventCategories", ())),
                )

    def runs(self, log_group: str, *, since: float) -> Iterator[SyncRecord]:
        """The records of the sync function's runs that ended since a moment."""
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group, filterPattern=f'"{MESSAGE}"', startTime=int(since * 1000)
        )
        for page in pages:
            for event in page["events"]:
                record = SyncRecord.read(event["message"])
                if record is not None:
                    yield record

    def flows(self, load_balancer_arn: str, *, since: float) -> tuple[tuple[float, int], ...]:
        """The minutes since a moment with new flows through a load balancer, and how many."""
        metric = {
            "Namespace": "AWS/NetworkELB",
            "MetricName": "NewFlowCount",
            "Dimensions": [
                {"Name": "LoadBalancer", "Value": load_balancer_arn.partition("loadbalancer/")[2]}
            ],
        }
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=[
                {"Id": "flows", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
            ],
            StartTime=since,
            EndTime=time.time() + 60,
            ScanBy="TimestampAscending",
        )
        (result,) = answer["MetricDataResults"]
        minutes = zip(result["Timestamps"], result["Values"], strict=True)
        return tuple((at.timestamp(), int(count)) for at, count in minutes if count)


def _clock_ahead(answer: Mapping[str, Any], before: float, after: float) -> float | None:
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return None
    # The header has whole seconds: half a second later on average.
    return parsedate_to_datetime(date).timestamp() + 0.5 - (before + after) / 2
