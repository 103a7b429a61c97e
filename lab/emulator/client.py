"""The lab's hand on the emulator: a client of its admin API."""

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

_TIMEOUT = 10.0


class EmulatorAdminError(Exception):
    """The emulator refused what the lab asked for, or does not answer."""


@dataclass(frozen=True, slots=True)
class EmulatorAdmin:
    """The admin API of one emulator.

    Every method raises `EmulatorAdminError` when the emulator refuses or does not answer.

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
        """Forget every resource of every account."""
        self._call("POST", "reset")

    def data_plane(self) -> DataPlane:
        """Return where each load balancer's connections go now."""
        return DataPlane.parse(self._call("GET", "data-plane"))

    def emit(self, event: RdsEvent) -> None:
        """Put an RDS event on the event bus of the database's account."""
        self._call("POST", "rds-events", asdict(event))

    def set_rds_status(self, status: RdsStatus) -> None:
        """Set the status and the zone that DescribeDBInstances tells."""
        self._call("POST", "rds-status", asdict(status))

    def set_cluster_status(self, status: ClusterStatus) -> None:
        """Set the status and the writer that DescribeDBClusters tells."""
        self._call("POST", "cluster-status", asdict(status))

    def put_network_interface(self, interface: NetworkInterface) -> None:
        """Let an address belong to this network interface. A server of RDS that had it moves."""
        self._call("POST", "network-interfaces", asdict(interface))

    def inject(self, fault: Fault) -> None:
        """Let the next calls of an action fail."""
        self._call("POST", "faults", asdict(fault))

    def clear_faults(self) -> None:
        """Let nothing fail any more."""
        self._call("DELETE", "faults")

    def elapse(self, seconds: float) -> None:
        """Let what functions have written, and every connection request, be so much older."""
        self._call("POST", "elapse", {"seconds": seconds})

    def age_messages(self, queue_url: str, seconds: float) -> int:
        """Let so much time pass for the messages of a queue that no run has in hand.

        Returns how many there are.
        """
        return int(self._call("POST", "age-messages", {"queue_url": queue_url, "seconds": seconds}))

    def keep_listed(self, target_group_arn: str) -> None:
        """Let the tagging API list a target group as it is now, also once it is deleted."""
        self._call("POST", "keep-listed", {"arn": target_group_arn})

    def kill_run(self, function: str) -> bool:
        """Kill the process of a run of a function; return whether there was one."""
        return bool(self._call("POST", "kill-run", {"function": function}))

    def calls(self) -> dict[str, int]:
        """Return how often each `service.Action` was called since the count was cleared."""
        return dict(self._call("GET", "calls"))

    def clear_calls(self) -> None:
        """Count API calls from zero."""
        self._call("DELETE", "calls")

    def _call(self, method: str, name: str, values: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the lab's own loopback URL)
            f"{self.url}/_lab/{name}",
            data=None if values is None else json.dumps(values).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with loopback_opener().open(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")
            raise EmulatorAdminError(f"the emulator refused {method} {name}: {reason}") from error
        except OSError as error:
            raise EmulatorAdminError(
                f"the emulator at {self.url} does not answer {method} {name}: {error}"
            ) from error
