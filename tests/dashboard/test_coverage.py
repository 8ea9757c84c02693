"""The letter's report: who is active, zero, silent; by which tree; against which days."""

from datetime import date

import pytest

from edge.dashboard.coverage import GROUPINGS, Coverage, Grouping, Span, coverage
from edge.register import AdminArea, Place, Register
from edge.storage.counts import Count
from edge.storage.places import Places, keep_register, note_heard
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment, token_in

DAY = date(2021, 7, 2)
ONE_DAY = Span(DAY, DAY)


def report(deployment: Deployment, by: Grouping = "commune", span: Span = ONE_DAY) -> Coverage:
    with deployment.database.reading() as connection:
        register = Places().all(connection)
        return coverage(connection, register, span, by, "vi")


def test_each_place_is_active_zero_or_silent(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3, outs=2)
    note_heard(deployment.database, deployment.clock.now().at)

    found = report(deployment)

    states = {covered.place.id: covered.state for covered in found.total.places}
    assert states == {OWN_PLACE: "active", OTHER_PLACE: "zero", "xe-81b-01234": "silent"}
    assert found.total.count == Count(3, 2)
    assert sum(line.registered for line in found.lines) == 3


def test_a_clock_that_is_behind_hears_of_nobody_on_its_day(deployment: Deployment) -> None:
    before = date(2021, 6, 25)
    note_heard(deployment.database, f"{before}T03:00:00.000Z")

    found = report(deployment, span=Span(before, before))

    assert {covered.state for covered in found.total.places} == {"silent"}


def test_the_worst_is_named_first(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3)

    shares = [line.share for line in report(deployment, "body").lines]

    assert shares == sorted(shares)
    assert shares[0] == 0.0


def test_places_stand_where_they_lay_on_that_day(deployment: Deployment) -> None:
    before = {line.group for line in report(deployment, "district").lines}
    after_day = date(2025, 7, 2)
    after = {line.group for line in report(deployment, "commune", Span(after_day, after_day)).lines}

    assert "Thành phố Pleiku, Gia Lai" in before
    assert "Phường Pleiku, Gia Lai" in after
    assert {line.group for line in report(deployment, "province").lines} == {"Gia Lai"}


def test_days_are_compared_with_those_before() -> None:
    assert ONE_DAY.before == Span(date(2021, 6, 25), date(2021, 6, 25))
    week = Span(date(2021, 6, 26), DAY)
    assert week.before == Span(date(2021, 6, 19), date(2021, 6, 25))


def test_the_change_is_told_and_from_nothing_there_is_none(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=4, day=date(2021, 6, 25))
    deployment.add_scans(OWN_PLACE, "cong-1", ins=5)
    deployment.add_scans(OTHER_PLACE, "cua-1", outs=1)

    changes = {line.group: line.change for line in report(deployment, "sector").lines}

    assert changes["Chợ đầu mối, chợ dân sinh"] == pytest.approx(0.25)
    assert changes["Nhà ga, bến xe"] is None


def test_scans_of_a_place_that_nobody_registered_are_told_apart(deployment: Deployment) -> None:
    deployment.add_scans("la-ai", "cong-9", ins=7)

    found = report(deployment)

    assert found.strangers == {"la-ai": Count(7)}
    assert found.total.count.all == 0
    page = deployment.client("operator").get("/coverage").text
    assert "7 lượt quét ở những điểm chưa có trong danh mục" in page


@pytest.mark.parametrize("by", GROUPINGS)
def test_every_number_opens_to_the_places_behind_it(deployment: Deployment, by: str) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3)
    client = deployment.client("department")
    page = client.get(f"/coverage?by={by}&first=2021-07-02&last=2021-07-02").text

    links = {
        link.partition('"')[0].replace("&amp;", "&")
        for link in page.split('href="/coverage/places')[1:]
    }
    assert len(links) >= 5
    for link in links:
        behind = client.get(f"/coverage/places{link}")
        assert behind.status_code == 200
        assert any(name in behind.text for name in ("Chợ Mẫu", "Bến xe", "81B")) or (
            "0 điểm" in behind.text
        )


def test_hostile_names_are_shown_as_text(deployment: Deployment) -> None:
    area = AdminArea(since=date(2025, 7, 1), province=HOSTILE, commune=HOSTILE)
    place = Place(id="hostile", name=HOSTILE, kind="bar", admin=(area,), body=HOSTILE)
    keep_register(deployment.database, Register(places=(place,)), deployment.clock.now().at)
    client = deployment.client("operator")

    for path in (
        "/",
        "/set-up",
        "/places/hostile",
        "/coverage?by=body",
        "/coverage?by=province&last=2025-08-01",
        "/coverage/places?by=body",
        "/areas?day=2025-08-01",
        f"/?find={HOSTILE}",
        f"/units?find={HOSTILE}",
    ):
        text = client.get(path).text
        assert "<script>" not in text, path
        assert "&amp;49" not in text, path
    assert "&lt;script&gt;" in client.get("/set-up").text


def test_a_register_is_handed_in_and_nothing_is_removed_unless_asked(
    deployment: Deployment,
) -> None:
    client = deployment.client("operator")
    token = token_in(client.get("/set-up").text)
    new = b'{"places":[{"id":"cho-moi","name":"Ch\xe1\xbb\xa3 M\xe1\xbb\x9bi","kind":"market"}]}'

    for data, left in (({}, 4), ({"remove": "yes"}, 1)):
        shown = client.post(
            "/set-up/register", data=data | {"token": token}, files={"register": ("r.json", new)}
        )
        draft = shown.text.partition('name="draft" value="')[2].partition('"')[0]
        answer = client.post("/set-up/register/take", data={"token": token, "draft": draft})
        assert answer.status_code == 200
        with deployment.database.reading() as connection:
            assert len(Places().all(connection)) == left


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"places":[{"id":"a","name":"A","kind":"castle"}]}',
        b'{"places":[{"id":"a","name":"A","kind":"bar"},{"id":"a","name":"B","kind":"bar"}]}',
        b'{"places":[{"id":"a","name":"<script>","kind":"vehicle"}]}',
    ],
)
def test_a_register_that_cannot_be_changes_nothing_and_says_why(
    deployment: Deployment, content: bytes
) -> None:
    client = deployment.client("operator")
    token = token_in(client.get("/set-up").text)

    answer = client.post(
        "/set-up/register",
        data={"token": token, "remove": "yes"},
        files={"register": ("r.json", content)},
    )

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    with deployment.database.reading() as connection:
        assert len(Places().all(connection)) == 3


def test_the_scans_out_for_those_in_are_told_where_the_ways_are_known(
    deployment: Deployment,
) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=8, outs=6)
    assert report(deployment).total.ratio == 0.75
    assert "75 %" in deployment.client("department").get("/coverage").text

    at = deployment.clock.now().at
    deployment.add_list([(OTHER_PLACE, "cua-1", "both", at)])

    assert report(deployment).total.ratio is None
