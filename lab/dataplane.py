"""The data plane of a Network Load Balancer: a TCP forwarder that follows its target group.

    python -m lab.dataplane --emulator URL --address-plan FILE --listen 127.0.0.1:P
        --target-group-arn ARN --log FILE [--endpoint-id vpce-…]

It asks the emulator every 50 ms where connections may go and behaves as the Network Load
Balancer guide describes: new flows go to healthy targets only, or to all unhealthy ones when
none is healthy (fail-open); a target that is still registering, unused or draining gets none.
Flows of a target are cut with a TCP reset when the target has been deregistered or became
unhealthy and the group's attributes say so. The event log has one JSON object a line.
"""

import argparse
import asyncio
import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Self

from lab.addresses import AddressPlan, AddressPlanError, Endpoint, ReplacedFile
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.emulator.messages import DataPlane, RoutedListener

_POLL = 0.05
_CHUNK = 65536
# The NLB gives up a SYN much later; nothing in the lab is that far away.
_CONNECT_TIMEOUT = 2.0
_CARRIES_TRAFFIC = "available"
# SO_LINGER on, for zero seconds: closing sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What the data plane does with flows, derived from one answer of the emulator.

    Attributes:
        new_flows: The targets that get new flows.
        listed: Every target of the group, draining ones too.
        unhealthy: The targets that fail their health checks.
        cuts_gone: Whether flows end when their target has left the group.
        cuts_unhealthy: Whether flows end when their target becomes unhealthy.
    """

    new_flows: frozenset[Endpoint] = frozenset()
    listed: frozenset[Endpoint] = frozenset()
    unhealthy: frozenset[Endpoint] = frozenset()
    cuts_gone: bool = True
    cuts_unhealthy: bool = True

    @classmethod
    def derive(cls, state: DataPlane, target_group_arn: str, endpoint_id: str | None) -> Self:
        """Work out the routing of a target group.

        Args:
            state: What the emulator says now.
            target_group_arn: The group that is followed.
            endpoint_id: The consumer's endpoint that flows come through; None for clients in
                the load balancer's own VPC.
        """
        listener = next(
            (x for x in state.listeners if x.target_group_arn == target_group_arn), None
        )
        if listener is None or not _is_connected(state, listener, endpoint_id):
            return cls()
        by_state: dict[str, set[Endpoint]] = {}
        for target in listener.targets:
            by_state.setdefault(target.state, set()).add(Endpoint(target.address, target.port))
        unhealthy = frozenset(by_state.get("unhealthy", ()))
        return cls(
            new_flows=frozenset(by_state.get("healthy", ())) or unhealthy,
            listed=frozenset().union(*by_state.values()),
            unhealthy=unhealthy,
            cuts_gone=listener.connection_termination,
            cuts_unhealthy=listener.unhealthy_termination,
        )

    def cuts(self, target: Endpoint, before: "Routing") -> bool:
        """Tell whether the flows of a target end now.

        A target that turns unhealthy loses its flows once; those that it gets afterwards,
        because no other is healthy, may go on.
        """
        if target not in self.listed:
            return self.cuts_gone
        return self.cuts_unhealthy and target in self.unhealthy - before.unhealthy


def _is_connected(state: DataPlane, listener: RoutedListener, endpoint_id: str | None) -> bool:
    return endpoint_id is None or any(
        connection.endpoint_id == endpoint_id
        and connection.state == _CARRIES_TRAFFIC
        and listener.load_balancer_arn in connection.load_balancer_arns
        for connection in state.connections
    )


@dataclass(slots=True, eq=False)
class _Flow:
    """One client connection and its target."""

    target: Endpoint
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    is_cut: bool = False

    def cut(self) -> None:
        """End both halves with a TCP reset; what was not delivered yet is lost."""
        self.is_cut = True
        _reset(self.client)
        if self.server is not None:
            _reset(self.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    stream = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


class Forwarder:
    """Forwards TCP connections as the routing says."""

    def __init__(self, plan: ReplacedFile[AddressPlan], event_log: IO[str]) -> None:
        self._plan = plan
        self._event_log = event_log
        self._routing = Routing()
        self._flows: set[_Flow] = set()
        self._turn = itertools.count()

    def apply(self, routing: Routing) -> None:
        """Follow a new routing: note who came and went, and cut the flows that it ends."""
        before, self._routing = self._routing, routing
        for target in sorted(routing.new_flows - before.new_flows):
            self._note("target_in", target)
        for target in sorted(before.new_flows - routing.new_flows):
            self._note("target_out", target)
        for flow in [flow for flow in self._flows if routing.cuts(flow.target, before)]:
            flow.cut()
            self._flows.discard(flow)
            self._note("flow_cut", flow.target)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one client connection until either side ends it or it is cut."""
        target = self._choose()
        if target is None:
            _reset(writer)
            return
        flow = _Flow(target, writer)
        self._flows.add(flow)
        try:
            await self._carry(flow, reader)
        except* OSError:
            flow.cut()
        finally:
            self._flows.discard(flow)
            for half in (flow.client, flow.server):
                if half is not None:
                    half.close()

    def _choose(self) -> Endpoint | None:
        targets = sorted(self._routing.new_flows)
        return targets[next(self._turn) % len(targets)] if targets else None

    async def _carry(self, flow: _Flow, from_client: asyncio.StreamReader) -> None:
        place = self._plan.content.locate(flow.target.address, flow.target.port)
        if place is None:
            raise OSError(f"{flow.target} is unreachable by the address plan")
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            from_server, flow.server = await asyncio.open_connection(*place)
        if flow.is_cut:
            raise OSError(f"{flow.target} was taken away while we connected")
        self._note("flow_opened", flow.target)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(_pump(from_client, flow.server))
            pumps.create_task(_pump(from_server, flow.client))

    def _note(self, event: str, target: Endpoint) -> None:
        line = {
            "at": time.time(),
            "event": event,
            "address": str(target.address),
            "port": target.port,
        }
        self._event_log.write(json.dumps(line) + "\n")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def follow(
    forwarder: Forwarder, emulator: EmulatorAdmin, target_group_arn: str, endpoint_id: str | None
) -> None:
    """Keep the routing equal to what the emulator says, until cancelled.

    While the emulator does not answer, the last routing stays, as a load balancer's does when
    its control plane is away.
    """
    while True:
        try:
            state = await asyncio.to_thread(emulator.data_plane)
        except (EmulatorAdminError, HTTPException) as error:
            print(f"keeping the routing: {error}", file=sys.stderr, flush=True)  # noqa: T201 - this process's log
        else:
            forwarder.apply(Routing.derive(state, target_group_arn, endpoint_id))
        await asyncio.sleep(_POLL)


async def _serve(options: argparse.Namespace, forwarder: Forwarder) -> None:
    listen: Endpoint = options.listen
    await asyncio.start_server(forwarder.forward, str(listen.address), listen.port)
    await follow(forwarder, options.emulator, options.target_group_arn, options.endpoint_id)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the data plane as a process of its own."""
    parser = argparse.ArgumentParser(prog="lab.dataplane", description=__doc__)
    parser.add_argument("--emulator", type=EmulatorAdmin, required=True, metavar="URL")
    parser.add_argument("--address-plan", type=Path, required=True)
    parser.add_argument("--listen", type=Endpoint.parse, required=True, metavar="HOST:PORT")
    parser.add_argument("--target-group-arn", required=True)
    parser.add_argument("--endpoint-id", help="carry traffic only while this endpoint may")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.log.open("a", buffering=1, encoding="utf-8") as event_log:
        try:
            plan = ReplacedFile(options.address_plan, AddressPlan.load)
            forwarder = Forwarder(plan, event_log)
            asyncio.run(_serve(options, forwarder))
        except (OSError, AddressPlanError) as error:
            sys.exit(f"lab.dataplane: {error}")


if __name__ == "__main__":
    main()
