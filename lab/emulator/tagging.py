"""The resource groups tagging API over load balancers and target groups.

Sources: Resource Groups Tagging API reference, GetResources: 50 resources a page by
default, at most 100; the error for an invalid token is `PaginationTokenExpiredException` or
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

#: Deleted groups that the API still lists, with their tags.
_kept: dict[str, list[Mapping[str, Any]]] = {}


def install() -> None:
    """Add Elastic Load Balancing resources and pages to GetResources, which ministack lacks."""
    tagging._COLLECTORS["elasticloadbalancing"] = _collect
    tagging._RESOURCE_TAG_COLLECTORS["elasticloadbalancing"] = _collect
    tagging._HANDLERS["GetResources"] = _by_pages(tagging._HANDLERS["GetResources"])


def keep_listed(*, arn: str) -> None:
    """Keep a target group in the listing, also after its deletion.

    The listing of AWS is eventually consistent; AWS documents no limit.

    Raises:
        ApiError: The group does not exist.
    """
    found = find_anywhere(alb._tgs, arn)
    if found is None:
        raise ApiError("TargetGroupNotFound", f"there is no target group {arn}")
    with found[0].entered():
        _kept[arn] = [dict(tag) for tag in alb._tags.get(arn, [])]


def _collect() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    current = Scope.current()
    gone = {arn: tags for arn, tags in _kept.items() if arn not in alb._tags}
    for arn, tags in (*alb._tags.items(), *gone.items()):
        parsed = parse_arn(arn)
        if (parsed.account_id, parsed.region) == (current.account, current.region):
            yield arn, list(tags)


def _by_pages(get: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def wrapped(request: Mapping[str, Any]) -> Any:
        size = request.get("ResourcesPerPage") or _DEFAULT_PAGE
        start = request.get("PaginationToken") or "0"
        if not 1 <= size <= _LONGEST_PAGE:
            return tagging._invalid_parameter(f"ResourcesPerPage must be 1 to {_LONGEST_PAGE}")
        if not start.isdecimal():
            return tagging._invalid_parameter("PaginationToken is not valid")
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
