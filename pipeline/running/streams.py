"""streamz, without Dask.

Where Dask is installed, ``import streamz`` imports it, which takes longer than all else that a program of ours imports, for
operators that a graph does not use. Whoever wants them on the stream of a running graph imports ``streamz.dask``.
"""

from __future__ import annotations

import sys
from typing import Any

_DASK = ("dask", "distributed")


def _without_dask() -> Any:
    hidden = [name for name in _DASK if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it is an ImportError, which streamz expects
    try:
        import streamz
    finally:
        for name in hidden:
            del sys.modules[name]
    return streamz


Stream = _without_dask().Stream
