"""Observes all target groups behind a load balancer, and reports empty ones and stray targets."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from drill.polling import PollingThread
from lab.addresses import Endpoint
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.observer import registered


class FleetObserver(PollingThread):
    """Takes snapshots of all target groups while its block runs.

    Attributes:
        snapshots: The number of snapshots.
    """

    def __init__(self, admin: EmulatorAdmin) -> None:
        super().__init__("fleet observer")
        self._admin = admin
        self._seen = defaultdict[str, set[Endpoint]](set)
        self._emptied = set[str]()
        self.snapshots = 0

    @property
    def emptied(self) -> Collection[str]:
        """The groups without a registered target in a snapshot after one with a target."""
        return set(self._emptied)

    def strays(self, allowed: Mapping[str, Collection[Endpoint]]) -> Mapping[str, set[Endpoint]]:
        """The registered targets, in any snapshot, that their group must not have."""
        found = {arn: self._seen[arn] - set(allowed[arn]) for arn in allowed}
        return {arn: targets for arn, targets in found.items() if targets}

    def _poll(self) -> None:
        try:
            plane = self._admin.data_plane()
        except EmulatorAdminError:
            return  # the supervisor says why
        self.snapshots += 1
        for arn, targets in registered(plane).items():
            if self._seen[arn] and not targets:
                self._emptied.add(arn)
            self._seen[arn] |= targets
