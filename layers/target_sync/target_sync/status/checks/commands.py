"""The commands that several remedies share, for a shell.

The module stands alone because every module of checks uses it.
"""

from target_sync.status.facts import Deployment


def invoke(function: str, deployment: Deployment) -> str:
    """Return the command that invokes a function of the stack and prints its result."""
    return (
        f"sam remote invoke {function} --stack-name {deployment.stack}"
        f" --region {deployment.region} --event '{{}}'"
    )


def read_errors(function: str, deployment: Deployment) -> str:
    """Return the command that prints the newest errors in the log of a function."""
    return (
        f"sam logs --stack-name {deployment.stack} --region {deployment.region}"
        f" --name {function} --start-time '1 hour ago' --filter ERROR"
    )
