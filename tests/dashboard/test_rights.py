"""Every route, for every role: who may not is refused by the server."""

import pytest

from edge.dashboard.rights import ROLES, Role, Viewer
from edge.dashboard.scope import Scope
from tests.dashboard.parts import (
    OTHER_PLACE,
    OWN_PLACE,
    Deployment,
    example_path,
    path_of,
    token_in,
)


def test_every_page_asks_the_server_for_the_right_of_every_role(deployment: Deployment) -> None:
    asked = 0
    for role in ROLES:
        viewer, client = Viewer(role, role, None), deployment.client(role)
        token = token_in(client.get("/account").text)
        for page in deployment.application.pages:
            for method in page.methods:
                if page.path == "/sign-out" or (page.path, method) == ("/account", "POST"):
                    # They end the session, and have tests of their own.
                    continue
                form = {"token": token} if method == "POST" else None
                answer = client.request(method, example_path(page.path), data=form)
                allowed = page.right is None or viewer.may(page.right)
                refused = answer.status_code == 403 and "vai" in answer.text
                assert refused == (not allowed), f"{role}: {method} {page.path}"
                assert answer.status_code < 500
                asked += 1
    assert asked > len(ROLES) * 8


def test_nobody_sees_a_page_without_signing_in(deployment: Deployment) -> None:
    client = deployment.client()
    for page in deployment.application.pages:
        if page.right is None:
            continue
        for method in page.methods:
            form: dict[str, str] | None = {} if method == "POST" else None
            answer = client.request(method, example_path(page.path), data=form)
            if method == "GET":
                assert answer.status_code == 303, page.path
                assert path_of(answer.headers["location"]) == "/sign-in"
            else:
                assert answer.status_code == 401, page.path


def test_a_manager_sees_the_own_places_alone(deployment: Deployment) -> None:
    client = deployment.client("manager")

    assert OWN_PLACE in client.get("/").text
    for path in ("/", "/units", "/?condition=failing", "/units?find=cua"):
        assert OTHER_PLACE not in client.get(path).text, path
        assert "cua-1" not in client.get(path).text.replace('value="cua', ""), path
    assert client.get("/units/cong-1").status_code == 200
    assert client.get("/units/cua-1").status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_a_locked_account_is_out_at_once(deployment: Deployment, role: Role) -> None:
    client = deployment.client(role)
    assert client.get("/account").status_code == 200
    deployment.people.add("second", "operator", "mot-mat-khau-dai", deployment.clock.now().at)

    deployment.people.change(role, role, False, Scope.of([OWN_PLACE] if role == "manager" else []))

    assert client.get("/account").status_code == 303
