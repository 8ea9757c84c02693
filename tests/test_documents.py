"""What the documents name is there: files, headings, commands, options, targets of make."""

import contextlib
import importlib
import io
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "edge/**/*.md", "provisioning/**/*.md")
    for path in ROOT.glob(pattern)
)
MANUALS = [*DOCUMENTS, *(path.relative_to(ROOT) for path in sorted((ROOT / "config").iterdir()))]
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "scripts"
]

LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Within backticks or a block of code.
CODE = re.compile(r"```.*?```|`[^`\n]+(?:\n[^`\n]+)?`", re.DOTALL)
#: A topic begins with edge/v1.
FILE = re.compile(r"(?<![\w./<-])(?:edge(?!/v1)|config|systemd|provisioning|tests)/[\w./*-]*\w")
#: A command of ours and what it is given, up to the next one.
OURS = re.compile(r"(?<![\w./-])(?<!-[uog] )(edge-[a-z]+)((?: +[^\s|;&]+)*?)(?=$|[|;&]| edge-)")
TARGET = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)


def text_of(document: Path) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def anchors_in(text: str) -> set[str]:
    """What a heading is called in a link, as GitHub makes it."""
    headings = re.findall(r"(?m)^#+ +(.+)$", text)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere(document: Path) -> None:
    # What a shell reads has brackets of its own.
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text_of(document))
    for link in LINK.findall(prose):
        if link.startswith(("https://", "http://")):
            continue
        path, _, heading = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if heading:
            assert heading in anchors_in(target.read_text(encoding="utf-8")), f"{document}: {link}"


@pytest.mark.parametrize("document", MANUALS, ids=str)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    # The manual of a deployment is about that folder and not about this one.
    if document.name == "deployment.md":
        return
    text = text_of(document)
    named = FILE.findall(text if document.suffix == ".toml" else "\n".join(CODE.findall(text)))
    for name in named:
        assert list(ROOT.glob(name)), f"{document}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_target_of_make_is_one(document: Path) -> None:
    makefile = text_of(Path("Makefile"))
    for code in CODE.findall(text_of(document)):
        for target in TARGET.findall(code):
            assert f"\n{target}:" in makefile, f"{document}: make {target}"


@cache
def help_of(command: str, *sub: str) -> str:
    """What a command of ours says of itself, or of a sub-command."""
    module = COMMANDS[command].partition(":")[0]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        importlib.import_module(module).main([*sub, "--help"])
    return said.getvalue()


def sub_commands(command: str, *sub: str) -> list[str]:
    said = help_of(command, *sub)
    # One that says the same as before was no sub-command, but a value of one.
    if sub and said == help_of(command, *sub[:-1]):
        return []
    found = re.search(r"(?m)^  \{([a-z,-]+)\}", said)
    return found.group(1).split(",") if found else []


@pytest.mark.parametrize("document", MANUALS, ids=str)
def test_every_command_and_each_of_its_options_is_one(document: Path) -> None:
    code = "\n".join(found.strip("`") for found in CODE.findall(text_of(document)))
    for line in code.replace("\\\n", " ").splitlines():
        for command, words in OURS.findall(line.partition("  #")[0].replace("\\|", "/")):
            if command not in COMMANDS:
                continue
            where, path = f"{document}: {line.strip()}", [command]
            for word in words.split():
                if word.startswith("-"):
                    option = re.match(r"--?[a-z-]+", word)
                    assert option is None or option.group() in help_of(*path), where
                elif known := sub_commands(*path):
                    # In a table several are written as one or\|the\|other.
                    assert set(word.split("/")) <= set(known), where
                    path.append(word.partition("/")[0])
