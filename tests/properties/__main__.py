"""Replay many random histories; each seed gives different ones.

    make histories HISTORIES=1000000 SEED=1

Each round replays as many histories as the tests do, with a seed of its own, so that
``--from-round`` repeats a failure. Prints the journal and exits with 1 if a property fails.
"""

# ruff: noqa: T201 - a command prints
import argparse
import sys
import time

from tests.properties.test_histories import PROPERTIES, replay


def main() -> int:
    """Replay histories until their number is reached or a property fails."""
    options = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    options.add_argument("--histories", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--from-round", type=int, default=0)
    options.add_argument("--no-shrink", action="store_true", help="show the first failure as it is")
    chosen = options.parse_args()
    replayed, started_at = 0, time.process_time()
    number = chosen.from_round
    while replayed < chosen.histories:
        for name in PROPERTIES:
            try:
                replayed += replay(name, f"{chosen.seed}/{number}", shrinks=not chosen.no_shrink)
            except AssertionError as error:
                print(f"round {number} of seed {chosen.seed}: {name}\n{error}")
                print("\n".join(getattr(error, "__notes__", ())))
                return 1
        number += 1
        seconds = time.process_time() - started_at
        print(
            f"seed {chosen.seed}, round {number}: {replayed:,} histories, {seconds:,.0f} s",
            flush=True,
        )
    print(f"Every property held in {replayed:,} histories.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
