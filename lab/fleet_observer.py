"""Watches every target group behind a load balancer: whether one is ever empty, or wrong."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from drill.polling import PollingThread
from lab.addresses import Endpoint
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.observer import registered


class FleetObserver(PollingThread):
    """Keeps looking at all target groups while its block lasts."""

    def __init__(self, admin: EmulatorAdmin) -> None:
        super().__init__("fleet observer")
        self._admin = admin
        self._seen = defaultdict[str, set[Endpoint]](set)
        self._emptied = set[str]()
        self._looks = 0

    @property
    def looks(self) -> int:
        """How often it has looked."""
        return self._looks

    @property
    def emptied(self) -> Collection[str]:
        """The groups that once had a registered target and at a later look had none."""
        return set(self._emptied)

    def strays(self, allowed: Mapping[str, Collection[Endpoint]]) -> Mapping[str, set[Endpoint]]:
        """The targets that were ever seen registered in a group that may not have them."""
        found = {arn: self._seen[arn] - set(allowed[arn]) for arn in allowed}
        return {arn: targets for arn, targets in found.items() if targets}

    def _poll(self) -> None:
        try:
            plane = self._admin.data_plane()
        except EmulatorAdminError:
            return  # the supervisor says why
        self._looks += 1
        for arn, targets in registered(plane).items():
            if self._seen[arn] and not targets:
                self._emptied.add(arn)
            self._seen[arn] |= targets
