"""Handler of ProvisionStackFunction: serves the custom resources of the stack."""

from typing import TYPE_CHECKING

from target_sync.provisioning.build import stack_provisioner

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> None:
    """Handle a request of CloudFormation, and upload the response to its URL.

    Raises:
        CustomResourceRequestError: The payload is not a CloudFormation request.
        CustomResourceResponseError: CloudFormation did not accept the response.
    """
    stack_provisioner(context.invoked_function_arn).handle(
        event, remaining_seconds=context.get_remaining_time_in_millis() / 1000
    )
