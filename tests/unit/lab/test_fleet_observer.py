"""The lab's observer of a whole fleet."""

import time
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from lab.addresses import Endpoint
from lab.emulator.client import EmulatorAdmin, EmulatorAdminError
from lab.emulator.messages import DataPlane, RoutedListener, RoutedTarget
from lab.fleet_observer import FleetObserver

A, B, C = (Endpoint(IPv4Address(f"10.0.1.{number}"), 5432) for number in (1, 2, 3))
GROUP = "group"


def plane(groups: Mapping[str, Collection[tuple[Endpoint, str]]]) -> DataPlane:
    return DataPlane(
        listeners=tuple(
            RoutedListener(
                load_balancer_arn="balancer",
                listener_port=port,
                target_group_arn=arn,
                targets=tuple(
                    RoutedTarget(address=target.address, port=target.port, state=state)
                    for target, state in targets
                ),
                connection_termination=True,
                unhealthy_termination=True,
            )
            for port, (arn, targets) in enumerate(groups.items(), start=6001)
        ),
        connections=(),
    )


class Seen(EmulatorAdmin):
    """An emulator that returns these snapshots in turn, and then the last one again."""

    def __init__(self, *pictures: DataPlane | None) -> None:
        super().__init__("http://127.0.0.1:1")
        object.__setattr__(self, "left", list(pictures))

    left: list[DataPlane | None]

    def data_plane(self) -> DataPlane:
        picture = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if picture is None:
            raise EmulatorAdminError("no response")
        return picture


def observed(*pictures: Collection[tuple[Endpoint, str]] | None) -> FleetObserver:
    """Return the snapshots of one group."""
    seen = Seen(*(None if it is None else plane({GROUP: it}) for it in pictures))
    with FleetObserver(seen) as observer:
        enough = len([it for it in pictures if it is not None])
        while observer.snapshots < enough:
            time.sleep(0.01)
    return observer


def test_reports_a_group_that_loses_its_last_target_and_gets_another() -> None:
    observer = observed([], [(A, "initial")], [(A, "draining")], [(B, "healthy")])
    assert observer.emptied == {GROUP}


def test_does_not_report_a_group_that_never_or_always_has_a_target() -> None:
    assert not observed([], []).emptied
    moved = observed([], [(A, "healthy")], [(A, "healthy"), (B, "initial")], [(B, "healthy")])
    assert not moved.emptied


def test_reports_a_target_of_one_snapshot_unless_it_is_allowed() -> None:
    observer = observed([(A, "healthy")], [(A, "healthy"), (C, "unhealthy")], [(B, "healthy")])
    assert observer.strays({GROUP: {A, B}}) == {GROUP: {C}}
    assert not observer.strays({GROUP: {A, B, C}})


def test_ignores_a_failed_snapshot() -> None:
    observer = observed([(A, "healthy")], None, [(A, "healthy")])
    assert not observer.emptied
