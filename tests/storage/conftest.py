"""Each test of storage runs on each kind of database."""

from collections.abc import Iterator

import pytest

from edge.storage.storage import Storage


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """A new storage."""
    opened = Storage(database_url)
    yield opened
    opened.close()
