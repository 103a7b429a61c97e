"""The address plan maps VPC addresses to loopback sockets; this module also finds free ports."""

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Self, TypeVar

# Attempts to find a free port.
_PORT_ATTEMPTS = 50

_T = TypeVar("_T")


class AddressPlanError(ValueError):
    """An address plan file does not hold an address plan."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One TCP socket address."""

    address: IPv4Address
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `a.b.c.d:port`.

        Raises:
            ValueError: The text has no port, or the address or port is not valid.
        """
        address, separator, port = text.rpartition(":")
        if not separator:
            raise ValueError(f"{text!r} is not address:port")
        number = int(port)
        if not 0 < number < 2**16:
            raise ValueError(f"{text!r}: the port is not between 1 and 65535")
        return cls(IPv4Address(address), number)

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Maps each VPC address and port to the loopback socket of its server.

    Nothing listens on the VPC addresses themselves. An address that is not in the plan is
    unreachable, like a VPC address without a network interface.

    Attributes:
        sockets: The loopback socket of each VPC address and port.
        closed: The VPC addresses and ports that refuse connections, such as those of the standby
            of a Multi-AZ instance.
    """

    sockets: Mapping[Endpoint, Endpoint]
    closed: frozenset[Endpoint] = frozenset()

    def __post_init__(self) -> None:
        for vpc, loopback in self.sockets.items():
            if not loopback.address.is_loopback:
                raise AddressPlanError(f"{vpc} maps to {loopback}, which is not a loopback address")
        object.__setattr__(self, "sockets", MappingProxyType(dict(self.sockets)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan file, a JSON object.

            {"sockets": {"10.0.1.11:5432": "127.0.0.2:54329"}, "closed": []}

        Raises:
            AddressPlanError: The file is not such an object; the message names the file.
            OSError: The file cannot be read.
        """
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            sockets = entries["sockets"].items()
            return cls(
                {Endpoint.parse(vpc): Endpoint.parse(str(lo)) for vpc, lo in sockets},
                frozenset(Endpoint.parse(str(vpc)) for vpc in entries["closed"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AddressPlanError(f"{path} is not an address plan: {error!r}") from error

    def save(self, path: Path) -> None:
        """Write the plan in one step, so that no reader sees a part of it."""
        entries = {
            "sockets": {str(vpc): str(loopback) for vpc, loopback in self.sockets.items()},
            "closed": [str(vpc) for vpc in sorted(self.closed)],
        }
        write_atomically(path, json.dumps(entries, indent=2, sort_keys=True) + "\n")

    def locate(self, address: str | IPv4Address, port: int) -> tuple[str, int] | None:
        """Return the loopback host and port of a VPC address and port; None if unreachable."""
        vpc = Endpoint(IPv4Address(address), port)
        loopback = None if vpc in self.closed else self.sockets.get(vpc)
        return None if loopback is None else (str(loopback.address), loopback.port)


class ReplacedFile(Generic[_T]):
    """A file that its writer replaces in one step. A changed file is read again.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, read: Callable[[Path], _T]) -> None:
        """Read the file for the first time. Errors of `read` are raised here and later."""
        self.path = path
        self._read = read
        self._stamp = self._stamped()
        self._content = read(path)

    @property
    def content(self) -> _T:
        """The current content."""
        # Read the stamp first, so that a file replaced in between is read once more.
        stamp = self._stamped()
        if stamp != self._stamp:
            self._content = self._read(self.path)
            self._stamp = stamp
        return self._content

    def _stamped(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_ino, status.st_mtime_ns


class Ports:
    """Opens, closes and redirects the ports of a plan file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, vpc: Endpoint) -> None:
        """Let a port accept connections."""
        self._change(lambda plan: replace(plan, closed=plan.closed - {vpc}))

    def close(self, vpc: Endpoint) -> None:
        """Let a port refuse new connections. Open connections stay."""
        self._change(lambda plan: replace(plan, closed=plan.closed | {vpc}))

    def add(self, vpc: Endpoint, loopback: Endpoint) -> None:
        """Let a new address and port lead to a socket."""
        self._redirect(vpc, loopback)

    @contextmanager
    def redirected(self, vpc: Endpoint, loopback: Endpoint) -> Iterator[None]:
        """Redirect a port to another socket during a `with` block."""
        before = AddressPlan.load(self._path).sockets[vpc]
        self._redirect(vpc, loopback)
        try:
            yield
        finally:
            self._redirect(vpc, before)

    @contextmanager
    def moved(self, vpc: Endpoint, port: int) -> Iterator[None]:
        """Move a server to another port during a `with` block."""
        other = Endpoint(vpc.address, port)
        self._rename(vpc, other)
        try:
            yield
        finally:
            self._rename(other, vpc)

    def _redirect(self, vpc: Endpoint, loopback: Endpoint) -> None:
        self._change(lambda plan: replace(plan, sockets={**plan.sockets, vpc: loopback}))

    def _rename(self, vpc: Endpoint, other: Endpoint) -> None:
        self._change(
            lambda plan: replace(
                plan, sockets={other if at == vpc else at: lo for at, lo in plan.sockets.items()}
            )
        )

    def _change(self, change: Callable[[AddressPlan], AddressPlan]) -> None:
        change(AddressPlan.load(self._path)).save(self._path)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, so that no reader sees a part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def free_port(host: str) -> int:
    """Return a free port of a loopback host, for TCP and UDP.

    Another process may bind the port first; then the caller's bind fails.

    Raises:
        OSError: The host is not an address of this machine. On macOS every loopback address
            but 127.0.0.1 must first be added: `sudo ifconfig lo0 alias 127.0.0.2`.
    """
    return free_port_on([host])


def free_port_on(hosts: Sequence[str]) -> int:
    """Return a port that is free on all of these loopback hosts, for TCP and UDP.

    Raises:
        OSError: A host is not an address of this machine (see `free_port`), or no common
            port was found.
    """
    for _ in range(_PORT_ATTEMPTS):
        port = _common_port(hosts)
        if port is not None:
            return port
    raise OSError(f"no port is free on all of {', '.join(hosts)}; stop other labs and try again")


def _common_port(hosts: Sequence[str]) -> int | None:
    with ExitStack() as held:
        port = 0
        for host, kind in product(hosts, (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            listener = held.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                listener.bind((host, port))
            except OSError:
                if port == 0:
                    raise
                return None
            port = int(listener.getsockname()[1])
        return port
