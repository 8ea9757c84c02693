"""The signed repository, as apt itself judges it, and which units a version is for."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from edge.card import read_card
from edge.errors import ProvisionError
from edge.legal_basis import documents_in
from edge.provision import releases
from edge.provision.__main__ import main
from edge.provision.cards import make_card
from edge.provision.deployment import Deployment, utc_now
from edge.provision.openpgp import make_key
from edge.ring import Ring, read_ring
from tests.provision.debs import a_package
from tests.provision.deployments import a_deployment

pytestmark = pytest.mark.skipif(
    shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None,
    reason="apt and dpkg are Debian's: run this on a Debian or Ubuntu",
)


class Apt:
    """apt of a unit, with lists and a cache of its own, which believes one key."""

    def __init__(self, folder: Path, source: Path, key: Path) -> None:
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True)
        self.folder = folder
        self.sources = folder / "sources.list"
        self.sources.write_text(f"deb [signed-by={key}] copy:{source} ./\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What apt-get says to *words*."""
        options = {
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache::archives": self.folder / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": self.sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "root",
            "APT::Get::List-Cleanup": "0",
            "APT::Update::Error-Mode": "any",
            # Some machines of builders say otherwise.
            "Acquire::Check-Date": "true",
            "Acquire::Check-Valid-Until": "true",
        }
        (self.folder / "status").touch()
        given = [f"-o{key}={value}" for key, value in options.items()]
        return subprocess.run(
            ["apt-get", "-q", *given, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin:/usr/sbin", "LC_ALL": "C"},
        )


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")


def released(deployment: Deployment, tmp_path: Path, version: str, *words: str) -> None:
    """Take *version* in and stage it by *words*."""
    config = ["--config", str(deployment.folder / "provision.toml")]
    file = a_package(tmp_path, version)
    assert main(["release", "add", str(file), *config]) == 0
    assert main(["release", "stage", version, *words, *config]) == 0


def test_apt_believes_the_repository_by_the_deployments_key(
    deployment: Deployment, tmp_path: Path
) -> None:
    released(deployment, tmp_path, "1.2", "--units", "cho-1-a", "--percent", "10")
    apt = Apt(tmp_path / "apt", deployment.folder / "updates", deployment.folder / "updates.asc")

    updated = apt.run("update")
    got = apt.run("download", "edge-scanner=1.2")

    assert updated.returncode == 0, updated.stderr
    assert "Err" not in updated.stdout
    assert got.returncode == 0, got.stderr
    assert (apt.folder / "edge-scanner_1.2_all.deb").read_bytes() == (
        tmp_path / "edge-scanner_1.2_all.deb"
    ).read_bytes()
    index = (deployment.folder / "updates/Packages").read_text()
    assert "Edge-For: units=cho-1-a share=10\n" in index


@pytest.mark.parametrize("what", ["InRelease", "Packages", "key", "package"])
def test_apt_refuses_what_was_changed(deployment: Deployment, tmp_path: Path, what: str) -> None:
    released(deployment, tmp_path, "1.2", "--all")
    folder, key = deployment.folder / "updates", deployment.folder / "updates.asc"
    if what == "key":
        key = tmp_path / "other.asc"
        make_key(tmp_path / "other.key", key, "somebody else")
    elif what == "package":
        path = folder / "edge-scanner_1.2_all.deb"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    else:
        for path in folder.glob(f"{what}*"):
            # Of every form that it is kept in, and where each has its content.
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    apt = Apt(tmp_path / "apt", folder, key)

    done = [apt.run("update"), apt.run("download", "edge-scanner=1.2")]

    assert any(each.returncode for each in done)
    assert not (apt.folder / "edge-scanner_1.2_all.deb").exists()


@pytest.mark.parametrize(("age_days", "believed"), [(179, True), (181, False)])
def test_apt_believes_the_list_for_half_a_year(
    deployment: Deployment, tmp_path: Path, age_days: int, believed: bool
) -> None:
    released(deployment, tmp_path, "1.2", "--all")
    releases.publish(deployment, utc_now() - timedelta(days=age_days))
    apt = Apt(tmp_path / "apt", deployment.folder / "updates", deployment.folder / "updates.asc")

    assert (apt.run("update").returncode == 0) == believed


def test_the_alarm_comes_long_before_the_list_ends_and_it_is_signed_anew(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]

    def alarm() -> bool | None:
        capsys.readouterr()
        main(["check", "--json", *config])
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return next((x["alarm"] for x in lines if x["what"] == "signed list of updates"), None)

    # Nothing was published yet.
    assert alarm() is None
    released(deployment, tmp_path, "1.2", "--all")
    assert alarm() is False
    before = (deployment.folder / "updates/Packages").read_bytes()
    releases.publish(deployment, utc_now() - timedelta(days=121))
    assert alarm() is True
    assert main(["check", *config]) == 1
    assert "edge-provision release renew" in capsys.readouterr().out

    signed = [utc_now()]
    assert main(["release", "renew", *config]) == 0

    # It may be midnight in between.
    signed.append(utc_now())
    said = capsys.readouterr().out
    assert any(f"until {at + timedelta(days=180):%Y-%m-%d}" in said for at in signed)
    assert alarm() is False
    assert (deployment.folder / "updates/Packages").read_bytes() == before
    # As it was before lists had an end.
    path = deployment.folder / "updates/InRelease"
    path.write_text(path.read_text().replace("Valid-Until", "Valid-Since"))
    assert alarm() is True


def test_a_version_is_for_the_units_of_its_ring_alone(
    deployment: Deployment, tmp_path: Path
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]
    file = a_package(tmp_path, "1.2")
    assert main(["release", "add", str(file), "--units", "cho-1-a", *config]) == 0

    def ring() -> Ring:
        index = (deployment.folder / "updates/Packages").read_text()
        (line,) = [line for line in index.splitlines() if line.startswith("Edge-For: ")]
        return read_ring(line.removeprefix("Edge-For: "))

    assert ring().covers("cho-1-a", "pleiku", "1.2")
    assert not ring().covers("cho-1-b", "pleiku", "1.2")
    assert main(["release", "stage", "1.2", "--areas", "pleiku", *config]) == 0
    assert ring().covers("cho-1-b", "pleiku", "1.2")
    assert main(["release", "withdraw", "1.2", *config]) == 0
    assert not ring().covers("cho-1-a", "pleiku", "1.2")
    assert main(["release", "stage", "1.2", *config]) == 1
    assert main(["release", "stage", "1.2", "--units", "nobody", *config]) == 1
    assert main(["release", "stage", "9.9", "--all", *config]) == 1


def test_the_office_is_told_in_both_languages_who_takes_what(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]

    def said(*words: str) -> str:
        main(["release", *words, *config])
        told = capsys.readouterr()
        return told.out + told.err

    assert "chưa có phiên bản nào" in said("list")
    assert "chưa phát hành phiên bản nào" in said("renew")
    assert "không có phiên bản '9.9'" in said("stage", "9.9", "--all")
    file = str(a_package(tmp_path, "1.2"))
    assert "1.2: không máy nào / nobody: edge-provision release stage 1.2" in said("add", file)
    assert "thiết bị tin danh sách này đến" in said("stage", "1.2", "--units", "cho-1-a")
    assert said("list") == "1.2  máy / units cho-1-a\n"
    assert "cho máy nào? " in said("stage", "1.2")
    assert "1.2: mọi máy / every unit" in said("stage", "1.2", "--all", "--downgrade")
    assert "kể cả để trở về / also as a way back" in said("list")
    assert "1.2: không máy nào / nobody\n" in said("withdraw", "1.2")


def test_a_legal_basis_is_published_with_the_list_as_long_as_it_holds(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]

    def sign(number: str, end: str) -> str:
        capsys.readouterr()
        words = ["--number", number, "--issuer", "UBND", "--start", "2020-01-01", "--end", end]
        assert main(["basis", *words, "--places", "cho-1", *config]) == 0
        return capsys.readouterr().out

    def listed() -> list[bytes]:
        return documents_in((deployment.folder / "updates/InRelease").read_bytes())

    # Nothing is published that nobody has begun to copy anywhere.
    assert "ghi thẻ mới" in sign("1/TN", "2020-12-31")
    assert not (deployment.folder / "updates/InRelease").exists()
    released(deployment, tmp_path, "1.2", "--all")
    assert listed() == []

    assert f"Chép {deployment.folder / 'updates'}" in sign("2/TN", "2099-12-31")

    assert listed() == [(deployment.folder / "legal-basis/2-TN.json").read_bytes()]
    apt = Apt(tmp_path / "apt", deployment.folder / "updates", deployment.folder / "updates.asc")
    assert apt.run("update").returncode == 0
    # What is no document of the authority's is not published either.
    (deployment.folder / "legal-basis/x.json").write_bytes(b"{}")
    assert main(["release", "renew", *config]) == 0
    assert len(listed()) == 1


def test_what_cannot_be_published_leaves_the_repository_as_it_was(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]
    words = ["--number", "1/TN", "--issuer", "UBND", "--start", "2020-01-01", "--end", "2099-12-31"]
    assert main(["basis", *words, "--places", "cho-1", *config]) == 0
    released(deployment, tmp_path, "1.2", "--units", "cho-1-a")

    def published() -> list[bytes]:
        names = ("InRelease", "Packages", "Packages.gz")
        return [(deployment.folder / "updates" / name).read_bytes() for name in names]

    before = published()
    monkeypatch.setattr("edge.legal_basis.MOST_LISTED", 0)

    assert main(["release", "stage", "1.2", "--all", *config]) == 1

    # Else units would take it for forged.
    assert published() == before


def test_a_share_grows_and_whoever_was_in_it_stays_in() -> None:
    units = [f"unit-{number}" for number in range(1000)]

    def taken(share: int) -> set[str]:
        ring = Ring(share=share)
        return {unit for unit in units if ring.covers(unit, "pleiku", "1.2")}

    assert 60 < len(taken(10)) < 140
    assert taken(10) < taken(50) < taken(100) == set(units)
    assert taken(0) == set()
    # It is not always the same ones who go first.
    assert taken(10) != {unit for unit in units if Ring(share=10).covers(unit, "pleiku", "1.3")}


@pytest.mark.parametrize(
    "text",
    ["", "share=101", "share=-1", "all", "units=cho-1-a share=x", "units=A;b", "planets=mars"],
)
def test_a_ring_that_cannot_be_understood_is_nobodys(text: str) -> None:
    assert not read_ring(text).covers("cho-1-a", "pleiku", "1.2")


def test_a_version_is_never_another_package(deployment: Deployment, tmp_path: Path) -> None:
    releases.add(deployment, [a_package(tmp_path, "1.2")])
    (tmp_path / "other").mkdir()
    other = a_package(tmp_path / "other", "1.2")
    other.write_bytes(other.read_bytes() + b"\n")

    with pytest.raises(ProvisionError, match="give it a new version"):
        releases.add(deployment, [other])
    with pytest.raises(ProvisionError, match="not a Debian package"):
        releases.add(deployment, [Path(__file__)])


def test_the_key_is_on_every_card_and_the_hours_of_its_place(
    deployment: Deployment, tmp_path: Path
) -> None:
    config = ["--config", str(deployment.folder / "provision.toml")]
    place = ["place", "add", "cho-1", "--name", "Chợ Mẫu", "--kind", "market"]
    assert main([*place, "--hours", "mon-sat 05:00-18:00, sun 06:00-12:00", *config]) == 0

    updates = read_card(make_card(deployment, "cho-1-a", utc_now())).updates

    assert updates is not None
    assert updates.key == (deployment.folder / "updates.asc").read_text()
    assert updates.hours == "mon-sat 05:00-18:00, sun 06:00-12:00"
    assert (deployment.folder / "authority/updates.key").stat().st_mode & 0o777 == 0o600
