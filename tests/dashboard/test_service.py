"""The service's own turns: no server of somebody else's holds them up, and no error is lost."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from edge.dashboard.alarm_rules import Finding
from edge.dashboard.alarms import AlarmSettings
from edge.dashboard.duty import EVERY_S, SILENT_S, Duty
from edge.dashboard.forwarding import ForwardSettings
from edge.dashboard.local_time import local_day
from edge.dashboard.mail import MailSettings
from edge.dashboard.parts import build
from edge.dashboard.reporting import ReportSettings
from edge.dashboard.service import Beside, Service
from edge.dashboard.settings import DashboardSettings
from edge.errors import StorageError
from tests.dashboard.inbox import Inbox, mail_server
from tests.dashboard.parts import OTHER_PLACE, OWN_PLACE, Deployment
from tests.dashboard.test_alarms import Hook, hook
from tests.fakes import LIMIT_S, eventually

__all__ = ["hook"]  # the fixture


def test_a_mail_server_that_says_nothing_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that has much else to do these turns may take longer than a server is waited for.
    monkeypatch.setattr("edge.dashboard.mail.TIMEOUT_S", LIMIT_S)
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


@dataclass
class TwoDashboards:
    """And the deployment whose they are."""

    deployment: Deployment
    first: Service
    second: Service

    def run(self, *services: Service, seconds: int = 60) -> None:
        """Let *services* take their turns at once."""
        for _ in range(0, seconds, 5):
            for service in services:
                service.step()
            eventually(
                lambda: not any(service._outside.busy for service in services), "the turns end"
            )
            self.deployment.clock.advance(5)


@contextmanager
def two_dashboards(folder: Path, url: str, inbox: Inbox, hook: str) -> Iterator[TwoDashboards]:
    """As two processes have them: one storage, one mail server, one webhook, one receiver."""
    (folder / "hook.key").write_text("mot-khoa-chung\n")
    with mail_server(inbox) as mail:
        settings = DashboardSettings(
            reports=ReportSettings(folder=str(folder / "reports")),
            mail=msgspec.structs.replace(
                mail, alarms_to=("lan@example.invalid",), reports_to=("minh@example.invalid",)
            ),
            alarms=AlarmSettings(
                webhook_url=hook,
                webhook_key_file="hook.key",
                quiet_from_h=0,
                quiet_to_h=0,
                raise_after_s=0,
            ),
            forward=ForwardSettings(url=hook, key_file="hook.key", what="scans", batch_scans=1),
        )
        deployment = Deployment(folder, settings, url)
        deployment.add_register()
        deployment.add_units()
        yesterday = local_day(deployment.clock.now().at) - timedelta(days=1)
        deployment.add_scans(OWN_PLACE, "cong-1", ins=5, day=yesterday)
        other = build(settings, deployment.database, deployment.people, deployment.clock, folder)
        yield TwoDashboards(deployment, Service(deployment.parts), Service(other))
        deployment.close()


def test_two_dashboards_on_one_storage_do_nothing_twice(
    tmp_path: Path, database_url: str, hook: tuple[type[Hook], str]
) -> None:
    inbox, (posts, where) = Inbox(), hook
    with two_dashboards(tmp_path, database_url, inbox, where) as both:
        both.run(both.first, both.second)

        # One mail of the alarms, one of each report that is due.
        subjects = [mail["Subject"] for _, mail in inbox.mails]
        assert len(subjects) == len(set(subjects)) >= 2
        bodies = [json.loads(body) for _, body in posts.taken]
        told = [alarm["number"] for body in bodies for alarm in body.get("alarms", ())]
        assert len(told) == len(set(told)) >= 2
        open_alarms = both.deployment.parts.alarms.open()
        assert len({(alarm.kind, alarm.subject) for alarm in open_alarms}) == len(open_alarms)
        passed_on = [scan["id"] for body in bodies for scan in body.get("scans", ())]
        assert len(passed_on) == len(set(passed_on)) == 5


@pytest.mark.parametrize("dies", [True, False])
def test_the_other_dashboard_goes_on_when_the_one_on_duty_is_gone(
    tmp_path: Path, hook: tuple[type[Hook], str], dies: bool
) -> None:
    inbox = Inbox()
    with two_dashboards(tmp_path, "", inbox, hook[1]) as both:
        both.run(both.first, both.second, seconds=20)
        there = len(inbox.mails)
        if not dies:
            both.first.close()
        both.deployment.parts.alarms.begin(
            Finding("unit-offline", "cong-9", OTHER_PLACE), both.deployment.clock.now().at
        )

        both.run(both.second, seconds=int(EVERY_S) + 5)
        assert (len(inbox.mails) > there) is not dies, "at once where it has left"
        both.run(both.second, seconds=int(SILENT_S + EVERY_S) + 5)

        assert len(inbox.mails) > there
        # The one that stood still comes back, and finds that it is not on duty any more.
        after = len(inbox.mails)
        both.run(both.first, seconds=1)
        assert len(inbox.mails) == after


def test_a_dashboard_that_stood_still_hands_over_nothing_that_another_does_by_now(
    tmp_path: Path, database_url: str, hook: tuple[type[Hook], str]
) -> None:
    """A virtual machine that was stopped: by its own clock it looked a moment ago."""
    inbox, (posts, where) = Inbox(), hook
    with two_dashboards(tmp_path, database_url, inbox, where) as both:
        both.run(both.first, both.second, seconds=20)
        deployment = both.deployment
        # The other takes over while the first stands still.
        for _ in range(2):
            both.second._duty._next = 0.0
            assert not both.second._duty._mine
            both.second._duty.step()
            deployment.clock.advance(SILENT_S)
        both.second._duty._next = 0.0
        assert both.second._duty.step()
        both.first._duty._next = deployment.clock.monotonic() + EVERY_S
        deployment.parts.alarms.begin(
            Finding("unit-offline", "cong-9", OTHER_PLACE), deployment.clock.now().at
        )
        deployment.add_scans(OWN_PLACE, "cong-1", ins=3)
        mails, taken = len(inbox.mails), len(posts.taken)

        for _ in range(3):
            assert both.first._duty.step(), "it does not know yet"
            both.first.step()
            eventually(lambda: not both.first._outside.busy, "the turn ends")
        assert (len(inbox.mails), len(posts.taken)) == (mails, taken)

        both.run(both.second, seconds=int(EVERY_S) + 5)
        assert len(inbox.mails) > mails
        assert len(posts.taken) > taken


class Unreachable:
    """A storage that does not answer."""

    def reading(self, what: str) -> NoReturn:
        raise StorageError(f"{what}: no answer")


def test_who_was_cut_off_from_storage_is_not_on_duty_when_it_is_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Duty(deployment.database, deployment.clock) for _ in range(2))
    assert (first.step(), second.step()) == (True, False)

    with monkeypatch.context() as patch:
        patch.setattr(first, "_database", Unreachable())
        for _ in range(int(SILENT_S / EVERY_S) + 1):
            deployment.clock.advance(EVERY_S)
            with pytest.raises(StorageError):
                first.step()
            second.step()

    assert (first.step(), second.step()) == (False, True)
