"""Judges the eye of the unit, its lens and its light, from what it sees while it works.

Ordinary frames tell whether anything is seen at all and how bright it is; codes that were read tell
how sharp. No frame is kept: only a few numbers of it.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from edge.scanner.exposure import brightness
from edge.scanner.golden import GOLDEN, Seen, seen
from edge.scanner.readers import Code, Frame

log = logging.getLogger(__name__)

#: Seconds between two ordinary frames, and between two codes, that are looked at: 0.2 and 1.3 ms.
FRAME_S, CODE_S = 10.0, 0.5
#: Of the codes within so many seconds, which is one person's, the sharpest counts: it was still.
VISIT_S = 5.0
#: A lens counts as covered after so many looks: before, it may be a hand.
_COVERED_LOOKS = 3
#: A golden code that was shown so long ago tells nothing of the eye as it is.
_GOLDEN_S = 3600.0
#: Sharpness is the median of so many visits, of different people's papers and hands.
_VISITS, _FEWEST_VISITS = 20, 5
#: Mean grey, from 0 to 255, outside of which it is too dark or too bright although exposure tried.
_TOO_DARK, _TOO_BRIGHT = 30.0, 225.0
#: The difference of the strongest edges, as a share of the mean grey, and at least in grey levels:
#: where there is less, nothing is seen.
_EDGES, _LEAST_EDGES = 0.07, 2.0
#: Of a frame that is smaller nothing is said, in pixels.
_LEAST_SIDE = 24
#: Of a code that is near enough to judge by (pixels of a module), the least sharpness. What is
#: drawn in good focus has 0.8 to 1, and half of those at 0.5 are not read.
_NEAR_PX, _BLURRED = 4.0, 0.6
#: Grey of the dark parts against that of the light: on clear paper 0.2.
_VEILED = 0.5
#: The weakest contrast of any part against that of all.
_UNEVEN = 0.65
#: Grey of the light parts of a golden code.
_BURNT, _FAINT = 252.0, 80.0
#: How far from the middle of the frame a golden code may be held, in shares of half of it.
_OFF = 0.6


class Finding(Enum):
    """What may be wrong with an eye; its value is the word for it in health."""

    COVERED = "covered"
    DARK = "dark"
    BRIGHT = "bright"
    VEILED = "veiled"
    BLURRED = "blurred"
    SPOT = "spot"
    FAR = "far"
    OFF = "off"

    @property
    def text(self) -> str:
        """What it is and what to do, in Vietnamese and English."""
        return " / ".join(_TEXTS[self])


_TEXTS = {
    Finding.COVERED: (
        "không thấy gì: ống kính bị che hoặc hoàn toàn không có ánh sáng; bỏ vật che, lau ống kính",
        "nothing is seen: the lens is covered or there is no light at all; uncover and clean it",
    ),
    Finding.DARK: (
        "quá tối: thêm đèn hoặc gắn đèn riêng cho máy (camera.lamp_pin)",
        "too dark: add light, or fit the unit's own lamp (camera.lamp_pin)",
    ),
    Finding.BRIGHT: (
        "quá sáng: che nắng hoặc đèn chiếu thẳng vào ống kính",
        "too bright: shade the lens from the sun or a lamp",
    ),
    Finding.VEILED: (
        "hình bị mờ đục: lau ống kính và kính che, che ánh sáng chiếu vào",
        "as through fog: clean the lens and its window, shade them from light that shines in",
    ),
    Finding.BLURRED: (
        "hình không nét: lau ống kính, rồi chạy edge-scanner eye --focus",
        "not sharp: clean the lens, then run edge-scanner eye --focus",
    ),
    Finding.SPOT: (
        "có vết bẩn hoặc chói ở một chỗ: lau ống kính và kính che",
        "a spot of dirt or glare: clean the lens and its window",
    ),
    Finding.FAR: (
        "mã chuẩn ở quá xa: đưa lại gần, khoảng 20 cm",
        "the golden code is too far away: hold it nearer, at about 20 cm",
    ),
    Finding.OFF: (
        "mã chuẩn lệch khỏi giữa hình: giữ thẳng trước ống kính hoặc chỉnh hướng máy ảnh",
        "the golden code is off the middle: hold it straight before the lens, or turn the camera",
    ),
}


@dataclass(frozen=True)
class EyeState:
    """What is known of an eye."""

    #: "unjudged" before the first look, "good", or the value of a Finding.
    verdict: str = "unjudged"
    #: Mean grey of the middle of a frame, 0 to 255.
    brightness: float | None = None
    #: Of the codes that were read lately, 0 to 1; None where there were too few.
    sharpness: float | None = None


class Eye:
    """Watches over an eye while it works. Fed every frame, it looks at few."""

    def __init__(self) -> None:
        self._next_frame = 0.0
        self._next_code = 0.0
        self._covered_looks = 0
        self._light: list[Finding] = []
        self._brightness: float | None = None
        # When each visit was, in VISIT_S, and the sharpness of its code.
        self._visits: deque[tuple[int, float]] = deque(maxlen=_VISITS)
        self._golden: Seen | None = None
        self._golden_at = 0.0
        self._verdict = "unjudged"

    @property
    def state(self) -> EyeState:
        """What is known at the moment."""
        enough = len(self._visits) >= _FEWEST_VISITS
        return EyeState(
            self._verdict,
            None if self._brightness is None else round(self._brightness, 1),
            round(float(np.median([it for _, it in self._visits])), 3) if enough else None,
        )

    def look(self, frame: Frame, codes: Sequence[Code], now: float) -> bool:
        """Take note of *frame* and the *codes* read in it, the golden one among them.

        *now* is in seconds of any clock that does not jump. True if a look was taken.
        """
        looked = False
        if codes and now >= self._next_code:
            self._next_code, looked = now + CODE_S, True
            self._look_at_codes(frame, codes, now)
        if now >= self._next_frame:
            self._next_frame, looked = now + FRAME_S, True
            self._look_at_frame(frame)
        if looked:
            if now - self._golden_at > _GOLDEN_S:
                self._golden = None
            self._judge()
        return looked

    def _look_at_codes(self, frame: Frame, codes: Iterable[Code], now: float) -> None:
        for code in codes:
            if (it := seen(frame, code)) is None:
                continue
            if code.content == GOLDEN:
                self._golden, self._golden_at = it, now
            elif it.module_px >= _NEAR_PX:
                self._note(int(now // VISIT_S), it.sharpest)

    def _note(self, visit: int, sharpness: float) -> None:
        if self._visits and self._visits[-1][0] == visit:
            sharpness = max(sharpness, self._visits.pop()[1])
        self._visits.append((visit, sharpness))

    def _look_at_frame(self, frame: Frame) -> None:
        self._brightness = brightness(frame)
        self._light = of_frame(frame)
        self._covered_looks = self._covered_looks + 1 if Finding.COVERED in self._light else 0

    def _judge(self) -> None:
        findings = [*self._light, *self._of_codes()]
        if 0 < self._covered_looks < _COVERED_LOOKS:
            findings.remove(Finding.COVERED)
        verdict = findings[0].value if findings else "good"
        if verdict != self._verdict:
            self._verdict = verdict
            if findings:
                log.warning("the eye: %s", findings[0].text)
            else:
                log.info("the eye sees well")

    def _of_codes(self) -> list[Finding]:
        if self._golden is not None:
            # Where it hangs is chosen by whoever hung it.
            return [each for each in of_golden(self._golden) if each not in _OF_PLACE]
        sharpness = self.state.sharpness
        return [Finding.BLURRED] if sharpness is not None and sharpness < _BLURRED else []


_OF_PLACE = (Finding.FAR, Finding.OFF)


def is_blank(frame: Frame) -> bool:
    """Whether there is nothing to be seen in *frame*: no edge anywhere."""
    if min(frame.shape) < _LEAST_SIDE:
        return True
    # Averaged over 8 x 8 pixels, noise is gone and what is far out of focus is still there.
    height, width = frame.shape
    small = cv2.resize(frame, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    apart = cv2.absdiff(small[:, 2:], small[:, :-2])
    least = max(_LEAST_EDGES, _EDGES * float(small.mean()))
    return bool(np.percentile(apart, 99) < least)


def of_frame(frame: Frame) -> list[Finding]:
    """What an ordinary *frame* tells."""
    grey = brightness(frame)
    if grey > _TOO_BRIGHT:
        return [Finding.BRIGHT]
    if is_blank(frame):
        return [Finding.COVERED]
    return [Finding.DARK] if grey < _TOO_DARK else []


def of_golden(it: Seen) -> list[Finding]:
    """What the golden code tells, the worst first."""
    if it.module_px < _NEAR_PX:
        return [Finding.FAR]
    tells = (
        (Finding.DARK, it.light < _FAINT),
        (Finding.BRIGHT, it.light > _BURNT),
        (Finding.VEILED, it.dark > _VEILED * it.light),
        (Finding.BLURRED, it.sharpness < _BLURRED),
        (Finding.SPOT, it.evenness < _UNEVEN),
        (Finding.OFF, max(map(abs, it.off)) > _OFF),
    )
    return [finding for finding, is_so in tells if is_so]
