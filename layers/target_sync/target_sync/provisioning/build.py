"""Puts the parts of ProvisionStackFunction together, once per container."""

import functools

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.model import scope_of_function
from target_sync.provisioning.catalog import AwsDatabaseCatalog
from target_sync.provisioning.cloudformation import ResponseUrl
from target_sync.provisioning.functions import INVOKE_CONFIG, LambdaFunctions
from target_sync.provisioning.manager import StackManager
from target_sync.provisioning.resources.auto_scaling_attachment import AutoScalingAttachment
from target_sync.provisioning.resources.database_lookup import DatabaseLookup
from target_sync.provisioning.resources.endpoint_connections import EndpointConnections
from target_sync.provisioning.resources.first_sync import FirstSyncResource
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.auto_scaling import AutoScalingGroups


@functools.cache
def stack_manager(function_arn: str) -> StackManager:
    """The manager of this container.

    Args:
        function_arn: The function's own ARN, which says where the stack is.
    """
    clock = SystemClock()
    place = scope_of_function(function_arn)
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
        answers=ResponseUrl(clock),
        clock=clock,
        reporter=PowertoolsReporter(),
    )
