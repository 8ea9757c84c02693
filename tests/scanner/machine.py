"""A unit's file system and its boot partition, for tests of what becomes of them."""

from pathlib import Path

from edge.card import Card, write_card
from edge.scanner.setup import Setup, set_up
from edge.scanner.setup_by_code import REQUEST, finish_code, take_code
from edge.sealing import Signer
from tests.cards import SETUP_KEY


class Machine:
    """A unit's file system and its boot partition."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.boot = folder / "boot"
        (self.boot / "edge-scanner").mkdir(parents=True)
        self.root.mkdir()
        self.put("proc/device-tree/serial-number", b"10000000abcdef01\0")
        self.put("var/lib/systemd/rfkill/platform-1:wlan", b"1")

    def put(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def insert(self, card: Card | bytes, key: Signer = SETUP_KEY) -> None:
        data = card if isinstance(card, bytes) else write_card(card, key)
        (self.boot / "edge-scanner/card.toml").write_bytes(data)

    def start(self) -> Setup | None:
        """What the start of the machine does, before the scanner runs."""
        card = set_up(self.boot, self.root)
        return finish_code(self.boot, self.root) or card

    def ask(self, content: bytes) -> Setup | None:
        """What root does when the scanner has read a set-up code."""
        self.put(REQUEST, content)
        return self.ask_again()

    def ask_again(self) -> Setup | None:
        """As `ask`, for whatever lies there."""
        return take_code(self.boot, self.root)

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mode & 0o777)
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def on_the_card(self) -> dict[str, bytes]:
        folder = self.boot / "edge-scanner"
        return {path.name: path.read_bytes() for path in folder.iterdir()}
