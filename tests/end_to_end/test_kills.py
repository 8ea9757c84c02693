"""Killing anything at any moment, with SIGKILL: every scan that beeped is in storage once.

EDGE_KILLS says how often (default 25), EDGE_SEED repeats a run that failed.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.messages import read_scans
from edge.mqtt import BrokerSettings, Connection
from edge.scanner.outbox import read_outbox
from edge.sealing import Opener, read_key
from edge.storage.storage import Storage
from tests.end_to_end.parts import SECRETS, Deployment, invented_cards, write_frames, written_forms
from tests.fakes import LIMIT_S, eventually

KILLS = int(os.environ.get("EDGE_KILLS", "25"))
SEED = int(os.environ.get("EDGE_SEED", random.SystemRandom().randrange(10**9)))
PARTS = ("broker", "collector", "scanner")


class Aftermath:
    """What is left when the killing is over and all has been confirmed."""

    def __init__(self, deployment: Deployment, kills: Counter[str], traffic: Path) -> None:
        self.folder = deployment.folder
        self.beeps = deployment.beeps()
        self.kills = kills
        self.traffic = traffic
        storage = Storage(deployment.storage)
        self.rows = storage.scan_numbers()
        self.gaps = [gap for unit in storage.units() for gap in unit.gaps]
        self.sealed = storage.sealed()
        storage.close()
        self.pending = read_outbox(deployment.outbox).status().pending


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    print(f"EDGE_SEED={SEED} EDGE_KILLS={KILLS}")
    chance = random.Random(SEED)
    folder = tmp_path_factory.mktemp("kills")
    frames = write_frames(folder / "frames", invented_cards(120))
    refused = write_frames(folder / "refused", ["https://example.invalid/ve/ABC123"])
    deployment = Deployment(folder / "run", frames)
    try:
        kills = kill_at_random(deployment, chance)
        drain(deployment, refused)
        traffic = folder / "traffic"
        listen(deployment, traffic, frames)
        drain(deployment, refused)
    finally:
        deployment.stop()
    return Aftermath(deployment, kills, traffic)


def kill_at_random(deployment: Deployment, chance: random.Random) -> Counter[str]:
    kills: Counter[str] = Counter()
    deployment.collector.start()
    deployment.scanner.start()
    for _ in range(KILLS):
        pause(chance.uniform(0, 1.2))
        part = chance.choice(PARTS)
        kills[part] += 1
        if part == "broker":
            deployment.broker.process.send_signal(signal.SIGKILL)
            deployment.broker.process.wait()
        else:
            getattr(deployment, part).stop(signal.SIGKILL)
        pause(chance.uniform(0, 0.8))
        if part == "broker":
            deployment.broker.start()
        else:
            getattr(deployment, part).start()
    deployment.scanner.stop(signal.SIGKILL)
    return kills


def pause(seconds: float) -> None:
    """Let the world go on for a random while: the moment of a kill is what is tested."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, "the pause to end", limit_s=seconds + LIMIT_S)


def drain(deployment: Deployment, refused: Path) -> None:
    last = deployment.last_scanner(refused)
    last.start()
    assert last.wait(300) == 0, last.log.read_text(errors="replace")[-2000:]


def listen(deployment: Deployment, traffic: Path, frames: Path) -> None:
    """Record all that the broker carries while a scanner works."""
    watcher = Connection(
        BrokerSettings(url=deployment.broker.url),
        deployment.folder,
        "watcher",
        SystemClock(),
        subscriptions=["edge/#"],
    )
    kinds: Counter[str] = Counter()
    eventually(lambda: watcher.connected, "watching", turn=lambda: watcher.step(0.05))
    scanner = deployment.last_scanner(frames)
    scanner.start()
    with traffic.open("wb") as file:

        def turn() -> None:
            watcher.step(0.05)
            for message in watcher.take():
                watcher.ack(message)
                kind = message.topic.rpartition("/")[2]
                # Several scans go in one message when many wait.
                kinds[kind] += len(read_scans(message.payload)[0]) if kind == "scan" else 1
                file.write(message.topic.encode() + b"\n" + message.payload + b"\n")

        eventually(
            lambda: kinds["scan"] >= 60 and kinds["confirmed"] and kinds["health"],
            "traffic of each kind",
            turn=turn,
        )
        eventually(lambda: scanner.ended() == 0, "the scanner's end", turn=turn)
    watcher.close()


def test_every_scan_that_beeped_is_a_row_exactly_once(aftermath: Aftermath) -> None:
    rows = Counter((unit, epoch, seq) for unit, epoch, seq, _ in aftermath.rows)
    stored = {seq for _, _, seq in rows}

    assert len(aftermath.beeps) > 100, "too little happened to prove anything"
    assert set(aftermath.beeps) - stored == set(), f"beeped but lost, seed {SEED}"
    assert max(rows.values()) == 1, f"stored twice, seed {SEED}"
    assert len({epoch for _, epoch, _ in rows}) == 1


def test_no_number_is_used_twice_and_none_is_missing(aftermath: Aftermath) -> None:
    assert [n for n, count in Counter(aftermath.beeps).items() if count > 1] == []
    assert aftermath.gaps == []
    assert len({scan_id for *_, scan_id in aftermath.rows}) == len(aftermath.rows)


def test_a_row_without_a_beep_is_one_that_was_killed_in_between(aftermath: Aftermath) -> None:
    silent = {seq for _, _, seq, _ in aftermath.rows} - set(aftermath.beeps)

    assert len(silent) <= aftermath.kills["scanner"] + 1


def test_the_outbox_is_empty_in_the_end(aftermath: Aftermath) -> None:
    assert aftermath.pending == 0


def test_each_identity_opens_with_the_desks_key(aftermath: Aftermath) -> None:
    opener = Opener(read_key(aftermath.folder / "tracing.key"))

    names = {opener.open(sealed, scan).name for scan, _, sealed in aftermath.sealed}

    assert len(names) == 120
    assert all(name.startswith("Phạm Thị Bịa Đặt") for name in names)


def test_nothing_of_a_person_is_found_outside_the_seals(aftermath: Aftermath) -> None:
    places = [path for path in aftermath.folder.rglob("*") if path.is_file()]
    places = [path for path in places if path.name not in ("tracing.key", "lock")]
    places.append(aftermath.traffic)
    forms = {form for secret in SECRETS for form in written_forms(secret)}

    # The search itself must be able to find something.
    assert any(b"cho-1" in path.read_bytes() for path in places)
    assert any("outbox" in str(path) for path in places)
    for path in places:
        content = path.read_bytes()
        found = [form for form in forms if form in content]
        assert not found, f"{path.name} holds {found[0]!r}"
