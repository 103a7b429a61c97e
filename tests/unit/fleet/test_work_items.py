"""Writing and parsing work items."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_sync.fleet.checkpoints import AuditCursor, write_cursor
from target_sync.fleet.model import FLEET_KINDS, Binding, WorkReason
from target_sync.fleet.work_items import (
    CursorWorkItem,
    SyncWorkItem,
    UnreadableWorkItemError,
    read_work_item,
    write_work_item,
)
from target_sync.model import IPNetwork, SyncPolicy
from tests.unit.fleet.builders import KEY, arn, binding, name, verified

SYNC = SyncWorkItem(binding(), verified(1).checkpoint, WorkReason.ADDRESSES_CHANGED)
CURSOR = CursorWorkItem(arn(1), write_cursor(AuditCursor(arn(1), 1_700_000_000.0), KEY))

_NETWORKS: st.SearchStrategy[tuple[IPNetwork, ...]] = st.lists(
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.ip_addresses(v=4) | st.ip_addresses(v=6),
        st.integers(0, 32),
    ),
    max_size=3,
).map(tuple)
_POLICIES = st.builds(
    SyncPolicy,
    port=st.integers(1, 65_535),
    allowed_networks=_NETWORKS,
    max_targets=st.integers(1, 1_000),
    serving_standby=st.booleans(),
    confirm_seconds=st.integers(0, 60) | st.floats(0, 3_600),
)
_SYNCS = st.builds(
    SyncWorkItem,
    binding=st.builds(
        Binding,
        arn=st.integers(0, 2**64 - 1).map(arn),
        endpoint=st.integers(0, 9_999).map(name) | st.just("db.internal"),
        kind=st.sampled_from(FLEET_KINDS),
        policy=_POLICIES,
        vpc_networks=_NETWORKS,
    ),
    checkpoint=st.text(max_size=256),
    reason=st.sampled_from(WorkReason),
)


@given(_SYNCS)
@example(replace(SYNC, checkpoint="whatever\nsomebody wrote, ü"))
def test_reads_a_sync_work_item_as_it_was_written(work_item: SyncWorkItem) -> None:
    assert read_work_item(write_work_item(work_item)) == work_item


def test_reads_a_cursor_work_item_as_it_was_written() -> None:
    assert read_work_item(write_work_item(CURSOR)) == CURSOR


def test_every_work_item_has_the_arn_of_its_group() -> None:
    assert (SYNC.arn, CURSOR.arn) == (arn(1), arn(1))


def test_only_equal_work_items_have_equal_json() -> None:
    other = replace(SYNC, reason=WorkReason.AUDIT)
    assert write_work_item(SYNC) == write_work_item(
        SyncWorkItem(binding(), SYNC.checkpoint, SYNC.reason)
    )
    assert len({write_work_item(work_item) for work_item in (SYNC, other, CURSOR)}) == 3


def test_a_work_item_is_much_smaller_than_a_message() -> None:
    widest = replace(SYNC.binding.policy, allowed_networks=(IPv6Network("fd00::/8"),) * 20)
    work_item = replace(SYNC, binding=replace(SYNC.binding, policy=widest), checkpoint="x" * 256)
    assert len(write_work_item(work_item)) < 10_000


Change = Callable[[dict[str, Any]], object]


def _put(**fields: object) -> Change:
    return lambda document: document.update(fields)


def _put_into_policy(**fields: object) -> Change:
    return lambda document: document["policy"].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_put(version=1), "version must be 2, not 1", id="another version"),
        pytest.param(_put(version=True), "version must be of type int", id="true is no number"),
        pytest.param(lambda d: d.pop("version"), "has no version", id="no version"),
        pytest.param(_put(type="delete"), "type must be cursor or sync", id="another type"),
        pytest.param(_put(arn="db-1"), "arn cannot be 'db-1'", id="no ARN"),
        pytest.param(_put(arn=arn(1) + "\n"), "arn cannot be", id="an ARN with a line break"),
        pytest.param(_put(arn=7), "arn must be of type str", id="a number as an ARN"),
        pytest.param(_put(endpoint=""), "endpoint cannot be ''", id="no endpoint"),
        pytest.param(_put(endpoint="a b"), "endpoint cannot be 'a b'", id="no name"),
        pytest.param(_put(endpoint="a" * 254), "endpoint cannot be", id="too long a name"),
        pytest.param(_put(kind="static"), "kind must be rds-instance or", id="another kind"),
        pytest.param(_put(reason="boredom"), "reason must be addresses_ch", id="another reason"),
        pytest.param(_put(checkpoint="x" * 257), "checkpoint cannot be", id="too long"),
        pytest.param(_put(checkpoint=None), "checkpoint must be of type str", id="null"),
        pytest.param(_put(vpc_networks="10.0.0.0/8"), "must be of type list", id="no list"),
        pytest.param(_put(vpc_networks=["10.0.0.1/8"]), "vpc_networks must be", id="host bits"),
        pytest.param(_put(vpc_networks=[5]), "vpc_networks must be", id="a number as a network"),
        pytest.param(_put(surprise=1), "the work item has unknown fields: surprise", id="one more"),
        pytest.param(_put(policy=[]), "policy must be of type dict", id="no policy"),
        pytest.param(_put_into_policy(port=0), "port must be from 1", id="port 0"),
        pytest.param(_put_into_policy(port=65_536), "to 65535, not 65536", id="too high a port"),
        pytest.param(_put_into_policy(port=1.5), "port must be of type int", id="half a port"),
        pytest.param(_put_into_policy(max_targets=0), "max_targets must be", id="no targets"),
        pytest.param(_put_into_policy(max_targets=1_001), "max_targets must be", id="too many"),
        pytest.param(
            _put_into_policy(serving_standby=1), "must be of type bool", id="1 is not true"
        ),
        pytest.param(_put_into_policy(confirm_seconds=-1.0), "must be 0 or more", id="negative"),
        pytest.param(_put_into_policy(more=1), "policy has unknown fields: more", id="one more in"),
    ],
)
def test_names_an_invalid_field(change: Change, message: str) -> None:
    document = json.loads(write_work_item(SYNC))
    change(document)
    with pytest.raises(UnreadableWorkItemError, match=message):
        read_work_item(json.dumps(document))


@pytest.mark.parametrize("text", ["", "x" * 257, "two\nlines", "\ud800", "ü"])
def test_rejects_a_cursor_that_is_no_valid_tag_value(text: str) -> None:
    document = {**json.loads(write_work_item(CURSOR)), "cursor": text}
    with pytest.raises(UnreadableWorkItemError, match="cursor cannot be"):
        read_work_item(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("{", "not JSON", id="an incomplete object"),
        pytest.param("[" * 100_000, "not JSON", id="too deep"),
        pytest.param("9" * 5_000, "not JSON", id="too long a number"),
        pytest.param('{"version":2,"version":2}', "not JSON: a field occurs twice", id="twice"),
        pytest.param('{"version":NaN}', "not JSON: NaN is not a number", id="not a number"),
        pytest.param("[]", "a work item is an object, not list", id="a list"),
    ],
)
def test_rejects_text_that_is_no_json_object(text: str, message: str) -> None:
    with pytest.raises(UnreadableWorkItemError, match=message):
        read_work_item(text)


def test_rejects_an_infinite_number_of_seconds() -> None:
    text = write_work_item(SYNC).replace('"confirm_seconds":6.0', '"confirm_seconds":1e999')
    with pytest.raises(UnreadableWorkItemError, match="confirm_seconds must be 0 or more, not inf"):
        read_work_item(text)


@given(st.text(max_size=60) | st.from_regex(r'\{"version":2.*\}', fullmatch=True))
def test_rejects_any_other_text(text: str) -> None:
    with pytest.raises(UnreadableWorkItemError):
        read_work_item(text)


def test_keeps_the_version_of_networks() -> None:
    networks = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
    work_item = replace(SYNC, binding=replace(SYNC.binding, vpc_networks=networks))
    assert read_work_item(write_work_item(work_item)) == work_item
