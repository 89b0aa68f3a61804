"""How this project compiles its kernels: the decorator :func:`kernel`, whose cache on disk sees edits in other files.

numba keeps compiled functions in a cache on disk, and compiles anew when the file of the *outer* function has changed. What
that function calls may stand in other files, whose edits numba does not see (https://github.com/numba/numba/issues/6061): the
old machine code would run. Here a kernel's stamp is made of its own file and of all files of the same package that it
imports, directly or not (:mod:`stages.compute.stamps`). So kernels may call each other across files, and a file may hold one
idea.

What decides about machine code stands here and in :mod:`stages.compute.parts`, and an edit there compiles all of it anew; where
it is kept, and how it is found again, is imported when a kernel is declared, so that the stamp does not see it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, overload

import numba

from stages.compute.parts import Kernel

settings: Any = numba.config

P = ParamSpec("P")
R = TypeVar("R")

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""What `fastmath` may be: sums in any order, but not "nnan": what is not a number must not count as agreement."""


@overload
def kernel(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def kernel(*, fastmath: set[str] = ...) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def kernel(function: Any = None, /, **options: Any) -> Any:
    """Compile a function that takes arrays and numbers: no GIL, numpy's division by zero, kept on disk.

    `fastmath` is numba's; see :data:`FAST`. The function must stand in a file, or in a cell of a notebook.
    """
    if function is None:
        return partial(kernel, **options)
    if settings.DISABLE_JIT:
        return function
    from stages.compute.code_on_disk import CodeOnDisk

    options = {"nopython": True, "nogil": True, "error_model": "numpy", **options}
    return Kernel(function, targetoptions=options, kept=CodeOnDisk(function))
