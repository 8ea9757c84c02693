"""A unit's certificate, from none to the next: the scanner, the endpoint and Mosquitto as they are.

The unit is set up by a card. Its clock is not synchronised here, so that a certificate has ended is
something that the broker tells it.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edge.certificates import facts, make_request
from edge.provision.cards import make_token
from edge.provision.deployment import utc_now
from edge.provision.machines import enrolment_url, issuing_authority
from edge.scanner.identity import PRESENT, TOLD
from edge.scanner.outbox import read_outbox
from edge.scanner.pending_enrolment import PendingEnrolment, pend
from tests.conftest import MOSQUITTO
from tests.end_to_end.site import UNIT, Site
from tests.fakes import eventually

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="sudo apt install mosquitto")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def test_scans_are_kept_before_a_unit_has_a_certificate_and_sent_once_it_has(site: Site) -> None:
    site.scanner.start()
    site.eventually_kept(3, "it scans, though there is nobody to enrol at")
    assert not (site.identity / PRESENT).exists()
    pending = read_outbox(site.outbox).status().pending
    assert pending >= 3

    site.open_endpoint()
    site.eventually_sent("it has enrolled, and sends")

    # It may send before what it asked with is wiped.
    eventually(
        lambda: {path.name for path in site.identity.iterdir()} - {TOLD} == {PRESENT},
        "what it asked with is gone",
    )
    # Beside the running scanner: who checks does not take its session.
    connected = site.log().count("connected to")
    # It tells how it is every few seconds.
    is_well = (True, f"the running scanner is connected to 127.0.0.1:{site.port}")
    eventually(lambda: site.check()["broker"] == is_well, "it tells that it is connected")
    found = site.check()
    assert found["certificate"][0]
    assert "730 days left" in found["certificate"][1]
    assert site.log().count("connected to") == connected

    # Killed while it renews, it has the one or the other, and sends.
    for _ in range(2):
        (site.identity / "rotate").touch()
        site.scanner.stop(signal.SIGKILL)
        site.scanner.start()
        site.eventually_sent("it sends after a kill")
    known = facts((site.identity / PRESENT).read_bytes())
    assert known.name == UNIT


def test_one_that_has_ended_stops_sending_and_never_scanning_until_there_is_a_new_token(
    site: Site,
) -> None:
    site.open_endpoint()
    site.scanner.start()
    site.eventually_sent("it sends")
    site.scanner.stop()
    ended = give_ended_certificate(site)

    site.scanner.start()
    site.eventually_kept(3, "it scans on")
    eventually(lambda: "EXPIRED" in site.log(), "the broker refuses it, and says why", limit_s=180)
    # Its light says so: it rests on another signal than "ready".
    eventually(lambda: b"Counts, but cannot send" in site.scanner.out.read_bytes(), "its light")
    found = site.check()
    assert not found["certificate"][0]
    assert "scans are kept" in found["certificate"][1]
    assert not found["broker"][0]
    assert (site.identity / PRESENT).read_bytes() == ended
    waiting = read_outbox(site.outbox).status().pending
    assert waiting >= 3

    unit = site.deployment.inventory.unit(UNIT)
    token = make_token(site.deployment, unit, utc_now())
    url = enrolment_url(site.deployment.settings)
    pend(PendingEnrolment(deployment="gia-lai", unit=UNIT, url=url, token=token), site.root)
    site.eventually_sent("it sends again, with a new certificate")
    assert (site.identity / PRESENT).read_bytes() != ended


def give_ended_certificate(site: Site) -> bytes:
    """Let the unit have one that ended a month ago, of the right authority."""
    request, key = make_request(UNIT)
    past = utc_now() - timedelta(days=60)
    issued = issuing_authority(site.deployment.folder).sign_request(request, UNIT, past, 30)
    (site.identity / PRESENT).write_bytes(key + issued.certificate)
    return key + issued.certificate


def test_a_unit_that_is_revoked_is_thrown_out_and_gets_no_other_certificate(site: Site) -> None:
    site.open_endpoint()
    site.scanner.start()
    site.eventually_sent("it sends")
    assert site.endpoint is not None

    command = [sys.executable, "-m", "edge.provision", "--config"]
    command += [str(site.deployment.folder / "provision.toml"), "revoke", UNIT]
    command += ["--issued", str(site.endpoint.ledger)]
    subprocess.run(command, check=True, capture_output=True)
    site.broker.reload()
    last = max(site.beeps())
    site.eventually_kept(5, "it scans on")
    # What the broker had taken before that may still come in.
    site.heard_until_now()
    assert max(site.heard(), default=0) <= last

    # Not even with a new key: its certificate is known, and so is its name.
    (site.identity / "rotate").touch()
    eventually(lambda: "was revoked" in site.log(), "the endpoint refuses it", limit_s=180)
    site.scanner.stop()
    site.scanner.start()
    eventually(lambda: "REVOKED" in site.log(), "the broker does not let it in", limit_s=180)
    site.eventually_kept(2, "it scans on")
