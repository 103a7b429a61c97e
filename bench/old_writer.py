"""Compare two ways to take the traffic from the old writer of a cluster.

Both close its outbound rule. The second one also deregisters it, and the warm pool registers it
again. ADR 0031 has the result of `python -m bench.old_writer`, which prints a Markdown table.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

from bench.percentiles import Percentiles
from bench.scene import OLD_TARGET, Scene
from bench.simulation import RunQueue, play_runs, wrong_seconds
from bench.strategies import DEFAULT
from bench.world import Kind, World, draw
from cost.markdown import table_row
from target_sync.model import Target, TargetState
from target_sync.targets.switched_group import SwitchedTargetGroup

_SEED, _FAILOVERS = 1, 500


class DeregisteringGroup(SwitchedTargetGroup):
    """A target group that keeps no closed target."""

    def deregister(self, targets: Sequence[Target]) -> None:
        """Close targets, and then deregister all of them."""
        self.rules.close(targets)
        self.let_go(targets)


STRATEGIES = {
    "close": DEFAULT,
    "close and deregister": replace(DEFAULT, group_type=DeregisteringGroup),
}


class OldWriter(NamedTuple):
    """What happened to the old writer in one failover, in seconds since the flip.

    Attributes:
        reached: While new connections could reach it.
        left: Until the load balancer had left it: it ended the sessions, and chose it no more.
        warm: Until it was a warm target that needs no registration.
        calls: The calls to AWS APIs of all runs.
    """

    reached: float
    left: float
    warm: float
    calls: int


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.old_writer", description=__doc__)
    parser.add_argument("--failovers", type=int, default=_FAILOVERS)
    failovers = parser.parse_args().failovers
    print(table_row("the old writer", "reached", "left", "warm again", "calls"))
    print("|---|---|---|---|---:|")
    for name in STRATEGIES:
        print(table_row(name, *_cells([old_writer(name, index) for index in range(failovers)])))


def old_writer(name: str, index: int) -> OldWriter:
    """Simulate one failover of a cluster."""
    world = World()
    failover = draw(world, Kind.CLUSTER, _SEED, index)
    runs, _ = play_runs(world, failover, STRATEGIES[name], to_the_end=True)
    return _old_writer(runs, failover.flip)


def _old_writer(runs: RunQueue, flip: float) -> OldWriter:
    scene = runs.scene
    last = next(stay for stay in reversed(scene.group.stays) if stay.target == OLD_TARGET)
    return OldWriter(
        reached=wrong_seconds(scene, flip),
        left=max(_left_at(scene), default=flip) - flip,
        warm=max(0.0, last.checks_from - flip),
        calls=scene.aws_calls,
    )


def _left_at(scene: Scene) -> Iterator[float]:
    """Yield when the load balancer leaves each registration that had connections.

    It leaves a registered target that is unhealthy. It checks no deregistered target, so it leaves
    that one when the deregistration takes effect.
    """
    lasts = partial(scene.world.deregistration.draw, scene.random("sessions"))
    for stay in scene.group.stays:
        if stay.target != OLD_TARGET or not stay.connectable_spans():
            continue
        if stay.deregistered_at is not None:
            yield stay.deregistered_at + lasts()
        else:
            yield max(at for at, state in stay.turns if state is TargetState.UNHEALTHY)


def _cells(found: Sequence[OldWriter]) -> Iterator[str]:
    for name in ("reached", "left", "warm"):
        seconds = Percentiles.of(getattr(it, name) for it in found)
        yield f"{seconds.p50:.1f} / {seconds.p99:.1f} / {seconds.max:.1f}"
    yield f"{fmean(it.calls for it in found):.1f}"


if __name__ == "__main__":
    main()
