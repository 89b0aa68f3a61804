"""For which types kernels have been compiled so far."""

from __future__ import annotations

import sys

from numba.core.dispatcher import Dispatcher


def signatures() -> dict[str, int]:
    """How many signatures each kernel has, of all modules that are loaded."""
    return {
        f"{name}.{key}": len(value.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("stages.")
        for key, value in vars(module).items()
        if isinstance(value, Dispatcher)
    }


def compiled_since(before: dict[str, int]) -> list[str]:
    """Kernels that have got a signature since then."""
    return sorted(name for name, n in signatures().items() if n != before.get(name, 0))
