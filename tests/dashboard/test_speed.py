"""The bench of the pages, in short: it fills storage and asks for every page."""

from pathlib import Path

import pytest

from edge.dashboard.local_time import local_day
from edge.storage import counts
from tests.bench.dashboard import fill, measure
from tests.dashboard.parts import Deployment


def test_the_bench_tells_of_as_many_scans_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = Deployment(tmp_path)
    scans = fill(deployment, units=40, days=3, scans=40_000)
    measure(deployment, rounds=1)

    today = local_day(deployment.clock.now().at)
    with deployment.database.reading() as connection:
        of_day = counts.by_place(connection, today, today)
        of_quarters = sum(count.all for count in counts.by_quarter(connection, today))
        everything = counts.by_day(connection, today.replace(year=2020), today)
    assert sum(count.all for count in everything.values()) == scans
    assert sum(count.all for count in of_day.values()) == of_quarters
    assert scans == pytest.approx(40_000, rel=0.2)
    assert capsys.readouterr().out.count("| `/") == 26
    deployment.close()
