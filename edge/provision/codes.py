"""Makes the set-up codes of units: pictures for a telephone, and a sheet to be printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.errors import ProvisionError
from edge.files import replace_file
from edge.printing import CodeSheet, ShownCode, code_picture
from edge.provision.cards import check_batch, hours_of, make_token, trips_of, wifi_of
from edge.provision.deployment import Deployment
from edge.provision.inventory import UnitRecord
from edge.provision.labels import DIRECTIONS
from edge.provision.layout import SETUP_KEY
from edge.provision.machines import broker_url, enrolment_url
from edge.sealing import Signer, read_key
from edge.setup_code import SetupCode, write_setup_code

SHEET = "codes.pdf"


@dataclass(frozen=True)
class MadeCode:
    """A set-up code, as text, and whose it is."""

    unit: UnitRecord
    code: SetupCode
    text: str


def make_codes(
    deployment: Deployment,
    names: Sequence[str],
    *,
    batch: str | None = None,
    now: datetime,
    wifi: bool = False,
    broker: bool = False,
    enrol: bool = False,
) -> list[MadeCode]:
    """A set-up code for each unit of *names*, for where the inventory says that it hangs.

    *batch*: the unit is none yet, and has the card of that batch; None: it is itself already.
    *wifi*, *broker*: with the deployment's, in place of those that the unit has. *enrol*: with a
    token for a new certificate, as whoever is none yet gets in any case. Raises EdgeError.
    """
    settings, register = deployment.settings, deployment.register
    network = wifi_of(deployment) if wifi else None
    if wifi and network is None:
        raise ProvisionError("provision.toml names no wireless network; set [wifi] ssid there")
    if batch is not None:
        check_batch(batch)
    for name in names:
        unit = deployment.inventory.unit(name)
        register.place(unit.place)
        if batch is None and not (unit.card or unit.code):
            raise ProvisionError(
                f"unit {name} was never set up; name the batch whose card it has:"
                f" edge-provision code {name} --batch NAME"
            )
    key = Signer(read_key(deployment.folder / SETUP_KEY))
    made = []
    for number, name in enumerate(names, deployment.next_number(*names)):
        unit = deployment.inventory.unit(name)
        code = SetupCode(
            v=1,
            deployment=settings.deployment.name,
            number=number,
            batch=batch,
            unit=unit.id,
            area=unit.area,
            place=unit.place,
            direction=unit.direction,
            trip=unit.trip,
            hardware=unit.hardware,
            broker=broker_url(settings) if broker else None,
            wifi=(network.ssid, network.password, network.country) if network else None,
            enrolment=(
                (enrolment_url(settings), make_token(deployment, unit, now))
                if enrol or batch is not None
                else None
            ),
            hours=hours_of(register.place(unit.place)),
            trips=tuple(trips_of(register.place(unit.place))),
        )
        made.append(MadeCode(unit, code, write_setup_code(code, key)))
    return made


def write_codes(folder: Path, deployment: Deployment, made: list[MadeCode], now: datetime) -> None:
    """Put a picture of each code of *made* into *folder*, and the sheet with all of them.

    Readable by the owner alone: a code may have the password of the network. Raises EdgeError.
    """
    name = deployment.settings.deployment.name
    sheet = CodeSheet(f"{name}: mã cài đặt / set-up codes", now)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in made:
            place = deployment.register.place(one.unit.place).name
            sheet.add_code(ShownCode(one.unit.id, _lines(one.code, place), one.text))
            replace_file(folder / f"{one.unit.id}.png", [code_picture(one.text)])
        replace_file(folder / SHEET, [sheet.bytes()])
    except OSError as err:
        raise ProvisionError(f"{folder}: cannot write the codes: {err.strerror}") from err


def _lines(code: SetupCode, place: str) -> list[str]:
    how = (
        ("Giữ nút cài đặt 3 giây rồi đưa mã này", "Hold the set-up button for 3 s, then show this")
        if code.batch is None
        else (f"Thẻ lô {code.batch}: bật máy rồi đưa mã này", f"Card of batch {code.batch}: start")
    )
    return [
        place,
        " · ".join(filter(None, (DIRECTIONS[code.direction], code.trip))),
        f"Mã số / number {code.number}" + (" · Wi-Fi" if code.wifi else ""),
        f"{how[0]}, cách ống kính 20 cm.",
        f"{how[1]}" + (" the unit, then show this" if code.batch else "") + ", at 20 cm.",
        "Chỉ dùng một lần, cho đúng một thiết bị. / For one unit, once.",
    ]
