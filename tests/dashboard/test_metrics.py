"""What machines read, and that nobody else does."""

from edge.dashboard.alarm_rules import KINDS
from edge.storage.events import KEEP, events_of
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.parts import OWN_PLACE, Deployment
from tests.fakes import a_status


def test_the_numbers_are_those_of_the_pages_and_name_nobody(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3)
    deployment.add_alarms()

    answer = deployment.client(address="127.0.0.1").get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if line[0] != "#")
    assert lines['edge_units{condition="working"}'] == "1"
    assert lines['edge_units{condition="offline"}'] == "1"
    assert lines["edge_places_registered"] == "3"
    assert lines["edge_scans_stored_total"] == "3"
    assert lines["edge_scans_waiting"] == "3"
    assert lines['edge_alarms{kind="unit-offline"}'] == "1"
    assert lines['edge_alarms{kind="place-silent"}'] == "0", "it is over"
    assert len([line for line in lines if line.startswith("edge_alarms")]) == len(KINDS)
    assert "cong-1" not in answer.text
    assert OWN_PLACE not in answer.text


def test_metrics_are_for_the_addresses_of_the_settings(deployment: Deployment) -> None:
    assert deployment.client(address="192.0.2.9").get("/metrics").status_code == 403
    assert deployment.client(address="192.0.2.9").get("/healthz").status_code == 200


def test_a_units_changes_are_its_timeline_and_old_ones_go(deployment: Deployment) -> None:
    storage, now = Storage(deployment.file), deployment.clock.now().at
    for birth in range(10, 10 + KEEP):
        for state in ("online", "offline"):
            status = a_status(place=OWN_PLACE, birth=birth, state=state, software="9.9.9")
            # What a broker delivers twice is one event.
            storage.store_reports([Report("pleiku", "cong-1", status)] * 2, now)
    storage.close()

    with deployment.database.reading() as connection:
        events = events_of(connection, "cong-1", KEEP * 2)
        others = events_of(connection, "cua-1")
    assert len(events) == KEEP
    assert [event.kind for event in events[:4]] == ["offline", "online", "offline", "online"]
    assert [event.kind for event in others] == ["offline", "online"]
    page = deployment.client("technician").get("/units/cong-1").text
    assert "9.9.9" in page
    assert "Mất kết nối" in page
