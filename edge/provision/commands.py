"""What the commands of `edge-provision` share."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

from edge import cli
from edge.errors import ConfigError
from edge.provision.deployment import Deployment
from edge.provision.layout import SETTINGS

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, work: Callable[[argparse.Namespace], int], says: str
) -> argparse.ArgumentParser:
    """Have *name* among *commands* do *work*, which gives the exit code; gives its parser."""
    parser = commands.add_parser(name, parents=[cli.common_again()], help=says, description=says)
    parser.set_defaults(work=work)
    return parser


def add_group(commands: Commands, name: str, says: str) -> Commands:
    """Have *name* among *commands* stand for a group of them; gives where these are added."""
    group = commands.add_parser(name, help=says, description=says)
    return group.add_subparsers(dest="what", required=True)


def deployment_of(options: argparse.Namespace) -> Deployment:
    """The deployment that the command is about. Raises ConfigError, ProvisionError."""
    if options.config.name != SETTINGS:
        raise ConfigError(f"--config must name the {SETTINGS} in a deployment's folder")
    return Deployment(options.config.parent)
