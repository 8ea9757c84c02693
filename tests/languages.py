"""Whether people in the field can read it."""

import re

_VIETNAMESE = re.compile("[ăâđêôơưàáãèéìíòóõùúýạ-ỹ]", re.IGNORECASE)


def is_in_both(text: str) -> bool:
    """Whether *text* has English and Vietnamese, in either order, with a slash between them."""
    one, slash, other = text.partition(" / ")
    return bool(one and slash and other and _VIETNAMESE.search(text))
