"""A client of the emulator's admin API."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lab.emulator.messages import (
    ClusterStatus,
    DataPlane,
    Fault,
    NetworkInterface,
    RdsEvent,
    RdsStatus,
    loopback_opener,
)

_TIMEOUT = 60.0


class EmulatorAdminError(Exception):
    """The emulator rejected a request or did not reply."""


@dataclass(frozen=True, slots=True)
class EmulatorAdmin:
    """The admin API of one emulator.

    Every method raises `EmulatorAdminError` if the emulator rejects the request or does not reply.

    Attributes:
        url: The emulator's own URL, for example `http://127.0.0.1:4566`.
    """

    url: str

    def is_ready(self) -> bool:
        """Return whether the emulator serves requests."""
        try:
            self._call("GET", "health")
        except EmulatorAdminError:
            return False
        return True

    def reset(self) -> None:
        """Delete all resources of all accounts."""
        self._call("POST", "reset")

    def data_plane(self) -> DataPlane:
        """Return the listeners, targets and endpoint connections."""
        return DataPlane.parse(self._call("GET", "data-plane"))

    def emit(self, event: RdsEvent) -> None:
        """Put an RDS event on the event bus of the database's account."""
        self._call("POST", "rds-events", asdict(event))

    def set_rds_status(self, status: RdsStatus) -> None:
        """Set the status and the zone in DescribeDBInstances."""
        self._call("POST", "rds-status", asdict(status))

    def set_cluster_status(self, status: ClusterStatus) -> None:
        """Set the status and the writer in DescribeDBClusters."""
        self._call("POST", "cluster-status", asdict(status))

    def put_network_interface(self, interface: NetworkInterface) -> None:
        """Give an address to a network interface. A server of RDS loses it."""
        self._call("POST", "network-interfaces", asdict(interface))

    def set_connection_state(self, endpoint_id: str, state: str) -> None:
        """Set the state of an endpoint connection."""
        self._call("POST", "connection-state", {"endpoint_id": endpoint_id, "state": state})

    def inject(self, fault: Fault) -> None:
        """Fail the next calls of an action."""
        self._call("POST", "faults", asdict(fault))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "faults")

    def elapse(self, seconds: float) -> None:
        """Make the metrics of functions and all connection requests older."""
        self._call("POST", "elapse", {"seconds": seconds})

    def keep_listed(self, target_group_arn: str) -> None:
        """Keep a target group in the tagging API, also after its deletion."""
        self._call("POST", "keep-listed", {"arn": target_group_arn})

    def kill_run(self, function: str) -> bool:
        """Kill the process of a run of a function; return whether there was one."""
        return bool(self._call("POST", "kill-run", {"function": function}))

    def calls(self) -> dict[str, int]:
        """Return the number of calls of each `service.Action` since `clear_calls`."""
        return dict(self._call("GET", "calls"))

    def clear_calls(self) -> None:
        """Reset the numbers of calls."""
        self._call("DELETE", "calls")

    def _call(self, method: str, name: str, values: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the lab's own loopback URL)
            f"{self.url}/_lab/{name}",
            data=None if values is None else json.dumps(values).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with loopback_opener().open(request, timeout=_TIMEOUT) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")
            raise EmulatorAdminError(f"the emulator rejected {method} {name}: {reason}") from error
        except OSError as error:
            raise EmulatorAdminError(
                f"the emulator at {self.url} does not reply to {method} {name}: {error}"
            ) from error
