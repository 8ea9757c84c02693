"""The contract's files are what the code says, and the messages are what the files say."""

import json

import jsonschema
import pytest

from edge.contract import FOLDER, documents, schema
from edge.messages import CHANNEL_MESSAGES, Message
from tests.test_messages import MESSAGES


def test_the_files_are_up_to_date() -> None:
    for name, text in documents().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run `make contract`"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_is_valid_by_its_schema(message: Message) -> None:
    channel = next(c for c, kind in CHANNEL_MESSAGES.items() if kind is type(message))
    validator = jsonschema.Draft202012Validator(schema(channel))

    validator.validate(json.loads(message.encode()))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(json.loads(message.encode()) | {"more": 1})


def test_an_array_of_scans_is_valid_by_the_schema_and_one_of_anything_else_is_not() -> None:
    validator = jsonschema.Draft202012Validator(schema("scan"))
    scan = json.loads(MESSAGES[0].encode())

    validator.validate([scan, scan])
    for wrong in ([], [scan, {}], [scan] * 101):
        assert not validator.is_valid(wrong)


def test_every_channel_stands_in_the_asyncapi_document() -> None:
    document = json.loads(documents()["asyncapi.json"])

    assert set(document["channels"]) == set(CHANNEL_MESSAGES)
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            assert (FOLDER / message["payload"]["$ref"].removeprefix("./")).exists()


def test_nothing_of_an_identity_stands_in_any_schema() -> None:
    for channel in CHANNEL_MESSAGES:
        properties = set(schema(channel)["$defs"][CHANNEL_MESSAGES[channel].__name__]["properties"])
        assert not properties & {"name", "pin", "qid", "bhyt", "phone", "birth_year", "sex", "tail"}
