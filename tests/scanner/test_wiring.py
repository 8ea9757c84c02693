"""The wiring drawing is made from the settings, and the one in the manual is up to date."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from edge import config
from edge.errors import ConfigError
from edge.scanner.__main__ import main
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import SETTINGS
from edge.scanner.wiring import HEADER, drawing, parts

ROOT = Path(__file__).parents[2]


def settings(**tables: dict[str, object]) -> ScannerSettings:
    own = config.read(ROOT / "config" / "scanner.toml")
    return config.check(config.merged([own, tables]), ScannerSettings, "test")


def texts(svg: str) -> str:
    return " | ".join(ElementTree.fromstring(svg).itertext())


def test_each_part_is_drawn_at_its_pin() -> None:
    shown = texts(drawing(settings(indicator={"red_pin": 5}, camera={"lamp_pin": 21})))

    assert "GPIO5, chân / pin 29" in shown
    assert "GPIO21, chân / pin 40" in shown
    assert "GPIO22, chân" not in shown
    assert "còi thụ động / passive buzzer" in shown


def test_two_parts_on_one_pin_are_refused() -> None:
    with pytest.raises(ConfigError, match="both pin 17"):
        drawing(settings(indicator={"red_pin": 17}))


def test_without_pins_nothing_is_wired() -> None:
    assert parts(settings(indicator={"kind": "none"})) == []


def test_every_pin_that_can_be_set_is_in_the_header_once() -> None:
    numbers = [what for what in HEADER if isinstance(what, int)]

    assert sorted(numbers) == list(range(28))
    assert len(HEADER) == 40
    assert [HEADER[place - 1] for place in (1, 2, 6, 11, 12, 40)] == [
        "3V3",
        "5V",
        "GND",
        17,
        18,
        21,
    ]


@pytest.mark.skipif(Path("/", SETTINGS).exists(), reason="this machine is a unit with settings")
def test_a_machine_without_settings_draws_the_default_pins_as_the_manual_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["wiring"]) == 0

    drawn = capsys.readouterr()
    assert "chân mặc định / there is no" in drawn.err
    file = ROOT / "provisioning" / "wiring.svg"
    again = "write it anew: edge-scanner wiring > provisioning/wiring.svg"
    assert file.read_text(encoding="utf-8") == drawn.out, again


def test_settings_that_were_named_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wiring", "--config", str(tmp_path / "scanner.toml")]) == 1

    said = capsys.readouterr()
    assert not said.out
    assert "cannot read the settings" in said.err


def test_a_unit_that_waits_for_its_code_is_drawn_with_its_own_pins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "scanner.toml"
    own.write_text('[broker]\nurl = "mqtt://broker:1883"\n[indicator]\nred_pin = 5\n')

    assert main(["wiring", "--config", str(own)]) == 0

    assert "GPIO5, chân / pin 29" in texts(capsys.readouterr().out)
