"""Opening hours, as people write them."""

from datetime import datetime

import pytest

from edge.opening_hours import hours_text, is_open, read_hours


@pytest.mark.parametrize(
    ("hours", "local", "open_then"),
    [
        ("mon-sat 05:00-18:00", "2026-11-25T05:00", True),
        ("mon-sat 05:00-18:00", "2026-11-25T18:00", False),
        ("mon-sat 05:00-18:00", "2026-11-29T10:00", False),
        ("05:00-18:00", "2026-11-29T10:00", True),
        # Over midnight, also from the last day of the week into the first.
        ("sun 20:00-02:00", "2026-11-30T01:59", True),
        ("sun 20:00-02:00", "2026-11-29T01:00", False),
        ("00:00-00:00", "2026-11-25T13:00", True),
        ("sat-mon 08:00-09:00", "2026-11-29T08:30", True),
        ("sat-mon 08:00-09:00", "2026-12-01T08:30", False),
        ("", "2026-11-25T13:00", False),
    ],
)
def test_it_is_open_at_the_hours_that_are_written(hours: str, local: str, open_then: bool) -> None:
    assert is_open(hours, datetime.fromisoformat(local)) is open_then


@pytest.mark.parametrize(
    "text", ["mon-sat 05:00-18:00, sun 06:00-12:00", "01:00-04:00", "", "tue 09:00-10:00"]
)
def test_hours_are_written_as_they_are_read(text: str) -> None:
    assert hours_text(read_hours(text)) == text


@pytest.mark.parametrize(
    "text", ["25:00-26:00", "mon", "8-17", "mod 08:00-17:00", "08:00-17:00 mon"]
)
def test_hours_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.split()[0]):
        read_hours(text)
