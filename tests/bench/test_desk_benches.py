"""The desk's benches run, each in its short form."""

import pytest

from tests.bench import cohort, desk, trace


@pytest.mark.parametrize(("bench", "rows"), [(cohort, 7), (desk, 4), (trace, 3)])
def test_a_bench_of_the_desk_prints_its_table(
    bench: object, rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = [] if bench is cohort else ["--engine", "sqlite"]

    assert bench.main(["--quick", *engine]) == 0  # type: ignore[attr-defined]

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == rows
    assert all(line.startswith("|") for line in lines)
