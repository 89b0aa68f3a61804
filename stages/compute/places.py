"""The folders in which numba looks for the code of a kernel, and what tells it whether the code is of today's source."""

# mypy: disable-error-code="no-untyped-call"
# (numba has no types)

from __future__ import annotations

from pathlib import Path
from typing import Any

from numba.core import caching

from stages.compute.stamps import stamp


class _SeesImports:
    """Where numba finds the code of a function, and whether it is still valid."""

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


class WithProgram(caching.UserWideCacheLocator):
    """In a folder of the program, which a wheel or a container brings along: :mod:`stages.compute.portable`."""

    FOLDER = Path(__file__).with_name("portable_code")

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        self._module = py_func.__module__
        self._cache_path = str(self.FOLDER / self._module)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> WithProgram:
        """Return the place of a function's code, which is made when code is kept there."""
        return cls(py_func, py_file)

    def get_source_stamp(self) -> str:
        """Return what changes if the code must be compiled anew."""
        return stamp(self._module)


PLACES = [InDirectory, BesideSource, InHome, caching.IPythonCacheLocator, caching.ZipCacheLocator]
"""Where numba looks by default, in the same order, the first three with the stamp that sees imports."""
