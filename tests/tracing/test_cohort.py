"""The overlap answer against a known truth: the short form of `make bench BENCH=cohort`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.storage.database import Database
from edge.tracing.index import Index
from edge.tracing.questions import Questions
from tests.tracing.cohort import World, index_cohort, make_cohort, score, unmarked


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/index.db")
    database.migrate("edge.tracing")
    yield database
    database.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_scans_contain_is_found_and_what_they_do_not_is_marked(
    database: Database, seed: int
) -> None:
    cohort = make_cohort(World(seed=seed, people=60, days=7))
    index_cohort(cohort, Index(database, cohort.places))
    questions = Questions(database, cohort.places)

    result = score(cohort, questions)

    assert result.contained > 200
    assert result.recall >= 0.99
    assert result.precision_of_sure >= 0.99
    assert unmarked(cohort, questions) == 0


def test_without_anything_going_wrong_the_answer_is_the_truth(database: Database) -> None:
    world = World(
        people=60, days=5, missed_exits=0, missed_entries=0, unset_clocks=0, clock_error_s=0
    )
    cohort = make_cohort(world)
    index_cohort(cohort, Index(database, cohort.places))

    result = score(cohort, Questions(database, cohort.places))

    assert result.found_of_contained == result.contained
    assert result.precision >= 0.99
