"""Whatever was not scanned is marked, wherever an interval is shown: table, JSON, file, page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.chain import entries
from edge.dashboard.tracing_actions import ACTIONS, rows_of
from edge.tables import read_table
from edge.tracing.__main__ import main
from edge.tracing.index import Index
from edge.tracing.visits import Quality
from edge.tracing.workers import ADMINISTRATOR
from tests.tracing.desk import at, seen, shown, stay, the_places
from tests.tracing.test_desk import PURPOSE, A, B, C, Listening, Office

PASSWORD = "mật khẩu rất dài"
#: What A's four days hold: the day, and how entry and exit are known.
STAYS = [
    ("2021-07-02", "scanned", "scanned"),
    ("2021-07-03", "scanned", "estimated"),
    ("2021-07-04", "inferred", "inferred"),
    ("2021-07-05", "time unknown", "time unknown"),
    ("2021-07-06", "estimated", "scanned"),
]
#: B was there on each of them, scanned in and out: as sure as A's less sure end.
MEETINGS = [
    ("2021-07-02", "scanned"),
    ("2021-07-03", "estimated"),
    ("2021-07-04", "inferred"),
    ("2021-07-05", "possible"),
    ("2021-07-06", "estimated"),
]
TIMES = ["--since", "2021-07-01", "--until", "2021-07-10"]


class AskedDesk:
    """A desk behind its socket, where A and B met on five days, and its command line."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.office = office
        self.config = folder / "trace.toml"
        self.listening = Listening(office, folder / "desk.sock")
        self.config.write_text(
            f'[keys]\nprivate_key_files = ["x"]\n[storage]\nurl = "x"\n'
            f'[desk]\nsocket = "{folder}/desk.sock"\n[index]\nretention_days = 14\n'
        )
        market, office_door, untimed = "cho-1", "office", Quality.UNSYNCED
        of_a = [
            shown(seen("08:00", market, "in", day=3), pin=A),
            shown(seen("08:00", office_door, "both", day=4), pin=A),
            shown(seen("10:00", office_door, "both", day=4), pin=A),
            shown(
                seen("08:00", market, day=5, quality=untimed, received=at("10:00", day=5)), pin=A
            ),
            shown(seen("10:00", market, "out", day=6), pin=A),
        ]
        of_b = [
            scan
            for day, place in ((3, market), (4, office_door), (5, market), (6, market))
            for scan in stay("08:20", "09:50", place, day=day, pin=B)
        ]
        # With B, and never with A.
        of_b += stay("08:20", "09:50", "ben-xe", day=7, pin=B)
        of_c = [shown(seen("08:00", "ben-xe", "in", day=7), pin=C)]
        Index(office.database, the_places()).add([*of_a, *of_b, *of_c], "2")
        for name, roles in (("lan", "tracer"), ("minh", "approver")):
            office.desk.put_worker(ADMINISTRATOR, name, "", roles, PASSWORD)
        lan, minh = office.by("lan"), office.by("minh")
        self.case = office.desk.open_case(lan, PURPOSE, [f"pin:{A}"]).id
        office.desk.decide_case(minh, self.case, True)

    def run(self, *args: str) -> None:
        assert main(["--config", str(self.config), "--worker", "lan", *args]) == 0


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AskedDesk]:
    monkeypatch.setattr("getpass.getpass", lambda _: PASSWORD)
    asked = AskedDesk(Office(tmp_path), tmp_path)
    yield asked
    asked.listening.close()
    asked.office.database.close()


def exported(path: Path) -> list[dict[str, str]]:
    with path.open("rb") as file:
        head, *rows = read_table(file, path.name)
    return [dict(zip(head, row, strict=False)) for row in rows]


def test_a_table_marks_both_ends_of_every_stay(
    asked: AskedDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.run("where", asked.case, *TIMES)

    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(STAYS)
    for line, (day, entry, exit_) in zip(lines, STAYS, strict=True):
        cells = re.split(r" {2,}", line)
        assert cells[1].startswith(day)
        assert cells[-2:] == [entry, exit_]


def test_a_table_marks_every_meeting_and_not_the_surest_alone(
    asked: AskedDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.run("overlaps", asked.case, *TIMES)
    _, *first = capsys.readouterr().out.splitlines()
    asked.run("second-ring", asked.case, *TIMES)
    _, *second = capsys.readouterr().out.splitlines()

    assert len(first) == len(MEETINGS)
    for line, (day, certainty) in zip(first, MEETINGS, strict=True):
        cells = re.split(r" {2,}", line)
        assert cells[3].startswith(day)
        assert cells[6] == certainty
    # C's exit was missed.
    assert [re.split(r" {2,}", line)[6] for line in second] == ["estimated"]


def test_json_marks_every_end_and_every_meeting(
    asked: AskedDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*args: str) -> Any:
        asked.run("--json", *args, *TIMES)
        return json.loads(capsys.readouterr().out)

    stays = said("where", asked.case)
    assert [(s["start"][:10], s["start_is"], s["end_is"]) for s in stays] == STAYS
    (contact,) = said("overlaps", asked.case)
    assert [(m["start"][:10], m["certainty"]) for m in contact["meetings"]] == MEETINGS
    there = said("present", asked.case, "office")
    assert {(s["start_is"], s["end_is"]) for s in there} == {
        ("inferred", "inferred"),
        ("scanned", "scanned"),
    }


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_exported_file_marks_every_interval_and_says_whose_and_until_when(
    asked: AskedDesk, tmp_path: Path, kind: str
) -> None:
    where, met = tmp_path / f"where.{kind}", tmp_path / f"met.{kind}"

    asked.run("where", asked.case, *TIMES, "--out", str(where))
    asked.run("overlaps", asked.case, *TIMES, "--out", str(met))

    assert [
        (row["từ / from"][:10], row["vào / entry"], row["ra / exit"]) for row in exported(where)
    ] == STAYS
    assert [
        (row["từ / from"][:10], row["độ chắc chắn / certainty"]) for row in exported(met)
    ] == MEETINGS
    for row in exported(where) + exported(met):
        assert (row["xuất bởi / by"], row["vụ việc / case"]) == ("lan", asked.case)
        assert row["lúc / at"][:10] < row["xóa trước / erase before"]
    assert where.stat().st_mode & 0o077 == 0
    last = list(entries(asked.office.audit))[-2:]
    assert [(e.what, e.facts["exported_as"]) for e in last] == [("where", kind), ("overlaps", kind)]


def test_an_export_overwrites_nothing_and_is_of_a_known_kind(
    asked: AskedDesk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine")

    for name in ("there.csv", "new.pdf"):
        args = ["where", asked.case, *TIMES, "--out", str(tmp_path / name)]
        assert main(["--config", str(asked.config), "--worker", "lan", *args]) == 1

    said = capsys.readouterr().err
    assert "cannot write there" in said
    assert "a .csv or an .xlsx file" in said
    assert there.read_text() == "mine"


def test_the_page_marks_every_meeting_of_a_contact(asked: AskedDesk) -> None:
    action = next(action for action in ACTIONS if action.do == "overlaps")
    lan = asked.office.by("lan")
    contacts = asked.office.desk.overlaps(lan, asked.case, "2021-07-01", "2021-07-10")

    (row,) = rows_of(action, msgspec.to_builtins(contacts), "en")

    shown_there = row[-1].split("; ")
    assert len(shown_there) == len(MEETINGS)
    for meeting, (day, certainty) in zip(shown_there, MEETINGS, strict=True):
        assert day in meeting
        assert meeting.endswith(f"({certainty})")
