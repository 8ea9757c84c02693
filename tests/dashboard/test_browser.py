"""A real browser on the real server: every page, both languages, a phone and a desk."""

import io
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pypdf import PdfReader

from edge.dashboard.alarm_rules import Finding
from edge.dashboard.reporting import ReportSettings
from edge.dashboard.rights import ROLES
from edge.dashboard.settings import DashboardSettings, TracingSettings
from edge.register import TWO_LEVELS_FROM, AdminArea, Place, Register
from edge.storage.places import keep_register
from tests.dashboard.browser import Visitor, chromium, served
from tests.dashboard.parts import OWN_PLACE, PASSWORD, Deployment, example_path
from tests.dashboard.test_condition import add_unit
from tests.fakes import LIMIT_S

#: Words in the first column of tables that stand on more than one line.
BROKEN_WORDS = """() => [...document.querySelectorAll("tbody th")].flatMap(cell => {
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), broken = [];
  for (let node = texts.nextNode(); node; node = texts.nextNode())
    for (const word of node.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(word[0]);
    }
  return broken;
})"""
GAP_ABOVE_THE_FORM = """() => {
  const form = document.querySelector("main > form.card, main > section > form.card");
  return form.getBoundingClientRect().top
    - form.previousElementSibling.getBoundingClientRect().bottom;
}"""

#: What of a page would be cut off at the right, by its words.
PAST_THE_PAPER = """() => [...document.querySelectorAll("main *")]
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.textContent.trim().slice(0, 40))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str]]:
    """A deployment and where it is served."""
    folder = tmp_path_factory.mktemp("dashboard")
    settings = DashboardSettings(
        # It takes three lines on a phone.
        title="Quét mã ra vào, Sở Xây dựng tỉnh Gia Lai (mẫu)",
        reports=ReportSettings(folder=str(folder / "reports")),
        # Nobody listens there; the page is whole all the same.
        tracing=TracingSettings(socket=str(folder / "desk.sock")),
    )
    deployment = Deployment(folder, settings)
    deployment.add_units()
    deployment.add_register()
    deployment.add_busy_days()
    deployment.parts.reporting.step()
    deployment.add_alarms()
    with served(deployment) as url:
        yield deployment, url
    deployment.close()


@pytest.mark.parametrize(
    ("size", "language", "theme"),
    [
        ("phone", "vi", "light"),
        ("phone", "en", "dark"),
        ("desktop", "vi", "dark"),
        ("desktop", "en", "light"),
    ],
)
def test_every_page_is_whole_and_usable(
    browser: Browser, shown: tuple[Deployment, str], size: str, language: str, theme: str
) -> None:
    deployment, url = shown
    visitor = Visitor(browser, url, size, language, theme)

    for page in deployment.application.pages:
        if page.methods != ("GET",) or page.path == "/choose" or page.path.endswith("{form}"):
            continue
        visitor.sign_in(deployment, "desk" if page.right == "trace" else "operator")
        path = example_path(page.path)
        assert visitor.open(path) == 200, path
        assert visitor.page.locator("html").get_attribute("lang") == language
        assert visitor.page.locator("h1").count() == 1, path
        if (size, language) in (("phone", "vi"), ("desktop", "vi")):
            # Once in light and once in dark; the other language changes no structure.
            assert visitor.flaws() == [], path
        assert not visitor.is_wider_than_the_window(), path
        assert visitor.bytes[path] < 40_000, path
        name = page.path.strip("/").replace("/", "-").replace("{", "").replace("}", "")
        visitor.picture(name or "now")
    assert visitor.complaints == []


def test_a_person_signs_in_looks_and_signs_out_by_keyboard_alone(
    browser: Browser, shown: tuple[Deployment, str]
) -> None:
    _, url = shown
    visitor = Visitor(browser, url, "phone", "vi")
    page = visitor.page
    visitor.open("/units")
    page.wait_for_function("document.activeElement.id === 'name'")
    page.keyboard.type("operator")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/units")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    visitor.open("/account")
    page.get_by_role("button", name="Đăng xuất").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in")

    assert visitor.complaints == []


def test_a_phone_shows_whole_words_and_where_a_table_goes_on(
    browser: Browser, shown: tuple[Deployment, str]
) -> None:
    deployment, url = shown
    visitor = Visitor(browser, url, "phone", "vi")
    visitor.sign_in(deployment, "operator")
    page = visitor.page
    for path in ("/units", "/set-up", "/people", "/coverage"):
        visitor.open(path)
        assert page.evaluate(BROKEN_WORDS) == [], path
        top = page.locator(".brand span").bounding_box()
        assert top is not None
        assert top["y"] >= 4, path
    for path in ("/people", "/set-up"):
        visitor.open(path)
        assert page.evaluate(GAP_ABOVE_THE_FORM) >= 12, path

    visitor.open("/units")
    table = page.locator(".scroll")
    table.evaluate("table => table.scrollIntoView({ block: 'end' })")
    box = table.bounding_box()
    assert box is not None
    # Within the padding of the last row, where no text is.
    right_end = {"x": box["x"] + box["width"] - 9, "y": box["y"] + box["height"] - 7}
    strip = right_end | {"width": 7, "height": 3}
    more = page.screenshot(clip=strip)  # type: ignore[arg-type]
    table.evaluate("table => { table.scrollLeft = table.scrollWidth }")
    assert page.screenshot(clip=strip) != more  # type: ignore[arg-type]


def test_paper_shows_the_whole_table_in_dark_ink_and_nothing_to_press(
    browser: Browser, shown: tuple[Deployment, str]
) -> None:
    deployment, url = shown
    visitor = Visitor(browser, url, "desktop", "vi", "dark")
    visitor.sign_in(deployment, "operator")
    page = visitor.page
    page.emulate_media(media="print")
    # A4 within its margins.
    page.set_viewport_size({"width": 703, "height": 1000})
    paths = (
        "/",
        f"/places/{OWN_PLACE}",
        "/coverage",
        "/coverage/places",
        "/units",
        "/units/cong-1",
    )
    for path in (*paths, f"/scans?place={OWN_PLACE}", "/alarms", "/reports", "/set-up", "/people"):
        visitor.open(path)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(PAST_THE_PAPER) == [], path
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 44)", path
        assert page.locator("main button:visible, main a.button:visible").count() == 0, path

    visitor.open(f"/places/{OWN_PLACE}")
    text = " ".join(
        sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf(format="A4"))).pages
    )

    # Whose it is, of what and when, and the tables that are folded on the screen.
    for words in ("Sở Xây dựng tỉnh Gia Lai", "Chợ Mẫu, cổng 1", "02/07/2021", "Ngày Vào Ra"):
        assert words in " ".join(text.split()), words
    assert "Xem bằng bảng" not in text
    assert page.locator("#days-table[open]").count() == 0
    assert visitor.complaints == []


def test_no_name_is_too_long_for_a_phone(browser: Browser, tmp_path: Path) -> None:
    deployment, name = Deployment(tmp_path), "W" * 190
    unit, place = "u" * 32, "p" * 32
    area = AdminArea(since=TWO_LEVELS_FROM, province="Gia Lai", commune=name)
    register = Register(
        places=(Place(id=place, name=name, kind="market", admin=(area,), body=name, address=name),)
    )
    keep_register(deployment.database, register, deployment.clock.now().at)
    add_unit(deployment, unit, place, clock="none", repair="exhausted", repair_reason=name)
    deployment.parts.alarms.begin(Finding("clock-wrong", unit, place), deployment.clock.now().at)
    with served(deployment) as url:
        visitor = Visitor(browser, url, "phone", "vi")
        visitor.sign_in(deployment, "operator")
        for path in (
            *("/", f"/places/{place}", "/units", f"/units/{unit}", "/alarms", "/coverage"),
            *("/coverage/places", f"/scans?place={place}", "/areas", "/set-up", "/people"),
        ):
            assert visitor.open(path) == 200, path
            assert not visitor.is_wider_than_the_window(), path
    deployment.close()


def test_each_role_is_shown_its_own_menu_and_no_way_further(
    browser: Browser, shown: tuple[Deployment, str]
) -> None:
    deployment, url = shown
    for role in ROLES:
        visitor = Visitor(browser, url, "desktop", "en")
        visitor.sign_in(deployment, role)
        visitor.open("/account")
        links = visitor.page.locator("header nav a").evaluate_all(
            "links => links.map(link => link.getAttribute('href'))"
        )
        for path in links:
            assert visitor.open(path) == 200, f"{role}: {path}"
            assert visitor.page.locator("header nav [aria-current]").count() == 1
        assert ("/people" in links) == (role == "operator")
        assert visitor.complaints == []


def test_a_register_is_handed_in_from_a_phone_and_seen_before_it_is_taken(
    browser: Browser, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path)
    deployment.add_register()
    sheet = tmp_path / "danh-muc.csv"
    sheet.write_text(
        "id,name,kind,commune\ncho-pleiku,Chợ Mẫu mới,market,Xã Mẫu\n"
        "cho-2,Chợ Hai,market,Xã Mẫu\ncho/3,Chợ Ba,castle,\n",
        encoding="utf-8",
    )
    with served(deployment) as url:
        visitor = Visitor(browser, url, "phone", "vi")
        visitor.sign_in(deployment, "operator")
        visitor.open("/set-up")
        page = visitor.page
        page.get_by_label("Tệp", exact=True).set_input_files(sheet)
        page.get_by_role("button", name="Xem trước").click()
        page.get_by_role("heading", name="Xem trước danh mục").wait_for()
        assert visitor.flaws() == []
        assert not visitor.is_wider_than_the_window()
        visitor.picture("set-up-register")

        page.get_by_role("button", name="Áp dụng").click()

        page.get_by_text("thêm 1, đổi 1, bỏ 0").wait_for()
        assert visitor.complaints == []
    deployment.close()


def test_pages_are_whole_without_a_script(browser: Browser, shown: tuple[Deployment, str]) -> None:
    deployment, url = shown
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    context.set_default_timeout(1000 * LIMIT_S)
    context.add_cookies(
        [{"name": "edge-session", "value": deployment.session("operator"), "url": url}]
    )
    page = context.new_page()
    page.goto(url)
    page.locator(".headline").wait_for()
    # What is folded opens, and every number leads on, by the browser alone.
    page.locator("#hours-table summary").click()
    page.locator("#hours-table td a").first.click()
    page.get_by_role("heading", name="Lượt quét").wait_for()
    page.goto(f"{url}/alarms")
    new, handled = page.get_by_role("button", name="Tôi xử lý"), page.get_by_text("Đang xử lý")
    before = handled.count()
    assert new.count() == 1
    new.click()
    expect(new).to_have_count(0, timeout=1000 * LIMIT_S)
    expect(handled).to_have_count(before + 1, timeout=1000 * LIMIT_S)


def test_now_follows_what_happens_without_being_loaded_again(
    browser: Browser, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path)
    with served(deployment) as url:
        visitor = Visitor(browser, url, "phone", "en")
        visitor.sign_in(deployment, "operator")
        visitor.open("/")
        assert visitor.page.get_by_role("heading", name="What to do first").is_visible()
        visitor.page.evaluate("window.mark = 1")

        deployment.add_units()

        visitor.page.get_by_role("heading", name="cho-pleiku").wait_for()
        assert visitor.page.evaluate("window.mark") == 1
        assert visitor.complaints == []
    deployment.close()


def let_pass(page: Page, done: Callable[[], bool], seconds: int = 3600) -> None:
    """Let the time of the *page* go on, second by second, until *done*. Answers take real time."""
    limit = time.monotonic() + LIMIT_S
    for _ in range(seconds):
        if done():
            return
        assert time.monotonic() < limit, "this machine is too slow"
        page.clock.run_for(1000)
    raise AssertionError(f"{seconds} s passed in vain")


def test_a_page_that_cannot_follow_says_since_when_and_speaks_only_what_changed(
    browser: Browser, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path)
    deployment.add_units()
    with served(deployment) as url:
        visitor = Visitor(browser, url, "phone", "en")
        visitor.sign_in(deployment, "operator")
        page = visitor.page
        # 09:12 in Viet Nam.
        page.clock.install(time=datetime(2026, 3, 12, 2, 12, 5, tzinfo=UTC))
        visitor.open("/")
        page.locator("#hours-table summary").click()
        page.locator("#hours-table summary").focus()
        stale, spoken = page.locator("[data-stale]"), page.locator("[data-spoken]")
        statuses: list[int] = []
        page.on("response", lambda answer: statuses.append(answer.status))
        # The page's time goes on while an answer is under way: one may be given up and asked again.
        let_pass(page, lambda: 200 in statuses and statuses[-1] == 304)
        statuses.clear()
        # A scan more is no news that interrupts anybody, and nobody is thrown off where they were.
        deployment.add_scans(OWN_PLACE, "cong-1", ins=1)
        let_pass(page, lambda: 200 in statuses)
        page.locator("#hours-table[open]").wait_for()
        page.wait_for_function("document.activeElement.matches('#hours-table > summary')")
        assert spoken.text_content() == ""

        lost: list[str] = []
        page.on("requestfailed", lambda request: lost.append(request.url))
        page.route("**/*", lambda route: route.abort())
        # What was asked before that may still be answered, and is heard then.
        let_pass(page, lambda: bool(lost) and stale.is_visible())
        since = stale.inner_text()
        assert re.search(r"since 09:\d\d;", since)
        # It tells of the last answer, however long ago that is by now.
        page.clock.run_for(600_000)
        assert stale.inner_text() == since
        assert visitor.flaws() == []
        page.unroute("**/*")
        add_unit(deployment, "cong-9", "cho-9", clock="none")
        let_pass(page, stale.is_hidden)

        page.wait_for_function(
            "document.querySelector('[data-spoken]').textContent.includes('cho-9')"
        )
    deployment.close()


def test_a_slow_server_is_asked_one_question_at_a_time_and_ever_more_seldom(
    browser: Browser, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path)
    deployment.add_units()
    deployment.add_alarms()
    with served(deployment) as url:
        visitor = Visitor(browser, url, "phone", "vi")
        visitor.sign_in(deployment, "operator")
        page = visitor.page
        page.clock.install()
        visitor.open("/alarms")
        page.get_by_text("Đóng", exact=True).first.click()
        page.locator("#note-1").fill("mất điện")
        page.locator("h1").click()
        held: list[Route] = []
        page.route("**/alarms", lambda route: held.append(route))
        let_pass(page, lambda: bool(held))

        # Nothing more is asked while the answer is on its way; what is shown grows old meanwhile.
        let_pass(page, page.locator("[data-stale]").is_visible, seconds=120)
        assert len(held) == 1
        # In a quarter of an hour without an answer: after 30 s each time, and longer waits between.
        began = page.evaluate("Date.now()")
        for _ in range(900):
            page.clock.run_for(1000)
        # The page's time goes on by itself too, as long as this machine takes.
        passed_s = (page.evaluate("Date.now()") - began) / 1000
        assert 4 <= len(held) <= 3 + passed_s / 75

        page.unroute("**/alarms")
        deployment.parts.alarms.begin(
            Finding("clock-wrong", "cong-2", OWN_PLACE), deployment.clock.now().at
        )
        let_pass(page, page.get_by_role("heading", name="Đồng hồ chưa đúng").is_visible)
        page.locator("[data-stale]").wait_for(state="hidden")
        # What was written before the part was replaced is still there.
        assert page.locator("#note-1").input_value() == "mất điện"
    deployment.close()
