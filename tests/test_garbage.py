"""Python looks rarely for lost cycles where a service asks for that."""

import gc

from edge.garbage import look_for_garbage_rarely


def test_what_a_page_of_many_units_makes_has_python_look_through_nothing() -> None:
    as_before = gc.get_threshold()
    try:
        look_for_garbage_rarely()
        searches = gc.get_stats()[2]["collections"]

        made = [[number] for number in range(150_000)]

        assert gc.get_stats()[2]["collections"] == searches
        assert len(made) == 150_000
    finally:
        gc.set_threshold(*as_before)
        gc.unfreeze()
