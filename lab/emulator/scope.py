"""The account and Region of a request. ministack keeps every resource under both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from ministack.core import responses


@dataclass(frozen=True, slots=True)
class Scope:
    """An account and a region."""

    account: str
    region: str

    @classmethod
    def current(cls) -> Self:
        """Return the scope of the current request."""
        return cls(responses.get_account_id(), responses.get_region())

    @classmethod
    def of_arn(cls, arn: str) -> Self:
        """Return the scope that an ARN names.

        Raises:
            ValueError: The text is not an ARN.
        """
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            raise ValueError(f"{arn!r} is not an ARN")
        return cls(parts[4], parts[3])

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run a block as a request of this scope."""
        before = Scope.current()
        self._enter()
        try:
            yield
        finally:
            before._enter()

    def _enter(self) -> None:
        responses.set_request_account_id(self.account)
        responses.set_request_region(self.region)


def find_anywhere(
    resources: responses.AccountRegionScopedDict, name: str
) -> tuple[Scope, dict[str, Any]] | None:
    """Return a resource and its scope by its name, which is unique in the lab."""
    for (account, region, key), resource in list(resources._data.items()):
        if key == name:
            return Scope(account, region), resource
    return None
