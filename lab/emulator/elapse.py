"""Lets time pass for what would take minutes to become old."""

from datetime import timedelta

from ministack.services import cloudwatch

from lab.emulator.endpoint_services import EndpointServices

#: The namespaces of AWS's own services. Their figures stay: a gap in them would be one more fault.
_OF_AWS = "AWS/"


def elapse(services: EndpointServices, *, seconds: float) -> None:
    """Let the metrics that functions wrote, and every endpoint connection, be so much older."""
    for (_account, _region, (namespace, *_)), points in list(cloudwatch._metrics._data.items()):
        if not namespace.startswith(_OF_AWS):
            for point in list(points):
                point["Timestamp"] -= seconds
    for service in services:
        for connection in list(service.connections.values()):
            connection.created -= timedelta(seconds=seconds)
