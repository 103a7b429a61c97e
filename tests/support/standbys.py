"""A check of standby addresses without the EC2 API."""

from target_sync.model import IPAddress, StandbyCheck


class FakeStandbys:
    """Implements ``target_sync.ports.Standbys`` with addresses that a test sets.

    Attributes:
        owned: The addresses of the database's network interfaces.
        failure: The failure of every check; empty if checks succeed.
        checks: The addresses of each check, in order.
    """

    def __init__(self, *owned: IPAddress) -> None:
        self.owned = set(owned)
        self.failure = ""
        self.checks: list[frozenset[IPAddress]] = []

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        if not addresses:
            return StandbyCheck()
        self.checks.append(addresses)
        if self.failure:
            return StandbyCheck(failure=self.failure)
        return StandbyCheck(confirmed=addresses & self.owned)
