"""The values of the fleet's own tags."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.fleet.checkpoints import (
    CLOCK_SECONDS,
    AuditCursor,
    SigningKey,
    read_checkpoint,
    read_cursor,
    write_checkpoint,
    write_cursor,
)
from target_sync.model import DatabaseKind, IPAddress
from tests.unit.fleet.builders import KEY, POLICY, A, B, arn, binding

OTHER_KEY = SigningKey(b"a secret of another deployment")
NOW = 1_732_300_000.0
addresses = st.frozensets(st.ip_addresses(), max_size=15)


@given(addresses, addresses)
def test_a_checkpoint_matches_only_its_addresses(
    then: frozenset[IPAddress], now: frozenset[IPAddress]
) -> None:
    checkpoint = read_checkpoint(write_checkpoint(binding(), then, KEY), binding(), KEY)
    assert checkpoint is not None
    assert checkpoint.matches(then)
    assert checkpoint.matches(now) == (now == then)


@given(addresses)
def test_a_checkpoint_is_a_valid_tag_value(them: frozenset[IPAddress]) -> None:
    text = write_checkpoint(binding(), them, KEY)
    assert len(text) <= 256
    assert set(text) <= set("0123456789abcdef ")


@pytest.mark.parametrize(
    "other",
    [
        binding(2),
        replace(binding(), arn=arn(2)),
        replace(binding(), endpoint="db.corp.example.com"),
        replace(binding(), kind=DatabaseKind.HOSTNAME),
        replace(binding(), policy=replace(POLICY, port=6432)),
        replace(binding(), policy=replace(POLICY, max_targets=2)),
        replace(binding(), policy=replace(POLICY, serving_standby=True)),
        replace(binding(), policy=replace(POLICY, allowed_networks=(ip_network("10.1.0.0/16"),))),
    ],
)
def test_ignores_a_checkpoint_of_another_binding(other: object) -> None:
    assert read_checkpoint(write_checkpoint(binding(), {A}, KEY), other, KEY) is None  # type: ignore[arg-type]


def test_ignores_a_checkpoint_of_another_key() -> None:
    assert read_checkpoint(write_checkpoint(binding(), {A}, OTHER_KEY), binding(), KEY) is None


@given(st.text(max_size=60))
def test_ignores_any_other_text_as_a_checkpoint(text: str) -> None:
    assert read_checkpoint(text, binding(), KEY) is None


@given(st.data())
def test_ignores_a_checkpoint_with_any_character_changed(data: st.DataObject) -> None:
    text = write_checkpoint(binding(), {A}, KEY)
    scope = data.draw(st.integers(0, len(text) - 1))
    there = data.draw(st.sampled_from("0123456789abcdef ").filter(lambda it: it != text[scope]))
    assert read_checkpoint(text[:scope] + there + text[scope + 1 :], binding(), KEY) is None


def test_ignores_a_checkpoint_with_the_digest_of_another_one() -> None:
    version, _, signature = write_checkpoint(binding(), {A}, KEY).split()
    _, digest, _ = write_checkpoint(binding(), {B}, KEY).split()
    assert read_checkpoint(f"{version} {digest} {signature}", binding(), KEY) is None


def test_the_sequence_of_addresses_does_not_matter() -> None:
    assert write_checkpoint(binding(), [A, B], KEY) == write_checkpoint(binding(), [B, A], KEY)


def test_distinguishes_addresses_that_are_alike_when_joined() -> None:
    one = write_checkpoint(binding(), [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.11")], KEY)
    other = write_checkpoint(binding(), [IPv4Address("10.0.0.11"), IPv4Address("10.0.0.1")], KEY)
    assert one == other != write_checkpoint(binding(), [IPv4Address("10.0.0.1")], KEY)


def test_an_audit_cursor_is_exact_to_the_millisecond() -> None:
    cursor = AuditCursor(arn(1), NOW + 0.125)
    assert read_cursor(write_cursor(cursor, KEY), arn(1), KEY, NOW + 1) == cursor


@pytest.mark.parametrize(
    ("text", "group"),
    [
        (write_cursor(AuditCursor(arn(1), NOW), KEY), arn(2)),
        (write_cursor(AuditCursor(arn(1), NOW), OTHER_KEY), arn(1)),
        (write_cursor(AuditCursor(arn(1), NOW + CLOCK_SECONDS + 1), KEY), arn(1)),
        (write_cursor(AuditCursor(arn(1), NOW), KEY).replace("1 ", "2 ", 1), arn(1)),
        ("", arn(1)),
    ],
)
def test_ignores_an_audit_cursor_of_another_group_or_key_or_from_the_future(
    text: str, group: str
) -> None:
    assert read_cursor(text, group, KEY, NOW) is None


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_has_16_to_64_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        SigningKey(b"x" * length)


def test_a_key_has_no_text_form() -> None:
    assert "secret" not in repr(KEY) + str(KEY)
