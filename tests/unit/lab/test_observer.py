"""The lab's observer of one target group."""

import time
from ipaddress import IPv4Address

from lab.addresses import Endpoint
from lab.emulator.messages import DataPlane, RoutedListener, RoutedTarget
from lab.observer import TargetObserver, registered
from tests.unit.lab.test_fleet_observer import GROUP, Seen

A, B = (Endpoint(IPv4Address(f"10.0.1.{number}"), 5432) for number in (1, 2))


def plane(*targets: tuple[Endpoint, str, bool]) -> DataPlane:
    listener = RoutedListener(
        load_balancer_arn="balancer",
        listener_port=5432,
        target_group_arn=GROUP,
        targets=tuple(
            RoutedTarget(address=target.address, port=target.port, state=state, allowed=allowed)
            for target, state, allowed in targets
        ),
        connection_termination=True,
        unhealthy_termination=True,
    )
    return DataPlane(listeners=(listener,), connections=())


def test_a_closed_target_is_not_registered() -> None:
    seen = plane((A, "healthy", True), (B, "unhealthy", False))

    assert registered(seen) == {GROUP: {A}}


def test_a_warm_target_joins_when_it_is_open_and_leaves_when_it_is_closed() -> None:
    began_at = time.time()
    warm = plane((A, "healthy", True), (B, "unhealthy", False))
    both = plane((A, "healthy", True), (B, "unhealthy", True))
    closed = plane((A, "healthy", False), (B, "healthy", True))
    draining = plane((A, "draining", False), (B, "healthy", True))
    seen = Seen(warm, both, closed, draining)
    with TargetObserver(seen, GROUP) as observer:
        while observer.warm != {B: "unhealthy"}:
            time.sleep(0.01)
        assert observer.registered == {A}
        while observer.states != {B: "healthy"} or observer.warm:
            time.sleep(0.01)

    joined = observer.joined(B, since=began_at)
    assert joined == observer.first(B, "unhealthy", since=began_at)
    assert joined is not None
    assert observer.joined(B, since=joined + 0.001) is None
    assert observer.first(A, None, since=began_at) is not None
