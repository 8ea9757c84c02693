"""The bundle for support has what helps, and nothing of a person, a key or a password."""

import json
import zipfile
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.messages import Health
from edge.scanner import diagnosing
from edge.scanner.__main__ import main
from edge.scanner.diagnosing import write_bundle
from edge.scanner.documents import Document, classify
from edge.scanner.health_log import HEALTH_LOG, HealthLog
from edge.scanner.identity import PRESENT
from edge.scanner.outbox import Outbox
from edge.scanner.setup import set_up
from edge.sealing import Sealer, make_key_pair, open_signer, read_key
from edge.setup_code import SetupCode
from tests.cards import a_batch_card
from tests.end_to_end.parts import SECRETS, invented_cards, written_forms
from tests.fakes import a_health, a_scan
from tests.scanner.machine import Machine
from tests.setup_codes import a_code, text

CODE: SetupCode = a_code(wifi=("Chợ Mẫu", r"mat khau\ 1", "VN"))
PERSON = invented_cards(1, first=9_000)[0]


class Unit:
    """A unit that was set up by a code, has scans, and whose journal others have written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        machine = Machine(folder)
        machine.insert(
            a_batch_card(
                settings={
                    "camera": {"source": "sample"},
                    "indicator": {"kind": "terminal"},
                    "basis": {"required": False},
                    "carry": {"key_file": str(folder / "carry.key"), "sticks": ""},
                    "outbox": {"folder": str(folder / "outbox")},
                }
            )
        )
        set_up(machine.boot, machine.root)
        done = machine.ask(text(CODE))
        assert done is not None
        assert done.applied
        self.root = machine.root
        self.settings = machine.root / "etc/edge/scanner.toml"
        broker = 'url = "mqtt://127.0.0.1:1"\nusername = "may-1"\npassword_file = "broker.txt"'
        (self.settings.parent / "broker.txt").write_text("hai-muoi-ky-tu-mat\n")
        drop_in = self.settings.parent / "scanner.d/test.toml"
        drop_in.parent.mkdir()
        drop_in.write_text(
            f'[broker]\n{broker}\ncertificate_file = ""\nkey_file = ""\nca_file = ""'
        )
        identity = machine.root / "var/lib/edge/identity"
        (identity / PRESENT).write_text(
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"
        )
        open_signer(folder / "carry.key")
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self._scan()
        HealthLog(folder / "outbox" / HEALTH_LOG).put(a_health(eye="blurred"))
        self.secrets = [
            *("mat khau", "hai-muoi-ky-tu-mat", "may-1", "MIGHAgEAMBMGByqGSM49", "Chợ Mẫu"),
            (folder / "carry.key").read_text().strip(),
            *SECRETS,
        ]

    def _scan(self) -> None:
        person = classify(PERSON.encode())
        assert isinstance(person, Document)
        sealer = Sealer(read_key(self.folder / "tracing.pub"))
        with Outbox(self.folder / "outbox", max_bytes=10_000_000, keep_free_bytes=0) as outbox:
            scan = a_scan(outbox.next_seq, outbox.epoch)
            sealed = sealer.seal(person.identity, scan.id)
            outbox.put(a_scan(scan.seq, scan.epoch, id=scan.id, sealed=sealed))

    def journal(self, options: list[str]) -> str:
        if options == ["--dmesg"]:
            lines = [
                ("kernel", "mmc0: card never left busy state"),
                ("kernel", f"brcmfmac: joining {CODE.wifi}"),
                ("stdout", "mmc is also said by others"),
            ]
            return "\n".join(json.dumps({"_TRANSPORT": t, "MESSAGE": m}) for t, m in lines)
        lines = [
            ("edge-scanner", "INFO edge.scanner.service: refused: payment"),
            ("edge-scanner", "WARNING edge.scanner.setup_window: not set up: mat khau\\ 1"),
            ("edge-scanner", f"ERROR edge.scanner: {PERSON.split('|')[0]} in a line of ours"),
            ("edge-scanner", PERSON),
            ("edge-scanner", f"zxing: {PERSON}"),
            ("edge-scanner", "Traceback (most recent call last):"),
            ("edge-scanner", '  File "/usr/lib/edge-scanner/edge/mqtt.py", line 5, in step'),
            ("edge-scanner", f"ValueError: {PERSON}"),
            ("edge-scanner", "INFO edge.scanner: \x1b[2J"),
            ("systemd", "edge-scanner.service: Main process exited, code=killed"),
        ]
        entries = [
            {"SYSLOG_IDENTIFIER": who, "MESSAGE": said, "__REALTIME_TIMESTAMP": "1764108000000000"}
            for who, said in lines
        ]
        return "\n".join([*map(json.dumps, entries), '{"MESSAGE": [255, 0]}', "no JSON", "[]"])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.scanner.check.BROKER_S", 0.2)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def contents(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_a_bundle_has_what_helps(unit: Unit, tmp_path: Path) -> None:
    file = write_bundle(unit.settings, tmp_path, unit.journal)

    assert file.name.startswith("edge-diag-xe-1-20")
    assert file.stat().st_mode & 0o777 == 0o600
    found = contents(file)
    about = json.loads(found["about.json"])
    assert (about["unit"], about["serial"]) == ("xe-1", "10000000abcdef01")
    assert "msgspec" in about["packages"]
    assert json.loads(found["settings.json"])["camera"]["source"] == "sample"
    assert "máy chủ MQTT / broker" in found["check.txt"]
    # The running scanner has the camera.
    assert "máy ảnh" not in found["check.txt"]
    assert json.loads(found["outbox.json"])["status"]["pending"] == 1
    assert Health.decode(found["health.jsonl"].encode()).eye == "blurred"
    assert json.loads(found["machine.json"])["machine"]["disk_free_bytes"] > 0
    assert json.loads(found["setup.json"])["unit"] == "xe-1"
    assert found["journal.txt"].splitlines() == [
        "1764108000000000 INFO edge.scanner.service: refused: payment",
        "1764108000000000 WARNING edge.scanner.setup_window: not set up: (left out)",
        "1764108000000000 ERROR edge.scanner: # in a line of ours",
        "1764108000000000 Traceback (most recent call last):",
        '1764108000000000   File "/usr/lib/edge-scanner/edge/mqtt.py", line 5, in step',
        "1764108000000000 edge-scanner.service: Main process exited, code=killed",
    ]
    assert found["kernel.txt"] == " mmc0: card never left busy state\n"


def test_nothing_of_a_person_a_key_or_a_password_is_in_it(unit: Unit, tmp_path: Path) -> None:
    found = contents(write_bundle(unit.settings, tmp_path, unit.journal))

    assert CODE.enrolment is not None
    for name, content in found.items():
        for secret in unit.secrets:
            for form in written_forms(secret):
                assert form not in content.encode(), f"{secret} in {name}"
        assert CODE.enrolment[1].hex() not in content
        assert "EDGE1:" not in content
    # The search would find it, were it there.
    assert any("xe-1" in content for content in found.values())
    assert any(form in PERSON.encode() for secret in SECRETS for form in written_forms(secret))


def test_a_unit_that_is_broken_gives_what_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosing, "_JOURNAL", "no-such-journal --")
    path = tmp_path / "etc/edge/scanner.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[unit\n")

    assert main(["--config", str(path), "diag", "--to", str(tmp_path)]) == 0

    found = contents(Path(capsys.readouterr().out.strip()))
    assert "not TOML" in found["check.txt"]
    assert "the journal cannot be read" in found["journal.txt"]


def test_where_it_cannot_be_written_is_said(
    unit: Unit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(unit.settings), "diag", "--to", str(tmp_path / "no")]) == 1
    assert "cannot write the bundle" in capsys.readouterr().err


def test_the_time_in_its_name_is_that_of_the_unit(unit: Unit, tmp_path: Path) -> None:
    file = write_bundle(unit.settings, tmp_path, unit.journal)

    assert file.stem.rpartition("-")[2][:8] == SystemClock().now().at[:10].replace("-", "")
