"""Makes the sentences that a unit with a loudspeaker says, in Vietnamese, with espeak-ng.

    python provisioning/prompts.py .prompts

One file for each signal, its text that of the README's table of lights and sounds. espeak-ng (free,
GPL; the sounds that it makes are ours) is needed where the package is built, never on a unit. The
same version of it gives the same bytes.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from edge.scanner.indicator import PATTERNS

#: The northern voice, slower than its 175 words a minute: it has to be understood at once.
ESPEAK = ("espeak-ng", "-v", "vi", "-s", "150")


def make_prompts(folder: Path) -> list[Path]:
    """Write a sound for each signal into *folder*; gives them. FileNotFoundError: no espeak-ng."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for signal, pattern in PATTERNS.items():
        path = folder / f"{signal.value}.wav"
        subprocess.run(
            [*ESPEAK, "-w", str(path), "--", _spoken(pattern.vi)],
            check=True,
        )
        made.append(path)
    return made


def _spoken(text: str) -> str:
    """*text* with its long words in small letters: in capitals they would be spelled, like USB."""
    return " ".join(word if len(word) <= 3 else word.lower() for word in text.split())


def can_make() -> bool:
    """Whether espeak-ng is here."""
    return shutil.which("espeak-ng") is not None


def main() -> int:
    """Make them, and say how large they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if not can_make():
        raise SystemExit("prompts: espeak-ng is missing: sudo apt install espeak-ng")
    made = make_prompts(options.folder)
    for path in made:
        print(f"{path.stat().st_size / 1000:7.0f} kB  {path.name}")
    print(f"{sum(path.stat().st_size for path in made) / 1000:7.0f} kB  {len(made)} sentences")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
