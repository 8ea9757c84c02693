"""What was handed to a broker and is not acknowledged yet."""

from edge import packets
from edge.in_flight import InFlight


def test_an_id_is_given_again_only_when_its_message_is_acknowledged() -> None:
    flight = InFlight()
    first = flight.next_id()
    flight.add(first, (), 1)

    given = {flight.next_id() for _ in range(packets.HIGHEST_ID)}
    assert given == set(range(1, packets.HIGHEST_ID + 1)) - {first}

    flight.acknowledged(first)
    assert first in {flight.next_id() for _ in range(packets.HIGHEST_ID)}


def test_what_is_under_way_is_counted_and_lost_with_the_connection() -> None:
    flight = InFlight()
    for size, about in ((10, (1, 2)), (20, (3,)), (30, ())):
        flight.add(flight.next_id(), about, size)
    assert (len(flight), flight.bytes) == (3, 60)

    flight.acknowledged(2)
    flight.acknowledged(2)
    assert (len(flight), flight.bytes) == (2, 40)
    assert flight.take_lost() == set()

    flight.lose()
    assert (len(flight), flight.bytes) == (0, 0)
    assert flight.take_lost() == {1, 2}
    assert flight.take_lost() == set()
