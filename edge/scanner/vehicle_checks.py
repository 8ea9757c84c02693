"""What `edge-scanner check` asks of the parts that only some units have: receiver, loudspeaker."""

import shutil
import subprocess
from pathlib import Path

from edge.clock import Clock
from edge.errors import EdgeError
from edge.scanner.gps import Receiver
from edge.scanner.indicator import Signal
from edge.scanner.settings import UnsetSettings
from edge.scanner.unit_checks import Concern

#: For how long a receiver is listened to. It speaks once a second.
LISTEN_S = 5.0
#: How long the first sentence may take.
SAY_S = 8.0


def gps(settings: UnsetSettings, clock: Clock) -> str:
    """Whether the receiver speaks, and knows where it is. Raises EdgeError where it is silent."""
    source = settings.gps.source
    receiver = Receiver(settings.gps, clock, lambda _: None)
    until = clock.monotonic() + LISTEN_S
    try:
        while receiver.state != "fix" and clock.monotonic() < until:
            receiver.step(0.5)
        state = receiver.state
    finally:
        receiver.close()
    if state == "silent":
        raise EdgeError(
            f"{source} says nothing: look at its cable, at gps.baud, and whether a console holds"
            " the line (raspi-config: serial port without login shell)"
        )
    if state == "searching":
        return Concern(f"{source} sees no satellites yet: its antenna wants the open sky")
    return f"{source} knows where it is"


def speaker(settings: UnsetSettings) -> str:
    """Whether the loudspeaker says "counted". Raises EdgeError where it cannot."""
    its = settings.indicator
    sentence = Path(its.speech_folder) / f"{Signal.ACCEPTED.value}.wav"
    if not sentence.exists():
        raise EdgeError(
            f"{sentence} is missing: the package was built without sentences; correct"
            " indicator.speech_folder, or set speech = false"
        )
    if shutil.which("aplay") is None:
        raise EdgeError("there is no aplay: apt install alsa-utils, or set speech = false")
    try:
        done = subprocess.run(
            ["aplay", "-q", "-D", its.speech_device, str(sentence)],
            capture_output=True,
            text=True,
            timeout=SAY_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EdgeError(f"{its.speech_device} does not finish a sentence: {_CURE}") from None
    if done.returncode:
        raise EdgeError(f"{its.speech_device}: {done.stderr.strip()[-200:]}; {_CURE}")
    return f'{its.speech_device}: you should have heard "đã ghi nhận"'


_CURE = "see `aplay -L` for indicator.speech_device"
