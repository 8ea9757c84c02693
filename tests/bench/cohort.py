"""Recall and precision of the overlap answer against a known truth.

    python -m tests.bench.cohort [--people N] [--days N] [--seed N] [--quick]

A Markdown table: how the field gets worse from row to row, and what the desk still finds.
A meeting is two persons at one place on one day. *contained* are those that the scans hold whole;
*all* are those that really were, whatever was scanned; *precision* is of all that is told, and of
what is told as scanned.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from edge.storage.database import Database
from edge.tracing.index import Index
from edge.tracing.questions import Questions
from tests.tracing.cohort import World, index_cohort, make_cohort, score, unmarked

#: Name of a row, share of exits that nobody scanned, of entries, of unit-days without a set clock.
FIELDS = (
    ("everything is scanned", 0.0, 0.0, 0.0),
    ("a quarter of exits missed", 0.25, 0.0, 0.0),
    ("... and entries, and clocks", 0.25, 0.03, 0.05),
    ("half of the exits missed", 0.5, 0.03, 0.05),
    ("four of five exits missed", 0.8, 0.05, 0.1),
)


def main(args: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(args)
    people, days = (40, 3) if options.quick else (options.people, options.days)
    for line in table(people, days, options.seed):
        print(line, flush=True)
    return 0


def table(people: int, days: int, seed: int) -> Iterator[str]:
    """The rows."""
    yield (
        "| field | scans | meetings contained | recall of contained | recall of all"
        " | precision | precision of *scanned* | unmarked ends |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, exits, entries, clocks in FIELDS:
        world = World(
            seed=seed,
            people=people,
            days=days,
            missed_exits=exits,
            missed_entries=entries,
            unset_clocks=clocks,
        )
        cohort = make_cohort(world)
        with tempfile.TemporaryDirectory() as folder:
            database = Database(f"sqlite:///{Path(folder) / 'index.db'}")
            with closing(database):
                database.migrate("edge.tracing")
                index_cohort(cohort, Index(database, cohort.places))
                questions = Questions(database, cohort.places)
                result = score(cohort, questions)
                wrong = unmarked(cohort, questions)
        yield (
            f"| {name} | {len(cohort.scans)} | {result.contained} | {result.recall:.1%}"
            f" | {result.recall_of_all:.1%} | {result.precision:.1%}"
            f" | {result.precision_of_sure:.1%} | {wrong} |"
        )


if __name__ == "__main__":
    sys.exit(main())
