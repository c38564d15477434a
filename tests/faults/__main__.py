"""Try every fault, and print the table."""

import argparse
import random
import sys
import time

from . import damage, disk, fuzz, kills, meanings, resumes, surroundings  # noqa: F401
from .table import FAULTS, table, tried


def main():
    """Exit code 0: nothing was lost; 1: something was, and the notes below the table say how to do it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("word", nargs="*", help="only faults whose name, or whose file, has one of these words")
    parser.add_argument("--share", type=float, default=1.0, help="of the tries, six at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="only name them")
    given = parser.parse_args()
    chosen = [f for f in FAULTS if not given.word or any(word in f.name or word == f.room for word in given.word)]
    if given.list or not chosen:
        print("\n".join(f"{one.room}: {one.name}, {one.tries} tries" for one in FAULTS))
        return 0
    done, began = {}, time.perf_counter()
    for one in chosen:
        tries = max(min(one.tries, 6), round(one.tries * given.share))
        tally = done[one.name] = tried(one, random.Random(f"{given.seed} {one.name}"), tries)
        print(f"{one.name}: {tally.tries} tries, {tally.lost} lost, {tally.seconds:.0f} s", flush=True)
        for note in tally.notes[:5]:
            print(f"    {note}", flush=True)
    lost = [f"{name}: {note}" for name, tally in done.items() for note in tally.notes]
    print("", *table(done), "", sep="\n")
    tries, all_lost = (sum(getattr(tally, what) for tally in done.values()) for what in ("tries", "lost"))
    print(f"{tries} tries in {time.perf_counter() - began:.0f} s, {all_lost} lost")
    print(*lost, sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
