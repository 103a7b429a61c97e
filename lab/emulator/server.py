"""The emulator's server: ministack with all extensions of the lab."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app

from lab.addresses import AddressPlan, ReplacedFile
from lab.emulator import (
    auto_scaling,
    cloudformation,
    conditions,
    custom_resources,
    embedded_metrics,
    endpoint_service_api,
    functions,
    instances,
    load_balancers,
    network_interfaces,
    permissions,
    rds,
    rds_clusters,
    saved_queries,
    schedules,
    security_groups,
    service_metrics,
    subnets,
    tagging,
    target_groups,
    traffic,
)
from lab.emulator.admin import PREFIX, AdminApi
from lab.emulator.alarm_clock import AlarmClock
from lab.emulator.endpoint_services import EndpointServices
from lab.emulator.service_metrics import ServiceMetrics
from lab.emulator.target_groups import HealthChecker, TargetGroups, TargetTimes

# Seconds for open requests at the end.
_GRACE = 0.5

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an emulator runs. Times are seconds.

    Attributes:
        port: The port on 127.0.0.1.
        plan: The address plan.
        work_dir: An empty directory for this emulator.
        times: The times of target groups.
        schedule_interval: The length of a minute in a schedule's rate; None: 60.
        failover_hook: The URL that performs failovers, or None.
        resolver: The DNS server of the functions, address:port; None: the machine's.
        outbound_rule_quota: The most outbound rules of a security group.
    """

    port: int
    plan: ReplacedFile[AddressPlan]
    work_dir: Path
    times: TargetTimes
    schedule_interval: float | None
    failover_hook: str | None
    resolver: str | None
    outbound_rule_quota: int


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; then end every function's processes.

    ministack reads its settings from the environment at import, so the caller prepares the
    environment before it imports this module.
    """
    groups = TargetGroups(options.plan, options.times)
    services = EndpointServices()
    calls = traffic.Traffic()
    subnets.install()
    load_balancers.install(delay=options.times.load_balancer_delay)
    target_groups.install(groups)
    instances.install(options.plan.content)
    network_interfaces.install(options.plan.content)
    security_groups.install(quota=options.outbound_rule_quota)
    auto_scaling.install(groups)
    endpoint_service_api.install(services)
    cloudformation.install(services, load_balancer_delay=options.times.load_balancer_delay)
    conditions.install()
    custom_resources.install()
    rds.install(failover_hook=options.failover_hook)
    rds_clusters.install(failover_hook=options.failover_hook)
    schedules.install(interval=options.schedule_interval)
    functions.install(options.work_dir, resolver=options.resolver, address_plan=options.plan.path)
    embedded_metrics.install()
    service_metrics.install()
    saved_queries.install()
    tagging.install()
    permissions.install()
    traffic.install(calls)
    checker = HealthChecker(groups)
    checker.start()
    alarm_clock = AlarmClock(options.schedule_interval, ServiceMetrics(groups).write)
    alarm_clock.start()
    try:
        admin = AdminApi(groups=groups, services=services, traffic=calls)
        asyncio.run(_serve(_with_admin(admin), options.port))
    finally:
        alarm_clock.stop()
        checker.stop()
        functions.stop_workers()


async def _serve(application: Any, port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    config.graceful_timeout = _GRACE
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await serve(application, config, shutdown_trigger=stopped.wait)


def _with_admin(admin: AdminApi) -> Any:
    async def application(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await app.app(scope, receive, send)
            return
        status, body = admin.serve(scope["method"], scope["path"], await _body(receive))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


async def _body(receive: _Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
