"""What commands say of themselves, they say in Vietnamese beside the English."""

import argparse
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.languages import is_in_both

ROOT = Path(__file__).parent.parent

#: Those of developers, who read English.
OURS = {"edge-demo", "edge-simulate"}
COMMANDS = sorted(
    set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]) - OURS
)

Parser = argparse.ArgumentParser


class _Made(Exception):
    """The parser of a command, as it was about to be used."""


def parser_of(command: str, patch: pytest.MonkeyPatch) -> Parser:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts[command].partition(":")

    def stop(self: Parser, *_: object) -> None:
        raise _Made(self)

    patch.setattr(Parser, "parse_args", stop)
    with pytest.raises(_Made) as made:
        getattr(importlib.import_module(module), name)([])
    (parser,) = made.value.args
    assert isinstance(parser, Parser)
    return parser


def told(parser: Parser, path: str) -> Iterator[tuple[str, str]]:
    """Each command below *parser*, and each option of any, with what is said of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            says = {each.dest: each.help or "" for each in action._choices_actions}
            for name, below in action.choices.items():
                yield f"{path} {name}", says.get(name, "")
                yield from told(below, f"{path} {name}")
        elif not isinstance(action, argparse._HelpAction):
            name = action.option_strings[-1] if action.option_strings else action.dest
            yield f"{path} {name}", action.help or ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_explained_in_vietnamese_beside_the_english(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = parser_of(command, monkeypatch)
    found = [(command, parser.description or "")]
    found += told(parser, command)

    lacking = [name for name, says in found if not is_in_both(says)]
    assert not lacking, f"without ' / ' and Vietnamese: {lacking}"


def test_an_option_of_one_command_is_no_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of("edge-scanner", monkeypatch)
    having = {
        name.removesuffix(" --folder")
        for name, _ in told(parser, "edge-scanner")
        if name.endswith(" --folder")
    }

    outbox = "edge-scanner outbox"
    assert having == {f"{outbox} {what}" for what in ("list", "status", "export", "receipt")}
