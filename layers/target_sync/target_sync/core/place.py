"""Where a deployment is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """An account in a Region, and so what is a deployment's own."""

    partition: str
    region: str
    account: str

    def __str__(self) -> str:
        return f"{self.region} of account {self.account}"


def read_place(function_arn: str) -> Place:
    """Where a function is: ``arn:partition:lambda:region:account:function:name``."""
    _, partition, _, region, account, *_ = function_arn.split(":")
    return Place(partition, region, account)
