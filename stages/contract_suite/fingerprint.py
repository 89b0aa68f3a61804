"""Whether a value is what it was: arrays by their bytes, records by their public fields.

What a record keeps for itself in private fields (a header the values that it has decoded) may change.

>>> import numpy as np
>>> a, b = np.zeros(3), np.zeros(3)
>>> fingerprint((a, float("nan"))) == fingerprint((b, float("nan")))
True
>>> b[1] = -0.0
>>> fingerprint(a) == fingerprint(b)
False
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline import RejectFrame


def fingerprint(value: Any) -> Any:
    """Return something that can be compared, and is equal for values that are equal to the last bit."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return kind, value.dtype.str, value.shape, _digest(np.ascontiguousarray(value).tobytes())
    if isinstance(value, (bytes, bytearray, memoryview)):
        return kind, _digest(bytes(value))
    if isinstance(value, (float, np.floating)):
        return kind, float(value).hex()
    if isinstance(value, (str, int, bool, type(None), np.generic)):
        return kind, str(value)
    if isinstance(value, Mapping):  # what it says, in whichever way it keeps that
        return kind, tuple((repr(key), _under(value, key)) for key in sorted(value, key=repr))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        public = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return kind, tuple((name, fingerprint(getattr(value, name))) for name in public)
    if isinstance(value, (tuple, list)):
        return kind, tuple(map(fingerprint, value))
    if isinstance(value, (set, frozenset)):
        return kind, tuple(sorted(map(repr, value)))
    if callable(value):
        return kind, getattr(value, "__qualname__", kind)
    try:
        return kind, _digest(pickle.dumps(value))
    except Exception:  # whatever its pickling raises: then only its kind can be told
        return (kind,)


def _under(value: Mapping[Any, Any], key: Any) -> Any:
    try:
        return fingerprint(value[key])
    except RejectFrame as broken:  # a header value that cannot be read
        return str(broken)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
