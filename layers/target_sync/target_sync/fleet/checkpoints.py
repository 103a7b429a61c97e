"""The values of the fleet's own tags: a group's checkpoint, and the audit cursor.

The tagging API returns both with the next listing, so reading them costs no further call. Each is
signed with the deployment's key and bound to its group. The fleet ignores a value that was changed,
invented or copied from another group, and verifies the group again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from target_sync.fleet.model import Binding
from target_sync.model import IPAddress

#: The first word of every value. Values of another version are ignored.
VERSION = "1"
#: The shortest and the longest key, in bytes; the longest is blake2b's limit.
KEY_BYTES = (16, 64)
#: The clocks of two containers differ by less. An audit cursor from later than this is ignored.
CLOCK_SECONDS = 5.0

_CHECKPOINT = re.compile(rf"{VERSION} (?P<digest>[0-9a-f]{{20}}) (?P<signature>[0-9a-f]{{24}})")
_CURSOR = re.compile(rf"{VERSION} (?P<at>[0-9]{{1,15}}) (?P<signature>[0-9a-f]{{24}})")


class SigningKey:
    """The secret of a deployment. It has no text form, so no log can contain it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Keep the secret, which must be neither too short nor too long."""
        if not KEY_BYTES[0] <= len(secret) <= KEY_BYTES[1]:
            raise ValueError(f"a key has {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes")
        self._secret = secret

    def sign(self, parts: Sequence[str]) -> str:
        """Return the signature of these parts: 24 hexadecimal digits."""
        return blake2b(_joined(parts), digest_size=12, key=self._secret).hexdigest()

    def verifies(self, signature: str, parts: Sequence[str]) -> bool:
        """Return whether this key made the signature for these parts."""
        return compare_digest(signature, self.sign(parts))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The digest of the addresses that the group was last verified for."""

    digest: str

    def matches(self, addresses: Iterable[IPAddress]) -> bool:
        """Return whether the group was verified for these addresses."""
        return self.digest == _digest(addresses)


@dataclass(frozen=True, slots=True)
class AuditCursor:
    """The last group that the audit passed, and when, in seconds since the epoch."""

    arn: str
    at: float


def write_checkpoint(binding: Binding, addresses: Iterable[IPAddress], key: SigningKey) -> str:
    """Return the checkpoint of a group that was just verified for these addresses."""
    digest = _digest(addresses)
    return f"{VERSION} {digest} {key.sign(_checkpoint_parts(binding, digest))}"


def read_checkpoint(text: str, binding: Binding, key: SigningKey) -> Checkpoint | None:
    """Return the checkpoint; None unless this key signed the text for this binding."""
    match = _CHECKPOINT.fullmatch(text)
    if match is None:
        return None
    if not key.verifies(match["signature"], _checkpoint_parts(binding, match["digest"])):
        return None
    return Checkpoint(match["digest"])


def write_cursor(cursor: AuditCursor, key: SigningKey) -> str:
    """Return the text of an audit cursor, exact to the millisecond."""
    at = str(int(cursor.at * 1000))
    return f"{VERSION} {at} {key.sign(_cursor_parts(cursor.arn, at))}"


def read_cursor(text: str, arn: str, key: SigningKey, now: float) -> AuditCursor | None:
    """Return the audit cursor; None if it is later than now, or not signed for this group."""
    match = _CURSOR.fullmatch(text)
    if match is None or not key.verifies(match["signature"], _cursor_parts(arn, match["at"])):
        return None
    cursor = AuditCursor(arn, int(match["at"]) / 1000)
    return cursor if cursor.at <= now + CLOCK_SECONDS else None


def _digest(addresses: Iterable[IPAddress]) -> str:
    return blake2b(_joined(sorted(map(str, addresses))), digest_size=10).hexdigest()


def _joined(parts: Iterable[str]) -> bytes:
    # No part has a line break: they are names, numbers and addresses.
    return "\n".join(parts).encode()


def _checkpoint_parts(binding: Binding, digest: str) -> Sequence[str]:
    """Everything that a checkpoint depends on: a changed endpoint or policy makes it invalid."""
    policy = binding.policy
    return (
        "checkpoint",
        binding.arn,
        binding.endpoint,
        binding.kind,
        str(policy.port),
        str(policy.max_targets),
        str(policy.serving_standby),
        *map(str, policy.allowed_networks),
        digest,
    )


def _cursor_parts(arn: str, at: str) -> Sequence[str]:
    return ("audit-cursor", arn, at)
