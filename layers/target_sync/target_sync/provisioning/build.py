"""Builds the provisioner of the stack, once per container."""

import functools

from target_sync.aws import make_client
from target_sync.clock import SystemClock
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.model import scope_of_function
from target_sync.provisioning.catalog import AwsDatabaseCatalog
from target_sync.provisioning.cloudformation import ResponseUrl
from target_sync.provisioning.deployed_stack import DeployedStack
from target_sync.provisioning.functions import INVOKE_CONFIG, LambdaFunctions
from target_sync.provisioning.provisioner import StackProvisioner
from target_sync.provisioning.resources.auto_scaling_attachment import AutoScalingAttachment
from target_sync.provisioning.resources.database_lookup import DatabaseLookup
from target_sync.provisioning.resources.endpoint_connections import EndpointConnections
from target_sync.provisioning.resources.first_sync import FirstSync
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.auto_scaling import AutoScalingGroups


@functools.cache
def stack_provisioner(function_arn: str) -> StackProvisioner:
    """Return the provisioner of this container. The ARN contains its account and Region."""
    clock = SystemClock()
    scope = scope_of_function(function_arn)
    return StackProvisioner(
        # A request needs one of them, so only the clients of that one are created.
        resources={
            "Custom::DatabaseLookup": lambda: DatabaseLookup(
                catalog=AwsDatabaseCatalog(make_client("rds"), make_client("ec2"), scope),
                groups=AutoScalingGroups(make_client("autoscaling")),
                stack=DeployedStack(make_client("cloudformation"), make_client("elbv2")),
                scope=scope,
            ),
            "Custom::FirstSync": lambda: FirstSync(
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
        responses=ResponseUrl(clock),
        clock=clock,
        reporter=PowertoolsReporter(),
    )
