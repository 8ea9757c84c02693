"""Python's search for lost cycles, in services that make many objects and no cycles of them."""

import gc

#: It searches after so many new objects that stay, instead of 700.
OBJECTS = 20_000


def look_for_garbage_rarely() -> None:
    """Spare this process most searches for objects that only each other still know.

    What there is by now stays, and is looked at no more. A batch of the collector makes some 50,000
    objects, a page of 5,000 units 80,000, and all go by themselves; as Python comes, each brought
    searches through all that the process holds, for a page half of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 10, 10)
