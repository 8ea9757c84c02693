"""The desk's page on the real desk behind its socket: who decides, and what is never shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from edge.dashboard.settings import DashboardSettings, TracingSettings
from edge.dashboard.tracing_actions import WORDS_VI
from edge.tracing.shown import BOUNDS, CERTAINTIES
from edge.tracing.workers import ADMINISTRATOR
from tests.dashboard.parts import PASSWORD, Deployment, token_in
from tests.tracing.test_desk import NAMES, PURPOSE, A, Listening, Office

DESK_PASSWORD = "mật khẩu của bàn"
TIMES = {"since": "2021-07-01", "until": "2021-07-20"}


class Browser:
    """The desk's browser; each question gives somebody's name and password at the desk."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.pages: list[str] = []

    def ask(self, do: str, worker: str, password: str = DESK_PASSWORD, **fields: str) -> str:
        token = token_in(self.client.get("/tracing").text)
        data = {"do": do, "worker": worker, "password": password, "token": token} | fields
        page = self.client.post("/tracing", data=data).text
        self.pages.append(page)
        return page


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "desk").mkdir()
    office = Office(tmp_path / "desk")
    for name, roles in (("lan", "tracer"), ("minh", "approver,tracer"), ("hoa", "auditor")):
        office.desk.put_worker(ADMINISTRATOR, name, "", roles, DESK_PASSWORD)
    listening = Listening(office, tmp_path / "desk.sock")
    yield office
    listening.close()
    office.database.close()


@pytest.fixture
def browser(office: Office, tmp_path: Path) -> Iterator[Browser]:
    settings = DashboardSettings(tracing=TracingSettings(socket=str(tmp_path / "desk.sock")))
    deployment = Deployment(tmp_path, settings)
    yield Browser(deployment.client("desk"))
    deployment.close()


def test_the_desks_words_are_said_in_both_languages(browser: Browser, office: Office) -> None:
    assert {words[1]: words[0] for words in (*BOUNDS.values(), *CERTAINTIES.values())}.items() <= (
        WORDS_VI.items()
    )
    browser.ask("open_case", "lan", purpose=PURPOSE, numbers=f"pin:{A}")
    assert "<td>chờ duyệt</td>" in browser.ask("cases", "minh")
    browser.client.cookies.set("edge-language", "en")
    assert "<td>asked</td>" in browser.ask("cases", "minh")


def problem_in(page: str) -> str:
    return page.partition('role="alert">')[2].partition("<")[0]


def test_a_case_goes_from_its_purpose_to_its_contacts_with_two_people(
    browser: Browser, office: Office
) -> None:
    browser.ask("open_case", "lan", purpose=PURPOSE, numbers=f"pin:{A}")
    case = office.desk.cases(office.by("lan"))[0].id
    early = browser.ask("where", "lan", case=case, person="0", **TIMES)
    alone = browser.ask("decide_case", "lan", case=case, approve="yes")
    decided = browser.ask("decide_case", "minh", case=case, approve="yes")
    where = browser.ask("where", "lan", case=case, person="0", **TIMES)
    overlaps = browser.ask("overlaps", "lan", case=case, person="0", **TIMES)
    persons = browser.ask("persons", "lan", case=case)
    complete = browser.ask("completeness", "lan", **TIMES)
    audit = browser.ask("audit", "hoa", case=case)

    assert "not approved" in problem_in(early)
    assert "not approver" in problem_in(alone)
    assert "<td>đã duyệt</td>" in decided
    assert "<td>2021-07-02 08:00</td>" in where
    assert "<td>60,0</td>" in overlaps
    assert "<td>đã quét</td>" in overlaps
    assert "(đã quét)" in overlaps
    assert "Chợ Mẫu" in overlaps
    assert persons.count("<tr>") == 3
    assert "<td>2021-07-02</td>" in complete
    assert "<td>overlaps</td>" in audit
    for page in browser.pages:
        assert not any(name in page for name in NAMES.values())


def test_names_cannot_be_had_through_the_page(browser: Browser, office: Office) -> None:
    case = office.approved_case()
    office.desk.overlaps(office.by("lan"), case, TIMES["since"], TIMES["until"])
    browser.ask("ask_release", "lan", case=case, persons="1, 2", reason="Gọi điện báo cách ly")
    browser.ask("decide_release", "minh", release="1", approve="yes")

    named = browser.ask("named", "lan", release="1")

    assert "<td>đã duyệt</td>" in browser.ask("releases", "lan")
    # An action that is not the page's is its first one.
    assert PURPOSE in named
    for page in browser.pages:
        assert not any(name in page for name in NAMES.values())


@pytest.mark.parametrize(
    ("worker", "password"), [("lan", "sai"), ("ai", DESK_PASSWORD), ("", ""), ("lan", "")]
)
def test_nobody_asks_without_their_own_password(
    browser: Browser, office: Office, worker: str, password: str
) -> None:
    page = browser.ask("cases", worker, password)

    assert problem_in(page)
    assert "<tbody>" not in page


@pytest.mark.parametrize(
    ("do", "fields"),
    [
        ("where", {"case": "x", "person": "một", "since": "2021-07-01", "until": "2021-07-02"}),
        ("where", {"case": "<script>", "person": "0", "since": "?", "until": ""}),
        ("ask_release", {"case": "x", "persons": "1;2", "reason": ""}),
    ],
)
def test_nonsense_is_answered_with_what_is_wrong(
    browser: Browser, do: str, fields: dict[str, str]
) -> None:
    page = browser.ask(do, "lan", **fields)

    assert problem_in(page)
    assert "<script>" not in page


def test_a_desk_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    gone = DashboardSettings(tracing=TracingSettings(socket=str(tmp_path / "none.sock")))
    deployment = Deployment(tmp_path, gone)
    page = Browser(deployment.client("desk")).ask("cases", "lan")
    assert "is edge-trace running" in problem_in(page)
    deployment.close()


def test_the_desk_begins_at_its_page_and_sees_no_other(deployment: Deployment) -> None:
    client = deployment.client()
    answer = client.post("/sign-in", data={"name": "desk", "password": PASSWORD})
    assert answer.headers["location"] == "/tracing"
    assert "không có bộ phận truy vết" in client.get("/tracing").text
    assert client.get("/").status_code == 403
    assert deployment.client("operator").get("/tracing").status_code == 403
