"""Every page and every turn of the service, on SQLite and on PostgreSQL."""

from datetime import date
from pathlib import Path

from edge.dashboard.scope import Scope
from edge.dashboard.service import Service
from edge.storage.events import events_of
from tests.dashboard.parts import OWN_PLACE, PASSWORD, Deployment, example_path, token_in


def test_pages_and_turns_work_on_both(database_url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    deployment.add_units()
    deployment.add_register()
    deployment.add_scans(OWN_PLACE, "cong-1", ins=3, outs=2)
    deployment.add_scans(OWN_PLACE, "cong-1", ins=4, day=date(2021, 6, 25))
    service = Service(deployment.parts)
    # Long enough for an alarm to begin, and for reports to be made.
    for _ in range(12):
        service.step()
        deployment.clock.advance(15)
    alarms = deployment.parts.alarms.open()
    assert {(alarm.kind, alarm.subject) for alarm in alarms} >= {
        ("unit-offline", "cua-1"),
        ("clock-wrong", "cong-2"),
        ("outbox-filling", "cong-2"),
    }
    assert len(deployment.parts.reporting.kept()) >= 7

    client = deployment.client("operator")
    for page in deployment.application.pages:
        if page.methods == ("GET",) and page.path not in ("/choose", "/tracing"):
            path = example_path(page.path)
            assert client.get(path).status_code == 200, path
    token = token_in(client.get("/alarms").text)
    number = alarms[0].number
    for do in ("acknowledge", "close"):
        client.post(f"/alarms/{number}", data={"token": token, "do": do, "note": "đã xem"})
    assert [alarm.number for alarm in deployment.parts.alarms.past()] == [number]
    deployment.people.change("manager", "manager", True, Scope.of([OWN_PLACE, "cho-2"]))
    manager = deployment.client("manager")
    assert ">3<" in manager.get("/").text
    deployment.people.set_password("manager", PASSWORD)
    assert manager.get("/").status_code == 303
    with deployment.database.reading() as connection:
        assert [event.kind for event in events_of(connection, "cua-1")] == ["offline", "online"]
    assert deployment.client(address="127.0.0.1").get("/metrics").status_code == 200
    deployment.close()
