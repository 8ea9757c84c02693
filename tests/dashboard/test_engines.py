"""Every page and every turn of the service, on SQLite and on PostgreSQL."""

from datetime import date
from pathlib import Path

from edge.dashboard.linked_accounts import LinkedAccounts
from edge.dashboard.mail import Mailer, MailSettings
from edge.dashboard.mail_queue import MailQueue, state_of
from edge.dashboard.oidc import Identity
from edge.dashboard.register_draft import Drafts, HandedIn, compare
from edge.dashboard.rights import Role
from edge.dashboard.scope import Scope
from edge.dashboard.service import Service
from edge.register import Place
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


def test_what_pages_and_turns_keep_is_kept_by_both(database_url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    deployment.add_register()
    now = deployment.clock.now().at
    settings = MailSettings(host="localhost", port=1, security="none", sender="a@example.invalid")
    queue = MailQueue(deployment.database, deployment.clock, Mailer(settings, tmp_path))
    with deployment.database.writing() as connection:
        queue.put(connection, "one", ["b@example.invalid"], "Thử", "x")
        queue.put(connection, "one", ["b@example.invalid"], "Thử", "x")
    assert not queue.step()
    with deployment.database.reading() as connection:
        state, register = state_of(connection), deployment.people.places.all(connection)
    assert state.waiting == 1
    assert "localhost port 1" in state.error

    drafts = Drafts(deployment.database, deployment.people.places)
    new = HandedIn([Place(id="cho-moi", name="Chợ Mới", kind="market")], [])
    draft = drafts.keep(compare(register, new, remove=True), "lan", now, remove=True)
    assert drafts.take(draft, "lan", now).added == ("cho-moi",)

    linked = LinkedAccounts(deployment.database, deployment.people)
    begun = linked.begin("/units", now)
    assert linked.take(begun.state, begun.browser, now) == begun
    roles: tuple[Role, ...] = ("manager", "department")
    for role in roles:
        name, secret = linked.sign_in("https://x", Identity("s-1", "Lan Anh", role, "t"), now)
        deployment.people.change(
            name, "manager", True, Scope.of(bodies=["UBND"], areas=["Gia Lai"])
        )
        assert deployment.people.viewer(secret, now) is None, "another role ends its sessions"
        assert name == "lan-anh"
    deployment.close()
