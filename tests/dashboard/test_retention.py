"""For how long scans are kept: what holds is shown; a shorter time is obeyed, no longer one."""

from datetime import timedelta
from pathlib import Path

import pytest

from edge.collector.retention import LOOK_S, Retention
from edge.dashboard.local_time import local_day
from edge.errors import StorageError
from edge.storage.keeping import Keeping
from edge.storage.storage import Storage
from tests.dashboard.parts import OWN_PLACE, Deployment, token_in
from tests.fakes import FakeClock


def wish(deployment: Deployment, days: int | str, **more: str) -> int:
    client = deployment.client("operator")
    form = {"token": token_in(client.get("/set-up").text), "days": str(days), "sure": "yes"} | more
    return client.post("/set-up/retention", data=form).status_code


def collector(deployment: Deployment, folder: Path, days: int, *, erase: bool = True) -> Retention:
    return Retention(
        Storage(deployment.file),
        folder / "erased.jsonl",
        deployment.clock,
        days=days,
        collector="gialai-1",
        erase=erase,
    )


@pytest.mark.parametrize(
    ("own", "wished", "left"),
    [(21, 0, 3), (21, 14, 2), (21, 30, 3), (16, 20, 2), (30, 0, 4), (14, 14, 2)],
)
def test_a_collector_obeys_the_shorter_of_its_file_and_the_page(
    database_url: str, tmp_path: Path, own: int, wished: int, left: int
) -> None:
    deployment = Deployment(tmp_path, url=database_url)
    today = local_day(deployment.clock.now().at)
    for ago in (1, 13, 18, 28):
        deployment.add_scans(OWN_PLACE, "cong-1", ins=1, day=today - timedelta(days=ago))
    assert wish(deployment, wished) == 303

    collector(deployment, tmp_path, own).finish()

    storage = Storage(deployment.file)
    assert storage.count() == left
    storage.close()
    page = deployment.client("technician").get("/set-up").text
    days = min(own, wished or own)
    assert f"được giữ {days} ngày" in page
    assert f"gialai-1: collector.toml {own} ngày, đang giữ {days}" in page
    deployment.close()


def test_a_shorter_time_is_obeyed_within_the_hour_and_kept_on_record(
    deployment: Deployment, tmp_path: Path
) -> None:
    today = local_day(deployment.clock.now().at)
    deployment.add_scans(OWN_PLACE, "cong-1", ins=5, day=today - timedelta(days=17))
    working = collector(deployment, tmp_path, 21)
    assert working.finish() == 0
    assert wish(deployment, 15) == 303
    assert working.step() == 0

    deployment.clock.advance(LOOK_S)

    # It is out of every page at once, and soon gone from the disk.
    assert working.step() == 0
    assert "đang được xóa khỏi đĩa" in deployment.client("operator").get("/set-up").text
    assert working.finish() == 5
    page = deployment.client("operator").get("/set-up").text
    erased = page.partition('id="erasures"')[2]
    assert '<td class="n">5</td>' in erased
    assert "operator · 15 ngày" in page
    # The count of that day stays, and opens to the word that its rows are gone.
    day = today - timedelta(days=17)
    rows = deployment.client("operator").get(f"/scans?place={OWN_PLACE}&first={day}&last={day}")
    assert "<strong>5</strong> lượt" in rows.text
    assert "đã được xóa theo thời hạn lưu" in rows.text


def test_a_trial_that_erases_nothing_says_so(deployment: Deployment, tmp_path: Path) -> None:
    assert "Chưa có máy chủ thu nhận nào báo" in deployment.client("operator").get("/set-up").text
    deployment.add_scans(
        OWN_PLACE,
        "cong-1",
        ins=1,
        day=local_day(deployment.clock.now().at) - timedelta(days=29),
    )

    assert collector(deployment, tmp_path, 21, erase=False).finish() == 0

    assert "Không có lượt quét nào bị xóa" in deployment.client("operator").get("/set-up").text


@pytest.mark.parametrize("days", [13, 31, -14, "x", "", "１５", "14.5"])
def test_other_times_are_refused(deployment: Deployment, days: int | str) -> None:
    assert wish(deployment, days) == 400

    assert Keeping(deployment.database).wished() == 0


def test_it_takes_an_operator_who_is_sure(deployment: Deployment) -> None:
    assert wish(deployment, 14, sure="") == 400
    technician = deployment.client("technician")
    token = token_in(technician.get("/account").text)
    form = {"token": token, "days": "14", "sure": "yes"}
    assert technician.post("/set-up/retention", data=form).status_code == 403
    assert "Đặt thời hạn lưu" not in technician.get("/set-up").text
    assert Keeping(deployment.database).wished() == 0
    with pytest.raises(StorageError, match="14 to 30"):
        Keeping(deployment.database).wish(13, "x", deployment.clock.now().at)


def test_a_clock_that_nobody_vouches_for_is_told_with_what_to_do(
    deployment: Deployment, tmp_path: Path
) -> None:
    unset = FakeClock()
    retention = Retention(
        Storage(deployment.file),
        tmp_path / "erased.jsonl",
        unset,
        days=21,
        collector="gialai-1",
    )
    retention.finish()

    page = deployment.client("technician").get("/set-up").text
    assert "gialai-1: chưa có gì chỉnh và chưa có ai xác nhận đồng hồ" in page
    assert "Lượt quét quá hạn chưa được xóa." in page
    assert "edge-collector clock --today" in page

    unset.synchronized = True
    retention.finish()
    assert "gialai-1: chưa có" not in deployment.client("technician").get("/set-up").text
    retention.close()
