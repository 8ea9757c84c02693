"""What a collector has had a broker keep is known until it has been ended."""

from edge.storage.broker_sessions import BrokerSessions
from edge.storage.storage import Storage


def test_a_session_is_known_until_it_has_ended_and_to_its_collector_alone(
    database_url: str,
) -> None:
    storage = Storage(database_url)
    one, other = (BrokerSessions(storage.database, name) for name in ("one", "other"))
    other.note({"other": ["a"]})

    one.note({"one": ["a", "b"], "one_scan_a": ["c"]})
    one.note({"one": ["b", "d"]})

    assert one.all() == {"one": {"a", "b", "d"}, "one_scan_a": {"c"}}
    one.forget_beyond("one", ["b", "d"])
    one.forget_beyond("one_scan_a")
    assert one.all() == {"one": {"b", "d"}}
    assert other.all() == {"other": {"a"}}
    storage.close()
