"""The texts that the fleet leaves on a target group: what it verified, and how far the audit is.

Both come back with the next listing and cost no further call. They are sealed with a key of the
deployment and bound to the group: a text that was changed, invented or copied from another group
reads as none, and no text only means that the group is verified once more.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from target_sync.fleet.model import Binding
from target_sync.model import IPAddress

#: The first word of every text. A text of another version reads as none.
VERSION = "1"
#: Shortest and longest key, in bytes; blake2b takes no longer one.
KEY_BYTES = (16, 64)
#: A mark from later than this is no mark: clocks of two containers differ by less.
CLOCK_SECONDS = 5.0

_RECORD = re.compile(rf"{VERSION} (?P<answer>[0-9a-f]{{20}}) (?P<seal>[0-9a-f]{{24}})")
_MARK = re.compile(rf"{VERSION} (?P<at>[0-9]{{1,15}}) (?P<seal>[0-9a-f]{{24}})")


class SigningKey:
    """The secret of a deployment. It has no text, so that no log can have it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take the secret.

        Raises:
            ValueError: It is too short or too long.
        """
        if not KEY_BYTES[0] <= len(secret) <= KEY_BYTES[1]:
            raise ValueError(f"a key has {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes")
        self._secret = secret

    def seal(self, parts: Sequence[str]) -> str:
        """24 characters that only this key gives to these parts."""
        return blake2b(_joined(parts), digest_size=12, key=self._secret).hexdigest()

    def is_seal(self, seal: str, parts: Sequence[str]) -> bool:
        """Whether this key sealed these parts so."""
        return compare_digest(seal, self.seal(parts))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the last verified state of a group was: the digest of the answer it was right for."""

    answer: str

    def is_of(self, addresses: Iterable[IPAddress]) -> bool:
        """Whether the group was verified for these addresses."""
        return self.answer == _digest(addresses)


@dataclass(frozen=True, slots=True)
class AuditCursor:
    """The audit had come to this group at this moment, in seconds since the epoch."""

    arn: str
    at: float


def write_checkpoint(binding: Binding, addresses: Iterable[IPAddress], key: SigningKey) -> str:
    """The text for a group that was just found right for these addresses."""
    answer = _digest(addresses)
    return f"{VERSION} {answer} {key.seal(_of_record(binding, answer))}"


def read_checkpoint(text: str, binding: Binding, key: SigningKey) -> Checkpoint | None:
    """The record; None if the text is not one that this key wrote for this binding."""
    match = _RECORD.fullmatch(text)
    if match is None or not key.is_seal(match["seal"], _of_record(binding, match["answer"])):
        return None
    return Checkpoint(match["answer"])


def write_cursor(mark: AuditCursor, key: SigningKey) -> str:
    """The text of a mark, exact to the millisecond."""
    at = str(int(mark.at * 1000))
    return f"{VERSION} {at} {key.seal(_of_mark(mark.arn, at))}"


def read_cursor(text: str, arn: str, key: SigningKey, now: float) -> AuditCursor | None:
    """The mark; None if the text is not one that this key wrote for this group, up to now."""
    match = _MARK.fullmatch(text)
    if match is None or not key.is_seal(match["seal"], _of_mark(arn, match["at"])):
        return None
    mark = AuditCursor(arn, int(match["at"]) / 1000)
    return mark if mark.at <= now + CLOCK_SECONDS else None


def _digest(addresses: Iterable[IPAddress]) -> str:
    return blake2b(_joined(sorted(map(str, addresses))), digest_size=10).hexdigest()


def _joined(parts: Iterable[str]) -> bytes:
    # No part has a line break: they are names, numbers and addresses.
    return "\n".join(parts).encode()


def _of_record(binding: Binding, answer: str) -> Sequence[str]:
    """Everything that a record holds for: another endpoint or another port is another state."""
    policy = binding.policy
    return (
        "verified",
        binding.arn,
        binding.endpoint,
        binding.kind,
        str(policy.port),
        str(policy.max_targets),
        str(policy.serving_standby),
        *map(str, policy.allowed_networks),
        answer,
    )


def _of_mark(arn: str, at: str) -> Sequence[str]:
    return ("audited", arn, at)
