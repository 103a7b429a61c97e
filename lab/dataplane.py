"""The data plane of a Network Load Balancer: a TCP forwarder that follows its target group.

    python -m lab.dataplane --emulator URL --address-plan FILE --listen 127.0.0.1:P
        --target-group-arn ARN --log FILE [--endpoint-id vpce-…]

It polls the emulator every 50 ms and follows the Network Load Balancer guide: new flows go to
healthy targets, or to all unhealthy ones if none is healthy (fail-open). A registering, unused or
draining target gets no flow. Outbound rules of security groups do not change this choice: they
block a flow whose target they do not allow, and its client gets no reply. They do not end flows
that exist. If the attributes of the group say so, a TCP reset cuts the flows of a
target that was deregistered or became unhealthy. The event log has a JSON object in each line.
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
# A Network Load Balancer waits longer, but all servers of the lab are near.
_CONNECT_TIMEOUT = 2.0
_CARRIES_TRAFFIC = "available"
# SO_LINGER on, for zero seconds: closing sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The routing of flows, derived from one reply of the emulator.

    Attributes:
        new_flows: The targets of new flows.
        blocked: The targets to which outbound rules allow no new flow.
        listed: All targets of the group, also draining ones.
        unhealthy: The targets that fail their health checks.
        cuts_gone: Whether flows end when the group no longer lists their target.
        cuts_unhealthy: Whether flows end when their target becomes unhealthy.
    """

    new_flows: frozenset[Endpoint] = frozenset()
    blocked: frozenset[Endpoint] = frozenset()
    listed: frozenset[Endpoint] = frozenset()
    unhealthy: frozenset[Endpoint] = frozenset()
    cuts_gone: bool = True
    cuts_unhealthy: bool = True

    @classmethod
    def derive(cls, state: DataPlane, target_group_arn: str, endpoint_id: str | None) -> Self:
        """Return the routing of a target group.

        Args:
            state: The emulator's current state.
            target_group_arn: The target group.
            endpoint_id: The consumer's endpoint; None for clients in the load balancer's VPC.
        """
        listener = next(
            (x for x in state.listeners if x.target_group_arn == target_group_arn), None
        )
        if listener is None or not _is_connected(state, listener, endpoint_id):
            return cls()
        by_state: dict[str, set[Endpoint]] = {}
        blocked: set[Endpoint] = set()
        for target in listener.targets:
            endpoint = Endpoint(target.address, target.port)
            by_state.setdefault(target.state, set()).add(endpoint)
            if not target.allowed:
                blocked.add(endpoint)
        unhealthy = frozenset(by_state.get("unhealthy", ()))
        return cls(
            new_flows=frozenset(by_state.get("healthy", ())) or unhealthy,
            blocked=frozenset(blocked),
            listed=frozenset().union(*by_state.values()),
            unhealthy=unhealthy,
            cuts_gone=listener.connection_termination,
            cuts_unhealthy=listener.unhealthy_termination,
        )

    def cuts(self, target: Endpoint, before: "Routing") -> bool:
        """Return whether the flows of a target end now.

        A target that becomes unhealthy loses its flows once. Its later flows, while no target is
        healthy, continue.
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
        """End both connections with a TCP reset; undelivered data is lost."""
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
    """Forwards TCP connections according to the routing."""

    def __init__(self, plan: ReplacedFile[AddressPlan], event_log: IO[str]) -> None:
        self._plan = plan
        self._event_log = event_log
        self._routing = Routing()
        self._flows: set[_Flow] = set()
        self._counter = itertools.count()

    def apply(self, routing: Routing) -> None:
        """Apply a new routing: log the changes of targets, and cut flows."""
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
        """Forward one client connection until a side ends it or it is cut.

        A blocked one gets no reply until the client gives up, as if its packets were lost.
        """
        target = self._choose()
        if target is None:
            _reset(writer)
            return
        if target in self._routing.blocked:
            self._note("flow_blocked", target)
            await _ignore(reader, writer)
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
        return targets[next(self._counter) % len(targets)] if targets else None

    async def _carry(self, flow: _Flow, from_client: asyncio.StreamReader) -> None:
        server = self._plan.content.locate(flow.target.address, flow.target.port)
        if server is None:
            raise OSError(f"{flow.target} is unreachable by the address plan")
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            from_server, flow.server = await asyncio.open_connection(*server)
        if flow.is_cut:
            raise OSError(f"{flow.target} was removed during the connection")
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


async def _ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while await reader.read(_CHUNK):
            pass
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def follow(
    forwarder: Forwarder, emulator: EmulatorAdmin, target_group_arn: str, endpoint_id: str | None
) -> None:
    """Apply the emulator's state again and again, until cancelled.

    Without a reply of the emulator the last routing stays, as in a load balancer without its
    control plane.
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
    """Run the data plane."""
    parser = argparse.ArgumentParser(prog="lab.dataplane", description=__doc__)
    parser.add_argument("--emulator", type=EmulatorAdmin, required=True, metavar="URL")
    parser.add_argument("--address-plan", type=Path, required=True)
    parser.add_argument("--listen", type=Endpoint.parse, required=True, metavar="HOST:PORT")
    parser.add_argument("--target-group-arn", required=True)
    parser.add_argument("--endpoint-id", help="forward only while this endpoint is connected")
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
