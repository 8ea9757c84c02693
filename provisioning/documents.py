"""Writes the documents that a package brings, in which no link leads to what it does not bring.

    python provisioning/documents.py FOLDER [SETTINGS ...]

The README files of all roles, as they lie here, and the manuals of SETTINGS (scanner, collector)
beside the top one. What only who changes the software looks at is named there without a link.
"""

import argparse
import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: By their place here. What edge-provision writes into a deployment is read there.
PAGES = tuple(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("provisioning/*.md"), *ROOT.glob("edge/*/*.md"))
    if path.name != "deployment.md"
)
#: Of pages that are in the package, beside them.
PICTURES = tuple(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("edge/dashboard/*.png"), *ROOT.glob("provisioning/*.svg"))
)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def write_documents(folder: Path, settings: list[str]) -> None:
    """Write them into *folder*, with the manuals of *settings*."""
    brought = {path: path for path in (*PAGES, *PICTURES)}
    for name in settings:
        manual = Path(f"config/{name}.toml")
        brought[manual] = Path(manual.name)
    for source, target in brought.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        if source in PAGES:
            text = (ROOT / source).read_text(encoding="utf-8")
            (folder / target).write_text(_with_links(source, text, brought), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, folder / target)


def _with_links(page: Path, text: str, brought: dict[Path, Path]) -> str:
    """*text* with links of *page* to what is *brought*, as it lies there, and to other servers."""

    def link(found: re.Match[str]) -> str:
        mark, words, goal = found.groups()
        path, hash_, part = goal.partition("#")
        if not path or "://" in goal:
            return found[0]
        target = brought.get(Path(os.path.normpath(page.parent / path)))
        if target is None:
            return words
        return f"{mark}[{words}]({os.path.relpath(target, page.parent)}{hash_}{part})"

    return _LINK.sub(link, text)


def main() -> int:
    """Write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    write_documents(options.folder, options.settings)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
