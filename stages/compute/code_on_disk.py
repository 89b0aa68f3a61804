"""Machine code on disk: where each kernel's is found and kept. Missing, damaged or without a place, it is compiled anew.

numba fails where none of its places can be written to, where a file cannot be read, and where one cannot be replaced; it runs
what stands in a damaged file. Here all of that costs time only, and is said once. Code that another user could have written is
not run.

Nothing is looked for before a kernel is called, since most kernels are called by others alone, with whose code theirs has been
compiled.
"""

# mypy: disable-error-code="no-untyped-call"
# (numba has no types)

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from numba.core import caching
from numba.core.runtime.nrt import rtsys

from stages.compute import loaded_code, portable, turns
from stages.compute.places import PLACES, WithProgram
from stages.compute.stamps import stamp

log = logging.getLogger("streamajig.kernels")

_SUM_BYTES = 4

_said: set[str] = set()

_to_begin_with: list[Callable[[], None]] = []

_others: list[Callable[[], object]] = []


def before_anything_is_compiled(do: Callable[[], None]) -> None:
    """Have something done when the first kernel of this process must be compiled; never, where all are found on disk."""
    _to_begin_with.append(do)


def leave_the_rest_to(begin: Callable[[], object]) -> None:
    """Name what begins to compile, in another process, what need not be there when the first frame comes."""
    _others.append(begin)


def is_left_to_others() -> bool:
    """Begin with it, if somebody is there for it; return whether."""
    for begin in _others:
        begin()
    return bool(_others)


def _compiling() -> None:
    while _to_begin_with:
        _to_begin_with.pop()()


class CodeOnDisk:
    """The code of one function, for each of its signatures: what was compiled here, else what came with the program."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        # of the source that Python has just read, not of what it is when the function is called
        stamp(function.__module__)

    @cached_property
    def _kept(self) -> Any:
        try:
            return _Kept(self._function)
        except RuntimeError as error:
            if "no locator available" not in str(error):  # numba's words for: no folder can be written to
                raise
            return caching.NullCache()

    @property
    def cache_path(self) -> Any:
        """The folder of the code; None if it has none."""
        return self._kept.cache_path

    @property
    def place(self) -> Any:
        """What knows the folder and today's stamp."""
        return self._kept._impl.locator

    def load(self, args: Any, target_context: Any, *, is_part: bool) -> Any:
        """Return a part, or what is ready, for arguments of some types; None if there is none.

        numba would get all ready first that it knows of types and functions, which takes longer than to load the code. Where
        something is to be compiled it does so by itself.
        """
        rtsys.initialize(target_context)
        key = _key(args, is_part)
        found = self._kept.load_overload(key, target_context)
        if found is None and portable.is_run_here():
            found = _CameAlong(self._function).load_overload(key, target_context)
        return found

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Compile while no other process compiles this function; tells whether one did so before, and may have kept it."""
        _compiling()
        if self.cache_path is None:
            _say_that_there_is_no_place()
            yield False
            return
        lock = self._lock
        has_waited = turns.take(lock)
        try:
            yield has_waited
        finally:
            turns.leave(lock)

    def save(self, args: Any, data: Any, *, is_part: bool) -> None:
        """Keep what was compiled for arguments of some types."""
        self._kept.save_overload(_key(args, is_part), data)

    @property
    def _lock(self) -> Path:
        return Path(self._kept.cache_path, f"{self._kept._impl.filename_base}.lock")

    def enable(self) -> None:
        """Look for code, and keep it."""
        self._kept.enable()

    def disable(self) -> None:
        """Compile always, and keep nothing."""
        self._kept.disable()

    def flush(self) -> None:
        """Forget the code."""
        self._kept.flush()


def _key(args: Any, is_part: bool) -> Any:
    return (*args, "part") if is_part else tuple(args)


class _Code(caching.CompileResultCacheImpl):
    """Where code is, unless a setting of numba's names other places, and how it is made ready."""

    _locator_classes = PLACES

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """Make code ready; where numba has changed inside, as numba does it, which takes longer."""
        try:
            return loaded_code.ready(target_context, payload)
        except (AttributeError, TypeError, ValueError):
            log.debug("this version of numba is another one than those known here", exc_info=True)
            target_context.refresh()
            return super().rebuild(target_context, payload)


class _Kept(caching.FunctionCache):
    """The code of one function in one place; RuntimeError where it has none."""

    _impl_class = _Code

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        owners = {os.getuid(), 0}
        with contextlib.suppress(FileNotFoundError):  # the cell of a notebook
            owners.add(_owner(function.__code__.co_filename))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, self._cache_file._source_stamp, owners)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return self._load_overload(sig, target_context)

    def _save_overload(self, sig: Any, data: Any) -> None:
        try:
            super()._save_overload(sig, data)
        except OSError as error:
            _say(
                "compiled code cannot be kept in %s (%s): it is compiled again at the next start",
                self._cache_path,
                error,
            )


class _CodeThatCameAlong(_Code):
    """In the folder of the program."""

    _locator_classes = [WithProgram]


class _CameAlong(_Kept):
    """The code of one function that came with the program, compiled elsewhere for a whole level of processors."""

    _impl_class = _CodeThatCameAlong

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        signature, (triple, _, _), digests = super()._index_key(sig, codegen)
        return signature, (triple, portable.LEVEL, portable.SETTINGS["NUMBA_CPU_FEATURES"]), digests


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
        return loaded_code.unpickled(code)

    def _save_data(self, name: str, data: Any) -> None:
        code = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(code + _checksum(code))

    def _check_owner(self, path: str) -> None:
        user = _owner(path)
        if user not in self._owners:
            raise PermissionError(f"it belongs to user {user}, whose code is not run")


def _say_that_there_is_no_place() -> None:
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
