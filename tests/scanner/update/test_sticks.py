"""A stick with new software is seen once."""

from pathlib import Path

from edge.scanner.update.sticks import UpdateSticks


def test_each_stick_that_comes_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[int] = []
    sticks = UpdateSticks(f"{tmp_path}/*", lambda: asked.append(1))
    (tmp_path / "holiday-pictures").mkdir()
    sticks.step()
    assert asked == []

    stick = tmp_path / "office"
    (stick / "edge-updates").mkdir(parents=True)
    (stick / "edge-updates/InRelease").touch()
    for _ in range(3):
        sticks.step()

    assert asked == [1]
