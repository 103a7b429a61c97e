"""The database's own addresses in memory, as the EC2 API would confirm them."""

from target_sync.model import IPAddress, StandbyCheck


class FakeStandbys:
    """Implements ``target_sync.ports.Standbys`` over addresses that we set.

    Attributes:
        held: The addresses that RDS holds for the database.
        failure: Why nothing can be found out; empty if it can.
        looks: What was asked for, look by look.
    """

    def __init__(self, *held: IPAddress) -> None:
        self.held = set(held)
        self.failure = ""
        self.iterations: list[frozenset[IPAddress]] = []

    def check(self, addresses: frozenset[IPAddress]) -> StandbyCheck:
        if not addresses:
            return StandbyCheck()
        self.iterations.append(addresses)
        if self.failure:
            return StandbyCheck(failure=self.failure)
        return StandbyCheck(confirmed=addresses & self.held)
