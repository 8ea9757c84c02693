"""Mail: over TLS or not at all, in a queue that outlasts server and service, each told once."""

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from edge.dashboard.alarm_rules import Finding
from edge.dashboard.alarms import AlarmSettings
from edge.dashboard.mail import Mailer, MailSettings
from edge.dashboard.mail_queue import GIVE_UP_S, REST_S, MailQueue, state_of
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.telling import Teller
from edge.errors import DeliveryError
from tests.dashboard.inbox import LOGIN, PASSWORD, Inbox, mail_server, make_certificates
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment

ACCOUNT = {"username": LOGIN, "password_file": "mail.secret"}
TO = ["lan@example.invalid", "minh@example.invalid"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_certificates(tmp_path)
    (tmp_path / "mail.secret").write_text(PASSWORD)
    return tmp_path


def hand_over(settings: MailSettings, folder: Path, deployment: Deployment, **more: Any) -> None:
    mailer = Mailer(msgspec.structs.replace(settings, **more), folder)
    queue = MailQueue(deployment.database, deployment.clock, mailer)
    with deployment.database.writing() as connection:
        queue.put(connection, "one", TO, "Chủ đề", "Nội dung\n")
        content = connection.exec_driver_sql("SELECT content FROM mail").scalar_one()
    mailer.send(TO, bytes(content))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_to_a_server_that_is_who_it_says(
    folder: Path, deployment: Deployment, security: Literal["starttls", "tls"]
) -> None:
    inbox = Inbox()
    login = ACCOUNT if security == "starttls" else {}
    with mail_server(inbox, security, folder) as settings:
        hand_over(settings, folder, deployment, ca_file="ca.pem", **login)

    ((recipients, mail),) = inbox.mails
    assert recipients == TO
    # On the other port nothing is said but within TLS.
    assert inbox.secured == [security == "starttls"]
    assert inbox.logins == ([LOGIN] if security == "starttls" else [])
    assert mail["Subject"] == "Chủ đề"
    assert mail["Message-ID"]
    assert mail["Date"]
    body = mail.get_body()
    assert isinstance(body, EmailMessage)
    assert body.get_content().splitlines() == ["Nội dung"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["authority", "host"])
def test_a_server_with_another_certificate_gets_nothing_and_one_line_says_why(
    folder: Path, deployment: Deployment, security: Literal["starttls", "tls"], wrong: str
) -> None:
    inbox, ca_file = Inbox(), "ca.pem"
    if wrong == "host":
        make_certificates(folder, "mail.example.invalid")
    else:
        ca_file = ""
    with mail_server(inbox, security, folder) as settings, pytest.raises(DeliveryError) as caught:
        hand_over(
            settings,
            folder,
            deployment,
            ca_file=ca_file,
            username=LOGIN,
            password_file="mail.secret",
        )

    assert inbox.mails == []
    assert inbox.logins == [], "not even the password"
    text = str(caught.value)
    assert "certificate that cannot be trusted" in text
    assert "mail.ca_file" in text
    assert "\n" not in text


def test_a_server_without_tls_gets_nothing_unless_the_settings_say_so(
    folder: Path, deployment: Deployment
) -> None:
    inbox = Inbox()
    with mail_server(inbox) as settings:
        with pytest.raises(DeliveryError, match="does not offer what is needed"):
            hand_over(settings, folder, deployment, security="starttls")
        with pytest.raises(DeliveryError, match="does not take it"):
            hand_over(settings, folder, deployment, security="tls")
        assert inbox.mails == []
        hand_over(settings, folder, deployment)
    assert inbox.secured == [False]


def test_a_wrong_password_is_said_without_it(folder: Path, deployment: Deployment) -> None:
    (folder / "mail.secret").write_text("sai-mat-khau")
    inbox = Inbox()
    with (
        mail_server(inbox, "starttls", folder) as settings,
        pytest.raises(DeliveryError, match=r"does not accept mail\.username") as caught,
    ):
        hand_over(
            settings,
            folder,
            deployment,
            ca_file="ca.pem",
            username=LOGIN,
            password_file="mail.secret",
        )
    assert "sai-mat-khau" not in str(caught.value)


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, MailSettings]]:
    kept = Inbox()
    with mail_server(kept) as settings:
        yield kept, settings


def queue_of(deployment: Deployment, settings: MailSettings) -> MailQueue:
    return MailQueue(deployment.database, deployment.clock, Mailer(settings, Path()))


def put(deployment: Deployment, queue: MailQueue, about: str, text: str = "x\n") -> None:
    with deployment.database.writing() as connection:
        queue.put(connection, about, TO, "Thử", text)


def test_what_a_server_does_not_take_goes_later_and_outlasts_the_service(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse = True
    queue = queue_of(deployment, settings)
    for number in range(3):
        put(deployment, queue, f"mail {number}", f"{number}\n")
    assert not queue.step()
    assert not queue.step(), "it rests"
    kept.refuse = False

    # The service was stopped meanwhile, or killed.
    again = queue_of(deployment, settings)
    deployment.clock.advance(2 * REST_S)
    while again.step():
        pass

    assert sorted(mail.get_content().strip() for _, mail in kept.mails) == ["0", "1", "2"]
    assert len({mail["Message-ID"] for _, mail in kept.mails}) == 3
    with deployment.database.reading() as connection:
        state = state_of(connection)
    assert (state.waiting, state.error, state.given_up) == (0, "", 0)
    assert state.last_sent is not None


def test_mail_of_a_clock_that_was_years_ahead_goes_when_it_is_right_again(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    deployment.clock.advance(5 * 365 * 86_400)
    put(deployment, queue_of(deployment, settings), "alarms 1 1")
    deployment.clock.advance(-5 * 365 * 86_400)

    assert queue_of(deployment, settings).step()

    assert len(kept.mails) == 1


def test_mail_is_not_given_up_by_a_clock_that_jumps_ahead(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse = True
    queue = queue_of(deployment, settings)
    put(deployment, queue, "alarms 1 1")
    queue.step()
    deployment.clock.advance(5 * 365 * 86_400)
    queue.step()
    deployment.clock.advance(-5 * 365 * 86_400)
    kept.refuse = False

    assert queue_of(deployment, settings).step()

    assert len(kept.mails) == 1


def test_the_same_thing_is_told_once(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    queue = queue_of(deployment, settings)
    put(deployment, queue, "report daily 2021-07-01")
    put(deployment, queue, "report daily 2021-07-01")
    while queue.step():
        pass
    put(deployment, queue, "report daily 2021-07-01")
    deployment.clock.advance(60)
    queue.step()

    assert len(kept.mails) == 1


def test_one_wrong_address_keeps_nothing_from_the_others(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse_for = {TO[1]}
    queue = queue_of(deployment, settings)
    put(deployment, queue, "one")
    queue.step()
    assert [recipients for recipients, _ in kept.mails] == [[TO[0]]]
    with deployment.database.reading() as connection:
        assert "550 nobody here" in state_of(connection).error

    kept.refuse_for = set()
    deployment.clock.advance(2 * REST_S)
    queue.step()

    assert [recipients for recipients, _ in kept.mails] == [[TO[0]], [TO[1]]]


def test_mail_that_is_refused_for_what_it_is_lets_other_mail_go(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse_for, kept.refuse_with = {"nobody@example.invalid"}, "spam"
    queue = queue_of(deployment, settings)
    with deployment.database.writing() as connection:
        queue.put(connection, "one", ["nobody@example.invalid"], "Thử", "x\n")
    put(deployment, queue, "two", "spam\n")
    put(deployment, queue, "three")

    while queue.step():
        pass

    assert [mail.get_content().strip() for _, mail in kept.mails] == ["x"]
    with deployment.database.reading() as connection:
        state = state_of(connection)
    assert state.waiting == 2
    assert "550 nobody here" in state.error or "554 this is spam" in state.error


def test_mail_that_nobody_takes_for_a_week_is_given_up_and_shown(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    kept.refuse = True
    queue = queue_of(deployment, settings)
    put(deployment, queue, "one", HOSTILE)
    tries = 0
    for _ in range(int(GIVE_UP_S // 3600) + 2):
        queue.step()
        tries += 1
        deployment.clock.advance(3600)
    kept.refuse = False
    assert not queue.step()

    with deployment.database.reading() as connection:
        state = state_of(connection)
    assert (state.waiting, state.given_up) == (0, 1)
    assert tries < 200


def teller(deployment: Deployment, queue: MailQueue) -> Teller:
    quiet = AlarmSettings(quiet_from_h=22, quiet_to_h=5)
    return Teller(
        deployment.parts.alarms,
        deployment.database,
        deployment.clock,
        quiet,
        "Mẫu",
        queue,
        TO,
        address="https://quet-ma.example.invalid",
    )


def test_an_alarm_is_mailed_once_in_both_languages_also_when_it_is_over_by_then(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    queue = queue_of(deployment, settings)
    alarms, now = deployment.parts.alarms, deployment.clock.now().at
    tell = teller(deployment, queue)
    alarms.begin(Finding("unreadable", "cong-1", OWN_PLACE, "1200 / 1500"), now)
    alarms.begin(Finding("impossible-rate", "cua-1", OTHER_PLACE, "12345"), now)
    kept.refuse = True
    tell.step()
    tell.step()
    queue.step()
    for alarm in alarms.open():
        alarms.clear(alarm.number, now)
    kept.refuse = False

    deployment.clock.advance(2 * REST_S)
    tell.step()
    queue.step()

    ((recipients, mail),) = kept.mails
    assert recipients == TO
    assert "2 cảnh báo" in mail["Subject"]
    text = mail.get_content()
    for words in (
        "1.200 trên 1.500",
        "1,200 of 1,500",
        "12.345 lượt trong 15 phút",
        "12,345 scans in 15 min",
        "Nhiều mã không đọc được",
        "https://quet-ma.example.invalid/alarms",
    ):
        assert words in text, words


def test_in_quiet_hours_no_mail_goes_and_after_them_what_still_lasts(
    deployment: Deployment, inbox: tuple[Inbox, MailSettings]
) -> None:
    kept, settings = inbox
    queue = queue_of(deployment, settings)
    # 23:47 in Viet Nam.
    deployment.clock.advance(15 * 3600)
    alarms, now = deployment.parts.alarms, deployment.clock.now().at
    alarms.begin(Finding("unit-offline", "cua-1", OTHER_PLACE, now), now)
    alarms.begin(Finding("clock-wrong", "cong-1", OWN_PLACE), now)
    tell = teller(deployment, queue)
    tell.step()
    queue.step()
    assert kept.mails == []
    alarms.clear(2, now)

    deployment.clock.advance(6 * 3600)
    tell.step()
    queue.step()

    ((_, mail),) = kept.mails
    assert "cua-1" in mail.get_content()
    assert "cong-1" not in mail.get_content()


def test_set_up_shows_what_waits_and_why(tmp_path: Path) -> None:
    assert "Chưa khai báo máy chủ thư" in _page(Deployment(_new(tmp_path, "without")))
    settings = DashboardSettings(
        mail=MailSettings(host="localhost", port=1, security="none", alarms_to=("a@b.invalid",))
    )
    made = Deployment(_new(tmp_path, "with"), settings)
    queue = made.parts.mail_queue
    assert queue is not None
    put(made, queue, "one")
    queue.step()
    page = _page(made)
    assert "1 thư đang chờ gửi" in page
    assert "localhost port 1 does not take it" in page
    assert "Thư gần nhất" not in page, "none went yet"


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _page(deployment: Deployment) -> str:
    text = deployment.client("operator").get("/set-up").text
    deployment.close()
    return text
