import io
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from edge.provision.__main__ import main
from edge.provision.deployment import Deployment
from edge.provision.labels import MEANINGS
from edge.scanner.indicator import PATTERNS, Pattern
from tests.provision.deployments import a_deployment
from tests.provision.test_boot_partition import a_boot_partition


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return a_deployment(tmp_path / "gia-lai")


def batch(deployment: Deployment, table: str, folder: Path) -> int:
    (folder / "units.csv").write_text(table, encoding="utf-8")
    return main(
        [
            *("batch", str(folder / "units.csv"), "--labels", str(folder / "labels.pdf")),
            *("--config", str(deployment.folder / "provision.toml")),
        ]
    )


def forty() -> str:
    lines = [
        f"cho-1-cong-so-tren-duong-mau-c{number},cho-1,{'in' if number % 2 else 'out'}"
        for number in range(40)
    ]
    return "\n".join(["id,place,direction", *lines])


def test_forty_units_are_taken_in_at_once_and_their_labels_printed(
    deployment: Deployment, tmp_path: Path
) -> None:
    assert batch(deployment, forty(), tmp_path) == 0

    assert len(deployment.inventory.units) == 40
    pages = PdfReader(io.BytesIO((tmp_path / "labels.pdf").read_bytes())).pages
    texts = [page.extract_text() for page in pages]
    assert len(texts) == 5
    named = {
        name for text in texts for name in re.findall(r"cho-1-cong-so-tren-duong-mau-c[0-9]+", text)
    }
    assert named == {unit.id for unit in deployment.inventory.units}
    assert all("Chợ Mẫu" in text and "VÀO / IN" in text for text in texts)
    # Once more does no harm: somebody has lost the labels.
    assert batch(deployment, forty(), tmp_path) == 0
    assert len(deployment.inventory.units) == 40


def test_labels_come_in_the_order_in_which_cards_are_written(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"cong-{number}" for number in (10, 2, 9, 1)]
    table = "\n".join(["id,place,direction", *(f"{name},cho-1,in" for name in names)])
    assert batch(deployment, table, tmp_path) == 0

    printed = PdfReader(io.BytesIO((tmp_path / "labels.pdf").read_bytes())).pages[0].extract_text()
    labels = list(dict.fromkeys(re.findall(r"cong-[0-9]+", printed)))
    config = ["--config", str(deployment.folder / "provision.toml")]
    written: list[str] = []
    capsys.readouterr()
    for left in ("còn 3 máy", "còn 2 máy", "còn 1 máy", ""):
        boot = a_boot_partition(tmp_path / f"bootfs-{len(written)}")
        assert main(["card", str(boot), "--next", "--no-packages", *config]) == 0
        said = capsys.readouterr().out
        written += re.findall(r"cong-[0-9]+", said)
        assert left in said
        assert ("máy chưa có thẻ" in said) == bool(left)
    assert labels == written == ["cong-1", "cong-2", "cong-9", "cong-10"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("cho/1,cho-1,in", "unit cho/1"),
        ("cho-9,cho-9,in", "no place 'cho-9'"),
        ("cho-1-x,cho-1,up", "unit cho-1-x"),
        ("collector,cho-1,in", "cannot be called"),
        ("cho-1-cong-so-tren-duong-mau-c1,cho-1,out", "another unit"),
        (",cho-1,in", "unit"),
    ],
)
def test_a_table_with_a_mistake_takes_no_unit_in(
    deployment: Deployment,
    tmp_path: Path,
    line: str,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert batch(deployment, f"{forty()}\n{line}", tmp_path) == 1

    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert deployment.inventory.units == ()
    assert not (tmp_path / "labels.pdf").exists()


def flashes(pattern: Pattern) -> tuple[tuple[str, bool], ...]:
    """What of *pattern* is seen, as a label draws it: which lights, and whether for long."""
    seen: list[tuple[str, float]] = []
    dark = True
    for step in pattern.steps:
        lights = " ".join(name for name in ("green", "red", "yellow") if getattr(step, name))
        if lights and not dark and seen[-1][0] == lights:
            seen[-1] = (lights, seen[-1][1] + step.duration_s)
        elif lights:
            seen.append((lights, step.duration_s))
        dark = not lights
    return tuple((lights, seconds >= 0.25) for lights, seconds in seen)


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: str(meaning.en))
def test_a_label_says_of_a_light_what_the_scanner_does(meaning: object) -> None:
    words = {(pattern.vi, pattern.en): pattern for pattern in PATTERNS.values()}
    pattern = words[meaning.vi, meaning.en]  # type: ignore[attr-defined]

    drawn = tuple(
        (" ".join(sorted(lights.split())), long)
        for lights, long in meaning.flashes  # type: ignore[attr-defined]
    )
    played = tuple((" ".join(sorted(lights.split())), long) for lights, long in flashes(pattern))
    # What repeats without an end is drawn for as long as it takes to be known.
    assert played[: len(drawn)] == drawn
    assert pattern.repeats or len(played) == len(drawn)


def test_the_code_of_a_label_is_read_by_a_telephone(deployment: Deployment, tmp_path: Path) -> None:
    assert batch(deployment, "id,place,direction,trip\ncho-1-a,cho-1,both,sang-1", tmp_path) == 0

    # The squares of the code, as the page draws them: read back by our own reader.
    page = PdfReader(io.BytesIO((tmp_path / "labels.pdf").read_bytes())).pages[0]
    content = page.get_contents()
    assert content is not None
    squares = re.findall(
        r"([0-9.]+) ([0-9.]+) ([0-9.]+) -?([0-9.]+) re f", content.get_data().decode("latin-1")
    )
    assert read_squares([tuple(map(float, square)) for square in squares]) == [
        b"edge-unit:pleiku/cho-1-a"
    ]


def read_squares(squares: list[tuple[float, ...]]) -> list[bytes]:
    import numpy as np

    from edge.scanner.decoder import Decoder

    size = min(width for _, _, width, _ in squares)
    mine = [square for square in squares if abs(square[2] - size) < 0.01]
    left, top = min(x for x, *_ in mine), max(y for _, y, *_ in mine)
    picture = np.full((400, 400), 255, dtype=np.uint8)
    for x, y, *_ in mine:
        column, row = round((x - left) / size), round((top - y) / size)
        picture[40 + row * 8 : 48 + row * 8, 40 + column * 8 : 48 + column * 8] = 0
    decoder = Decoder(zbar=False)
    codes = decoder.read(picture)
    decoder.close()
    return [code.content for code in codes]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cho-1-a,cho-1,vào", "dòng 3 / row 3: cột direction là 'vào'; phải là in (vào)"),
        ("cho-1-a,cho-9,in", "dòng 3 / row 3: danh mục chưa có điểm 'cho-9'"),
        ("Chợ 1,cho-1,in", "dòng 3 / row 3: mã 'Chợ 1' không dùng được"),
        ("cho-1-a,cho-1,\x1b[2J", "dòng 3 / row 3: cột direction là"),
    ],
)
def test_a_row_that_is_wrong_is_named_in_both_languages_and_nothing_is_taken_in(
    deployment: Deployment,
    tmp_path: Path,
    line: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = f"id,place,direction\ncho-1-b,cho-1,in\n{line}\n"

    assert batch(deployment, table, tmp_path) == 1

    error = capsys.readouterr().err
    assert said in error
    assert " / " in error
    assert error.count("\n") == 1
    assert error.isprintable() or "\x1b" not in error
    assert deployment.inventory.units == ()


def test_all_units_without_card_and_code_have_their_codes_at_once(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(deployment, "id,place,direction\na,cho-1,in\nb,cho-1,out\n", tmp_path) == 0
    deployment.card_written("a", 7)
    config = ["--config", str(deployment.folder / "provision.toml")]
    code = ["code", "--batch", "lo-1", "--to", str(tmp_path / "codes"), *config]
    assert main(code) == 1
    assert "which units?" in capsys.readouterr().err

    assert main([*code, "--new"]) == 0

    assert {path.name for path in (tmp_path / "codes").iterdir()} == {"b.png", "codes.pdf"}
    assert main([*code, "--new"]) == 1
    assert "mọi máy đã có thẻ" in capsys.readouterr().err
