"""The work items that the sweep and the watch send to the workers, and their JSON.

Each is about one target group. Equal work items have equal JSON, which the queue needs to drop
duplicates. Parsing is strict, because the queue may hold work items of another version.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, NoReturn, TypeAlias, TypeVar

from target_sync.fleet.model import FLEET_KINDS, Binding, WorkReason
from target_sync.model import HIGHEST_PORT, IPNetwork, SyncPolicy

#: The version of the JSON. Work items of another version are unreadable.
VERSION = 2

#: Looser than the patterns of the tags: these only reject what no sweep could have sent.
_ARN = r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[\w-]+/\w+"
_NAME = r"[a-z0-9_][a-z0-9_.-]{0,252}"
#: The characters of a tag (ELBv2 API reference, Tag).
_CURSOR = r"[\w .:/=+@-]{1,256}"
#: The checkpoint of a listing is untrusted, and may be in any script.
_CHECKPOINT = r".{0,256}"
#: The most targets of a group (ELB quotas).
_MAX_TARGETS = 1_000


class UnreadableWorkItemError(Exception):
    """A message is not a work item of this version. A retry cannot help."""


@dataclass(frozen=True, slots=True)
class SyncWorkItem:
    """Reconcile this group. The checkpoint is empty if the listing has none."""

    binding: Binding
    checkpoint: str
    reason: WorkReason

    @property
    def arn(self) -> str:
        """The ARN of the group."""
        return self.binding.arn


@dataclass(frozen=True, slots=True)
class CursorWorkItem:
    """Write the audit cursor, as signed text, to this group."""

    arn: str
    cursor: str


WorkItem: TypeAlias = SyncWorkItem | CursorWorkItem
_T = TypeVar("_T")


def write_work_item(work_item: WorkItem) -> str:
    """Return the JSON of a work item."""
    document: Mapping[str, object]
    if isinstance(work_item, CursorWorkItem):
        document = {"type": "cursor", "arn": work_item.arn, "cursor": work_item.cursor}
    else:
        document = _sync_document(work_item)
    return json.dumps({"version": VERSION, **document}, separators=(",", ":"))


def read_work_item(text: str) -> WorkItem:
    """Return the work item in this JSON.

    Raises:
        UnreadableWorkItemError: It is not a work item. The message names the invalid field.
    """
    fields = _Fields(_json(text), "the work item")
    # First, because another version may have any other field.
    version = fields.of("version", int)
    if version != VERSION:
        raise UnreadableWorkItemError(f"version must be {VERSION}, not {version}")
    parse = fields.one_of("type", {"cursor": _cursor_work_item, "sync": _sync_work_item})
    work_item = parse(fields)
    fields.check_none_left()
    return work_item


def _cursor_work_item(fields: "_Fields") -> WorkItem:
    return CursorWorkItem(arn=fields.text("arn", _ARN), cursor=fields.text("cursor", _CURSOR))


def _sync_document(work_item: SyncWorkItem) -> Mapping[str, object]:
    binding, policy = work_item.binding, work_item.binding.policy
    return {
        "type": "sync",
        "arn": binding.arn,
        "endpoint": binding.endpoint,
        "kind": binding.kind.value,
        "vpc_networks": list(map(str, binding.vpc_networks)),
        "policy": {
            "port": policy.port,
            "allowed_networks": list(map(str, policy.allowed_networks)),
            "max_targets": policy.max_targets,
            "serving_standby": policy.serving_standby,
            "confirm_seconds": float(policy.confirm_seconds),
        },
        "checkpoint": work_item.checkpoint,
        "reason": work_item.reason.value,
    }


def _sync_work_item(fields: "_Fields") -> WorkItem:
    policy = _Fields(fields.of("policy", dict), "policy")
    binding = Binding(
        arn=fields.text("arn", _ARN),
        endpoint=fields.text("endpoint", _NAME),
        kind=fields.one_of("kind", {kind.value: kind for kind in FLEET_KINDS}),
        policy=SyncPolicy(
            port=policy.number("port", HIGHEST_PORT),
            allowed_networks=policy.networks("allowed_networks"),
            max_targets=policy.number("max_targets", _MAX_TARGETS),
            serving_standby=policy.of("serving_standby", bool),
            confirm_seconds=policy.seconds("confirm_seconds"),
        ),
        vpc_networks=fields.networks("vpc_networks"),
    )
    policy.check_none_left()
    return SyncWorkItem(
        binding=binding,
        checkpoint=fields.text("checkpoint", _CHECKPOINT),
        reason=fields.one_of("reason", {reason.value: reason for reason in WorkReason}),
    )


def _json(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise UnreadableWorkItemError(f"not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise UnreadableWorkItemError(f"a work item is an object, not {type(document).__name__}")
    return document


def _object(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a field occurs twice")
    return document


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


class _Fields:
    """The fields of a JSON object, each read once."""

    def __init__(self, fields: Mapping[str, object], name: str) -> None:
        self._left = dict(fields)
        self._name = name

    def of(self, name: str, kind: type[_T]) -> _T:
        """Return a value of exactly this type: the ``true`` of JSON is not a number."""
        if name not in self._left:
            raise UnreadableWorkItemError(f"{self._name} has no {name}")
        value = self._left.pop(name)
        if type(value) is not kind:
            raise UnreadableWorkItemError(f"{name} must be of type {kind.__name__}, not {value!r}")
        return value

    def text(self, name: str, pattern: str) -> str:
        text = self.of(name, str)
        if not re.fullmatch(pattern, text, re.ASCII | re.DOTALL):
            raise UnreadableWorkItemError(f"{name} cannot be {text!r}")
        return text

    def one_of(self, name: str, values: Mapping[str, _T]) -> _T:
        text = self.of(name, str)
        if text not in values:
            raise UnreadableWorkItemError(f"{name} must be {' or '.join(values)}, not {text!r}")
        return values[text]

    def number(self, name: str, highest: int) -> int:
        number = self.of(name, int)
        if not 1 <= number <= highest:
            raise UnreadableWorkItemError(f"{name} must be from 1 to {highest}, not {number}")
        return number

    def seconds(self, name: str) -> float:
        seconds = self.of(name, float)
        if not (math.isfinite(seconds) and seconds >= 0):
            raise UnreadableWorkItemError(f"{name} must be 0 or more, not {seconds}")
        return seconds

    def networks(self, name: str) -> tuple[IPNetwork, ...]:
        items = self.of(name, list)
        try:
            # ``ip_network`` also accepts a number, which no sweep sends.
            return tuple(ip_network(str(item)) for item in items)
        except ValueError as error:
            raise UnreadableWorkItemError(f"{name} must be networks: {error}") from None

    def check_none_left(self) -> None:
        if self._left:
            raise UnreadableWorkItemError(
                f"{self._name} has unknown fields: {', '.join(self._left)}"
            )
