"""The contract as files: a JSON Schema for each message, and an AsyncAPI document.

`python -m edge.contract` writes them beside this file; a test fails when they are not up to date.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from edge.messages import CHANNEL_MESSAGES, VERSION, Scan, Scans
from edge.topics import NAME, ROOT

FOLDER = Path(__file__).parent

# Who sends what, as its subscriber meets it.
_SENDERS = {
    "scan": "unit",
    "confirmed": "collector",
    "again": "collector",
    "status": "unit",
    "health": "unit",
    "cmd": "collector",
    "config": "collector",
    "answer": "unit",
}
_RETAINED = ("status",)
_AT_MOST_ONCE = ("confirmed",)


def documents() -> dict[str, str]:
    """The text of each file of the contract, by its name."""
    files = {f"{channel}.v{VERSION}.json": schema(channel) for channel in CHANNEL_MESSAGES}
    files["asyncapi.json"] = asyncapi()
    return {
        name: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for name, content in files.items()
    }


def schema(channel: str) -> dict[str, Any]:
    """The JSON Schema of what travels on *channel*."""
    kind = CHANNEL_MESSAGES[channel]
    own = msgspec.json.schema(Scan | Scans if kind is Scan else kind)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{channel}, version {VERSION}",
        **own,
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document of all channels."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for channel, message in CHANNEL_MESSAGES.items():
        channels[channel] = {
            "address": f"{ROOT}/{{area}}/{{unit}}/{channel}",
            "description": (message.__doc__ or "").splitlines()[0],
            "parameters": {
                "area": {"description": f"Who shares the work: {NAME}"},
                "unit": {"description": f"The unit's id, as in its certificate: {NAME}"},
            },
            "messages": {
                channel: {
                    "contentType": "application/json",
                    "payload": {"$ref": f"./{channel}.v{VERSION}.json"},
                }
            },
            "bindings": {"mqtt": {}},
        }
        operations[f"{_SENDERS[channel]}Sends{channel.capitalize()}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "bindings": {
                "mqtt": {
                    "qos": 0 if channel in _AT_MOST_ONCE else 1,
                    "retain": channel in _RETAINED,
                }
            },
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "edge scanner", "version": str(VERSION)},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }


def write(folder: Path = FOLDER) -> None:
    """Write the files into *folder*."""
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
