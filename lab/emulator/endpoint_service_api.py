"""The EC2 API of endpoint services, for providers and consumers."""

import functools
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ministack.services import alb, ec2, sns

from lab.emulator.endpoint_services import (
    ConnectionEvent,
    ConnectionNotification,
    ConnectionState,
    EndpointConnection,
    EndpointService,
    EndpointServices,
    matches,
    principal_type,
)
from lab.emulator.errors import ApiError, Handler, rendering_errors
from lab.emulator.load_balancers import LISTENER_ATTRIBUTES, is_network
from lab.emulator.scope import Scope
from lab.emulator.wire import element, elements

_Params = Mapping[str, Any]
_PUBLISHER = "vpce.amazonaws.com"
_logger = logging.getLogger("lab.endpoint_services")


def install(services: EndpointServices) -> None:
    """Serve endpoint services from ministack's EC2 API."""
    services.publish = publish
    _Provider(services).install()
    _Consumer(services).install()
    ec2.reset = _resetting(ec2.reset, services)


def publish(
    notification: ConnectionNotification, event: ConnectionEvent, connection: EndpointConnection
) -> None:
    """Publish a connection's event to the notification's topic, if the topic's policy allows it.

    AWS does not document the message. This one names the event, the service and the endpoint. As on
    AWS, only the service's log shows a rejected message.
    """
    owner = notification.owner
    arn = f"arn:aws:ec2:{owner.region}:{owner.account}:vpc-endpoint-service"
    message = {
        "Event": str(event),
        "ServiceId": notification.service_id,
        "VpcEndpointId": connection.endpoint_id,
        "VpcEndpointOwner": connection.consumer.account,
    }
    with owner.entered():
        if sns.topic_policy_allows(
            notification.topic_arn, _PUBLISHER, f"{arn}/{notification.service_id}", owner.account
        ):
            sns.publish_internal(
                notification.topic_arn, json.dumps(message), "VPC Endpoint Connection Notification"
            )
        else:
            _logger.warning("%s does not allow %s to publish", notification.topic_arn, _PUBLISHER)


def check_load_balancers(arns: Iterable[str]) -> None:
    """Check that these are Network Load Balancers of the caller.

    Raises:
        ApiError: `InvalidNetworkLoadBalancerArn.NotFound`.
    """
    for arn in arns:
        record = alb._lbs.get(arn)
        if record is None or not is_network(record):
            raise ApiError(
                "InvalidNetworkLoadBalancerArn.NotFound",
                f"The Network Load Balancer '{arn}' does not exist",
            )


def check_regions(arns: Iterable[str], regions: Collection[str]) -> None:
    """Check that no listener of a service for other Regions has a custom idle timeout.

    Source: Network Load Balancer guide, "Listeners". AWS does not document the error code.

    Raises:
        ApiError: `InvalidParameter`.
    """
    custom = any(
        str(attribute["Value"]) != LISTENER_ATTRIBUTES[attribute["Key"]]
        for listener in alb._listeners.values()
        if listener["LoadBalancerArn"] in arns
        for attribute in alb._listener_attrs[listener["ListenerArn"]]
    )
    if regions and custom:
        raise ApiError(
            "InvalidParameter",
            "A custom idle timeout is not supported for a service in other Regions",
        )


def _resetting(reset: Callable[[], None], services: EndpointServices) -> Callable[[], None]:
    def handler() -> None:
        services.clear()
        reset()

    return handler


def _error(code: str, message: str) -> Any:
    return ec2._error(code, message, 400)


def _response(action: str, values: Mapping[str, object]) -> Any:
    return ec2._xml(200, f"{action}Response", elements(values))


def _flag(params: _Params, name: str) -> bool | None:
    text = ec2._p(params, name)
    return None if not text else text.lower() == "true"


def _page(action: str, key: str, entries: Sequence[object], params: _Params) -> Any:
    """Reply with one page of a list; the token is the position of the next entry."""
    start = int(ec2._p(params, "NextToken") or 0)
    end = start + int(ec2._p(params, "MaxResults") or len(entries) or 1)
    token = str(end) if end < len(entries) else None
    return _response(action, {key: entries[start:end], "nextToken": token})


def _unsuccessful(ids: Iterable[str], act: Callable[[str], None]) -> list[dict[str, object]]:
    """Act on each ID; return the failures in the form of `UnsuccessfulItem`."""
    failed: list[dict[str, object]] = []
    for id_ in ids:
        try:
            act(id_)
        except ApiError as error:
            failed.append({"resourceId": id_, "error": {"code": error.code, "message": str(error)}})
    return failed


def _install(handlers: Mapping[str, Handler]) -> None:
    for action, handler in handlers.items():
        ec2._ACTION_MAP[action] = rendering_errors(handler, _error)


class _Provider:
    """The calls of the owner of a service."""

    def __init__(self, services: EndpointServices) -> None:
        self._services = services

    def install(self) -> None:
        _install(
            {
                "CreateVpcEndpointServiceConfiguration": self._create,
                "DescribeVpcEndpointServiceConfigurations": self._describe,
                "ModifyVpcEndpointServiceConfiguration": self._modify,
                "DeleteVpcEndpointServiceConfigurations": self._delete,
                "ModifyVpcEndpointServicePermissions": self._permit,
                "DescribeVpcEndpointServicePermissions": self._describe_permissions,
                "DescribeVpcEndpointConnections": self._describe_connections,
                "AcceptVpcEndpointConnections": functools.partial(
                    self._decide, "AcceptVpcEndpointConnections", ConnectionState.AVAILABLE
                ),
                "RejectVpcEndpointConnections": functools.partial(
                    self._decide, "RejectVpcEndpointConnections", ConnectionState.REJECTED
                ),
                "CreateVpcEndpointConnectionNotification": self._notify,
                "DescribeVpcEndpointConnectionNotifications": self._describe_notifications,
                "DeleteVpcEndpointConnectionNotifications": self._stop_notifying,
            }
        )

    def _service(self, params: _Params) -> EndpointService:
        return self._services.find(Scope.current(), ec2._p(params, "ServiceId"))

    def _create(self, params: _Params) -> Any:
        arns = ec2._parse_member_list(params, "NetworkLoadBalancerArn")
        check_load_balancers(arns)
        service = self._services.create(
            Scope.current(),
            load_balancer_arns=arns,
            acceptance_required=_flag(params, "AcceptanceRequired") is not False,
            ip_address_types=ec2._parse_member_list(params, "SupportedIpAddressType"),
            regions=ec2._parse_member_list(params, "SupportedRegion"),
        )
        ec2._parse_tag_specs(params, "vpc-endpoint-service", service.id)
        return _response(
            "CreateVpcEndpointServiceConfiguration",
            {"serviceConfiguration": _configuration(service)},
        )

    def _describe(self, params: _Params) -> Any:
        wanted = ec2._parse_member_list(params, "ServiceId")
        filters = ec2._parse_filters(params)
        found = [
            _configuration(service)
            for service in self._services.owned(Scope.current(), wanted)
            if matches(
                {
                    "service-id": service.id,
                    "service-name": service.name,
                    "service-state": "Available",
                },
                filters,
            )
        ]
        return _page(
            "DescribeVpcEndpointServiceConfigurations", "serviceConfigurationSet", found, params
        )

    def _modify(self, params: _Params) -> Any:
        service = self._service(params)
        acceptance = _flag(params, "AcceptanceRequired")
        change_load_balancers(
            service,
            add=ec2._parse_member_list(params, "AddNetworkLoadBalancerArn"),
            remove=ec2._parse_member_list(params, "RemoveNetworkLoadBalancerArn"),
        )
        if acceptance is not None:
            service.acceptance_required = acceptance
        return _response("ModifyVpcEndpointServiceConfiguration", {"return": True})

    def _delete(self, params: _Params) -> Any:
        ids = ec2._parse_member_list(params, "ServiceId")
        owner = Scope.current()
        failed = _unsuccessful(ids, functools.partial(self._services.delete, owner))
        return _response("DeleteVpcEndpointServiceConfigurations", {"unsuccessful": failed})

    def _permit(self, params: _Params) -> Any:
        self._service(params).permit(
            ec2._parse_member_list(params, "AddAllowedPrincipals"),
            ec2._parse_member_list(params, "RemoveAllowedPrincipals"),
        )
        return _response("ModifyVpcEndpointServicePermissions", {"returnValue": True})

    def _describe_permissions(self, params: _Params) -> Any:
        service = self._service(params)
        filters = ec2._parse_filters(params)
        found = [
            {
                "principalType": principal_type(principal),
                "principal": principal,
                "servicePermissionId": permission_id,
                "serviceId": service.id,
            }
            for principal, permission_id in service.principals.items()
            if matches(
                {"principal": principal, "principal-type": principal_type(principal)}, filters
            )
        ]
        return _page("DescribeVpcEndpointServicePermissions", "allowedPrincipals", found, params)

    def _describe_connections(self, params: _Params) -> Any:
        filters = ec2._parse_filters(params)
        found = [
            {
                "serviceId": service.id,
                "vpcEndpointId": connection.endpoint_id,
                "vpcEndpointOwner": connection.consumer.account,
                "vpcEndpointState": connection.state,
                "creationTimestamp": connection.created,
                "ipAddressType": "ipv4",
                "networkLoadBalancerArnSet": service.load_balancer_arns,
                "vpcEndpointRegion": connection.consumer.region,
            }
            for service in self._services.owned(Scope.current())
            for connection in service.connections.values()
            if matches(
                {
                    "service-id": service.id,
                    "vpc-endpoint-id": connection.endpoint_id,
                    "vpc-endpoint-owner": connection.consumer.account,
                    "vpc-endpoint-state": connection.state,
                    "vpc-endpoint-region": connection.consumer.region,
                    "ip-address-type": "ipv4",
                },
                filters,
            )
        ]
        return _page("DescribeVpcEndpointConnections", "vpcEndpointConnectionSet", found, params)

    def _decide(self, action: str, state: ConnectionState, params: _Params) -> Any:
        service = self._service(params)
        ids = ec2._parse_member_list(params, "VpcEndpointId")
        failed = _unsuccessful(ids, functools.partial(self._services.decide, service, state=state))
        return _response(action, {"unsuccessful": failed})

    def _notify(self, params: _Params) -> Any:
        notification = self._services.notify(
            Scope.current(),
            service_id=ec2._p(params, "ServiceId"),
            topic_arn=ec2._p(params, "ConnectionNotificationArn"),
            events=ec2._parse_member_list(params, "ConnectionEvents"),
        )
        return _response(
            "CreateVpcEndpointConnectionNotification",
            {"connectionNotification": _notification(notification)},
        )

    def _describe_notifications(self, params: _Params) -> Any:
        wanted = ec2._p(params, "ConnectionNotificationId")
        found = [
            _notification(notification)
            for notification in self._services.notifications(Scope.current())
            if wanted in ("", notification.id)
        ]
        return _page(
            "DescribeVpcEndpointConnectionNotifications", "connectionNotificationSet", found, params
        )

    def _stop_notifying(self, params: _Params) -> Any:
        ids = ec2._parse_member_list(params, "ConnectionNotificationId")
        owner = Scope.current()
        failed = _unsuccessful(ids, functools.partial(self._services.stop_notifying, owner))
        return _response("DeleteVpcEndpointConnectionNotifications", {"unsuccessful": failed})


def change_load_balancers(
    service: EndpointService, *, add: Collection[str], remove: Collection[str]
) -> None:
    """Change the load balancers of a service.

    Raises:
        ApiError: `InvalidNetworkLoadBalancerArn.NotFound`, `ExistingVpcEndpointConnections`.
    """
    if not add and not remove:
        return
    check_load_balancers(add)
    service.check_no_open_connections()
    kept = [arn for arn in service.load_balancer_arns if arn not in remove]
    service.load_balancer_arns = list(dict.fromkeys([*kept, *add]))


def _configuration(service: EndpointService) -> dict[str, object]:
    zones = {
        ec2._subnets[subnet]["AvailabilityZone"]
        for arn in service.load_balancer_arns
        for subnet in alb._lbs[arn]["Subnets"]
    }
    return {
        "serviceType": [{"serviceType": "Interface"}],
        "serviceId": service.id,
        "serviceName": service.name,
        "serviceState": "Available",
        "availabilityZoneSet": sorted(zones),
        "acceptanceRequired": service.acceptance_required,
        "managesVpcEndpoints": False,
        "networkLoadBalancerArnSet": service.load_balancer_arns,
        "supportedIpAddressTypeSet": service.ip_address_types,
        "baseEndpointDnsNameSet": [f"{service.id}.{service.owner.region}.vpce.amazonaws.com"],
        "supportedRegionSet": [
            {"region": region, "serviceState": "Available"} for region in service.regions
        ],
        "tagSet": [
            {"key": tag["Key"], "value": tag["Value"]} for tag in ec2._tags.get(service.id, [])
        ],
    }


def _notification(notification: ConnectionNotification) -> dict[str, object]:
    return {
        "connectionNotificationId": notification.id,
        "serviceId": notification.service_id,
        "connectionNotificationType": "Topic",
        "connectionNotificationArn": notification.topic_arn,
        "connectionEvents": notification.events,
        "connectionNotificationState": "Enabled",
    }


class _Consumer:
    """The calls of the owner of an interface endpoint."""

    def __init__(self, services: EndpointServices) -> None:
        self._services = services
        self._create_plain = ec2._create_vpc_endpoint
        self._modify_plain = ec2._modify_vpc_endpoint
        self._delete_plain = ec2._delete_vpc_endpoints
        self._fields_plain = ec2._vpce_fields_xml

    def install(self) -> None:
        ec2._vpce_fields_xml = self._fields
        _install(
            {
                "CreateVpcEndpoint": self._create,
                "DescribeVpcEndpoints": self._describe,
                "ModifyVpcEndpoint": self._modify,
                "DeleteVpcEndpoints": self._delete,
            }
        )

    def _create(self, params: _Params) -> Any:
        name = ec2._p(params, "ServiceName")
        if ".vpce-svc-" not in name:
            return self._create_plain(params)
        consumer = Scope.current()
        self._services.offered(consumer, name)
        kind = ec2._p(params, "VpcEndpointType") or "Gateway"
        if kind != "Interface":
            raise ApiError(
                "InvalidParameter",
                f"Endpoint type ({kind}) does not match available service types ([Interface])",
            )
        known = set(ec2._vpc_endpoints)
        self._create_plain(params)
        (endpoint_id,) = set(ec2._vpc_endpoints) - known
        self._services.connect(consumer, name, endpoint_id)
        record = ec2._vpc_endpoints[endpoint_id]
        return ec2._xml(200, "CreateVpcEndpointResponse", self._fields(record, tag="vpcEndpoint"))

    def _describe(self, params: _Params) -> Any:
        wanted = ec2._parse_member_list(params, "VpcEndpointId")
        filters = ec2._parse_filters(params)
        for endpoint_id in wanted:
            if endpoint_id not in ec2._vpc_endpoints:
                raise ApiError(
                    "InvalidVpcEndpointId.NotFound",
                    f"The Vpc Endpoint Id '{endpoint_id}' does not exist",
                )
        items = "".join(
            self._fields(record)
            for record in ec2._vpc_endpoints.values()
            if (not wanted or record["VpcEndpointId"] in wanted)
            and matches(
                {
                    "vpc-endpoint-id": record["VpcEndpointId"],
                    "vpc-endpoint-type": record["VpcEndpointType"],
                    "vpc-endpoint-state": self._state(record),
                    "vpc-id": record["VpcId"],
                    "service-name": record["ServiceName"],
                },
                filters,
            )
        )
        return ec2._xml(
            200, "DescribeVpcEndpointsResponse", f"<vpcEndpointSet>{items}</vpcEndpointSet>"
        )

    def _modify(self, params: _Params) -> Any:
        response = self._modify_plain(params)
        private_dns = _flag(params, "PrivateDnsEnabled")
        if response[0] == 200 and private_dns is not None:
            ec2._vpc_endpoints[ec2._p(params, "VpcEndpointId")]["PrivateDnsEnabled"] = private_dns
        return response

    def _delete(self, params: _Params) -> Any:
        for endpoint_id in ec2._parse_member_list(params, "VpcEndpointId"):
            if endpoint_id in ec2._vpc_endpoints:
                self._services.disconnect(endpoint_id)
        return self._delete_plain(params)

    def _state(self, record: Mapping[str, Any]) -> str:
        connection = self._services.connection(record["VpcEndpointId"])
        return str(record["State"] if connection is None else connection.state)

    def _fields(self, record: Mapping[str, Any], tag: str = "item") -> str:
        """Return ministack's fields with the state of the connection and the DNS names."""
        plain: str = self._fields_plain({**record, "State": self._state(record)}, tag=tag)
        private_dns = element("privateDnsEnabled", bool(record.get("PrivateDnsEnabled")))
        plain = plain.removesuffix(f"</{tag}>") + private_dns + f"</{tag}>"
        service_id = str(record["ServiceName"]).rpartition(".")[2]
        if not service_id.startswith("vpce-svc-"):
            return plain
        endpoint_id = record["VpcEndpointId"]
        name = f"{endpoint_id}-{endpoint_id[5:13]}.{service_id}.{ec2.get_region()}"
        names = element("dnsEntrySet", [{"dnsName": f"{name}.vpce.amazonaws.com"}])
        return plain.removesuffix(f"</{tag}>") + names + f"</{tag}>"
