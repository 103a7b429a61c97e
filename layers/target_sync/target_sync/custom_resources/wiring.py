"""Puts the parts of ManageStackFunction together, once per container."""

import functools

from target_sync.adapters.auto_scaling import AutoScalingGroups
from target_sync.adapters.aws import make_client
from target_sync.adapters.clock import SystemClock
from target_sync.adapters.cloudformation import SignedUrl
from target_sync.adapters.database_catalog import AwsDatabaseCatalog
from target_sync.adapters.endpoint_service import Ec2EndpointService
from target_sync.adapters.functions import INVOKE_CONFIG, LambdaFunctions
from target_sync.core.place import read_place
from target_sync.custom_resources.auto_scaling_attachment import AutoScalingAttachment
from target_sync.custom_resources.database_lookup import DatabaseLookup
from target_sync.custom_resources.endpoint_connections import EndpointConnections
from target_sync.custom_resources.first_sync import FirstSyncResource
from target_sync.custom_resources.manager import StackManager
from target_sync.custom_resources.observability import PowertoolsManagerReporter


@functools.cache
def stack_manager(function_arn: str) -> StackManager:
    """The manager of this container.

    Args:
        function_arn: The function's own ARN, which says where the stack is.
    """
    clock = SystemClock()
    place = read_place(function_arn)
    return StackManager(
        # Each request needs one of them, so their clients are made when one is asked for.
        resources={
            "Custom::DatabaseLookup": lambda: DatabaseLookup(
                catalog=AwsDatabaseCatalog(make_client("rds"), make_client("ec2"), place),
                groups=AutoScalingGroups(make_client("autoscaling")),
                place=place,
            ),
            "Custom::FirstSync": lambda: FirstSyncResource(
                functions=LambdaFunctions(make_client("lambda", INVOKE_CONFIG)), clock=clock
            ),
            "Custom::EndpointConnections": lambda: EndpointConnections(
                service=lambda service_id: Ec2EndpointService(make_client("ec2"), service_id),
                clock=clock,
            ),
            "Custom::AutoScalingAttachment": lambda: AutoScalingAttachment(
                groups=AutoScalingGroups(make_client("autoscaling"))
            ),
        },
        answers=SignedUrl(clock),
        clock=clock,
        reporter=PowertoolsManagerReporter(),
    )
