"""The service's own turns: no server of somebody else's holds them up, and no error is lost."""

import socket
from pathlib import Path

import pytest

from edge.dashboard.alarm_rules import Finding
from edge.dashboard.mail import MailSettings
from edge.dashboard.service import Beside, Service
from edge.dashboard.settings import DashboardSettings
from edge.errors import StorageError
from tests.dashboard.parts import OTHER_PLACE, Deployment
from tests.fakes import LIMIT_S, eventually


def test_a_mail_server_that_says_nothing_holds_up_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = DashboardSettings(
            mail=MailSettings(
                host="127.0.0.1",
                port=silent.getsockname()[1],
                security="none",
                sender="a@example.invalid",
                alarms_to=("b@example.invalid",),
            )
        )
        deployment = Deployment(tmp_path, settings)
        deployment.add_units()
        deployment.add_register()
        now = deployment.clock.now().at
        deployment.parts.alarms.begin(Finding("unit-offline", "x", OTHER_PLACE), now)
        service = Service(deployment.parts)
        service.step()
        silent.settimeout(LIMIT_S)
        # The mail is on its way: somebody has called.
        called, _ = silent.accept()

        for _ in range(20):
            service.step()
            deployment.clock.advance(15)

        kinds = {alarm.kind for alarm in deployment.parts.alarms.open()}
        assert "outbox-filling" in kinds, "the rules went on meanwhile"
        assert service._outside.busy
        called.close()
        eventually(lambda: not service._outside.busy, "the turn ends")
        deployment.close()


def test_what_goes_wrong_beside_is_raised_by_the_next_turn() -> None:
    done = []

    def fail() -> None:
        done.append("failed")
        raise StorageError("the storage is away")

    beside = Beside([lambda: done.append("first"), fail, lambda: done.append("never")])
    beside.step()
    eventually(lambda: not beside.busy, "the turn ends")

    with pytest.raises(StorageError, match="away"):
        beside.step()
    beside.step()
    eventually(lambda: not beside.busy, "the turn ends")

    assert done == ["first", "failed"] * 2
