"""The command `edge-trace` as it is used: a real service on a real storage, asked from outside."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.chain import verify
from edge.clock import utc_text
from edge.desk_socket import ask
from edge.errors import DeskError
from edge.identity import Identity
from edge.legal_basis import LegalBasis, write_basis
from edge.register import Place, Register, write_register
from edge.sealing import Sealer, open_signer, read_key
from edge.storage.storage import Storage
from edge.tables import read_table
from edge.tracing.__main__ import main
from edge.tracing.keys import make_keys
from edge.tracing.shown import local_text
from tests.fakes import LIMIT_S, a_scan, came, eventually

A, B = "064190000001", "064190000002"
PASSWORD = "mật khẩu rất dài"
DAY = 86_400


class Centre:
    """A storage with scans of two people who met, and a desk beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "desk.sock"
        self.config = folder / "trace.toml"
        self.today = time.time() // DAY * DAY - DAY
        make_keys(folder)
        self.sealer = Sealer(read_key(folder / "tracing.pub"))
        signer = open_signer(folder / "basis.key")
        (folder / "basis.pub").write_text(base64.b64encode(signer.public_key).decode())
        (folder / "basis").mkdir()
        basis = LegalBasis(
            number="144/CV-THU",
            issuer="Ban Chỉ đạo Mẫu",
            places=("*",),
            issued=self.at(0),
            start=utc_text(self.today - DAY),
            end=utc_text(self.today + 7 * DAY),
        )
        write_basis(folder / "basis" / "a.json", basis, signer)
        write_register(
            folder / "register.json",
            Register(places=(Place(id="cho-1", name="=Chợ Mẫu", kind="market"),)),
        )
        self.config.write_text(
            f"""
[keys]
private_key_files = ["tracing.key"]
[storage]
url = "{folder}/storage.db"
[index]
url = "{folder}/index.db"
[desk]
socket = "{self.socket}"
audit_file = "{folder}/audit.jsonl"
"""
        )
        self.storage = Storage(folder / "storage.db")
        self.seq = 0
        self.process: subprocess.Popen[bytes] | None = None

    def at(self, hour: float) -> str:
        return utc_text(self.today + hour * 3600)

    def scan(self, pin: str, name: str, hour: float, direction: str) -> None:
        self.seq += 1
        scan = a_scan(self.seq, at=self.at(hour), clock="ntp", direction=direction)
        identity = Identity(pin=pin, name=name, birth_year=1990, phone="0900000001")
        sealed = self.sealer.seal(identity, scan.id)
        fields = {name: getattr(scan, name) for name in scan.__struct_fields__}
        fields |= {"sealed": sealed, "key": self.sealer.key_id}
        self.storage.store([came("gialai", "cong-1", type(scan)(**fields))], self.at(hour))

    def start(self) -> None:
        self.launch()
        eventually(self.answers, "the desk answers")

    def launch(self) -> None:
        log = (self.folder / "trace.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge.tracing", "--config", str(self.config)],
            stdout=log,
            stderr=log,
        )

    def answers(self) -> bool:
        try:
            ask(self.socket, "workers")
        except DeskError as err:
            # As its own account we are the administrator; what matters is that it speaks.
            return "is edge-trace running" not in str(err)
        return True

    def end(self, *, kill: bool = False) -> None:
        assert self.process is not None
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(LIMIT_S)
        self.socket.unlink(missing_ok=True)

    def ask(self, worker: str, do: str, **arguments: Any) -> Any:
        return ask(self.socket, do, worker, PASSWORD, **arguments)

    def times(self) -> dict[str, str]:
        return {"since": self.at(-24)[:10], "until": self.at(24)[:10]}

    def run(self, *args: str, capsys: pytest.CaptureFixture[str]) -> str:
        assert main(["--config", str(self.config), *args]) == 0
        return capsys.readouterr().out


def in_21_days() -> str:
    return local_text(round((time.time() + 21 * DAY) * 1000))[:10]


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    centre = Centre(tmp_path)
    centre.start()
    yield centre
    if centre.process and centre.process.poll() is None:
        centre.end()
    centre.storage.close()


def test_from_a_sealed_scan_to_an_approved_name(
    centre: Centre, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for name, roles in (("lan", "tracer"), ("minh", "approver")):
        ask(centre.socket, "put_worker", name=name, title="", roles=roles, password=PASSWORD)
    centre.scan(A, "Trần Thị Mẫu", 2, "in")
    centre.scan(B, "=HYPERLINK(1)", 2.5, "in")
    # Killed in between, it goes on where it was.
    centre.end(kill=True)
    centre.scan(A, "TRAN THI MAU", 4, "out")
    centre.scan(B, "=HYPERLINK(1)", 3.5, "out")
    centre.start()
    case = centre.ask("lan", "open_case", purpose="Ca bệnh số 5 tại chợ", numbers=[f"pin:{A}"])
    with pytest.raises(DeskError, match="not approved"):
        centre.ask("lan", "overlaps", case=case["id"], **centre.times())
    centre.ask("minh", "decide_case", case=case["id"], approve=True)

    def contacts() -> Any:
        found = centre.ask("lan", "overlaps", case=case["id"], **centre.times())
        return found if found and found[0]["certainty"] == "scanned" else None

    eventually(contacts, "both were indexed")
    (contact,) = contacts()
    assert contact["minutes"] == 60.0
    release = centre.ask(
        "lan", "ask_release", case=case["id"], persons=[contact["person"]], reason="Báo trạm y tế"
    )
    centre.ask("minh", "decide_release", release=release["number"], approve=True)

    monkeypatch.setattr("getpass.getpass", lambda _: PASSWORD)
    table = centre.run(
        "--worker", "lan", "overlaps", case["id"], "--since", centre.times()["since"],
        "--until", centre.times()["until"], capsys=capsys,
    )  # fmt: skip
    assert "scanned" in table
    assert "độ chắc chắn" in table
    out = tmp_path / "contacts.csv"
    # It may be midnight in between.
    erased_before = [in_21_days()]
    centre.run(
        "--worker", "lan", "release", "show", str(release["number"]), "--out", str(out),
        capsys=capsys,
    )  # fmt: skip
    erased_before.append(in_21_days())
    content = out.read_bytes()
    assert b'"\'=HYPERLINK(1)"' in content
    assert f'"\'{B}"'.encode() in content
    with out.open("rb") as file:
        rows = list(read_table(file, "x.csv"))
    assert rows[1][-5:-2] == ["lan", case["id"], str(release["number"])]
    assert rows[1][-1] in erased_before
    assert out.stat().st_mode & 0o077 == 0

    said = json.loads(centre.run("--json", "--worker", "lan", "audit", "verify", capsys=capsys))
    assert said["entries"] == verify(tmp_path / "audit.jsonl").entries
    centre.end()
    log = (tmp_path / "trace.log").read_text()
    assert said["hash"] in log
    for secret in (A, B, "Mẫu", "MAU", "HYPERLINK"):
        assert secret not in log
        assert secret.encode() not in (tmp_path / "audit.jsonl").read_bytes()
        assert secret.encode() not in (tmp_path / "index.db").read_bytes()


def test_a_desk_without_a_legal_basis_does_not_open_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    centre = Centre(tmp_path)
    (tmp_path / "basis" / "a.json").unlink()
    centre.scan(A, "Trần Thị Mẫu", 2, "in")
    centre.launch()
    assert centre.process is not None

    assert centre.process.wait(60) == 1
    assert "no legal basis is there" in (tmp_path / "trace.log").read_text()
    centre.storage.close()


def test_a_legal_basis_is_made_shown_and_refused_when_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, file, public = tmp_path / "a.key", tmp_path / "basis.json", tmp_path / "basis.pub"
    made = [
        "basis", "make", str(file), "--key", str(key), "--number", "144/CV-THU", "--issuer",
        "Ban Chỉ đạo Mẫu", "--place", "cho-1", "--start", "2026-01-01", "--end", "2026-01-21",
    ]  # fmt: skip
    assert main(made) == 0
    public.write_text(base64.b64encode(open_signer(key).public_key).decode())

    assert main(["basis", "show", str(file), "--key", str(public)]) == 0
    said = capsys.readouterr().out
    assert "144/CV-THU" in said
    assert "2026-01-21T17:00:00.000Z" in said  # the end of the last day, in Vietnam
    file.write_text(file.read_text().replace("cho-1", "cho-2"))
    assert main(["basis", "verify", str(file), "--key", str(public)]) == 1


def test_without_a_running_desk_a_question_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    centre = Centre(tmp_path)
    centre.storage.close()

    assert main(["--config", str(centre.config), "case", "list"]) == 1
    assert "is edge-trace running?" in capsys.readouterr().err
