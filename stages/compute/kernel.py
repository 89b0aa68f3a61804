"""How this project compiles its kernels: the decorator :func:`kernel`, whose cache on disk sees edits in other files.

numba keeps compiled functions in a cache on disk, and compiles anew when the file of the *outer* function has changed. What
that function calls may stand in other files, whose edits numba does not see (https://github.com/numba/numba/issues/6061): the
old machine code would run. Here a kernel's stamp is made of its own file and of all files of the same package that it
imports, directly or not. So kernels may call each other across files, and a file may hold one idea.

The stamp follows ``import`` statements at the beginning of a line. That covers constants, too, which numba freezes into the
machine code.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

from numba import config, njit
from numba.core import caching

P = ParamSpec("P")
R = TypeVar("R")

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""What `fastmath` may be: sums in any order, but not "nnan": what is not a number must not count as agreement."""

_SETTING = "CACHE_LOCATOR_CLASSES"
"""numba reads it, 0.62 and later, where a function is declared: what looks for the place of its code."""


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
    compiled = njit(nogil=True, error_model="numpy", **options)(function)
    _keep(compiled)
    return compiled


def _keep(compiled: Any) -> None:
    """Let the code of a function be kept on disk."""
    from stages.compute.code_on_disk import CodeOnDisk, say_that_there_is_no_place

    before = getattr(config, _SETTING)
    setattr(config, _SETTING, before or ",".join(_LOCATORS))
    try:
        compiled._cache = CodeOnDisk(compiled.py_func)
    except RuntimeError as error:
        say_that_there_is_no_place(error)
    finally:
        setattr(config, _SETTING, before)


class _SeesImports:
    """Where numba finds the cached code of a function, and whether it is still valid."""

    _module: str

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        """Return the place of a function's code, None if it cannot be there."""
        locator = super().from_function(py_func, py_file)  # type: ignore[misc]
        if locator is not None:
            locator._module = py_func.__module__
        return locator

    def get_source_stamp(self) -> str:
        """Return what changes if the code must be compiled anew."""
        return stamp(self._module)


class InDirectory(_SeesImports, caching.UserProvidedCacheLocator):
    """In the directory of NUMBA_CACHE_DIR."""


class BesideSource(_SeesImports, caching.InTreeCacheLocator):
    """In ``__pycache__``."""


class InHome(_SeesImports, caching.UserWideCacheLocator):
    """In the user's cache, where the project is installed for all."""


_LOCATORS = (
    *(f"{__name__}.{place.__name__}" for place in (InDirectory, BesideSource, InHome)),
    "IPythonCacheLocator",
    "ZipCacheLocator",
)
"""Where numba looks by default, in the same order, the first three with the stamp that sees imports."""


def stamp(module: str) -> str:
    """Return a digest of a loaded module's source and of what it imports from its own package, directly or not."""
    digest = hashlib.sha256()
    for name in sorted(_reached(module)):
        digest.update(_source(name))
    return digest.hexdigest()


def _reached(module: str) -> set[str]:
    reached, left = set[str](), [module]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left.extend(_imported(name))
    return reached


@cache
def _source(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).read_bytes() if file else b""


@cache
def _imported(module: str) -> frozenset[str]:
    """Return the loaded modules of the same top-level package that a module's import statements name."""
    package = re.escape(module.partition(".")[0])
    names = set[str]()
    text = _source(module).decode()
    for found in re.finditer(rf"^from ({package}[\w.]*) import (\([^)]*\)|.*)", text, re.MULTILINE):
        names.add(found[1])
        names.update(f"{found[1]}.{name}" for name in re.findall(r"\w+", found[2]))  # some of these are modules
    names.update(re.findall(rf"^import ({package}[\w.]*)", text, re.MULTILINE))
    return frozenset(name for name in names if name in sys.modules)
