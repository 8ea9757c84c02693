"""Asking the running desk, for a command."""

import argparse
import getpass
from pathlib import Path
from typing import Any

from edge import config
from edge.desk_socket import ask
from edge.tracing.settings import TraceSettings


def ask_desk(options: argparse.Namespace, do: str, **arguments: Any) -> Any:
    """The desk's answer, for this account, or for `--worker` by their password."""
    settings = config.load(options.config, TraceSettings)
    if options.worker and not hasattr(options, "password_given"):
        options.password_given = getpass.getpass("mật khẩu / password: ")
    password = options.password_given if options.worker else ""
    return ask(Path(settings.desk.socket), do, options.worker, password, **arguments)
