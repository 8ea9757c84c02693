"""The gate that we draw. What it shows is counted on by the demo's test from end to end."""

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import zxingcpp

from edge.errors import EndOfFrames
from edge.scanner.decoder import Frame
from edge.scanner.documents import Document, classify
from edge.scanner.rereads import GAP_S
from edge.scanner.sample import SampleGate, write_contact_sheet
from edge.scanner.sample.people import FRAMES_PER_S, Arrival, sample_script
from edge.unit_settings import CameraSettings, ReadingSettings

SCRIPT = sample_script()


def gate(**changes: object) -> SampleGate:
    return SampleGate(CameraSettings(source="sample", **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full_gate() -> SampleGate:
    return gate()


def shown(frame: Frame) -> set[bytes]:
    formats = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)
    return {code.bytes for code in zxingcpp.read_barcodes(frame, formats=formats)}


def frames_read(gate: SampleGate, arrival: Arrival) -> list[int]:
    """The frames in which its code is read."""
    numbers = range(arrival.first_frame, arrival.last_frame + 1)
    return [number for number in numbers if arrival.payload in shown(gate.draw(number))]


@pytest.mark.parametrize(
    "arrival", SCRIPT, ids=[f"{n}-{arrival.kind}" for n, arrival in enumerate(SCRIPT)]
)
def test_every_code_can_be_read_byte_for_byte_while_it_is_in_view(
    full_gate: SampleGate, arrival: Arrival
) -> None:
    assert len(frames_read(full_gate, arrival)) >= 5


@pytest.mark.parametrize("arrival", SCRIPT, ids=range(len(SCRIPT)))
def test_every_code_is_what_the_script_says(arrival: Arrival) -> None:
    found = classify(arrival.payload)

    assert found.kind == arrival.kind
    assert isinstance(found, Document) is arrival.accepted


def test_nothing_is_odd_about_the_documents_but_that_two_are_masked() -> None:
    found = [classify(arrival.payload) for arrival in SCRIPT if arrival.accepted]
    flags = [
        flag for document in found if isinstance(document, Document) for flag in document.flags
    ]

    assert flags == ["masked", "masked"]


def test_every_kind_of_document_and_of_refusal_comes() -> None:
    kinds = Counter(arrival.kind for arrival in SCRIPT)

    assert set(kinds) == {
        "cccd", "can_cuoc", "qrqg", "bhyt",
        "payment", "place_code", "foreign", "health_certificate", "unknown",
    }  # fmt: skip
    assert kinds["cccd"] + kinds["can_cuoc"] + kinds["qrqg"] + kinds["bhyt"] == 19


def test_one_person_comes_twice_soon_after_and_nobody_else(full_gate: SampleGate) -> None:
    payloads = [arrival.payload for arrival in SCRIPT]
    (twice,) = (payload for payload, count in Counter(payloads).items() if count == 2)
    first, second = (arrival for arrival in SCRIPT if arrival.payload == twice)
    seen = [n for arrival in (first, second) for n in frames_read(full_gate, arrival)]
    away_s = max(after - before for before, after in pairwise(seen)) / FRAMES_PER_S

    assert len(set(payloads)) == len(payloads) - 1
    # Long enough to have been out of view, short enough not to count again.
    assert GAP_S < away_s < ReadingSettings().reread_delay_s


def test_two_people_are_at_the_gate_at_once(full_gate: SampleGate) -> None:
    pairs = [
        (one, other) for one, other in pairwise(SCRIPT) if other.first_frame + 20 < one.last_frame
    ]

    assert len(pairs) == 2
    for one, other in pairs:
        together = full_gate.draw((other.first_frame + one.last_frame) // 2)
        assert {one.payload, other.payload} <= shown(together)


def test_the_gate_is_empty_at_first_and_at_last(full_gate: SampleGate) -> None:
    empty, last = full_gate.draw(0), full_gate.draw(full_gate.length - 1)

    assert not shown(empty)
    assert not shown(last)
    assert cv2.absdiff(empty, last).mean() < 5


def test_a_code_is_blurred_while_it_comes_and_sharp_while_it_is_held(
    full_gate: SampleGate,
) -> None:
    arrival = SCRIPT[0]

    assert arrival.payload not in shown(full_gate.draw(arrival.first_frame + 2))
    assert arrival.payload in shown(full_gate.draw(arrival.first_frame + 15))


def test_it_takes_about_a_minute(full_gate: SampleGate) -> None:
    assert 60 <= full_gate.length / FRAMES_PER_S <= 75


def test_two_gates_draw_the_same_frames_in_any_order(full_gate: SampleGate) -> None:
    other = gate()
    for number in (500, 20, 250):
        np.testing.assert_array_equal(full_gate.draw(number), other.draw(number))


@pytest.mark.parametrize("size", [(640, 480), (64, 64), (4096, 64), (64, 2000), (1920, 1080)])
def test_frames_have_the_size_that_is_asked_for(size: tuple[int, int]) -> None:
    small = gate(width=size[0], height=size[1])
    for number in (0, SCRIPT[0].first_frame + 3, SCRIPT[1].first_frame + 12):
        frame = small.draw(number)
        assert frame.shape == (size[1], size[0])
        assert frame.dtype == np.uint8


def test_the_sample_ends() -> None:
    small = gate(width=128, height=72)
    for _ in range(small.length):
        small.capture()

    with pytest.raises(EndOfFrames, match=r"set camera\.repeat"):
        small.capture()


def test_the_sample_starts_again_if_it_is_to_repeat() -> None:
    small = gate(width=128, height=72, repeat=True)
    frames = [small.capture() for _ in range(small.length + 20)]

    np.testing.assert_array_equal(frames[15], frames[small.length + 15])


def test_a_closed_gate_has_no_more_frames() -> None:
    small = gate(width=128, height=72, repeat=True)
    small.capture()
    small.close()

    with pytest.raises(EndOfFrames):
        small.capture()


def test_each_frame_is_paced() -> None:
    paced: list[int] = []
    small = SampleGate(
        CameraSettings(source="sample", width=128, height=72), lambda: paced.append(1)
    )
    for _ in range(3):
        small.capture()

    assert len(paced) == 3


def test_drawing_leaves_a_processor_to_the_scanner(full_gate: SampleGate) -> None:
    began = time.process_time()
    for number in range(0, 300, 5):
        full_gate.draw(number)
    spent_ms = (time.process_time() - began) / 60 * 1000

    # About 6 ms on a quiet machine; 66 ms are there at 15 frames a second.
    assert spent_ms < 40


def test_a_contact_sheet_shows_the_frames_asked_for(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "sheet.png", [20, 60, 100], columns=2)

    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[:2] == (450, 800)
