"""Makes metrics and connections older, so that tests need not wait for minutes.

The admin API alone uses it.
"""

from datetime import timedelta

from ministack.services import cloudwatch

from lab.emulator.endpoint_services import EndpointServices

#: The namespaces of AWS's services, whose metrics stay: a gap would be another fault.
_OF_AWS = "AWS/"


def elapse(services: EndpointServices, *, seconds: float) -> None:
    """Make the metrics of functions and all endpoint connections older."""
    for (_account, _region, (namespace, *_)), points in list(cloudwatch._metrics._data.items()):
        if not namespace.startswith(_OF_AWS):
            for point in list(points):
                point["Timestamp"] -= seconds
    for service in services:
        for connection in list(service.connections.values()):
            connection.created -= timedelta(seconds=seconds)
