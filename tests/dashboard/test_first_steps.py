"""From an empty store to the first scan: the pages say what to do next."""

import re
from pathlib import Path

from edge.dashboard.rights import Role
from edge.dashboard.scope import Scope
from edge.register import Place, Register
from edge.storage.places import keep_register
from tests.dashboard.parts import OWN_PLACE, Deployment, token_in


def steps(deployment: Deployment) -> list[str]:
    """What *Now* says to an operator of each step."""
    page = deployment.client("operator").get("/").text
    listed = page.partition('<ol class="steps">')[2].partition("</ol>")[0]
    return re.findall(r"</svg>(Xong|Chưa)</span>", listed)


def test_an_operator_is_led_from_an_empty_store_to_the_first_scan(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.people.change("manager", "technician", True, Scope())
    client = deployment.client("operator")
    now = client.get("/").text
    assert 'href="/set-up#upload"' in now
    assert "edge-provision basis" in now
    assert '<ul class="tiles">' not in now, "noughts of nothing say nothing"
    assert steps(deployment) == ["Chưa"] * 5
    set_up = client.get("/set-up").text
    assert 'id="upload"' in set_up
    assert "Danh mục chưa có điểm nào." in set_up
    assert "Chưa có thiết bị nào." in deployment.client("technician").get("/units").text
    # Who cannot hand one in is not sent there.
    department = deployment.client("department").get("/coverage").text
    assert "Người vận hành hệ thống nhập danh mục." in department
    assert "lập lúc 6 giờ sáng" in client.get("/reports").text

    deployment.add_register()
    assert steps(deployment) == ["Xong", *["Chưa"] * 4]
    assert "Chưa điểm quét nào có thiết bị" in client.get("/").text
    deployment.add_units()
    assert steps(deployment) == ["Xong", "Chưa", "Xong", "Chưa", "Chưa"]
    deployment.add_scans(OWN_PLACE, "cong-1", ins=1)

    assert steps(deployment) == []
    assert '<ul class="tiles">' in client.get("/").text
    deployment.close()


def test_those_who_cannot_do_it_are_told_whom_to_ask(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.people.change("manager", "manager", True, Scope())

    def told(role: Role) -> str:
        return deployment.client(role).get("/").text

    assert "Người vận hành hệ thống nhập danh mục" in told("department")
    assert "Tài khoản này chưa được giao điểm quét nào" in told("manager")
    assert 'class="steps"' not in told("technician") + told("manager")
    deployment.close()


def test_places_are_given_by_their_names(deployment: Deployment) -> None:
    client = deployment.client("operator")
    page = client.get("/people/manager").text
    assert f'<option value="{OWN_PLACE}" selected>Chợ Mẫu, cổng 1</option>' in page
    assert 'id="places" name="places" value=""' in page

    form = {
        "token": token_in(page),
        "role": "manager",
        "active": "yes",
        "place": [OWN_PLACE, "xe-81b-01234"],
        "places": "cho-khac",
    }
    assert client.post("/people/manager", data=form).status_code == 303

    kept = {person.name: person.scope for person in deployment.people.all()}
    assert kept["manager"] == Scope.of([OWN_PLACE, "xe-81b-01234", "cho-khac"])
    page = client.get("/people/manager").text
    assert 'name="places" value="cho-khac"' in page
    # Of a province the names would be more than the page.
    places = tuple(Place(id=f"p-{number}", name="x", kind="bar") for number in range(400))
    keep_register(deployment.database, Register(places=places), deployment.clock.now().at)
    page = client.get("/people/manager").text
    assert "p-399" not in page
    assert f'value="cho-khac, {OWN_PLACE}, xe-81b-01234"' in page


def test_a_day_that_is_not_over_is_not_compared(deployment: Deployment) -> None:
    deployment.add_scans(OWN_PLACE, "cong-1", ins=5)
    for day in ("2021-06-25", "2021-06-24", "2021-07-01"):
        deployment.add_list([(OWN_PLACE, "cong-1", "in", f"{day}T08:00:00.000Z")] * 9)
    client = deployment.client("department")

    today = client.get("/coverage").text
    assert "chưa hết ngày nên chưa so sánh" in today
    assert "▼" not in today
    yesterday = client.get("/coverage?first=2021-07-01&last=2021-07-01").text
    assert "▲ 0 % so với kỳ trước" in yesterday


def test_what_is_wrong_is_said_of_the_field(deployment: Deployment) -> None:
    client = deployment.client()
    page = client.get("/sign-in").text
    assert "aria-invalid" not in page

    wrong = client.post("/sign-in", data={"name": "lan", "password": "x"}).text

    for field in ("name", "password"):
        marked = rf'id="{field}" name="{field}"\s+aria-invalid="true" aria-describedby="problem"'
        assert re.search(marked, wrong), field
    assert 'id="problem" role="alert"' in wrong
