"""Passing on: nothing is left out, whatever the other side does; what is sealed stays sealed."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec

from edge.dashboard.forwarding import CountSource, Forwarder, ScanSource
from edge.dashboard.posting import Poster
from edge.errors import DeliveryError
from tests.dashboard.parts import OTHER_PLACE, OWN_PLACE, Deployment
from tests.dashboard.test_alarms import Hook, hook

__all__ = ["hook"]  # the fixture

NOON = "2021-07-01T05:00:00.000Z"


class Other:
    """Another authority's system, which may be away, or may take a piece and not say so."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.away = self.silent = False

    def post(self, content: object) -> None:
        if self.away:
            raise DeliveryError("it is away")
        self.taken.append(msgspec.json.decode(msgspec.json.encode(content)))
        if self.silent:
            raise DeliveryError("no answer")


def forwarder(deployment: Deployment, other: Other, scans: int = 0) -> Forwarder:
    database = deployment.database
    source = ScanSource(database, scans) if scans else CountSource(database)
    return Forwarder("other", source, other, database, deployment.clock)


def run(work: Forwarder) -> None:
    while work.step():
        pass


def test_every_scan_is_passed_on_in_order_and_sealed(deployment: Deployment) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)] * 25)
    other = Other()
    run(forwarder(deployment, other, scans=10))
    deployment.add_list([(OTHER_PLACE, "cua-1", "out", NOON)] * 3)

    # Another process, later, goes on where this one was.
    run(forwarder(deployment, other, scans=10))

    scans = [scan for piece in other.taken for scan in piece["scans"]]
    assert [len(piece["scans"]) for piece in other.taken] == [10, 10, 5, 3]
    assert len({scan["id"] for scan in scans}) == 28
    assert {len(base64.b64decode(scan["sealed"])) for scan in scans} == {368}


def test_what_was_not_taken_or_not_said_to_be_comes_again(deployment: Deployment) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)] * 15)
    other = Other()
    work = forwarder(deployment, other, scans=10)
    for trouble in ("away", "silent"):
        setattr(other, trouble, True)
        run(work)
        setattr(other, trouble, False)
        run(work)
        assert len(other.taken) == (trouble == "silent"), "not at once again"
        deployment.clock.advance(61)

    run(work)

    ids = [scan["id"] for piece in other.taken for scan in piece["scans"]]
    assert len(ids) == 25
    assert len(set(ids)) == 15


def test_the_counts_of_each_day_are_passed_on_when_it_is_over(deployment: Deployment) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)] * 4)
    deployment.add_list([(OWN_PLACE, "cong-1", "out", NOON)] * 2)
    other = Other()
    run(forwarder(deployment, other))
    assert [piece["day"] for piece in other.taken] == [
        f"2021-{day}" for day in ("06-25", "06-26", "06-27", "06-28", "06-29", "06-30", "07-01")
    ]
    assert other.taken[-1]["places"] == [{"place": OWN_PLACE, "in": 4, "out": 2, "both": 0}]

    # A unit that was away brings more of that day; the next day says so.
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)])
    other.taken.clear()
    deployment.clock.advance(24 * 3600)
    run(forwarder(deployment, other))

    assert [piece["day"] for piece in other.taken] == ["2021-06-30", "2021-07-01", "2021-07-02"]
    assert other.taken[1]["places"][0]["in"] == 5


def test_the_example_posts_it_signed(
    deployment: Deployment, hook: tuple[type[Hook], str], tmp_path: Path
) -> None:
    handler, url = hook
    (tmp_path / "other.key").write_text("mot-khoa-chung\n")
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)])
    poster = Poster(url, "other.key", tmp_path, deployment.clock)
    source = ScanSource(deployment.database, 10)

    run(Forwarder("other", source, poster, deployment.database, deployment.clock))

    ((header, body),) = handler.taken
    assert header.startswith("t=")
    assert len(json.loads(body)["scans"]) == 1


def test_a_clock_that_begins_years_behind_sends_no_days_of_those_years(
    deployment: Deployment,
) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)])
    years, other = 20 * 365 * 86_400.0, Other()
    run(forwarder(deployment, other))
    sent = len(other.taken)

    deployment.clock.synchronized, deployment.clock.wrong_by_s = False, -years
    run(forwarder(deployment, other))
    assert len(other.taken) == sent

    deployment.clock.synchronized = True
    run(forwarder(deployment, other))
    assert len(other.taken) == sent


def test_counts_are_passed_on_again_after_a_clock_that_was_years_ahead(
    deployment: Deployment,
) -> None:
    deployment.add_list([(OWN_PLACE, "cong-1", "in", NOON)])
    years, other = 5 * 365 * 86_400, Other()
    deployment.clock.advance(years)
    run(forwarder(deployment, other))
    assert other.taken[-1]["day"] == "2026-06-30"
    other.taken.clear()

    deployment.clock.advance(-years)
    run(forwarder(deployment, other))

    assert [piece["day"] for piece in other.taken] == [
        f"2021-{day}" for day in ("06-25", "06-26", "06-27", "06-28", "06-29", "06-30", "07-01")
    ]
