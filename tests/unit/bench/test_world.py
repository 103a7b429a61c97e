"""The world of the bench: what is drawn, and what DNS and the RDS API say in it."""

from dataclasses import fields

import pytest

from bench.scene import NEW, OLD, Scene
from bench.world import FIRST_EVENT, SOURCES, Failover, Kind, World, draw
from target_sync.model import Observation

WORLD = World()
FAILOVERS = [draw(WORLD, kind, seed=7, index=index) for kind in Kind for index in range(1000)]


def test_every_value_of_the_world_has_a_source() -> None:
    assert list(SOURCES) == [parameter.name for parameter in fields(World)]


def test_a_failover_depends_on_its_seed_kind_and_index_alone() -> None:
    assert draw(WORLD, Kind.CLUSTER, 1, 5) == draw(WORLD, Kind.CLUSTER, 1, 5)
    others = [(Kind.INSTANCE, 1, 5), (Kind.CLUSTER, 2, 5), (Kind.CLUSTER, 1, 6)]
    flips = {draw(WORLD, *other).flip for other in [(Kind.CLUSTER, 1, 5), *others]}
    assert len(flips) == 4


def test_what_is_drawn_happens_in_an_order_that_makes_sense() -> None:
    for it in FAILOVERS:
        assert it.schedule <= it.dies
        assert it.dies <= min(FIRST_EVENT, it.listens - 10)
        assert it.listens <= it.flip <= it.settled
        assert max(it.listens, it.flip - 5) <= it.api <= it.flip + 10
        assert all(it.flip <= cache <= it.flip + WORLD.ttl for cache in it.caches)
        assert all(0 <= event.arrives - event.occurs <= 2 for event in it.events)
        assert [event.completes for event in it.events] in ([], [False, True])


def test_what_is_drawn_has_the_shares_that_the_world_says() -> None:
    def share(holds: list[bool]) -> float:
        return sum(holds) / len(holds)

    assert share([not it.events for it in FAILOVERS]) == pytest.approx(0.01, abs=0.01)
    assert share([len(it.caches) == 2 for it in FAILOVERS]) == pytest.approx(0.5, abs=0.05)
    announced = [bool(it.events) and it.flip >= FIRST_EVENT for it in FAILOVERS]
    assert share(announced) == pytest.approx(0.99 * 60 / 90, abs=0.05)


def scene(kind: Kind = Kind.INSTANCE, *, authoritative: bool = False) -> Scene:
    failover = Failover(
        kind=kind,
        dies=950.0,
        listens=985.0,
        flip=990.0,
        api=996.0,
        events=(),
        caches=(993.0,),
        schedule=900.0,
        old_checks_from=800.0,
        new_checks_from=800.0,
        chances=1,
    )
    return Scene(world=WORLD, failover=failover, authoritative=authoritative)


def seen(scene: Scene, at: float) -> Observation:
    scene.clock.moment = at
    observation = scene.endpoint.observe()
    assert isinstance(observation, Observation)
    return observation


def test_a_cache_gives_the_old_answer_until_that_has_run_out() -> None:
    a_scene = scene()
    observations = [seen(a_scene, at) for at in (989.0, 992.0, 993.0, 994.5, 998.0)]
    assert [min(observation.addresses) for observation in observations] == [OLD, OLD, NEW, NEW, NEW]
    assert [observation.ttl for observation in observations] == [4, 1, 0, 3, 0]
    assert a_scene.names.moved_at == 993.0
    assert a_scene.names.queries == 5


def test_two_caches_take_turns_by_chance() -> None:
    a_scene = scene()
    object.__setattr__(a_scene.failover, "caches", (990.0, 995.0))
    observations = [seen(a_scene, 992.0).addresses for _ in range(50)]
    assert {OLD, NEW} == frozenset().union(*observations)
    assert all(len(observation) == 1 for observation in observations)


def test_the_zones_own_name_servers_know_of_the_flip_at_once() -> None:
    a_scene = scene(authoritative=True)
    assert seen(a_scene, 989.9).addresses == {OLD}
    assert seen(a_scene, 990.0).addresses == {NEW}


def test_the_writer_of_a_cluster_has_two_sources_that_move_one_after_the_other() -> None:
    a_scene = scene(Kind.CLUSTER)
    before, between, after = (seen(a_scene, at) for at in (990.0, 993.0, 996.0))
    assert before.corroborated
    assert before.addresses == {OLD}
    assert between.addresses == {NEW}
    assert between.contested == {OLD}
    assert after.corroborated
    assert after.addresses == {NEW}
    assert a_scene.aws_calls == 3
    assert a_scene.names.queries == 4
