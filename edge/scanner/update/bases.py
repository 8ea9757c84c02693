"""Takes up the legal bases that the office's signed list brings, beside those of the unit's card.

So an order that is renewed reaches a market without a visit to each unit. Nothing is believed by
the list: each document bears the signature of the authority whose key the card has brought.
"""

import hashlib
import logging
from pathlib import Path

from edge.errors import BasisError, SealError
from edge.files import read_small, remove_file, replace_file
from edge.legal_basis import MAX_BYTES, documents_in, verified_basis
from edge.scanner.setup import BASIS, BASIS_KEY, OFFICE_BASIS
from edge.sealing import Verifier, read_key

log = logging.getLogger(__name__)


def take_bases(listed: bytes, root: Path) -> None:
    """Keep the documents in *listed*, the newest signed list, and of earlier ones none.

    *root* is of the unit's own system; one that has no key of an authority keeps nothing.
    """
    folder = root / BASIS
    if not folder.is_dir():
        return
    try:
        verifier = Verifier(read_key(root / BASIS_KEY))
        kept = set()
        for document in documents_in(listed):
            # Named by what it says, so that none is gone for a moment, or over a power cut, while
            # another takes its place: the scanner would stop.
            name = hashlib.sha256(document).hexdigest()[:16]
            path = folder / f"{OFFICE_BASIS}{name}.json"
            if _is_good(document, path, verifier):
                kept.add(path)
                _keep(document, path)
        for former in sorted(folder.glob(f"{OFFICE_BASIS}*.json")):
            if former not in kept:
                remove_file(former)
    except (BasisError, SealError, OSError) as err:
        # It says nothing of the software, and the scanner says itself by which basis it collects.
        log.warning("the legal bases of the office's list are left: %s", err)


def _is_good(document: bytes, path: Path, verifier: Verifier) -> bool:
    if len(document) > MAX_BYTES:
        return False
    try:
        verified_basis(document, path.name, verifier)
    except BasisError as err:
        log.warning("a legal basis of the office's list is passed over: %s", err)
        return False
    return True


def _keep(document: bytes, path: Path) -> None:
    try:
        if read_small(path, MAX_BYTES) == document:
            return
    except OSError:
        # None yet, or none that can be read.
        pass
    replace_file(path, [document], 0o644)
    log.info("%s: a legal basis of the office's list", path)
