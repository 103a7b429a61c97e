"""What the sweep and the watch tell the workers, one group in each order, and how it is written.

Equal orders have equal texts, by which the queue knows a double. A text is read as strictly as it
is written: a queue outlives a deployment, so an order may come from another version.
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

#: The version of the text. One of another version is unreadable.
VERSION = 1

#: Looser than where the tags are read: here only what could never have been one is stopped.
_ARN = r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[\w-]+/\w+"
_NAME = r"[a-z0-9_][a-z0-9_.-]{0,252}"
#: A mark is written as a tag, and is ours (ELBv2 API reference, Tag).
_MARK = r"[\w .:/=+@-]{1,256}"
#: A record may be a value that anybody has written, in any script.
_RECORD = r".{0,256}"
#: Of a target group (ELB quotas).
_MOST_TARGETS = 1_000


class UnreadableWorkItemError(Exception):
    """A message that is no order of this version. Another try would read no more."""


@dataclass(frozen=True, slots=True)
class SyncWorkItem:
    """Keep this group right.

    Attributes:
        binding: The group and its database.
        record: The record that is on the group; empty if there is none.
        cause: Why.
    """

    binding: Binding
    record: str
    cause: WorkReason

    @property
    def arn(self) -> str:
        """The group's."""
        return self.binding.arn


@dataclass(frozen=True, slots=True)
class CursorWorkItem:
    """Leave on this group how far the audit is.

    Attributes:
        text: The mark, sealed.
    """

    arn: str
    text: str


WorkItem: TypeAlias = SyncWorkItem | CursorWorkItem
_T = TypeVar("_T")


def write_work_item(order: WorkItem) -> str:
    """The text of an order."""
    document = _mark_document(order) if isinstance(order, CursorWorkItem) else _sync_document(order)
    return json.dumps({"version": VERSION, **document}, separators=(",", ":"))


def read_work_item(text: str) -> WorkItem:
    """The order that was written so.

    Raises:
        UnreadableOrderError: It is none. The message names the field that is wrong.
    """
    fields = _Fields(_json(text), "the order")
    # Another version may have any other field, so nothing else is looked at before.
    version = fields.of("version", int)
    if version != VERSION:
        raise UnreadableWorkItemError(f"version must be {VERSION}, not {version}")
    reading = fields.meaning("what", {"mark": _mark_order, "sync": _sync_order})
    order = reading(fields)
    fields.check_none_left()
    return order


def _mark_document(order: CursorWorkItem) -> Mapping[str, object]:
    return {"what": "mark", "arn": order.arn, "text": order.text}


def _mark_order(fields: "_Fields") -> WorkItem:
    return CursorWorkItem(arn=fields.text("arn", _ARN), text=fields.text("text", _MARK))


def _sync_document(order: SyncWorkItem) -> Mapping[str, object]:
    binding, policy = order.binding, order.binding.policy
    return {
        "what": "sync",
        "arn": binding.arn,
        "endpoint": binding.endpoint,
        "kind": binding.kind.value,
        "vpc_networks": _texts(binding.vpc_networks),
        "policy": {
            "port": policy.port,
            "allowed_networks": _texts(policy.allowed_networks),
            "max_targets": policy.max_targets,
            "serving_standby": policy.serving_standby,
            "confirm_seconds": float(policy.confirm_seconds),
        },
        "record": order.record,
        "cause": order.cause.value,
    }


def _texts(networks: Sequence[IPNetwork]) -> Sequence[str]:
    return [str(network) for network in networks]


def _sync_order(fields: "_Fields") -> WorkItem:
    policy = _Fields(fields.of("policy", dict), "policy")
    binding = Binding(
        arn=fields.text("arn", _ARN),
        endpoint=fields.text("endpoint", _NAME),
        kind=fields.meaning("kind", {kind.value: kind for kind in FLEET_KINDS}),
        policy=SyncPolicy(
            port=policy.number("port", HIGHEST_PORT),
            allowed_networks=policy.networks("allowed_networks"),
            max_targets=policy.number("max_targets", _MOST_TARGETS),
            serving_standby=policy.of("serving_standby", bool),
            confirm_seconds=policy.seconds("confirm_seconds"),
        ),
        vpc_networks=fields.networks("vpc_networks"),
    )
    policy.check_none_left()
    return SyncWorkItem(
        binding=binding,
        record=fields.text("record", _RECORD),
        cause=fields.meaning("cause", {cause.value: cause for cause in WorkReason}),
    )


def _json(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise UnreadableWorkItemError(f"not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise UnreadableWorkItemError(f"an order is an object, not {type(document).__name__}")
    return document


def _object(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a field is given twice")
    return document


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


class _Fields:
    """The fields of an object of JSON, each read once."""

    def __init__(self, fields: Mapping[str, object], name: str) -> None:
        self._left = dict(fields)
        self._name = name

    def of(self, name: str, kind: type[_T]) -> _T:
        """A value of exactly this type: JSON's ``true`` is no number."""
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

    def meaning(self, name: str, meanings: Mapping[str, _T]) -> _T:
        text = self.of(name, str)
        if text not in meanings:
            raise UnreadableWorkItemError(f"{name} must be {' or '.join(meanings)}, not {text!r}")
        return meanings[text]

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
            # ``ip_network`` takes a number too, which nobody has written.
            return tuple(ip_network(str(item)) for item in items)
        except ValueError as error:
            raise UnreadableWorkItemError(f"{name} must be networks: {error}") from None

    def check_none_left(self) -> None:
        if self._left:
            raise UnreadableWorkItemError(
                f"{self._name} has unknown fields: {', '.join(self._left)}"
            )
