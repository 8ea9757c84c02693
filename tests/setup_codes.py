"""Set-up codes for tests, of the same invented deployment as the cards."""

from datetime import date

from edge.enrolment_token import mint_token
from edge.sealing import Signer
from edge.setup_code import SetupCode, write_setup_code
from tests.cards import SETUP_KEY


def a_code(**changes: object) -> SetupCode:
    """A code that makes unit xe-1 of a unit of batch lo-1 that is none yet."""
    fields: dict[str, object] = {
        "v": 1,
        "deployment": "thu-nghiem",
        "number": 2,
        "batch": "lo-1",
        "unit": "xe-1",
        "area": "pleiku",
        "place": "cho-1",
        "direction": "in",
        "trip": "",
        "hardware": "",
        "broker": None,
        "wifi": None,
        "enrolment": (
            "https://mqtt.example.vn:8884",
            mint_token("thu-nghiem", "xe-1", date(2027, 1, 1), SETUP_KEY),
        ),
        "hours": "",
        "trips": (),
    }
    return SetupCode(**(fields | changes))  # type: ignore[arg-type]


def a_move(**changes: object) -> SetupCode:
    """A code that hangs unit xe-1 elsewhere."""
    return a_code(**({"batch": None, "enrolment": None, "place": "cho-2"} | changes))


def text(code: SetupCode, key: Signer = SETUP_KEY) -> bytes:
    """*code* as a camera reads it."""
    return write_setup_code(code, key).encode()
