"""Target groups by their tags, as the resource groups tagging API lists them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi
from target_sync.fleet.model import ENDPOINT_TAG, TaggedGroup

if TYPE_CHECKING:
    from mypy_boto3_resourcegroupstaggingapi.client import ResourceGroupsTaggingAPIClient

_TAGGING = AwsApi("tagging")
_TARGET_GROUPS = "elasticloadbalancing:targetgroup"
#: The most that the API gives (tagging API reference, GetResources, ResourcesPerPage).
_PAGE = 100


class TaggedGroups:
    """Every target group of the client's Region and account with an endpoint tag.

    Implements ``target_sync.fleet.ports.TaggedGroupsPort``. One that was deleted may still be
    listed, and one that was never tagged so may be listed without tags.
    """

    def __init__(self, client: "ResourceGroupsTaggingAPIClient") -> None:
        self._client = client

    def listing(self) -> Sequence[TaggedGroup]:
        """List them, a hundred in a call. If one page fails, there is no listing at all."""
        pages = self._client.get_paginator("get_resources").paginate(
            TagFilters=[{"Key": ENDPOINT_TAG}],
            ResourceTypeFilters=[_TARGET_GROUPS],
            PaginationConfig={"PageSize": _PAGE},
        )
        return _TAGGING.read(
            "GetResources",
            lambda: [_group(it) for page in pages for it in page["ResourceTagMappingList"]],
        )


def _group(item: Mapping[str, Any]) -> TaggedGroup:
    tags = frozenset((tag["Key"], tag["Value"]) for tag in item.get("Tags", ()))
    return TaggedGroup(item["ResourceARN"], tags)
