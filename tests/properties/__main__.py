"""Play many more histories than the tests do, other ones for every seed.

    make histories HISTORIES=1000000 SEED=1

They are played in rounds of as many as the tests play, each with its own seed, so that a failure
can be played again by its round alone. Exits with 1 and the story when a property does not hold.
"""

# ruff: noqa: T201 - a command speaks by printing
import argparse
import sys
import time

from tests.properties.test_histories import PROPERTIES, play


def main() -> int:
    """Play until the number is reached or a property does not hold."""
    options = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    options.add_argument("--histories", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--from-round", type=int, default=0)
    chosen = options.parse_args()
    played, began = 0, time.process_time()
    number = chosen.from_round
    while played < chosen.histories:
        for name in PROPERTIES:
            try:
                played += play(name, seed=f"{chosen.seed}/{number}")
            except AssertionError as error:
                print(f"round {number} of seed {chosen.seed}: {name}\n{error}")
                print("\n".join(getattr(error, "__notes__", ())))
                return 1
        number += 1
        seconds = time.process_time() - began
        print(
            f"seed {chosen.seed}, round {number}: {played:,} histories, {seconds:,.0f} s",
            flush=True,
        )
    print(f"Every property held in {played:,} histories.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
