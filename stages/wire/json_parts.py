"""Parts of a message that are JSON objects."""

from __future__ import annotations

import json
from typing import Any

_LONGEST = 1 << 20
"""Bytes that are taken for JSON; detectors' configurations have some thousand."""


def json_object(part: memoryview | bytes) -> dict[str, Any] | None:
    """Return the object that a part of a message is; None if it is none.

    >>> json_object(b'{"htype": "dheader-1.0"}'), json_object(b"[1]"), json_object(b"{1}")
    ({'htype': 'dheader-1.0'}, None, None)
    """
    if not 2 <= len(part) <= _LONGEST:
        return None
    try:
        found = json.loads(bytes(part))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
