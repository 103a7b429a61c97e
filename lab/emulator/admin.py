"""The emulator's admin API under `/_lab/`, for actions that no AWS customer has."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ministack import app
from ministack.services import alb

from lab.emulator import (
    functions,
    network_interfaces,
    rds,
    rds_clusters,
    rds_events,
    tagging,
)
from lab.emulator.elapse import elapse
from lab.emulator.endpoint_services import EndpointServices
from lab.emulator.errors import ApiError
from lab.emulator.load_balancers import is_network
from lab.emulator.messages import (
    ClusterStatus,
    DataPlane,
    Fault,
    NetworkInterface,
    RdsEvent,
    RdsSource,
    RdsStatus,
    RoutedConnection,
    RoutedListener,
    RoutedTarget,
)
from lab.emulator.target_groups import TargetGroups, group_attributes
from lab.emulator.traffic import Traffic

PREFIX = "/_lab/"
# Status and JSON body.
Reply = tuple[int, bytes]


class AdminApi:
    """Serves the admin API over the emulator's state."""

    def __init__(
        self, *, groups: TargetGroups, services: EndpointServices, traffic: Traffic
    ) -> None:
        self._groups = groups
        self._services = services
        self._traffic = traffic
        self._routes: dict[tuple[str, str], Callable[[Mapping[str, Any]], object]] = {
            ("GET", "health"): lambda _: {"status": "ok"},
            ("POST", "reset"): lambda _: app._reset_all_state(),
            ("GET", "data-plane"): lambda _: asdict(self._data_plane()),
            ("GET", "calls"): lambda _: dict(traffic.calls),
            ("DELETE", "calls"): lambda _: traffic.calls.clear(),
            ("POST", "faults"): lambda values: traffic.inject(Fault(**values)),
            ("DELETE", "faults"): lambda _: traffic.clear_faults(),
            ("POST", "connection-state"): lambda values: services.set_state(**values),
            ("POST", "elapse"): lambda values: elapse(services, **values),
            ("POST", "keep-listed"): lambda values: tagging.keep_listed(**values),
            ("POST", "kill-run"): lambda values: functions.kill_run(**values),
            ("POST", "rds-events"): lambda values: rds_events.emit(_rds_event(values)),
            ("POST", "rds-status"): lambda values: rds.set_status(RdsStatus(**values)),
            ("POST", "cluster-status"): lambda values: rds_clusters.set_status(
                ClusterStatus(**values)
            ),
            ("POST", "network-interfaces"): lambda values: network_interfaces.put(
                _network_interface(values)
            ),
        }

    def serve(self, method: str, path: str, body: bytes) -> Reply:
        """Reply to one request. The path starts with `PREFIX`."""
        route = self._routes.get((method, path.removeprefix(PREFIX)))
        if route is None:
            routes = ", ".join(f"{m} {PREFIX}{name}" for m, name in self._routes)
            return _reply(404, {"message": f"there is no {method} {path}, only {routes}"})
        try:
            values = json.loads(body or b"{}")
            return _reply(200, route(values))
        except ApiError as error:
            return _reply(400, {"code": error.code, "message": str(error)})
        except (TypeError, ValueError) as error:
            return _reply(400, {"message": f"{method} {path}: {error}"})

    def _data_plane(self) -> DataPlane:
        return DataPlane(
            listeners=tuple(
                self._listener(listener, action["TargetGroupArn"])
                for (account, region, _), listener in list(alb._listeners._data.items())
                if is_network(alb._lbs.get_scoped(account, region, listener["LoadBalancerArn"]))
                for action in listener["DefaultActions"]
                if "TargetGroupArn" in action
            ),
            connections=tuple(
                RoutedConnection(
                    service_id=service.id,
                    service_name=service.name,
                    load_balancer_arns=tuple(service.load_balancer_arns),
                    endpoint_id=connection.endpoint_id,
                    consumer_account=connection.consumer.account,
                    state=str(connection.state),
                )
                for service in self._services
                for connection in list(service.connections.values())
            ),
        )

    def _listener(self, listener: Mapping[str, Any], group_arn: str) -> RoutedListener:
        attributes = group_attributes(group_arn)
        return RoutedListener(
            load_balancer_arn=listener["LoadBalancerArn"],
            listener_port=listener["Port"],
            target_group_arn=group_arn,
            targets=tuple(
                RoutedTarget(
                    address=health.address,
                    port=health.port,
                    state=str(health.state),
                    allowed=health.allowed,
                )
                for health in self._groups.get(group_arn).describe()
                if health.address is not None
            ),
            connection_termination=(
                attributes["deregistration_delay.connection_termination.enabled"] == "true"
            ),
            unhealthy_termination=(
                attributes["target_health_state.unhealthy.connection_termination.enabled"] == "true"
            ),
        )


def _rds_event(values: Mapping[str, Any]) -> RdsEvent:
    return RdsEvent(**{**values, "source": RdsSource(values["source"])})


def _network_interface(values: Mapping[str, Any]) -> NetworkInterface:
    groups = tuple(values["security_group_ids"])
    return NetworkInterface(**{**values, "security_group_ids": groups})


def _reply(status: int, value: object) -> Reply:
    return status, json.dumps(value, default=str).encode()
