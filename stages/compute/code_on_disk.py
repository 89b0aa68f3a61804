"""Machine code that numba keeps on disk: missing, damaged, somebody else's or without a place, it is compiled anew.

numba fails where none of its places can be written to, where a file cannot be read, and where one cannot be replaced; it runs
what stands in a damaged file. Here all of that costs time only, and is said once. Code that another user could have written is
not run.

This module is imported by :func:`stages.compute.kernel.kernel` when it is called, so that an edit here compiles nothing anew.
"""

# mypy: disable-error-code="no-untyped-call"
# (numba has no types)

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import zlib
from collections.abc import Callable
from typing import Any

from numba.core import caching

log = logging.getLogger("streamajig.kernels")

_SUM_BYTES = 4

_said: set[str] = set()


class CodeOnDisk(caching.FunctionCache):
    """The code of one function, for each of its signatures; RuntimeError where it has no place."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        file = self._cache_file
        owners = {os.getuid(), 0}
        with contextlib.suppress(FileNotFoundError):  # the cell of a notebook
            owners.add(_owner(function.__code__.co_filename))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, file._source_stamp, owners)

    def _save_overload(self, sig: Any, data: Any) -> None:
        try:
            super()._save_overload(sig, data)
        except OSError as error:
            _say(
                "compiled code cannot be kept in %s (%s): it is compiled again at the next start",
                self._cache_path,
                error,
            )


class _Files(caching.IndexDataCacheFile):
    """The files of one function; behind the code in each stands its checksum."""

    def __init__(self, path: str, name: str, stamp: str, owners: set[int]) -> None:
        super().__init__(path, name, stamp)
        self._owners = owners

    def _load_index(self) -> dict[Any, str]:
        try:
            self._check_owner(self._index_path)
            return dict(super()._load_index())
        except FileNotFoundError:
            return {}
        except OSError as error:
            _say("compiled code in %s is not used: %s", self._cache_path, error)
        except Exception:
            # Half a file, or another one. Or it names the types of arguments, among them named tuples by their modules, and
            # such a class has moved since: then numba fails before it can see that the index is of another source
            log.debug("the index %s cannot be read", self._index_path, exc_info=True)
        return {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        self._check_owner(path)
        with open(path, "rb") as file:
            content = file.read()
        code, checksum = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
        if checksum != _checksum(code):
            _say("compiled code in %s is damaged (%s): it is compiled anew", self._cache_path, name)
            raise OSError(f"{path} is damaged")  # which numba takes as a file that is not there
        return pickle.loads(code)

    def _save_data(self, name: str, data: Any) -> None:
        code = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(code + _checksum(code))

    def _check_owner(self, path: str) -> None:
        owner = _owner(path)
        if owner not in self._owners:
            raise PermissionError(f"it belongs to user {owner}, whose code is not run")


def say_that_there_is_no_place(error: RuntimeError) -> None:
    """Say that code is compiled in memory, and what to do about it; other errors (a wrong setting of numba's) are raised."""
    if "no locator available" not in str(error):  # numba's words for: no folder can be written to
        raise error
    _say(
        "compiled code can be kept nowhere, neither beside the program nor in your cache: it is compiled in memory, which "
        "takes minutes at every start; set XDG_CACHE_HOME or NUMBA_CACHE_DIR to a folder that you can write to"
    )


def _say(text: str, *words: object) -> None:
    if text not in _said:
        _said.add(text)
        log.warning(text, *words)


def _owner(path: str) -> int:
    return os.stat(path).st_uid


def _checksum(code: bytes) -> bytes:
    return zlib.crc32(code).to_bytes(_SUM_BYTES, "little")
