"""The resource groups tagging API over load balancers and target groups."""

from collections.abc import Iterator, Mapping
from typing import Any

from ministack.services import alb, tagging


def install() -> None:
    """Let GetResources find Elastic Load Balancing resources; ministack has none of them."""
    tagging._COLLECTORS["elasticloadbalancing"] = _collect
    tagging._RESOURCE_TAG_COLLECTORS["elasticloadbalancing"] = _collect


def _collect() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for arn, tags in alb._tags.items():
        yield arn, list(tags)
