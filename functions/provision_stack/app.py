"""The door for CloudFormation: the stack's custom resources."""

from typing import TYPE_CHECKING

from target_sync.provisioning.build import stack_manager

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> None:
    """Do what CloudFormation asks, and answer it at the URL that it gave.

    Raises:
        CustomResourceRequestError: The payload is no request of CloudFormation.
        CustomResourceAnswerError: CloudFormation did not take the answer.
    """
    stack_manager(context.invoked_function_arn).handle(
        event, remaining_seconds=context.get_remaining_time_in_millis() / 1000
    )
