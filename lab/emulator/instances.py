"""EC2 instances: addresses of their subnet, and events of their states.

Source: EC2 user guide, "State change events for your instances" (the event, the states) and
"Private IPv4 addresses". A launch without an address gets the lowest free address of its subnet in
the lab's address plan, so that a server can have it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ministack.services import ec2, eventbridge

from lab.addresses import AddressPlan
from lab.emulator.errors import Handler
from lab.emulator.scope import Scope

# AWS reserves the first addresses of a subnet.
_RESERVED = 4


def install(plan: AddressPlan) -> None:
    """Give ministack's instances addresses of their subnets and events of their states."""
    ec2._launch_instances_internal = _placing(ec2._launch_instances_internal, plan)
    ec2._instance_xml = _without_empty_addresses(ec2._instance_xml)
    actions = ec2._ACTION_MAP
    for action, states in (
        ("StartInstances", ("pending", "running")),
        ("StopInstances", ("stopping", "stopped")),
        ("TerminateInstances", ("shutting-down", "terminated")),
    ):
        actions[action] = _emitting(actions[action], states)


def launch(subnet_id: str) -> str:
    """Launch an instance without RunInstances; return its ID."""
    (record,) = ec2._launch_instances_internal("ami-lab", "t4g.micro", subnet_id, 1)
    return str(record["InstanceId"])


def terminate(instance_id: str) -> None:
    """Terminate an instance without a request."""
    ec2._ACTION_MAP["TerminateInstances"]({"InstanceId.1": instance_id})


def _placing(
    launch_instances: Callable[..., list[dict[str, Any]]], plan: AddressPlan
) -> Callable[..., list[dict[str, Any]]]:
    def wrapped(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        launched = launch_instances(*args, **kwargs)
        for instance in launched:
            subnet = ec2._subnets[instance["SubnetId"]]
            instance["Placement"]["AvailabilityZone"] = subnet["AvailabilityZone"]
            if not kwargs.get("requested_private_ip"):
                instance["PrivateIpAddress"] = ""
                instance["PrivateIpAddress"] = str(free_address(subnet, plan))
            instance["PublicIpAddress"] = instance["PublicDnsName"] = ""
            _emit_states(instance["InstanceId"], ("pending", "running"))
        return launched

    return wrapped


def free_address(subnet: Mapping[str, Any], plan: AddressPlan) -> IPv4Address:
    """Return the lowest free address of a subnet, in the plan if possible."""
    network = IPv4Network(subnet["CidrBlock"])
    taken = {
        holder["PrivateIpAddress"]
        for holders in (ec2._instances, ec2._network_interfaces)
        for holder in holders.values()
        if holder["VpcId"] == subnet["VpcId"]
    }
    planned = sorted({endpoint.address for endpoint in plan.sockets} & set(network))
    candidates = [*planned, *list(network.hosts())[_RESERVED:]]
    return next(address for address in candidates if str(address) not in taken)


def _emitting(handle: Handler, states: Sequence[str]) -> Handler:
    """Emit the states of instances, and remove the address of terminated ones."""

    def handler(params: Mapping[str, Any]) -> Any:
        response = handle(params)
        if response[0] == 200:
            for instance_id in ec2._parse_member_list(params, "InstanceId"):
                if states[-1] == "terminated":
                    ec2._instances[instance_id]["PrivateIpAddress"] = ""
                _emit_states(instance_id, states)
        return response

    return handler


def _emit_states(instance_id: str, states: Sequence[str]) -> None:
    scope = Scope.current()
    entries = [
        {
            "Source": "aws.ec2",
            "DetailType": "EC2 Instance State-change Notification",
            "Detail": json.dumps({"instance-id": instance_id, "state": state}),
            "Resources": [f"arn:aws:ec2:{scope.region}:{scope.account}:instance/{instance_id}"],
        }
        for state in states
    ]
    eventbridge._put_events({"Entries": entries}, allow_aws_source=True)


def _without_empty_addresses(
    render: Callable[[Mapping[str, Any]], str],
) -> Callable[[Mapping[str, Any]], str]:
    """Omit empty addresses, as AWS does."""

    def wrapped(instance: Mapping[str, Any]) -> str:
        xml = render(instance)
        for name in ("privateIpAddress", "ipAddress"):
            xml = xml.replace(f"<{name}></{name}>", "")
        return xml

    return wrapped
