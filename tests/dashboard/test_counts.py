"""What the pages count is what a count of the scans themselves would say."""

from collections import Counter
from datetime import date, datetime, timedelta
from random import Random

from edge.clock import utc_text
from edge.dashboard.local_time import HO_CHI_MINH
from edge.dashboard.pages.place import busiest
from edge.storage import counts
from edge.storage.counts import Count
from tests.dashboard.parts import OTHER_PLACE, OWN_PLACE, Deployment

FIRST, LAST = date(2021, 6, 29), date(2021, 7, 2)


def test_every_question_agrees_with_the_scans(deployment: Deployment) -> None:
    random = Random(7)
    scans: list[tuple[datetime, str, str, str]] = []
    for _ in range(400):
        moment = datetime(2021, 6, 28, tzinfo=HO_CHI_MINH) + timedelta(
            minutes=random.randrange(6 * 24 * 60)
        )
        place, unit = random.choice([(OWN_PLACE, "cong-1"), (OTHER_PLACE, "cua-1")])
        scans.append((moment, place, unit, random.choice(["in", "out", "both"])))
    deployment.add_list(
        (place, unit, direction, utc_text(moment.timestamp()))
        for moment, place, unit, direction in scans
    )

    def expected(key: int | str, **only: str) -> dict[object, Count]:
        found: Counter[tuple[object, str]] = Counter()
        for moment, place, unit, direction in scans:
            if not FIRST <= moment.date() <= LAST or only.get("place", place) != place:
                continue
            keys = {
                "place": place,
                "unit": unit,
                "day": moment.date(),
                "hour": moment.hour,
                "quarter": (moment.date(), moment.hour * 4 + moment.minute // 15),
            }
            found[keys[str(key)], direction] += 1
        return {
            one: Count(found[one, "in"], found[one, "out"], found[one, "both"])
            for one in {one for one, _ in found}
        }

    with deployment.database.reading() as connection:
        assert counts.by_place(connection, FIRST, LAST) == expected("place")
        assert counts.by_day(connection, FIRST, LAST) == expected("day")
        assert counts.by_day(connection, FIRST, LAST, [OWN_PLACE]) == expected(
            "day", place=OWN_PLACE
        )
        assert counts.by_day(connection, FIRST, LAST, []) == {}
        assert counts.by_unit(connection, FIRST, LAST, OWN_PLACE) == expected(
            "unit", place=OWN_PLACE
        )
        hours = counts.by_hour(connection, FIRST, LAST, [OTHER_PLACE])
        assert {hour: count for hour, count in enumerate(hours) if count.all} == expected(
            "hour", place=OTHER_PLACE
        )
        quarters = {
            (day, quarter): count
            for day in (FIRST + timedelta(days=number) for number in range(4))
            for quarter, count in enumerate(counts.by_quarter(connection, day))
            if count.all
        }
        assert quarters == expected("quarter")


def test_the_busiest_hours_are_those_with_most_and_never_empty_ones() -> None:
    hours = [Count()] * 24
    hours[7], hours[17], hours[9] = Count(5), Count(9, 1), Count(5)

    assert [hour.hour for hour in busiest(hours)] == [17, 7, 9]
    assert busiest([Count()] * 24) == []


def test_now_and_the_place_tell_todays_scans(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=12, outs=1234)

    now = deployment.client("manager").get("/").text
    place = deployment.client("manager").get(f"/places/{OWN_PLACE}").text

    for page in (now, place):
        assert ">12<" in page
        assert ">1.234<" in page
    assert "Chợ Mẫu" in now
    assert 'class="ins"' in place
    assert deployment.client("manager").get(f"/places/{OTHER_PLACE}").status_code == 403
    assert deployment.client("operator").get("/places/none").status_code == 404
