"""Signs in OpenPGP, which apt believes. The home of pysequoia.

Sequoia rather than gpg: it comes with `edge-provision`, keeps no agent and no key ring of its own,
and what it writes both of apt's judges read, gpgv (Debian 12) and sqv (Debian 13).
"""

from pathlib import Path

import pysequoia

from edge.errors import ProvisionError
from edge.files import replace_file

#: A key that has ended would leave every unit without updates; this is as long as a deployment.
VALID_S = 40 * 366 * 86_400


def make_key(private: Path, public: Path, name: str) -> None:
    """Make a pair of keys that belongs to *name*. Raises OSError."""
    key = pysequoia.Tsk.generate(name, validity_seconds=VALID_S)
    replace_file(private, [str(key).encode("ascii")])
    replace_file(public, [str(key.extract_certificate()).encode("ascii")], mode=0o644)


def clear_sign(private: Path, text: str) -> bytes:
    """*text* with the signature of the key in *private* below it. Raises ProvisionError."""
    try:
        signer = pysequoia.Tsk.from_file(str(private)).signer()
        return pysequoia.sign(signer, text.encode(), mode=pysequoia.SignatureMode.CLEAR)
    # Sequoia has no error of its own.
    except Exception as err:  # noqa: BLE001
        raise ProvisionError(f"{private}: cannot sign with this key: {err}") from None
