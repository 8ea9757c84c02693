"""Files of a deployment that somebody has changed by hand: one plain line, and nothing is lost."""

import json
import random
from pathlib import Path

import pytest

from edge.provision.__main__ import main
from edge.provision.deployment import utc_now
from edge.provision.layout import INVENTORY, REGISTER
from tests.provision.deployments import a_deployment, certified


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    deployment = a_deployment(tmp_path_factory.mktemp("office") / "gia-lai", "cho-1-a", "cho-1-b")
    certified(deployment, "cho-1-a")
    deployment.revoke("cho-1-b", utc_now())
    return deployment.folder


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the commands that read and write these files say, each in a line."""
    config = ["--config", str(folder / "provision.toml")]
    lines = []
    for command in (
        ["unit", "list"],
        ["place", "list"],
        ["check"],
        ["broker"],
        ["unit", "add", "cho-1-c", "--place", "cho-1", "--direction", "in"],
    ):
        code = main([*command, *config])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        if code and command != ["check"]:
            (line,) = printed.err.splitlines()
            assert line.startswith("error: ")
            lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        (INVENTORY, lambda units: units[0].update(direction="up"), "must be one of both, in, out"),
        (INVENTORY, lambda units: units[0].update(owner="x"), "owner: unknown key"),
        (INVENTORY, lambda units: units[0].pop("place"), "place: missing"),
        (INVENTORY, lambda units: units.append(units[0]), "cho-1-a stands there twice"),
        (INVENTORY, lambda units: units[0].update(card=-1), "units[0].card is -1"),
        (
            INVENTORY,
            lambda units: units[0]["certificates"][0].update(not_after="2028-11-24T12:00:00"),
            "not_after",
        ),
        (
            INVENTORY,
            lambda units: units[0]["certificates"][0].update(serial="không phải số"),
            "serial",
        ),
        (REGISTER, lambda places: places[0].update(kind="shop"), "kind 'shop' must be one of"),
        (REGISTER, lambda places: places[0].update(id="Chợ"), "places[0].id is 'Chợ'"),
        (REGISTER, lambda places: places.append(places[0]), "cho-1 stands there twice"),
    ],
)
def test_what_is_wrong_is_said_in_words_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, change: object, why: str
) -> None:
    path = folder / file
    kept = path.read_bytes()
    table = json.loads(kept)
    change(table["units" if file == INVENTORY else "places"])  # type: ignore[operator]
    path.write_text(json.dumps(table), encoding="utf-8")
    spoiled = path.read_bytes()
    try:
        lines = told(folder, capsys)
        assert lines
        assert all(why in line and file in line for line in lines), lines
        assert not any(word in line for line in lines for word in ("regex", "Expected", "Object"))
        # Nobody has written over what can still be mended.
        assert path.read_bytes() == spoiled
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize("file", [INVENTORY, REGISTER])
def test_a_file_that_was_cut_or_scribbled_over_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    path = folder / file
    kept = path.read_bytes()
    noise = random.Random(6)
    spoiled = [b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe\x00", kept[: len(kept) // 2]]
    for _ in range(25):
        changed = bytearray(kept)
        for _ in range(3):
            changed[noise.randrange(len(changed))] = noise.randrange(256)
        spoiled.append(bytes(changed))
    try:
        for content in spoiled:
            path.write_bytes(content)
            for line in told(folder, capsys):
                assert len(line) < 500
    finally:
        path.write_bytes(kept)
