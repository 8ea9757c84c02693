"""What could not be read is shown to whoever has to find out who sends it."""

import json
from pathlib import Path

import pytest

from edge.collector.__main__ import main
from edge.storage.rows import SetAside
from edge.storage.storage import Storage

NOW = "2021-07-02T01:00:00.000Z"
SECRET = b'{"name": "Pham Thi Bia Dat"'


@pytest.fixture
def config(tmp_path: Path) -> str:
    storage = Storage(tmp_path / "s.db")
    hostile = SetAside("edge/v1/x/\x1b[2J/scan", "no JSON", b"\x00" * 5000)
    storage.store([], NOW, [hostile, SetAside("edge/v1/a/cong-1/scan", "cut off", SECRET)])
    storage.close()
    toml = tmp_path / "collector.toml"
    toml.write_text(f'[storage]\nurl = "{tmp_path}/s.db"\n')
    return str(toml)


def test_topic_reason_and_size_are_shown_newest_first_and_nothing_of_what_was_in_it(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set-aside", "--config", config]) == 0

    said = capsys.readouterr().out
    assert said.splitlines() == [
        f"{NOW}  edge/v1/a/cong-1/scan  {len(SECRET)} bytes: cut off",
        f"{NOW}  edge/v1/x/\\x1b[2J/scan  5000 bytes: no JSON",
    ]
    assert "Bia Dat" not in said


def test_as_json_and_no_more_than_asked_for(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set-aside", "--config", config, "--json", "--most", "1"]) == 0

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "received": NOW,
        "topic": "edge/v1/a/cong-1/scan",
        "reason": "cut off",
        "bytes": len(SECRET),
    }
