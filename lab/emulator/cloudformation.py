"""CloudFormation resource types that ministack lacks or creates differently from AWS.

A handler that raises fails its resource, so a rejected deletion ends in DELETE_FAILED.
Source: the CloudFormation resource reference of each type.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from ministack.services import alb, ec2
from ministack.services import cloudformation as service
from ministack.services.cloudformation import provisioners

from lab.emulator.endpoint_service_api import (
    change_load_balancers,
    check_load_balancers,
    check_regions,
)
from lab.emulator.endpoint_services import EndpointServices
from lab.emulator.errors import ApiError
from lab.emulator.load_balancers import (
    LISTENER_ATTRIBUTES,
    LOAD_BALANCER_ATTRIBUTES,
    TARGET_GROUP_ATTRIBUTES,
    check_attributes,
    check_group_unused,
    complete_target_group,
    full_name,
    is_layer_4,
    is_network,
    make_network,
    make_network_listener,
    name_as_aws,
    set_enforcement,
    with_target_group_defaults,
)
from lab.emulator.scope import Scope
from lab.emulator.security_groups import check_references
from lab.emulator.subnets import check_subnets

_Properties = Mapping[str, Any]
# The result of a create or an update: the physical ID and the attributes.
_Made = tuple[str, dict[str, Any]]

_LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_TARGET_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"
_LISTENER = "AWS::ElasticLoadBalancingV2::Listener"
_LOG_GROUP = "AWS::Logs::LogGroup"

# Seconds that DescribeStacks waits for the end of a deletion; less than the timeout of clients,
# which is 60 with the SAM CLI.
_DELETION_WAIT = 50.0
_POLL = 0.05


def install(services: EndpointServices, *, load_balancer_delay: float) -> None:
    """Add the resource types of a PrivateLink connection path to ministack's CloudFormation.

    A load balancer is created when it is active, ``load_balancer_delay`` seconds later.
    """
    _EndpointServiceTypes(services).install()
    _install_rule("AWS::EC2::SecurityGroupIngress", "IpPermissions")
    _install_rule("AWS::EC2::SecurityGroupEgress", "IpPermissionsEgress")
    _install_load_balancing(services, load_balancer_delay)
    _replace(_LOG_GROUP, "create", _creating_log_group)
    _replace(_LOG_GROUP, "update", _updating_log_group)
    service.handle_request = _after_deletions(service.handle_request)


def _after_deletions(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let DescribeStacks wait for the end of a deletion.

    `sam delete` polls only every 30 seconds, and has no option for it.
    """

    async def wrapped(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Any:
        given = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if given.get("Action") == "DescribeStacks":
            deadline = time.monotonic() + _DELETION_WAIT
            while _is_deleting(given.get("StackName", "")) and time.monotonic() < deadline:
                await asyncio.sleep(_POLL)
        return await handle(method, path, headers, body, query)

    return wrapped


def _is_deleting(name: str) -> bool:
    return any(
        stack["StackStatus"] == "DELETE_IN_PROGRESS"
        and name in {stack["StackName"], stack["StackId"]}
        for stack in service._stacks.values()
    )


def _register(
    name: str,
    *,
    create: Callable[..., _Made],
    delete: Callable[..., None],
    update: Callable[..., _Made] | None = None,
    replaced_by: tuple[str, ...],
) -> None:
    """Add a resource type; a change of a property in `replaced_by` replaces the resource."""
    entry: dict[str, Any] = {"create": create, "delete": delete}
    if update is not None:
        entry |= {"update": update, "update_with_logical_id": True}
    provisioners._RESOURCE_HANDLERS[name] = entry
    provisioners._REPLACING_PROPERTIES[name] = replaced_by


def _flag(value: object) -> bool:
    return str(value).lower() == "true"


class _EndpointServiceTypes:
    """The three types around an endpoint service."""

    def __init__(self, services: EndpointServices) -> None:
        self._services = services

    def install(self) -> None:
        provisioners._STACK_TAG_PROPERTY["AWS::EC2::VPCEndpointService"] = ("Tags", "list")
        _register(
            "AWS::EC2::VPCEndpointService",
            create=self._create_service,
            update=self._update_service,
            delete=self._delete_service,
            replaced_by=(),
        )
        _register(
            "AWS::EC2::VPCEndpointServicePermissions",
            create=self._create_permissions,
            update=self._update_permissions,
            delete=self._delete_permissions,
            replaced_by=("ServiceId",),
        )
        _register(
            "AWS::EC2::VPCEndpointConnectionNotification",
            create=self._create_notification,
            update=self._update_notification,
            delete=self._delete_notification,
            replaced_by=("ServiceId", "VPCEndpointId"),
        )

    def _create_service(self, _logical_id: str, properties: _Properties, _stack: str) -> _Made:
        arns = properties.get("NetworkLoadBalancerArns", [])
        check_load_balancers(arns)
        check_regions(arns, properties.get("SupportedRegions", ()))
        service = self._services.create(
            Scope.current(),
            load_balancer_arns=arns,
            acceptance_required=_flag(properties.get("AcceptanceRequired", True)),
            ip_address_types=properties.get("SupportedIpAddressTypes", ()),
            regions=properties.get("SupportedRegions", ()),
        )
        provisioners._ec2_apply_tags(service.id, properties)
        return service.id, {"ServiceId": service.id}

    def _update_service(
        self, id_: str, old: _Properties, new: _Properties, _stack: str, _logical_id: str
    ) -> _Made:
        service = self._services.find(Scope.current(), id_)
        desired = new.get("NetworkLoadBalancerArns", [])
        change_load_balancers(
            service,
            add=[arn for arn in desired if arn not in service.load_balancer_arns],
            remove=[arn for arn in service.load_balancer_arns if arn not in desired],
        )
        regions = new.get("SupportedRegions", ())
        check_regions(desired, regions)
        service.regions = list(regions) or [Scope.current().region]
        service.acceptance_required = _flag(new.get("AcceptanceRequired", True))
        provisioners._ec2_apply_tags(id_, new, old)
        return id_, {"ServiceId": id_}

    def _delete_service(self, id_: str, _properties: _Properties) -> None:
        self._services.delete(Scope.current(), id_)
        ec2._tags.pop(id_, None)

    def _create_permissions(self, _logical_id: str, properties: _Properties, _stack: str) -> _Made:
        service = self._services.find(Scope.current(), properties["ServiceId"])
        service.permit(properties.get("AllowedPrincipals", []), [])
        return f"{service.id}|permissions", {}

    def _update_permissions(
        self, id_: str, old: _Properties, new: _Properties, _stack: str, _logical_id: str
    ) -> _Made:
        desired = new.get("AllowedPrincipals", [])
        gone = [p for p in old.get("AllowedPrincipals", []) if p not in desired]
        self._services.find(Scope.current(), new["ServiceId"]).permit(desired, gone)
        return id_, {}

    def _delete_permissions(self, _id: str, properties: _Properties) -> None:
        service = self._services.find(Scope.current(), properties["ServiceId"])
        service.permit([], properties.get("AllowedPrincipals", []))

    def _create_notification(self, _logical_id: str, properties: _Properties, _stack: str) -> _Made:
        notification = self._services.notify(
            Scope.current(),
            service_id=properties["ServiceId"],
            topic_arn=properties["ConnectionNotificationArn"],
            events=properties["ConnectionEvents"],
        )
        return notification.id, {"VPCEndpointConnectionNotificationId": notification.id}

    def _update_notification(
        self, id_: str, _old: _Properties, new: _Properties, _stack: str, _logical_id: str
    ) -> _Made:
        notification = self._services.notification(Scope.current(), id_)
        notification.topic_arn = new["ConnectionNotificationArn"]
        notification.events = list(new["ConnectionEvents"])
        return id_, {"VPCEndpointConnectionNotificationId": id_}

    def _delete_notification(self, id_: str, _properties: _Properties) -> None:
        self._services.stop_notifying(Scope.current(), id_)


def _install_rule(name: str, store: str) -> None:
    """Add a type for one rule of a security group, which may be outside the stack."""

    def create(logical_id: str, properties: _Properties, stack: str) -> _Made:
        group = ec2._security_groups.get(properties["GroupId"])
        if group is None:
            raise ApiError(
                "InvalidGroup.NotFound",
                f"The security group '{properties['GroupId']}' does not exist",
            )
        permissions = provisioners._ec2_sg_permissions([properties])
        check_references(group, permissions)
        group[store] = [*group[store], *permissions]
        id_ = f"sgr-{stack}-{logical_id}".lower()
        return id_, {"Id": id_}

    def delete(_id: str, properties: _Properties) -> None:
        group = ec2._security_groups.get(properties["GroupId"])
        (rule,) = provisioners._ec2_sg_permissions([properties])
        if group is not None and rule in group[store]:
            group[store].remove(rule)

    _register(
        name,
        create=create,
        delete=delete,
        replaced_by=(
            "CidrIp", "CidrIpv6", "FromPort", "GroupId", "IpProtocol", "SourcePrefixListId",
            "SourceSecurityGroupId", "DestinationPrefixListId", "DestinationSecurityGroupId",
            "ToPort", "Description",
        ),
    )  # fmt: skip


def _replace(name: str, kind: str, wrap: Callable[[Any], Any]) -> None:
    """Wrap a handler of ministack, also where its own code calls it by name."""
    entry = provisioners._RESOURCE_HANDLERS[name]
    original = entry[kind]
    entry[kind] = wrapped = wrap(original)
    setattr(provisioners, original.__name__, wrapped)


def _install_load_balancing(services: EndpointServices, delay: float) -> None:
    _replace(_LOAD_BALANCER, "create", lambda create: _creating_load_balancer(create, delay))
    _replace(_LOAD_BALANCER, "update", _updating_load_balancer)
    _replace(_LOAD_BALANCER, "delete", lambda delete: _deleting_load_balancer(delete, services))
    _replace(_TARGET_GROUP, "create", _creating_target_group)
    _replace(_TARGET_GROUP, "update", _updating_target_group)
    _replace(_TARGET_GROUP, "delete", _deleting_target_group)
    _replace(_LISTENER, "create", _creating_listener)


def _load_balancer_attributes(arn: str) -> dict[str, Any]:
    record = alb._lbs[arn]
    return {
        "LoadBalancerArn": arn,
        "LoadBalancerName": record["LoadBalancerName"],
        "LoadBalancerFullName": full_name(record),
        "DNSName": record["DNSName"],
        "CanonicalHostedZoneID": "Z26RNL4JYFTOTI",
        "SecurityGroups": record["SecurityGroups"],
    }


def _enforcement(properties: _Properties) -> str | None:
    return properties.get("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic")


def _declared(
    properties: _Properties, name: str, known: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    """Return the attributes of a template, after a check of their keys."""
    declared: Sequence[Mapping[str, Any]] = properties.get(name, ())
    check_attributes([attribute["Key"] for attribute in declared], known)
    return declared


def _creating_load_balancer(create: Callable[..., _Made], delay: float) -> Callable[..., _Made]:
    def handler(logical_id: str, properties: _Properties, stack: str) -> _Made:
        if not is_network({"Type": properties.get("Type")}):
            return create(logical_id, properties, stack)
        attributes = _declared(properties, "LoadBalancerAttributes", LOAD_BALANCER_ATTRIBUTES)
        check_subnets(properties.get("Subnets", ()))
        plain_arn, _ = create(logical_id, properties, stack)
        record = make_network(plain_arn, attributes=attributes, enforce=_enforcement(properties))
        arn = record["LoadBalancerArn"]
        # In a thread of the stack.
        time.sleep(delay)
        return arn, _load_balancer_attributes(arn)

    return handler


def _updating_load_balancer(update: Callable[..., _Made]) -> Callable[..., _Made]:
    def handler(arn: str, old: _Properties, new: _Properties, *rest: Any) -> _Made:
        if not is_network(alb._lbs[arn]):
            return update(arn, old, new, *rest)
        _declared(new, "LoadBalancerAttributes", LOAD_BALANCER_ATTRIBUTES)
        check_subnets(set(new.get("Subnets", ())) - set(old.get("Subnets", ())))
        arn, _ = update(arn, old, new, *rest)
        set_enforcement(alb._lbs[arn], _enforcement(new))
        return arn, _load_balancer_attributes(arn)

    return handler


def _deleting_load_balancer(
    delete: Callable[..., None], services: EndpointServices
) -> Callable[..., None]:
    def handler(arn: str, properties: _Properties) -> None:
        if services.uses(arn):
            raise ApiError(
                "ResourceInUse",
                f"Load balancer '{arn}' cannot be deleted because it is currently associated "
                "with another service",
            )
        delete(arn, properties)

    return handler


def _creating_target_group(create: Callable[..., _Made]) -> Callable[..., _Made]:
    def handler(logical_id: str, properties: _Properties, stack: str) -> _Made:
        if not is_layer_4(properties.get("Protocol")):
            return create(logical_id, properties, stack)
        declared = _declared(properties, "TargetGroupAttributes", TARGET_GROUP_ATTRIBUTES)
        made, attributes = create(logical_id, with_target_group_defaults(properties), stack)
        arn = name_as_aws(made)
        complete_target_group(arn, declared)
        return arn, {
            name: value.replace(made.rpartition("/")[2], arn.rpartition("/")[2])
            if isinstance(value, str)
            else value
            for name, value in attributes.items()
        }

    return handler


def _updating_target_group(update: Callable[..., _Made]) -> Callable[..., _Made]:
    def handler(arn: str, old: _Properties, new: _Properties, *rest: Any) -> _Made:
        if is_layer_4(new.get("Protocol")):
            _declared(new, "TargetGroupAttributes", TARGET_GROUP_ATTRIBUTES)
        return update(arn, old, with_target_group_defaults(new), *rest)

    return handler


def _deleting_target_group(delete: Callable[..., None]) -> Callable[..., None]:
    def handler(arn: str, properties: _Properties) -> None:
        check_group_unused(arn)
        delete(arn, properties)

    return handler


def _creating_log_group(create: Callable[..., _Made]) -> Callable[..., _Made]:
    """Name a log group without a name as CloudFormation does, because policies use the name."""

    def handler(logical_id: str, properties: _Properties, stack: str) -> _Made:
        name = provisioners._physical_name(stack, logical_id)
        return create(logical_id, {"LogGroupName": name, **properties}, stack)

    return handler


def _updating_log_group(update: Callable[..., _Made]) -> Callable[..., _Made]:
    def handler(name: str, old: _Properties, new: _Properties, *rest: Any) -> _Made:
        kept = {"LogGroupName": name}
        return update(name, {**kept, **old}, {**kept, **new}, *rest)

    return handler


def _creating_listener(create: Callable[..., _Made]) -> Callable[..., _Made]:
    def handler(logical_id: str, properties: _Properties, stack: str) -> _Made:
        if not is_network(alb._lbs[properties["LoadBalancerArn"]]):
            return create(logical_id, properties, stack)
        declared = _declared(properties, "ListenerAttributes", LISTENER_ATTRIBUTES)
        plain_arn, _ = create(logical_id, properties, stack)
        arn = make_network_listener(plain_arn, declared)["ListenerArn"]
        return arn, {"ListenerArn": arn}

    return handler
