"""The figures of the bench: how they are made of what was played, and what is done with them."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import failover
from bench.failover import SEED, play_all
from bench.percentiles import Percentiles
from bench.results import Combination, Row, play_some
from bench.strategies import DEFAULT
from bench.world import Kind

OURS = (DEFAULT.name, Kind.INSTANCE)


@pytest.fixture(scope="module", name="small")
def _small() -> Sequence[Row]:
    """What a few failovers give."""
    return play_all(SEED, 8)


def test_a_percentile_is_the_value_of_the_nearest_rank() -> None:
    assert Percentiles.of([3.0004, 1.0, 2.0]) == Percentiles(2.0, 3.0, 3.0, 3.0, 2.0)
    hundred = Percentiles.of(float(n) for n in range(1, 101))
    assert hundred == Percentiles(50.0, 90.0, 99.0, 100.0, 50.5)


def test_the_figures_do_not_depend_on_who_plays_what(
    small: Sequence[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "_CHUNK", 3)
    assert play_all(SEED, 8, processes=2) == small


def test_another_seed_gives_other_outcomes() -> None:
    ours = Combination(DEFAULT, Kind.INSTANCE)
    assert play_some(ours, SEED, [3]) == play_some(ours, SEED, [3])
    assert play_some(ours, SEED, [3]) != play_some(ours, SEED + 1, [3])


def test_a_claim_that_does_not_hold_fails_the_bench(
    small: Sequence[Row], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(r, missed=1) if (r.strategy, r.kind) == OURS else r for r in small]
    monkeypatch.setattr(failover, "play_all", lambda *_, **__: rows)
    monkeypatch.setattr(sys, "argv", ["failover", "--failovers", "8"])
    with pytest.raises(SystemExit, match="does not hold"):
        failover.main()
    assert "missed failovers: at most 0 | 1 | does not hold |" in capsys.readouterr().out


def in_no_time(row: Row) -> Row:
    never = Percentiles(0.0, 0.0, 0.0, 0.0, 0.0)
    return replace(
        row,
        stale_s=never,
        stale_s_event_before_flip=never,
        flowing_s=never,
        wrong_server_s=never,
        wrong_server_s_event_before_flip=never,
        wrong_server_s_since_seen=never,
    )


def test_a_small_number_of_failovers_writes_nothing_unless_asked(
    small: Sequence[Row], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [in_no_time(row) for row in small]
    monkeypatch.setattr(failover, "play_all", lambda *_, **__: rows)
    monkeypatch.setattr(failover, "FOLDER", tmp_path / "docs")
    monkeypatch.setattr(sys, "argv", ["failover", "--failovers", "8"])
    failover.main()
    assert not (tmp_path / "docs").exists()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--output", str(tmp_path / "asked")])
    failover.main()
    assert {path.name for path in (tmp_path / "asked").iterdir()} == {
        "failover.json",
        "failover.md",
        "failover.svg",
        "failover-sample.json",
    }
    page = (tmp_path / "asked" / "failover.md").read_text()
    assert '`make bench BENCH_OPTIONS="--failovers 8"`' in page
