"""Topics are built and read in one place, and nothing strange gets into them."""

import pytest

from edge.errors import BadTopic
from edge.topics import Topic, every_unit, parse, topic


def test_a_topic_is_read_as_it_was_built() -> None:
    text = topic("pleiku", "xe-81b-01234", "scan")

    assert text == "edge/v1/pleiku/xe-81b-01234/scan"
    assert parse(text) == Topic("pleiku", "xe-81b-01234", "scan")
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "name",
    ["", "A", "a/b", "+", "#", "-a", "a-", "a" * 33, "cổng", "a b", "a\n", "\x00", "a\x1b[31m"],
)
def test_a_name_that_could_do_harm_is_no_name(name: str) -> None:
    with pytest.raises(BadTopic):
        topic("pleiku", name, "scan")
    with pytest.raises(BadTopic):
        topic(name, "cong-1", "scan")
    with pytest.raises(BadTopic):
        parse(f"edge/v1/pleiku/{name}/scan")
    if name != "+":
        with pytest.raises(BadTopic):
            every_unit(name, "scan")


@pytest.mark.parametrize(
    "text",
    ["", "edge/v2/a/b/scan", "edge/v1/a/b/else", "edge/v1/a/b/scan/more", "x/edge/v1/a/b/scan"],
)
def test_a_topic_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(BadTopic):
        parse(text)


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(BadTopic, match="channel"):
        topic("a", "b", "x")
    with pytest.raises(BadTopic, match="channel"):
        every_unit("+", "x")
