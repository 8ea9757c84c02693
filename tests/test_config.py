"""Settings: read once, checked whole, and every mistake named with its cure."""

from datetime import time
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from edge.collector.settings import CollectorSettings
from edge.config import explain, load, secret
from edge.errors import ConfigError
from edge.scanner.settings import ScannerSettings

UNIT = """
[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
"""


def write(folder: Path, text: str, name: str = "scanner.toml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_set_has_its_default(tmp_path: Path) -> None:
    settings = load(write(tmp_path, UNIT), ScannerSettings)

    assert settings.reading.reread_delay_s == 5.0
    assert settings.broker.url == "mqtt://127.0.0.1:1883"


def test_drop_ins_replace_single_keys_in_order_of_their_names(tmp_path: Path) -> None:
    path = write(tmp_path, UNIT)
    write(
        tmp_path / "scanner.d", '[unit]\nplace = "cho-2"\n[reading]\nreread_delay_s = 1', "10.toml"
    )
    write(tmp_path / "scanner.d", '[unit]\nplace = "cho-3"', "20.toml")

    settings = load(path, ScannerSettings)

    assert settings.unit.place == "cho-3"
    assert settings.unit.id == "cong-1"
    assert settings.reading.reread_delay_s == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            "[reading]\nreread_delay = 3",
            "reading.reread_delay: unknown key; did you mean 'reread_delay_s'?",
        ),
        ("[raeding]", "raeding: unknown key; did you mean 'reading'?"),
        ("[camera]\nframe_rate = 0", "camera.frame_rate is 0; it must be float > 0"),
        ("[camera]\nwidth = 'wide'", "camera.width is 'wide'; it must be int"),
        ("[publisher]\nwindow = 100000", "publisher.window is 100000; it must be int <= 5000"),
        ("[outbox]\nmax_mb = true", "outbox.max_mb is True"),
        ("[camera\n", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_cure(tmp_path: Path, more: str, text: str) -> None:
    path = write(tmp_path, UNIT + more)

    with pytest.raises(ConfigError) as caught:
        load(path, ScannerSettings)

    assert str(path) in str(caught.value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


class _Door(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=9)]
    opens: time | None = None


class _House(msgspec.Struct):
    doors: tuple[_Door, ...] = ()
    by_street: dict[str, _Door] | None = None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"doors": [{"name": "a"}, {"name": ""}]}, "doors[1].name is ''; it must be text of at le"),
        ({"doors": [{}]}, "doors[0].name: missing"),
        ({"doors": [{"name": "a", "opens": "5h"}]}, "doors[0].opens is '5h'; it must be a time of"),
        ({"by_street": {"x": {"name": "b" * 100}}}, "it must be text of at most 9 characters"),
        ({"doors": 3}, "doors is 3; it must be array, got int"),
        ([], "it must be object, got array"),
    ],
)
def test_what_is_wrong_deep_inside_is_told_as_well(table: object, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(table, _House)

    assert words in explain(caught.value, table, _House)


def test_a_missing_file_and_a_missing_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings: No such file.*--config"):
        load(tmp_path / "scanner.toml", ScannerSettings)
    with pytest.raises(ConfigError, match=r"unit\.place: missing"):
        load(write(tmp_path, UNIT.replace('place = "cho-1"', "")), ScannerSettings)


def test_an_area_or_id_that_cannot_be_a_topic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unit\.id is 'Cổng/1'"):
        load(write(tmp_path, UNIT.replace("cong-1", "Cổng/1")), ScannerSettings)


def test_an_empty_collector_file_is_enough(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), CollectorSettings) == CollectorSettings()


def test_a_secret_comes_from_systemd_first_and_else_from_beside_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "beside\n", "password")
    write(tmp_path / "credentials", "handed over\n", "password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    assert secret("password", tmp_path) == "beside"

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert secret("password", tmp_path) == "handed over"
    with pytest.raises(ConfigError, match="cannot read this secret"):
        secret("nothing", tmp_path)
