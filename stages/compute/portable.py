"""Compiled code that comes with the program: for x86-64-v3, that is any processor with AVX2 and FMA (Haswell, Zen, or later).

numba compiles for the processor that it runs on, and finds code on disk by that processor's name and features. Code for a
level of the architecture runs wherever there is all of that level. So it is looked for where a machine has none of its own,
and is found by what it was compiled for.
"""

# mypy: disable-error-code="no-untyped-call"
# (llvmlite has no types)

from __future__ import annotations

from functools import cache
from typing import Any

LEVEL = "x86-64-v3"

_NEEDS = (
    *("cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"),
    *("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"),
)
"""What the level has beyond any 64-bit processor, in LLVM's words (System V ABI, AMD64 supplement, table 3.1)."""

SETTINGS = {
    "NUMBA_CPU_NAME": LEVEL,
    "NUMBA_CPU_FEATURES": "",
    "NUMBA_DISABLE_INTEL_SVML": "1",
    "NUMBA_CACHE_LOCATOR_CLASSES": "stages.compute.places.WithProgram",
}
"""numba's settings, in the environment, of a process that compiles for the level into the program's folder."""


@cache
def is_run_here() -> bool:
    """Tell whether this machine runs such code, and numba is not told to look elsewhere or to compile for another one."""
    import numba
    from llvmlite import binding

    config: Any = numba.config
    if config.CACHE_LOCATOR_CLASSES or config.CPU_NAME or config.CPU_FEATURES is not None:
        return False
    has = binding.get_host_cpu_features()
    return binding.get_default_triple().startswith("x86_64") and all(has.get(name) for name in _NEEDS)
