"""Set-up shows which legal bases there are, and refuses to show one that nobody signed."""

from base64 import b64encode
from pathlib import Path

import msgspec

from edge.dashboard.settings import DashboardSettings, SetUpSettings
from edge.legal_basis import LegalBasis, write_basis
from edge.sealing import open_signer
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.parts import HOSTILE, Deployment
from tests.fakes import a_health
from tests.storage.parts import expire


def test_bases_are_shown_with_what_is_wrong_with_others(tmp_path: Path) -> None:
    signer = open_signer(tmp_path / "authority.key")
    (tmp_path / "basis.pub").write_bytes(b64encode(signer.public_key))
    folder = tmp_path / "basis"
    folder.mkdir()
    for name, number, end in (("a", "12/QĐ-MẪU", "2021-08-01"), ("b", HOSTILE, "2021-07-01")):
        basis = LegalBasis(
            number=number,
            issuer="UBND tỉnh Mẫu",
            places=("cho-*",),
            issued="2021-06-01T00:00:00.000Z",
            start="2021-06-01T00:00:00.000Z",
            end=f"{end}T00:00:00.000Z",
        )
        write_basis(folder / f"{name}.json", basis, signer)
    forged = msgspec.json.decode((folder / "a.json").read_bytes())
    forged["basis"]["number"] = "13/QĐ-GIẢ"
    (folder / "c.json").write_bytes(msgspec.json.encode(forged))
    settings = SetUpSettings(basis_folder="basis", basis_key_file="basis.pub")
    deployment = Deployment(tmp_path, DashboardSettings(set_up=settings))

    page = deployment.client("technician").get("/set-up").text

    assert "12/QĐ-MẪU" in page
    assert "Còn hiệu lực" in page
    assert "Hết hiệu lực" in page
    assert "13/QĐ-GIẢ" not in page
    assert "its signature is not of the authority" in page
    assert "<script>" not in page
    assert "Chưa có lượt quét nào được xóa" in page
    storage = Storage(deployment.file)
    deployment.add_list([("cho-1", "cong-1", "in", "2021-06-01T00:00:00.000Z")])
    expire(storage, "2021-06-20")
    storage.close()
    assert "20/06/2021" in deployment.client("technician").get("/set-up").text
    deployment.close()


def test_a_units_page_says_what_came_of_its_set_up_code(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    storage = Storage(deployment.file)
    for text in ("unit cong-1, cho-1, in; set-up code 3", HOSTILE):
        health = a_health(setup=text)
        storage.store_reports([Report("pleiku", "cong-1", health)], deployment.clock.now().at)

        page = deployment.client("technician").get("/units/cong-1").text

        assert ("set-up code 3" in page) == (text != HOSTILE)
        assert "Mã cài đặt" in page
        assert HOSTILE not in page
    storage.close()
    deployment.close()
