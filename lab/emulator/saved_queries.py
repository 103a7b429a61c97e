"""Saved queries of CloudWatch Logs Insights, which ministack lacks. The emulator only stores them.

Source: CloudWatch Logs API reference, DescribeQueryDefinitions.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs
from ministack.services.cloudformation import provisioners

_queries: dict[str, dict[str, Any]] = {}


def install() -> None:
    """Add the resource type and the call that lists the queries."""
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {
        "create": lambda _logical_id, properties, _stack: _put(str(uuid4()), properties),
        "update": lambda id_, _old, new, *_: _put(id_, new),
        "delete": lambda id_, _properties: _queries.pop(id_, None),
        "update_with_logical_id": True,
    }
    cloudwatch_logs.handle_request = _describing(cloudwatch_logs.handle_request)


def _put(id_: str, properties: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _queries[id_] = {
        "queryDefinitionId": id_,
        "name": properties["Name"],
        "queryString": properties["QueryString"],
        "logGroupNames": list(properties.get("LogGroupNames", ())),
    }
    return id_, {"QueryDefinitionId": id_}


def _describing(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapped(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Any
    ) -> Any:
        if not headers.get("x-amz-target", "").endswith(".DescribeQueryDefinitions"):
            return await handle(method, path, headers, body, query_params)
        prefix = json.loads(body or b"{}").get("queryDefinitionNamePrefix", "")
        found = [query for query in _queries.values() if query["name"].startswith(prefix)]
        return json_response({"queryDefinitions": found})

    return wrapped
