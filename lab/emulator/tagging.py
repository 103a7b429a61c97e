"""The resource groups tagging API over load balancers and target groups.

Sources: Resource Groups Tagging API reference, GetResources: 50 resources a page unless told
otherwise, at most 100; an expired or invented token is `PaginationTokenExpiredException` or
`InvalidParameterException`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.core.arn import parse_arn
from ministack.services import alb, tagging

from lab.emulator.errors import ApiError
from lab.emulator.scope import Scope, find_anywhere

_DEFAULT_PAGE, _LONGEST_PAGE = 50, 100

#: Groups that the listing goes on naming after they were deleted, with the tags that they had.
_kept: dict[str, list[Mapping[str, Any]]] = {}


def install() -> None:
    """Let GetResources find Elastic Load Balancing resources, page by page.

    ministack has none of them, and gives all there is at once.
    """
    tagging._COLLECTORS["elasticloadbalancing"] = _collect
    tagging._RESOURCE_TAG_COLLECTORS["elasticloadbalancing"] = _collect
    tagging._HANDLERS["GetResources"] = _by_pages(tagging._HANDLERS["GetResources"])


def keep_listed(*, arn: str) -> None:
    """Let a target group stay in the listing as it is now, also once it is deleted.

    The listing of AWS may be behind, by how long is not told.

    Raises:
        ApiError: There is no such group.
    """
    found = find_anywhere(alb._tgs, arn)
    if found is None:
        raise ApiError("TargetGroupNotFound", f"there is no target group {arn}")
    with found[0].entered():
        _kept[arn] = [dict(tag) for tag in alb._tags.get(arn, [])]


def _collect() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    here = Scope.current()
    gone = {arn: tags for arn, tags in _kept.items() if arn not in alb._tags}
    for arn, tags in (*alb._tags.items(), *gone.items()):
        there = parse_arn(arn)
        if (there.account_id, there.region) == (here.account, here.region):
            yield arn, list(tags)


def _by_pages(get: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def wrapped(request: Mapping[str, Any]) -> Any:
        size = request.get("ResourcesPerPage") or _DEFAULT_PAGE
        start = request.get("PaginationToken") or "0"
        if not 1 <= size <= _LONGEST_PAGE:
            return tagging._invalid_parameter(f"ResourcesPerPage must be 1 to {_LONGEST_PAGE}")
        if not start.isdecimal():
            return tagging._invalid_parameter("PaginationToken is not one that was given")
        status, headers, body = get(
            {k: v for k, v in request.items() if k not in {"ResourcesPerPage", "PaginationToken"}}
        )
        if status != 200 or "ResourceARNList" in request:
            return status, headers, body
        found = json.loads(body)["ResourceTagMappingList"]
        end = int(start) + size
        return tagging._json(
            {
                "ResourceTagMappingList": found[int(start) : end],
                "PaginationToken": str(end) if end < len(found) else "",
            }
        )

    return wrapped
